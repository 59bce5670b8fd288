//! Do indexes on text still have the order that the operating system has now?

mod ask;
mod judge;

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use self::judge::{Collation, State};
use super::tally::{Tally, Words};
use super::walk::{Room, Walk};
use crate::base::Span;
use crate::check::door::{Door, silent};
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;

/// Do indexes on text still have the order that the operating system has now?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollationsUnchanged {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Databases to look at. All of the server when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// A standby of it, which must find the same versions: its indexes are copies, its libraries are its own.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    standby: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "collations_unchanged",
    summary: "text indexes were built with the versions of collations that the system has now",
    docs: DOCS,
    timeout: Some(Span::secs(600)),
    schema: || schema_for!(CollationsUnchanged),
    build: from_params::<CollationsUnchanged>,
};

const DOCS: &str = r#"
Shows that indexes on text were built with the versions of collations that the operating system has now. Another glibc or ICU
(another release of the distribution, another container image, another host) sorts otherwise, and then an index no longer finds
what is there.

**How it is measured.** In every database, for its default collation and for every other one that an index or a range-partitioned
table is sorted by: the version recorded when it was made, against the version that the server finds now. With `standby` the present
versions there are compared with those of the target, too.

**Passes** when the versions are equal, when the order is by code point (`C`, `POSIX`, `C.UTF-8`, the server's own), and when nothing
is sorted by a collation whose version changed: this is said. It speaks of versions, not of the order behind them.

**Fails** when a collation has another version and indexes or partitions are sorted by it, and when a standby finds another version.

**Unknown** when a version is missing while something is sorted by that collation: PostgreSQL 13 and 14 record none for a database's
default collation; when a database cannot be entered.

**Traps.** An equal version does not prove an equal order: a locale that was rebuilt from other sources keeps its version, and this
check passes while an index no longer finds what is there. Another version does not prove damage. `indexes_intact` decides both: put
it beside this check. `pg_upgrade` keeps the versions of collations that somebody made; those of the system's own (`en-x-icu`), and
of a default that comes from 13 or 14, are of the day of the upgrade, so that what was sorted before by another library goes
unseen. The evidence says so where it can be seen: run `indexes_intact` after the upgrade.
`ALTER DATABASE … REFRESH COLLATION VERSION` only silences: run it after `REINDEX` and a pass of
`indexes_intact`. Dump and restore builds indexes anew; `pg_upgrade` and physical replication do not. Check constraints,
materialized views and merge joins over foreign servers may depend on the order, too.

```yaml
preconditions:
  - collations_unchanged: { target: old }
  - collations_unchanged: { id: same-on-the-standby, target: old, standby: new }
```
"#;

const EXPECTED: &str = "text sorted by collations of the versions that the system has now";

const WORDS: Words = Words {
    one: "collation",
    many: "collations",
    wrong: "changed under what is sorted by it",
    fine: "nothing is sorted by a collation whose version changed",
    help: "run indexes_intact to see what is out of order; rebuild those indexes before anything writes to them",
    nothing: "name the databases that should be there",
};

impl CollationsUnchanged {
    /// The standby's answers for one database, or why there are none.
    async fn on_standby(
        &self,
        cx: &Context,
        name: &str,
        room: &Room,
        primary: &Identity,
    ) -> Result<(Side, Identity), (String, String)> {
        let door = Door::new(KIND.name, name, EXPECTED).database(&room.name);
        let (session, identity) =
            door.open(cx).await.map_err(|outcome| (outcome.observed, outcome.help.unwrap_or_default()))?;
        let related = match (primary, &identity) {
            (Identity::Postgres(a), Identity::Postgres(b)) => {
                b.in_recovery && a.system_identifier == b.system_identifier
            }
            _ => false,
        };
        if !related || primary.same_object(&identity) {
            let why = format!("{name} is not a standby of {}: {}", self.target, identity.describe());
            return Err((why, "correct the target of the standby".to_owned()));
        }
        let side = Side::read(&session).await.map_err(|error| {
            (format!("{name}, database {}: {error}", room.name), silent(&error).to_owned())
        })?;
        Ok((side, identity))
    }
}

/// One server's answers for one database.
struct Side {
    collations: Vec<Collation>,
    libraries: BTreeMap<String, String>,
    upgraded: bool,
}

impl Side {
    async fn read(session: &crate::world::pg::Session) -> Result<Side, crate::world::pg::QueryError> {
        let collations = ask::collations(session).await?;
        let libraries = ask::libraries(session).await?.into_iter().collect();
        Ok(Side { collations, libraries, upgraded: ask::came_by_upgrade(session).await? })
    }

    /// The present version of a collation: its own, or that of its library where the server does not tell.
    fn version(&self, collation: &Collation) -> Option<&String> {
        let own = self.collations.iter().find(|one| one.name == collation.name);
        own.and_then(|one| one.actual.as_ref()).or_else(|| self.libraries.get(collation.library()))
    }
}

/// What an equal version does not say.
const ONLY_VERSIONS: &str = "an equal version does not prove an equal order: `indexes_intact` decides";

/// What versions mean that nobody recorded when the indexes were made.
const UPGRADED: &str = "the cluster was brought here from 14 or older by `pg_upgrade`: the versions of defaults and of the system's \
                        own collations are of that day, not of the day on which its indexes were built";

fn look(room: &Room, collation: &Collation, tally: &mut Tally) {
    tally.looked += 1;
    let name = format!("database {}: {} collation {}", room.name, collation.library(), collation.name);
    let users = collation.sorted_by_it();
    match (collation.state(), collation.uses) {
        (State::Same(_), 1..) if !tally.notes.iter().any(|note| note == ONLY_VERSIONS) => {
            tally.notes.push(ONLY_VERSIONS.to_owned());
        }
        (State::Fixed | State::Same(_), _) => {}
        (State::Changed(was, is), 0) => {
            tally.notes.push(format!("{name} was {was} and is {is}, but nothing is sorted by it"));
        }
        (State::Changed(was, is), _) => {
            tally.finding(format!("{name} was {was} and is {is}; sorted by it: {users}"));
        }
        (State::Unversioned(why), 0) => {
            tally.notes.push(format!("{name}: {why}, but nothing is sorted by it"));
        }
        (State::Unversioned(why), _) => tally.missed(
            format!("{name}: {why}; sorted by it: {users}"),
            "find out on which system its indexes were built, and let indexes_intact show whether they are in order",
        ),
    }
}

fn compare(room: &Room, here: &Side, there: &Side, standby: &str, tally: &mut Tally) {
    for collation in here.collations.iter().filter(|one| one.uses > 0 && !one.is_fixed()) {
        let name = format!("database {}: {} collation {}", room.name, collation.library(), collation.name);
        match (here.version(collation), there.version(collation)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => tally.finding(format!(
                "{name} is {a} here and {b} on {standby}; sorted by it: {}",
                collation.sorted_by_it()
            )),
            _ => tally.missed(
                format!("{name}: its version on {standby} or here cannot be found out"),
                "compare the versions of glibc and ICU on both hosts by hand, and run indexes_intact on the standby",
            ),
        }
    }
}

#[async_trait]
impl Check for CollationsUnchanged {
    fn targets(&self) -> Vec<String> {
        std::iter::once(&self.target).chain(&self.standby).cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let door = Door::new(KIND.name, &self.target, EXPECTED);
        let mut walk = match Walk::begin(cx, door, &self.databases, Span::secs(60)).await {
            Ok(walk) => walk,
            Err(outcome) => return outcome,
        };
        let mut libraries = BTreeMap::new();
        let mut standby_seen = None;
        for room in walk.rooms.clone() {
            let Some(session) = walk.enter(&room).await else { continue };
            let here = match Side::read(&session).await {
                Ok(side) => side,
                Err(error) => {
                    walk.tally.missed(format!("database {}: {error}", room.name), silent(&error));
                    continue;
                }
            };
            walk.tally.rooms += 1;
            here.collations.iter().for_each(|collation| look(&room, collation, &mut walk.tally));
            if let Some(name) = &self.standby {
                match self.on_standby(cx, name, &room, &walk.identity).await {
                    Ok((there, identity)) => {
                        compare(&room, &here, &there, name, &mut walk.tally);
                        standby_seen = Some((name, identity));
                    }
                    Err((why, way)) => walk.tally.missed(why, &way),
                }
            }
            libraries.extend(here.libraries);
            if here.upgraded && !walk.tally.notes.iter().any(|note| note == UPGRADED) {
                walk.tally.notes.push(UPGRADED.to_owned());
            }
        }
        let Walk { tally, identity, .. } = walk;
        let mut outcome = tally.outcome(&WORDS, EXPECTED).on(&self.target, identity);
        for (library, version) in libraries {
            outcome = outcome.detail(format!("{library} {version}")).fact(&library.to_lowercase(), version);
        }
        match standby_seen {
            Some((name, identity)) => outcome.on(name, identity),
            None => outcome,
        }
    }
}
