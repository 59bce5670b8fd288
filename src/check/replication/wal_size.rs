//! Does the WAL take no more room than its settings allow?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::wal::{WAL_END, bytes};
use crate::base::Size;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::Ratio;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{Row, Session};

/// Does the WAL take no more room than its settings allow?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WalSize {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// How many times `max_wal_size` the files may take, besides what `wal_keep_size` keeps; 3 when not given.
    #[serde(default = "three")]
    at_most: Ratio,
}

fn three() -> Ratio {
    Ratio(3.0)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "wal_size",
    summary: "the files in `pg_wal` take no more room than a few times `max_wal_size`",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(WalSize),
    build,
};

const DOCS: &str = r"
Shows that WAL does not pile up, whatever the reason: a slot, a failing archiver, a checkpoint that does not come to an end.

**How it is measured.** The sum of the files in `pg_wal` (`pg_ls_waldir()`), compared with `at_most` times `max_wal_size`, plus
`wal_keep_size`. Slots and the archiver are looked at, too, to name what holds WAL back.

**Passes** when the sum is no larger. **Fails** when it is. **Unknown** when the server cannot be asked or the role may not list
the files (`pg_monitor` may).

**Traps.** `max_wal_size` is soft: a large load passes it for a while, and a restore at full speed may double it. Files that a
slot holds back are recycled first, so that the sum stands still for some time before it grows. Never delete files in `pg_wal`:
the server does not start again without them.

```yaml
invariants:
  - wal_size: { target: old, at_most: 3, on_violation: pause }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: WalSize = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_most.0 < 1.0 {
        return Err(format!("`at_most` is {}: WAL always takes up to once max_wal_size", check.at_most));
    }
    Ok(Box::new(check))
}

const SQL: &str = "select (select pg_catalog.count(*) from pg_catalog.pg_ls_waldir()), \
    (select pg_catalog.sum(size) from pg_catalog.pg_ls_waldir()), \
    (select setting::numeric * 1048576 from pg_catalog.pg_settings where name = 'max_wal_size' and unit = 'MB'), \
    (select setting::numeric * 1048576 from pg_catalog.pg_settings where name = 'wal_keep_size' and unit = 'MB')";

/// What holds WAL back, in lines.
async fn holders(session: &Session) -> Vec<String> {
    let slots = format!(
        "select 'slot ' || slot_name || ' holds back ', pg_catalog.pg_wal_lsn_diff({WAL_END}, restart_lsn) \
         from pg_catalog.pg_replication_slots where restart_lsn is not null order by 2 desc limit 3"
    );
    let archive = "select pg_catalog.format('%s files wait for the archiver', pg_catalog.count(*)), null \
         from pg_catalog.pg_ls_archive_statusdir() where name like '%.ready' having pg_catalog.count(*) > 2";
    let mut lines = Vec::new();
    for sql in [slots.as_str(), archive] {
        let said = |row: Row| {
            let mut values = row.into_iter();
            let what = values.next().flatten()?;
            let size = values.next().and_then(|value| bytes(&value));
            Some(size.map_or(what.clone(), |size| format!("{what}{}", Size(size))))
        };
        match session.query(sql).await {
            Ok(rows) => lines.extend(rows.into_iter().filter_map(said)),
            Err(error) => lines.push(format!("what holds WAL back could not be asked: {}", error.message)),
        }
    }
    lines
}

#[async_trait]
impl Check for WalSize {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("at most {} times max_wal_size", self.at_most);
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let row = match session.query(SQL).await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let column = |nth: usize| row.get(nth).and_then(bytes);
        let (Some(files), Some(sum), Some(max), Some(kept)) = (column(0), column(1), column(2), column(3))
        else {
            return Outcome::unknown(format!("{} does not say how large its WAL is", self.target), expected)
                .help("give the role pg_monitor, then measure again")
                .on(&self.target, identity);
        };
        let limit = (max as f64 * self.at_most.0) as u64 + kept;
        let observed = format!(
            "{} in {}, {:.1} times max_wal_size ({})",
            Size(sum),
            count(files, "file", "files"),
            sum as f64 / max.max(1) as f64,
            Size(max)
        );
        let wanted = match kept {
            0 => format!("{expected}: {}", Size(limit)),
            kept => format!("{expected}, and {} of wal_keep_size: {}", Size(kept), Size(limit)),
        };
        let mut outcome = Outcome::judge(sum <= limit, observed, wanted)
            .help(
                "find out what holds WAL back (slots, archiver) and mend that; never delete files in pg_wal",
            )
            .fact("bytes", sum)
            .fact("bytes_at_most", limit)
            .fact("max_wal_size", max)
            .fact("files", files);
        outcome.details.extend(holders(&session).await);
        outcome.on(&self.target, identity)
    }
}
