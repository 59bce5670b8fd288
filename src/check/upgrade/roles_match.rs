//! May everybody still do what they could, and nobody more? Roles and rights belong to the whole cluster, and a dump of a
//! database carries none of them.

mod compare;
mod facts;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Cluster, Findings, Words};
use crate::base::{Span, text};
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use compare::{Pair, Rules};
use facts::Facts;

/// May everybody still do what they could, and nobody more?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesMatch {
    /// The target that has the roles.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// The target that must have them too.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Owners and grants only in these databases. All when not given. Roles are compared in any case.
    #[serde(default)]
    databases: Vec<String>,
    /// `true`: whether roles have a password must be the same, which only superusers can see. `false`: not looked at. When
    /// not given, it is compared if both sides show it. Values are never read.
    #[serde(default)]
    passwords: Option<Flag>,
    /// Roles that may differ, with all that they own and may do, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A role that may differ.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The role.
    #[schemars(length(min = 1))]
    role: String,
    /// Why it may differ. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "roles_match",
    summary: "roles, memberships, settings, owners and grants are the same on both servers",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(RolesMatch),
    build,
};

const DOCS: &str = r"
Shows that roles and rights are the same on both servers.

**How it is measured.** The catalogues of both, in both directions: roles with their attributes (login, superuser, createdb,
createrole, replication, bypassrls, inherit, connection limit, valid until) and whether they have a password; memberships with
their options; settings of roles and databases; owners and grants of databases, tablespaces, parameters, schemas, tables, columns,
sequences, functions, types, languages, foreign servers; default privileges; and what ordinary roles were granted on objects of the
system or of extensions.

**Passes** when nothing differs. **Fails** when a role, a membership, a setting, an owner or a grant is missing, or when a
role may do more than before. **Unknown** when a side does not answer, a database cannot be entered, or with `passwords: true`
when a side does not show who has one.

Told, and no failure: roles and objects that are only in the target.

**Versions.** A grant that stands for the built-in default counts as that default. `INHERIT` and `SET` of a membership are compared
when both servers are 16 or newer, `MAINTAIN` from 17 on, rights on parameters from 15 on. The owner of schema `public` is not
compared across 15, which changed it. That everybody may create there is: 15 took it from new databases, a dump keeps it, and an
application that relies on it stops working when it is lost.

**Traps.** `pg_dump` of one database carries no roles: `pg_dumpall --globals-only` does, and psql goes on after errors while it
restores them. Grants on large objects are not compared. What clients may connect at all is in `pg_hba.conf`, and a password hashed
as md5 does not pass where that file demands scram-sha-256.

