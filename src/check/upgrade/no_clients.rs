//! Is everybody out? The hold before a copy: nobody works in the databases, and, when asked for, new sessions cannot write.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::survey::{Findings, Words, cell};
use crate::base::text;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{Session, literal};

/// Is everybody out?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoClients {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only sessions in these databases count. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Sessions that may stay: names of users or applications, exactly as `pg_stat_activity` shows them.
    #[serde(default)]
    allow: Vec<String>,
    /// `true`: new sessions cannot write either, because the databases are read-only by default, take no connections, or the
    /// server is a standby. `false` when not given.
    #[serde(default)]
    writes_refused: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "no_clients",
    summary: "no application has a session on the server, so nothing is written during the copy",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(NoClients),
    build: from_params::<NoClients>,
};

const DOCS: &str = r"
Shows that nobody works in the databases: the application is stopped, the pooler drained, the hold in place.

**How it is measured.** `pg_stat_activity`, all sessions but Holdpoint's own; also logical replication workers, which write what
a publisher sends, and prepared transactions, which can still be committed.

**Passes** when no session is left but those in `allow`. **Fails** when there is one: user, application, address, state and
age are shown. With `writes_refused: true` it also fails when a database would let a new session write. **Unknown** when
the role may not see what others do (it needs `pg_monitor` or `pg_read_all_stats`), or a database named does not exist.

Told, and no failure: connections for physical replication and backups, which write nothing here.

**Traps.** It is true at that moment only: a client may come back a second later. Stop the service (`service_running: { …, running:
false }`), or keep clients out (pg_hba.conf, `alter database … connection limit 0`), and use this check as an invariant while the
copy runs. A read-only default is not a lock: a session may set it back. A pooler keeps sessions open for an application that
is gone. Superusers get in in spite of a connection limit.

```yaml
preconditions:
  - no_clients: { target: old }
invariants:
  - no_clients: { id: still-nobody, target: old, databases: [synapse], allow: [pg_dump, monitoring], writes_refused: true }
```
";

/// User, application, address, database, kind, state, seconds connected, hidden from us; ours left out.
const SESSIONS: &str = "select usename, application_name, client_addr, datname, backend_type, state, \
    extract(epoch from clock_timestamp() - backend_start)::int8, backend_type is null \
    from pg_stat_activity where pid <> pg_backend_pid() and application_name not like 'holdpoint %' \
    and (backend_type is null or backend_type = 'walsender' or backend_type = 'client backend' \
        or backend_type like 'logical replication%worker') \
    and (datname is not null or usename is not null) order by backend_start";

const PREPARED: &str = "select gid, database from pg_prepared_xacts order by prepared";

/// Database, takes connections, at most so many, its own default, one that a role has for itself there.
const DATABASES: &str = "select d.datname, d.datallowconn, d.datconnlimit, \
    (select split_part(c, '=', 2) from pg_db_role_setting s, unnest(s.setconfig) c \
        where s.setdatabase = d.oid and s.setrole = 0 and c like 'default\\_transaction\\_read\\_only=%'), \
    (select string_agg(distinct coalesce(r.rolname, '?'), ', ') from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, \
        unnest(s.setconfig) c where s.setrole <> 0 and s.setdatabase in (0, d.oid) \
        and c ~ '^default_transaction_read_only=(off|false|no|0)') \
    from pg_database d where d.datname not in ('template0', 'template1') order by 1";

/// Is it a standby, and the default that sessions inherit when neither their role nor their database has its own.
const SERVER: &str = "select pg_is_in_recovery(), coalesce((select c from pg_db_role_setting s, unnest(s.setconfig) c \
        where s.setdatabase = 0 and s.setrole = 0 and c like 'default\\_transaction\\_read\\_only=%'), \
    (select 'x=' || reset_val from pg_settings where name = 'default_transaction_read_only' \
        and not exists (select from pg_db_role_setting s, unnest(s.setconfig) c where c like 'default\\_transaction\\_read\\_only=%' \
            and s.setdatabase in (0, (select oid from pg_database where datname = current_database())) \
            and s.setrole in (0, (select oid from pg_roles where rolname = session_user)))), 'x=off') ~ '=(on|true|yes|1)$'";

#[async_trait]
impl Check for NoClients {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match self.writes_refused() {
            true => "no client session, and no way to write for a new one",
            false => "no client session",
        };
        let door = Door::new(KIND.name, &self.target, expected);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        match self.look(&session).await {
            Err(error) => door.unanswered(&error),
            Ok(findings) => findings.conclude(Words {
                expected,
                passed: match self.writes_refused() {
                    true => "nobody is connected, and new sessions cannot write".to_owned(),
                    false => "nobody is connected".to_owned(),
                },
                nothing: "nothing was looked at",
                help: "stop what is connected (the service, its workers, the pooler), then measure again",
            }),
        }
        .on(&self.target, identity)
    }
}

