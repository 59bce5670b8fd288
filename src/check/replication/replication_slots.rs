//! Does every replication slot serve somebody, and not hold too much WAL back?

mod judge;

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::wal::{Limit, WAL_END, bytes, number};
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::history::{self, Keep};
use crate::check::params::Percent;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Row;

/// Does every replication slot serve somebody, and not hold too much WAL back?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicationSlots {
    /// The server that has the slots.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Slots that must exist. All others that there are must be healthy, too.
    #[serde(default)]
    slots: Vec<String>,
    /// Most WAL that one slot may hold back: a size, or a share of the file system of the WAL; 25% when not given. A
    /// share is known only of a server on this machine.
    #[serde(default = "quarter")]
    max_retained: Limit,
    /// The longest that a slot may have nobody connected; 10min when not given.
    #[serde(default = "ten_minutes")]
    inactive_for: Span,
    /// The longest that a slot may hold back more than `max_wal_size` (`wal_status` extended); 10min when not given.
    #[serde(default = "ten_minutes")]
    extended_for: Span,
}

fn quarter() -> Limit {
    Limit::Share(Percent(25.0))
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "replication_slots",
    summary: "every replication slot is in use, valid, and holds back little WAL",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ReplicationSlots),
    build,
};

const DOCS: &str = r"
Shows that every replication slot of a server is in use and holds back little WAL. A slot that nobody reads keeps WAL until
the disk is full and the server stops.

**How it is measured.** One look at `pg_replication_slots`, and the distance from each slot's `restart_lsn` to the end of WAL.
How long a slot has been inactive says the server itself (`inactive_since`, PostgreSQL 17 and later) or the check's own earlier
looks, which are kept with the run's samples.

**Passes** when every slot is active, its `wal_status` is `reserved`, and it holds back no more than `max_retained`. A slot that
is inactive for less than `inactive_for`, or `extended` for less than `extended_for`, passes with a remark.

**Fails** when a slot of `slots` does not exist, when one is `unreserved`, `lost`, invalidated or in conflict with recovery, holds
back too much, has never been used (`restart_lsn` is NULL), or has been extended or inactive for too long. A slot that is
inactive and was never seen active fails at once: nobody knows for how long.

**Unknown** when there is no slot at all, when the first look finds a slot `extended` (measure again after `extended_for`), or
when a share of a file system is wanted and the server runs elsewhere: give `max_retained` as a size then.

**Traps.** The `restart_lsn` and `safe_wal_size` of a lost slot are NULL; tools that make 0 of it say that all is well. With
the default `max_slot_wal_keep_size = -1` a slot is never lost: the disk fills instead (see `slot_cap`). Slots that a standby
of 17 or later copies from its primary (`synced`) are inactive by nature, and only their validity is judged. Never delete
files in `pg_wal`.

```yaml
preconditions:
  - replication_slots: { target: old, slots: [beta], max_retained: 10GiB }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ReplicationSlots = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.slots.iter().any(|name| name.trim().is_empty()) {
        return Err("`slots` holds an empty name".to_owned());
    }
    for (name, span) in [("inactive_for", check.inactive_for), ("extended_for", check.extended_for)] {
        if span.0.is_zero() {
            return Err(format!("`{name}` is zero; give a consumer the time to connect again, as in 1min"));
        }
    }
    Ok(Box::new(check))
}

/// A row of `pg_replication_slots`. `None` is NULL, or a column that this version does not have.
#[derive(Debug, Clone, Default)]
struct Slot {
    name: String,
    kind: String,
    active: bool,
    wal_status: Option<String>,
    /// Bytes from its `restart_lsn` to the end of WAL.
    retained: Option<u64>,
    /// Bytes until it may be lost.
    safe: Option<f64>,
    temporary: bool,
    conflicting: bool,
    /// Seconds, by the server's clock.
    inactive: Option<f64>,
    invalid: Option<String>,
    synced: bool,
}

/// What is remembered of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Was {
    active: bool,
    extended: bool,
}

type Remembered = BTreeMap<String, Was>;

fn sql(version: u32) -> String {
    let conflicting = if version >= 160_000 { "conflicting" } else { "null" };
    let newer = if version >= 170_000 {
        "extract(epoch from pg_catalog.clock_timestamp() - inactive_since), invalidation_reason, synced"
    } else {
        "null, null, null"
    };
    format!(
        "select slot_name, slot_type, active, wal_status, pg_catalog.pg_wal_lsn_diff({WAL_END}, restart_lsn), \
                safe_wal_size, temporary, {conflicting}, {newer} \
         from pg_catalog.pg_replication_slots order by slot_name collate \"C\""
    )
}

fn slot(row: Row) -> Slot {
    let column = |nth: usize| row.get(nth).cloned().flatten();
    let yes = |nth: usize| column(nth).as_deref() == Some("t");
    Slot {
        name: column(0).unwrap_or_default(),
        kind: column(1).unwrap_or_default(),
        active: yes(2),
        wal_status: column(3),
        retained: bytes(&column(4)),
        safe: number(&column(5)),
        temporary: yes(6),
        conflicting: yes(7),
        inactive: number(&column(8)),
        invalid: column(9),
        synced: yes(10),
    }
}

#[async_trait]
impl Check for ReplicationSlots {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected =
            format!("every slot in use and reserved, each holding back at most {}", self.max_retained);
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let slots: Vec<Slot> = match session.query(&sql(session.identity().version)).await {
            Ok(rows) => rows.into_iter().map(slot).collect(),
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let limit = self.max_retained.bytes(cx, &session).await;
        let remember = |slot: &Slot| {
            let extended = slot.wal_status.as_deref() == Some("extended");
            (slot.name.clone(), Was { active: slot.active, extended })
        };
        let looked: Remembered = slots.iter().map(remember).collect();
        let longest = self.inactive_for.max(self.extended_for);
        let keep = Keep { reach: longest, closest: Span::millis(200), most: 120 };
        let series = history::add(cx, &history::name_of(KIND.name, &identity), looked, keep).await;
        let mut findings = Findings::default();
        self.judge(
            &slots,
            limit.as_ref().map(|limit| limit.bytes).map_err(String::as_str),
            &series,
            &mut findings,
        );
        if let Ok(limit) = &limit {
            limit.remark.iter().for_each(|line| findings.note(line));
        }
        series.trouble.iter().for_each(|line| findings.note(line));
        let observed = format!("{} in use", count(slots.len() as u64, "slot", "slots"));
        let most =
            slots.iter().filter_map(|slot| Some((slot.retained?, slot))).max_by_key(|(bytes, _)| *bytes);
        let observed = match most {
            Some((bytes, slot)) => {
                format!("{observed}, {} held back at most (by {})", crate::base::Size(bytes), slot.name)
            }
            None => observed,
        };
        let mut outcome = findings.outcome(observed, expected).on(&self.target, identity);
        outcome = outcome.fact("slots", slots.len() as u64);
        for slot in &slots {
            outcome = outcome.fact(&format!("retained_bytes {}", slot.name), slot.retained);
        }
        outcome
    }
}