```yaml
postconditions:
  - roles_match: { source: old, target: new }
  - roles_match:
      id: with-passwords
      source: old
      target: new
      passwords: true
      except: [{ role: monitoring, reason: made anew by the configuration management }]
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: RolesMatch = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.source == it.target {
        return Err("`source` and `target` are the same target".to_owned());
    }
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.role));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for RolesMatch {
    fn targets(&self) -> Vec<String> {
        vec![self.source.clone(), self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("the same roles, owners and grants as in {}", self.source);
        let both = futures::future::join(
            Cluster::open(Door::new(KIND.name, &self.source, &expected), &self.databases, cx),
            Cluster::open(Door::new(KIND.name, &self.target, &expected), &[], cx),
        );
        let (source, target) = match both.await {
            (Ok(source), Ok(target)) => (source, target),
            (Err(outcome), _) | (_, Err(outcome)) => return outcome,
        };
        let outcome = match source.identity.same_object(&target.identity) {
            true => Outcome::fail(format!("`{}` and `{}` are one", self.source, self.target), &expected)
                .help("correct the addresses of the targets: what is compared with itself proves nothing"),
            false => self.compare(&source, &target, cx).await.conclude(Words {
                expected: &expected,
                passed: "roles, memberships, settings, owners and grants are equal".to_owned(),
                nothing: "there was nothing to compare",
                help: "restore the globals (`pg_dumpall --globals-only`) or grant what is missing, then measure again",
            }),
        };
        outcome.on(&self.source, source.identity).on(&self.target, target.identity)
    }
}

impl RolesMatch {
    async fn compare(&self, source: &Cluster<'_>, target: &Cluster<'_>, cx: &Context) -> Findings {
        let pair = Pair::new(source.version, target.version);
        let mut findings = Findings { unasked: source.closed.clone(), ..Findings::default() };
        let except = self.except.iter().map(|e| (e.role.clone(), e.reason.clone())).collect();
        let rules = Rules { except };
        let (here, there) = (facts::global(pair, source.version), facts::global(pair, target.version));
        let global =
            futures::future::join(facts::read(&source.main, &here), facts::read(&target.main, &there));
        match global.await {
            (Ok(mut was), Ok(mut is)) => {
                if !self.databases.is_empty() {
                    let kept = |name: &str| {
                        !name.starts_with("database ")
                            || self.databases.iter().any(|db| name == format!("database {db}"))
                    };
                    was.retain(|name, _| kept(name));
                    is.retain(|name, _| kept(name));
                }
                self.passwords((source, &mut was), (target, &mut is), &mut findings).await;
                rules.compare(&was, &is, &mut findings);
            }
            (a, b) => findings.unasked.extend([a.err(), b.err()].into_iter().flatten()),
        }
        for database in &source.databases {
            if !target.databases.contains(database) {
                let closed =
                    target.closed.iter().find(|why| why.starts_with(&format!("database {database} ")));
                // That it is not there at all was found among the databases.
                findings.unasked.extend(closed.cloned());
                continue;
            }
            match self.of_database(pair, source, target, database, cx).await {
                Ok(Some((was, is))) => rules.compare(&was, &is, &mut findings),
                Ok(None) => {}
                Err(why) => findings.unasked.push(why),
            }
        }
        findings
            .notes
            .extend(rules.except.iter().map(|(role, reason)| format!("role {role} was left out: {reason}")));
        findings.notes.push(format!(
            "{} compared",
            text::count(findings.looked, "role, setting or object was", "roles, settings and objects were")
        ));
        findings
    }

    /// Adds who has a password, where that may be seen and matters.
    async fn passwords(
        &self,
        (source, was): (&Cluster<'_>, &mut Facts),
        (target, is): (&Cluster<'_>, &mut Facts),
        findings: &mut Findings,
    ) {
        let wanted = self.passwords.map(|flag| flag.0);
        if wanted == Some(false) {
            return;
        }
        let both = futures::future::join(
            facts::read(&source.main, facts::PASSWORDS),
            facts::read(&target.main, facts::PASSWORDS),
        );
        match both.await {
            (Ok(a), Ok(b)) => {
                facts::merge(was, a);
                facts::merge(is, b);
            }
            _ if wanted == Some(true) => {
                findings
                    .unasked
                    .push("which roles have a password may not be seen; only superusers can".to_owned());
            }
            _ => findings
                .notes
                .push("which roles have a password was not compared: only superusers can see it".to_owned()),
        }
    }

    /// Owners and grants of a database on both sides; `None` when it holds nothing that people made.
    async fn of_database(
        &self,
        pair: Pair,
        source: &Cluster<'_>,
        target: &Cluster<'_>,
        database: &str,
        cx: &Context,
    ) -> Result<Option<(Facts, Facts)>, String> {
        let was = source.enter(database, cx).await?;
        if self.databases.is_empty() && matches!(database, "postgres" | "template1") {
            let holds = was.value(crate::check::data::pg::HOLDS_ANYTHING).await;
            if holds.map_err(|error| format!("database {database}: {}", error.message))?.as_deref()
                != Some("t")
            {
                return Ok(None);
            }
        }
        let is = target.enter(database, cx).await?;
        let sql = facts::local(pair);
        let both = futures::future::join(facts::read(&was, &sql), facts::read(&is, &sql));
        match both.await {
            (Ok(was), Ok(is)) => Ok(Some((was, is))),
            (Err(why), _) | (_, Err(why)) => Err(format!("database {database}: {why}")),
        }
    }
}