impl NoClients {
    fn writes_refused(&self) -> bool {
        self.writes_refused.is_some_and(|flag| flag.0)
    }

    fn counts(&self, database: &str) -> bool {
        self.databases.is_empty() || self.databases.iter().any(|name| name == database)
    }

    async fn look(&self, session: &Session) -> Result<Findings, crate::world::pg::QueryError> {
        let mut findings = Findings { looked: 1, ..Findings::default() };
        for name in &self.databases {
            let sql = format!("select exists (select from pg_database where datname = {})", literal(name));
            if session.value(&sql).await?.as_deref() != Some("t") {
                findings.unasked.push(format!("there is no database {name}, which `databases` names"));
            }
        }
        let (mut hidden, mut kept) = (0, 0);
        for row in session.query(SESSIONS).await? {
            let replication = cell(&row, 4) == "walsender";
            let elsewhere = !cell(&row, 3).is_empty() && !self.counts(cell(&row, 3));
            if elsewhere {
                continue;
            }
            if self.allow.iter().any(|name| name == cell(&row, 0) || name == cell(&row, 1)) {
                kept += 1;
            } else if cell(&row, 7) == "t" {
                hidden += 1;
            } else if replication {
                findings.notes.push(format!("{} (replication, no failure)", line(&row)));
            } else {
                findings.failed.push(line(&row));
            }
        }
        if hidden > 0 {
            findings.unasked.push(format!(
                "what {} do may not be seen: the role needs pg_monitor",
                text::count(hidden, "session", "sessions")
            ));
        }
        if kept > 0 {
            findings.notes.push(format!("{} allowed", text::count(kept, "session is", "sessions are")));
        }
        let total = findings.failed.len() as u64;
        if total > 1 {
            findings.failed[0] =
                format!("{}: {}", text::count(total, "session", "sessions"), findings.failed[0]);
        }
        for row in session.query(PREPARED).await?.iter().filter(|row| self.counts(cell(row, 1))) {
            findings.failed.push(format!(
                "prepared transaction {} in {} waits for its end",
                cell(row, 0),
                cell(row, 1)
            ));
        }
        if self.writes_refused() {
            self.writes(session, &mut findings).await?;
        }
        Ok(findings)
    }

    async fn writes(
        &self,
        session: &Session,
        findings: &mut Findings,
    ) -> Result<(), crate::world::pg::QueryError> {
        let rows = session.query(SERVER).await?;
        let server = rows.first().map(Vec::as_slice).unwrap_or_default();
        if cell(server, 0) == "t" {
            findings.notes.push("the server is a standby: it refuses every write".to_owned());
            return Ok(());
        }
        for row in session.query(DATABASES).await? {
            let name = cell(&row, 0);
            if !self.counts(name) || cell(&row, 1) != "t" {
                continue;
            }
            let default = match cell(&row, 3) {
                "" => cell(server, 1) == "t",
                own => matches!(own, "on" | "true" | "yes" | "1"),
            };
            if cell(&row, 2) == "0" {
                findings.notes.push(format!("database {name} takes no connections but superusers'"));
            } else if !default {
                findings.failed.push(format!("a new session in database {name} could write"));
            } else if !cell(&row, 4).is_empty() {
                findings
                    .failed
                    .push(format!("new sessions of {} in database {name} could write", cell(&row, 4)));
            }
        }
        Ok(())
    }
}

/// `synapse (app synapse-main, 10.0.0.7) in matrix, idle in transaction, for 3h`.
fn line(row: &[Option<String>]) -> String {
    let or = |column: usize, otherwise: &str| match cell(row, column) {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    let place = or(2, "local");
    let who = match cell(row, 1) {
        "" => format!("{} ({place})", or(0, "a worker")),
        app => format!("{} ({app}, {place})", or(0, "a worker")),
    };
    let kind = if cell(row, 4) == "client backend" { String::new() } else { format!(", {}", cell(row, 4)) };
    let state = if cell(row, 5).is_empty() { String::new() } else { format!(", {}", cell(row, 5)) };
    let age = cell(row, 6)
        .parse()
        .map(|secs| format!(", for {}", crate::base::Span::secs(secs)))
        .unwrap_or_default();
    let database = if cell(row, 3).is_empty() { String::new() } else { format!(" in {}", cell(row, 3)) };
    format!("{who}{database}{kind}{state}{age}")
}
