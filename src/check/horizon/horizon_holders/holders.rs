//! What holds the horizon, as the server tells it.

use crate::base::Span;
use crate::check::horizon::row::{Values, ids};
use crate::world::pg::{QueryError, Session, literal, own};

/// What kind of holder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Prepared,
    Slot,
    Session,
    Standby,
}

/// Something that holds the horizon.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub kind: Kind,
    /// A prepared transaction's name, a slot, a process number, or a standby's name.
    pub who: String,
    /// The database, when it has one.
    pub place: Option<String>,
    /// `idle in transaction`, `inactive`, a program's name: what helps to find it.
    pub state: Option<String>,
    /// In transactions.
    pub age: Option<u64>,
    /// How long it has been so, by the server's clock.
    pub seconds: Option<f64>,
    /// A session with which this process measures, beside this measurement.
    pub own: bool,
}

const PREPARED: &str = "select gid, database, owner, pg_catalog.age(transaction), \
    extract(epoch from pg_catalog.clock_timestamp() - prepared) from pg_catalog.pg_prepared_xacts";

const SLOTS: &str = "select slot_name, database, case when active then 'active' else 'inactive' end, \
    greatest(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin)), null \
    from pg_catalog.pg_replication_slots where xmin is not null or catalog_xmin is not null";

/// Senders of WAL show what their standby holds, and come below; vacuum holds nothing back. Last, for a session that calls itself
/// ours: its process, of a parallel worker that of its leader, which servers before 13 do not tell.
const SESSIONS: &str = "select pid, datname, pg_catalog.concat_ws(', ', state, usename, nullif(application_name, '')), \
    greatest(pg_catalog.age(backend_xid), pg_catalog.age(backend_xmin)), \
    extract(epoch from pg_catalog.clock_timestamp() - xact_start), \
    case when application_name like 'holdpoint%' \
        then coalesce(pg_catalog.to_jsonb(a) ->> 'leader_pid', pid::pg_catalog.text) end \
    from pg_catalog.pg_stat_activity a where (backend_xid is not null or backend_xmin is not null) \
    and pid <> pg_catalog.pg_backend_pid() and backend_type not in ('walsender', 'autovacuum worker') \
    and pid not in (select pid from pg_catalog.pg_stat_progress_vacuum)";

const STANDBYS: &str = "select application_name, null, pg_catalog.host(client_addr), pg_catalog.age(backend_xmin), null \
    from pg_catalog.pg_stat_replication where backend_xmin is not null";

const SEES_ALL: &str = "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')";

/// All holders, oldest first, and whether those of other sessions may be seen.
pub(super) async fn ask(session: &Session) -> Result<(Vec<Holder>, bool), QueryError> {
    let mut found = Vec::new();
    for (kind, sql) in [
        (Kind::Prepared, PREPARED),
        (Kind::Slot, SLOTS),
        (Kind::Session, SESSIONS),
        (Kind::Standby, STANDBYS),
    ] {
        for row in session.query(sql).await? {
            let mut row = Values::of(row);
            found.push(Holder {
                kind,
                who: row.text().unwrap_or_default(),
                place: row.text(),
                state: row.text().filter(|state| !state.is_empty()),
                age: row.count(),
                seconds: row.number(),
                own: kind == Kind::Session
                    && row
                        .count()
                        .and_then(|pid| u32::try_from(pid).ok())
                        .is_some_and(|pid| own::measures(session.identity(), pid)),
            });
        }
    }
    found.sort_by_key(|holder| std::cmp::Reverse(holder.age));
    let sees_all = session.value(SEES_ALL).await?.as_deref() == Some("t");
    Ok((found, sees_all))
}

impl Holder {
    /// `prepared transaction forgotten`.
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Prepared => format!("prepared transaction {}", self.who),
            Kind::Slot => format!("slot {}", self.who),
            Kind::Session => format!("session {}", self.who),
            Kind::Standby => format!("standby {} (hot_standby_feedback)", self.who),
        }
    }

    /// One line: what it is, where, how old.
    pub(super) fn describe(&self) -> String {
        let mut line = self.name();
        let about: Vec<&str> = [&self.place, &self.state].into_iter().filter_map(Option::as_deref).collect();
        if !about.is_empty() {
            line += &format!(" ({})", about.join(", "));
        }
        match self.age {
            Some(age) => line += &format!(" holds back {} transactions", ids(age)),
            None => line += " holds back an unknown number of transactions",
        }
        if let Some(seconds) = self.seconds {
            line += &format!(", since {}", Span::secs(seconds.max(0.0) as u64));
        }
        line
    }

    /// What to do about it.
    pub(super) fn help(&self) -> String {
        let place = self.place.as_deref().unwrap_or("its own");
        match self.kind {
            Kind::Prepared => {
                let gid = literal(&self.who);
                let gid = gid.trim();
                format!(
                    "find out whose it is; then, in database {place}, commit prepared {gid} or rollback prepared {gid}"
                )
            }
            Kind::Slot if self.state.as_deref() == Some("active") => format!(
                "it is in use: look at its reader for a long query (hot_standby_feedback sends that here), or, when it \
                 is a logical one, for why {} falls behind",
                self.who
            ),
            Kind::Slot => format!(
                "bring its reader back; if it is gone for good, drop it: select pg_drop_replication_slot('{}')",
                self.who
            ),
            Kind::Session => {
                format!(
                    "ask its owner to end it; if nobody answers: select pg_terminate_backend({})",
                    self.who
                )
            }
            Kind::Standby => {
                format!("look on {} for the query that runs so long, and end it there", self.who)
            }
        }
    }
}
