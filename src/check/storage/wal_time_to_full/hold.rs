//! What keeps a server from removing its write-ahead log: slots and an archiver that does not get on.

use crate::base::Size;
use crate::world::pg::{QueryError, Row, Session};

/// One slot that holds write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub name: String,
    pub active: bool,
    /// Bytes from where it stands to where the log ends.
    pub retained: u64,
    /// Bytes that may still be written before it is invalidated; `None` without a limit.
    pub safe: Option<u64>,
}

/// What a server holds, and where its log has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// The end of the log, in bytes from its beginning.
    pub position: u64,
    /// Slots that hold more than checkpoints do anyway, or that nobody uses.
    pub slots: Vec<Slot>,
    /// Why the archiver holds log, if it does.
    pub archiver: Option<String>,
}

/// Asks for everything in one statement each: where the log is, what slots hold, how the archiver gets on.
pub(super) async fn ask(session: &Session) -> Result<Hold, QueryError> {
    let end = "case when pg_catalog.pg_is_in_recovery() then coalesce(pg_catalog.pg_last_wal_receive_lsn(), \
               pg_catalog.pg_last_wal_replay_lsn()) else pg_catalog.pg_current_wal_lsn() end";
    let position = session.value(&format!("select pg_catalog.pg_wal_lsn_diff({end}, '0/0')::bigint")).await?;
    let position = position.and_then(|text| text.parse().ok()).ok_or_else(|| none("where its log ends"))?;
    let slots = session
        .query(&format!(
            "select slot_name, active, pg_catalog.pg_wal_lsn_diff({end}, restart_lsn)::bigint, safe_wal_size, wal_status, \
             (select setting::bigint * 1024 * 1024 from pg_catalog.pg_settings where name = 'max_wal_size') \
             from pg_catalog.pg_replication_slots where restart_lsn is not null"
        ))
        .await?;
    let mut hold = Hold { position, ..Hold::default() };
    for row in slots {
        hold.slots.extend(slot(&row).ok_or_else(|| none("what a slot holds"))?);
    }
    hold.slots.sort_by_key(|slot| std::cmp::Reverse(slot.retained));
    let archiver = session
        .query(
            "select pg_catalog.current_setting('archive_mode'), last_failed_time > coalesce(last_archived_time, '-infinity'), \
             last_failed_wal from pg_catalog.pg_stat_archiver",
        )
        .await?;
    if let Some([mode, failing, wal]) = archiver.first().map(Vec::as_slice)
        && mode.as_deref() != Some("off")
        && failing.as_deref() == Some("t")
    {
        hold.archiver =
            Some(format!("the archiver (it failed with {})", wal.as_deref().unwrap_or("a file of the log")));
    }
    Ok(hold)
}

fn none(what: &str) -> QueryError {
    QueryError::local(format!("the server did not say {what}"))
}

/// A slot that counts; `Some(None)` for one that holds no more than a checkpoint does, `None` when it cannot be read.
fn slot(row: &Row) -> Option<Option<Slot>> {
    let [name, active, retained, safe, status, usual] = row.as_slice() else { return None };
    let number = |cell: &Option<String>| cell.as_deref().and_then(|text| text.parse::<i64>().ok());
    let slot = Slot {
        name: name.clone()?,
        active: active.as_deref()? == "t",
        retained: u64::try_from(number(retained)?).unwrap_or(0),
        safe: number(safe).map(|bytes| u64::try_from(bytes).unwrap_or(0)),
    };
    let usual = u64::try_from(number(usual)?).ok()?;
    let status = status.as_deref()?;
    let behind = matches!(status, "extended" | "unreserved") || slot.retained > usual;
    Some(((behind || !slot.active) && status != "lost").then_some(slot))
}

impl Hold {
    /// Bytes held.
    pub fn held(&self) -> u64 {
        self.slots.first().map_or(0, |slot| slot.retained)
    }

    /// How much the held log may still grow: `None` when nothing holds it, `u64::MAX` without a limit.
    pub fn grows_by(&self) -> Option<u64> {
        if self.archiver.is_some() {
            return Some(u64::MAX);
        }
        self.slots.iter().map(|slot| slot.safe.unwrap_or(u64::MAX)).max()
    }

    /// Who holds the log.
    pub fn who(&self) -> String {
        match (self.slots.first(), &self.archiver) {
            (Some(slot), _) => format!("slot {}", slot.name),
            (None, Some(archiver)) => archiver.clone(),
            (None, None) => "nothing".to_owned(),
        }
    }

    /// What to do: never to delete files.
    pub fn help(&self) -> String {
        match (self.slots.first(), &self.archiver) {
            (Some(slot), _) if !slot.active => format!(
                "bring back what reads slot {}, or drop that slot if nothing will; delete nothing in pg_wal",
                slot.name
            ),
            (Some(slot), _) => {
                format!("find out why slot {} falls behind; delete nothing in pg_wal", slot.name)
            }
            (None, Some(_)) => {
                "mend archive_command, or what it writes to; delete nothing in pg_wal".to_owned()
            }
            (None, None) => {
                "find out what writes so much, or extend the file system; delete nothing in pg_wal".to_owned()
            }
        }
    }

    /// One line for each that holds.
    pub fn lines(&self) -> Vec<String> {
        let each = self.slots.iter().take(10).map(|slot| {
            let limit = slot.safe.map_or("without a limit (max_slot_wal_keep_size)".to_owned(), |safe| {
                format!("{} more until it is invalidated", Size(safe))
            });
            let state = if slot.active { "active" } else { "nobody reads it" };
            format!("slot {} holds {} ({state}), {limit}", slot.name, Size(slot.retained))
        });
        let mut lines: Vec<String> = each.collect();
        lines.extend(self.slots.len().checked_sub(11).map(|more| format!("and {} more slots", more + 1)));
        lines.extend(self.archiver.iter().map(|why| format!("{why} keeps every file until it works again")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(active: &str, retained: &str, safe: Option<&str>, status: &str) -> Row {
        let text = |text: &str| Some(text.to_owned());
        vec![text("s"), text(active), text(retained), safe.map(str::to_owned), text(status), text("1000")]
    }

    #[test]
    fn a_slot_counts_when_nobody_reads_it_or_it_is_behind() {
        assert_eq!(slot(&row("t", "10", None, "reserved")), Some(None));
        assert!(slot(&row("f", "10", None, "reserved")).unwrap().is_some());
        assert!(slot(&row("t", "10", None, "extended")).unwrap().is_some());
        assert!(slot(&row("t", "1001", None, "reserved")).unwrap().is_some());
        let over = slot(&row("f", "2000", Some("-5"), "unreserved")).unwrap().unwrap();
        assert_eq!(over.safe, Some(0), "past its limit, it grows no more");
        assert_eq!(slot(&row("f", "2000", None, "lost")), Some(None), "its log is gone already");
        assert_eq!(slot(&row("f", "x", None, "reserved")), None);
    }

    #[test]
    fn the_largest_growth_counts_and_a_stuck_archiver_has_no_limit() {
        let slot = |safe| Slot { name: "s".into(), active: false, retained: 5, safe };
        let mut hold = Hold::default();
        assert_eq!(hold.grows_by(), None);
        hold.slots = vec![slot(Some(7)), slot(Some(9))];
        assert_eq!(hold.grows_by(), Some(9));
        hold.slots.push(slot(None));
        assert_eq!(hold.grows_by(), Some(u64::MAX));
        hold.slots.clear();
        hold.archiver = Some("the archiver".into());
        assert_eq!((hold.grows_by(), hold.held()), (Some(u64::MAX), 0));
    }
}
