//! Is there an end to the WAL that a replication slot may hold back?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::wal::{Limit, bytes, number};
use crate::base::Size;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::Percent;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};

/// Is there an end to the WAL that a replication slot may hold back?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotCap {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The largest `max_slot_wal_keep_size` that is fine: a size, or a share of the file system of the WAL; 50% when not
    /// given. A share is known only of a server on this machine.
    #[serde(default = "half")]
    at_most: Limit,
}

fn half() -> Limit {
    Limit::Share(Percent(50.0))
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "slot_cap",
    summary: "a replication slot cannot fill the disk: `max_slot_wal_keep_size` is set and small enough",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(SlotCap),
    build: from_params::<SlotCap>,
};

const DOCS: &str = r"
Shows that a replication slot whose reader is gone cannot fill the disk: the reader is lost, the server lives.

**How it is measured.** `max_slot_wal_keep_size` of the running server, compared with a size or with the size of the file system
that holds `pg_wal` (links followed).

**Passes** when it is set and no larger than `at_most`. **Fails** when it is -1 (the default: no limit) or larger; also when there
is no slot now, because `pg_basebackup` and `pg_receivewal` make one without asking. **Unknown** when the server cannot be
asked, or a share is wanted of a server on another machine: give a size then.

**Traps.** A standby that is down for longer than the cap allows must be built anew, so that the cap should hold as much WAL as
its longest expected absence makes. The cap takes effect at checkpoints; between two of them more is kept. WAL that waits for
a failing `archive_command` or that `wal_keep_size` keeps is not capped: see `wal_archiving` and `wal_size`.

```yaml
preconditions:
  - slot_cap: { target: old, at_most: 100GiB }
```
";

const SQL: &str = "select (select setting from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'), \
    (select pg_catalog.count(*) from pg_catalog.pg_replication_slots), \
    (select setting::numeric * 1048576 from pg_catalog.pg_settings where name = 'max_wal_size'), \
    (select setting::numeric * 1048576 from pg_catalog.pg_settings where name = 'wal_keep_size')";

const MIB: u64 = 1 << 20;

#[async_trait]
impl Check for SlotCap {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("max_slot_wal_keep_size set, at most {}", self.at_most);
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let row = match session.query(SQL).await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let column = |nth: usize| row.get(nth).cloned().flatten();
        let slots = bytes(&column(1));
        let now = slots.map_or_else(|| "?".to_owned(), |n| count(n, "slot", "slots"));
        let set = |help: &str| {
            format!(
                "set max_slot_wal_keep_size{help}; a reload is enough (alter system set, pg_reload_conf())"
            )
        };
        let outcome = match number(&column(0)) {
            None => Outcome::unknown("the server does not say its max_slot_wal_keep_size", &expected)
                .help("PostgreSQL 13 and later have it; give the role pg_read_all_settings"),
            Some(setting) if setting < 0.0 => Outcome::fail(
                format!("max_slot_wal_keep_size is -1: a slot may hold WAL back without end ({now} now)"),
                &expected,
            )
            .help(set("")),
            Some(setting) => {
                let cap = setting as u64 * MIB;
                let observed = format!("max_slot_wal_keep_size is {} ({now} now)", Size(cap));
                match self.at_most.bytes(cx, &session).await {
                    Err(why) => Outcome::unknown(
                        format!("{observed}, but its share of the WAL's file system is not known: {why}"),
                        &expected,
                    )
                    .help("give `at_most` as a size, as in 100GiB"),
                    Ok(limit) => {
                        let mut outcome = Outcome::judge(cap <= limit.bytes, observed, &expected)
                            .help(set(&format!(" to at most {}", Size(limit.bytes))))
                            .fact("bytes_at_most", limit.bytes);
                        outcome.details.extend(limit.remark);
                        outcome
                    }
                }
                .fact("max_slot_wal_keep_size", cap)
            }
        };
        let outcome = match (number(&column(0)), bytes(&column(2))) {
            (Some(setting), Some(wal)) if setting >= 0.0 && (setting as u64) * MIB < wal => {
                outcome.detail(format!(
                    "it is less than max_wal_size ({}): a slot may be lost between two checkpoints",
                    Size(wal)
                ))
            }
            _ => outcome,
        };
        let outcome = match bytes(&column(3)) {
            Some(kept) if kept > 0 => outcome.detail(format!("wal_keep_size keeps {} besides", Size(kept))),
            _ => outcome,
        };
        outcome.fact("slots", slots).on(&self.target, identity)
    }
}
