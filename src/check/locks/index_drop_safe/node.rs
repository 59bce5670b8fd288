//! What one server knows about the use of an index, and for how long it has been counting.

use crate::base::Span;
use crate::base::text::count;
use crate::check::locks::words::{seconds, text};
use crate::world::pg::{QueryError, Session};

/// One server's statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The target's name.
    pub name: String,
    /// Scans since counting began.
    pub scans: u64,
    /// How long ago the last one was, where the server tells (16 and later).
    pub last: Option<Span>,
    /// Whether it tells.
    pub tells_last: bool,
    /// For how long it has been counting.
    pub counting: Option<Span>,
    /// Whether it counts now.
    pub counts: bool,
    /// Physical standbys connected to it.
    pub standbys: u64,
    /// Physical slots that nobody uses now.
    pub idle_slots: Vec<String>,
}

/// Why a server's statistics do not clear the index.
#[derive(Debug, PartialEq, Eq)]
pub enum Objection {
    /// It is used.
    Used(String),
    /// Nobody knows, and what to do about it.
    Vague(String, &'static str),
}

impl Node {
    /// Asks it.
    pub async fn ask(session: &Session, name: &str, index: u32) -> Result<Node, QueryError> {
        let tells_last = session.identity().version >= 160_000;
        let last = if tells_last { "s.last_idx_scan" } else { "null::timestamptz" };
        let sql = format!(
            "select s.idx_scan, extract(epoch from pg_catalog.clock_timestamp() - {last}), \
                    extract(epoch from pg_catalog.clock_timestamp() - greatest(d.stats_reset, b.stats_reset)), \
                    (select setting from pg_catalog.pg_settings where name = 'track_counts'), \
                    (select pg_catalog.count(*) from pg_catalog.pg_stat_replication r \
                     where r.application_name not in ('pg_basebackup', 'pg_receivewal') \
                       and not exists (select from pg_catalog.pg_replication_slots l \
                                       where l.active_pid = r.pid and l.slot_type = 'logical')), \
                    pg_catalog.to_json(array(select slot_name from pg_catalog.pg_replication_slots \
                                             where slot_type = 'physical' and not active))::text \
             from pg_catalog.pg_stat_all_indexes s \
             join pg_catalog.pg_stat_database d on d.datname = pg_catalog.current_database() \
             cross join pg_catalog.pg_stat_bgwriter b \
             where s.indexrelid = {index}::pg_catalog.oid"
        );
        let rows = session.query(&sql).await?;
        let row = rows.first().ok_or_else(|| QueryError::local("it has no statistics of this index"))?;
        let number = |column: usize| {
            let value = text(row, column).and_then(|value| value.parse::<u64>().ok());
            value
                .ok_or_else(|| QueryError::local(format!("the server left out column {column} of an answer")))
        };
        let slots = text(row, 5).unwrap_or_default();
        Ok(Node {
            name: name.to_owned(),
            scans: number(0)?,
            last: seconds(row, 1),
            tells_last,
            counting: seconds(row, 2),
            counts: text(row, 3).as_deref() == Some("on"),
            standbys: number(4)?,
            idle_slots: serde_json::from_str(&slots).map_err(|error| QueryError::local(error.to_string()))?,
        })
    }

    /// Whether it clears the index.
    pub fn judge(&self, wanted: Span) -> Result<(), Objection> {
        let long_ago = self.tells_last && self.last.is_some_and(|last| last >= wanted);
        if self.scans > 0 && !long_ago {
            return Err(Objection::Used(self.summary()));
        }
        if !self.counts {
            let line = format!("{}: it does not count (track_counts is off)", self.name);
            return Err(Objection::Vague(line, "turn track_counts on, and wait"));
        }
        match self.counting {
            Some(age) if age >= wanted => Ok(()),
            Some(age) => Err(Objection::Vague(
                format!("{}: counting began only {age} ago: a reset, a crash, or a new server", self.name),
                "wait until every server has counted for long enough, or compare with the statistics that your \
                 monitoring kept",
            )),
            None => Err(Objection::Vague(
                format!("{}: nobody knows since when it counts", self.name),
                "wait until every server has counted for long enough since a reset that is on record",
            )),
        }
    }

    /// `old: no scan, counted for 40d`
    pub fn summary(&self) -> String {
        let scans = match self.scans {
            0 => "no scan".to_owned(),
            n => count(n, "scan", "scans"),
        };
        let last = self.last.map(|last| format!(", the last {last} ago")).unwrap_or_default();
        match self.counting {
            Some(age) => format!("{}: {scans}{last}, counted for {age}", self.name),
            None => format!("{}: {scans}{last}, counted since nobody knows when", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_scans_mean_something_only_after_a_while() {
        let day = |n: u64| Span::secs(n * 86_400);
        let node = |scans, counting| Node {
            name: "db".to_owned(),
            scans,
            last: None,
            tells_last: false,
            counting,
            counts: true,
            standbys: 0,
            idle_slots: Vec::new(),
        };
        let month = day(35);
        assert_eq!(node(0, Some(day(36))).judge(month), Ok(()));
        assert!(matches!(node(0, Some(day(34))).judge(month), Err(Objection::Vague(..))));
        assert!(matches!(node(0, None).judge(month), Err(Objection::Vague(..))));
        assert!(matches!(node(1, Some(day(90))).judge(month), Err(Objection::Used(_))));
        assert!(matches!(node(1, None).judge(month), Err(Objection::Used(_))), "use needs no age");
        let of_16 = |last| Node { last: Some(last), tells_last: true, ..node(3, Some(day(90))) };
        assert_eq!(of_16(day(40)).judge(month), Ok(()));
        assert!(matches!(of_16(day(3)).judge(month), Err(Objection::Used(_))));
        let off = Node { counts: false, ..node(0, Some(day(90))) };
        assert!(matches!(off.judge(month), Err(Objection::Vague(..))));
    }
}
