//! Does a PostgreSQL server let clients in and answer them?

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::base::Span;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;
use crate::world::pg::{self, ConnectError, ConnectTrouble, Options};

/// Does a PostgreSQL server let clients in and answer them?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgAcceptsConnections {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Another database of the same server than the target's own.
    #[serde(default)]
    database: Option<String>,
    /// True when the server must be a standby. Otherwise it must not be one.
    #[serde(default)]
    standby: bool,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "pg_accepts_connections",
    summary: "a PostgreSQL server lets clients in, answers, and is the server that the target means",
    docs: DOCS,
    timeout: Some(Span::secs(30)),
    schema: || schema_for!(PgAcceptsConnections),
    build: from_params::<PgAcceptsConnections>,
};

const DOCS: &str = r#"
Shows that a PostgreSQL server lets clients in, answers them, and is the server that the target means.

**How it is measured.** A session is opened as psql would open it (service file, password file and `PG*` variables
included), the server is asked what it is, and `select 1` must answer. `pg_isready` is not enough: it says "accepting
connections" of a server that refuses the role, lacks the database, or is another cluster.

**Passes** when the answer came, the data directory is the one that the target names (`cluster` or `data_directory`), and the
server is not in recovery; with `standby: true` it must be in recovery.

**Fails** when nothing listens there, when the server is starting up, shutting down or out of connections, when the database
does not exist, when another cluster answers, or when the server is a standby and should not be (or the other way round).

**Unknown** when there is no answer in time, the name or route is not known, a password or a right is missing, TLS cannot be
agreed on, or the target's words are wrong.

**Traps.** `pg_upgradecluster` swaps the ports of the two clusters: name the target by `cluster` or `data_directory`, then a
server at the old port that is the new one fails instead of passing. The role must be allowed to see the data directory
(`pg_read_all_settings`, part of `pg_monitor`), or its identity cannot be proved.

```yaml
postconditions:
  - pg_accepts_connections: { target: new, database: synapse, until: stop-new }
```
"#;

/// The longest that a connection may take; the check's own limit is longer, so that the reason is told.
const CONNECTING: Duration = Duration::from_secs(10);

#[async_trait]
impl Check for PgAcceptsConnections {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected =
            if self.standby { "a standby that answers" } else { "a server that answers and is no standby" };
        let target = match cx.target(&self.target) {
            Ok(target) => target,
            Err(why) => return Outcome::unknown(why, expected),
        };
        let options = Options {
            application_name: format!("holdpoint {}", KIND.name),
            statement_timeout: CONNECTING,
            connect_timeout: CONNECTING,
            database: self.database.clone(),
            ..Options::default()
        };
        let began = Instant::now();
        let session = match pg::connect(target, &options).await {
            Ok(session) => session,
            Err(error) => return refused(&error, expected),
        };
        let identity = Identity::Postgres(session.identity().clone());
        let standby = session.identity().in_recovery;
        let outcome = match session.value("select 1").await {
            Err(error) if error.lost => {
                Outcome::fail(error.message, expected).help("look into the server's log")
            }
            Err(error) => Outcome::unknown(error.message, expected),
            Ok(Some(one)) if one == "1" => {
                let role = if standby { "a standby" } else { "no standby" };
                let took = Span(Duration::from_millis(began.elapsed().as_millis() as u64));
                let observed = format!("answers within {took}, {role}: {}", identity.describe());
                Outcome::judge(standby == self.standby, observed, expected)
                    .help("find out which server the target should name")
                    .fact("in_recovery", standby)
                    .fact("millis", began.elapsed().as_millis() as u64)
            }
            Ok(_) => Outcome::unknown("`select 1` was not answered with 1", expected),
        };
        outcome.on(&self.target, identity)
    }
}

fn refused(error: &ConnectError, expected: &str) -> Outcome {
    let says = error.message.clone();
    let missing_database = error.sqlstate.as_deref() == Some("3D000");
    match error.kind {
        _ if missing_database => {
            Outcome::fail(says, expected).help("create or restore the database, or correct the name")
        }
        ConnectTrouble::Refused => {
            Outcome::fail(says, expected).help("start the server, or correct the target's address")
        }
        ConnectTrouble::NotServing => {
            Outcome::fail(says, expected).help("wait until the server serves, then measure again")
        }
        ConnectTrouble::WrongServer => Outcome::fail(says, expected)
            .help("find out which cluster listens there; do not go on until it is the right one"),
        ConnectTrouble::Denied => {
            Outcome::unknown(says, expected).help("give the role its password and rights, then measure again")
        }
        ConnectTrouble::Settings => {
            Outcome::unknown(says, expected).help("correct the target, then measure again")
        }
        ConnectTrouble::Timeout | ConnectTrouble::Other => Outcome::unknown(says, expected)
            .help("find out why the server cannot be reached, then measure again"),
    }
}
