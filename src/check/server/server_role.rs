//! Is this the primary, or a standby? What a failover must find, and what it must leave: one primary, and one only.

mod peers;
mod writes;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::door::{Door, silent};
use crate::check::findings::Findings;
use crate::check::params::{Count, Flag};
use crate::check::registry::CheckKind;
use crate::check::survey::cell;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Session;

/// Is this the primary, or a standby?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerRole {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// What it must be: `primary` or `standby`.
    role: Role,
    /// Of a primary: other targets, none of which may be a primary of the same cluster: the former primary, the standbys.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "format": "target" }))]
    peers: Vec<String>,
    /// The timeline on which it must be, as in 2. A promotion begins the next one.
    #[serde(default)]
    timeline: Option<Count>,
    /// Of a primary: `true` when new sessions must be read-only by default, in every database; `false` when none may be, a hold
    /// that was forgotten included. Not looked at when not given.
    #[serde(default)]
    read_only: Option<Flag>,
}

/// The role of a server in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It writes, alone or before its standbys.
    Primary,
    /// It is in recovery, and follows.
    Standby,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Primary => "a primary",
            Role::Standby => "a standby",
        }
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "server_role",
    summary: "a server is the primary (and no other is), or a standby, on the right timeline",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ServerRole),
    build,
};

const DOCS: &str = r"
Shows that a server has the role that a step relies on: the primary, and the only one, or a standby.

**How it is measured.** The server is asked whether it is in recovery (`pg_is_in_recovery()`), and for its timeline: of a primary the
one that it writes, of a standby the one that it receives, else that of its last restart point. Each of `peers` is asked, too, with its
system identifier; one that is stopped is measured from its files, when its target says where they are (`cluster` or `data_directory`).
With `read_only`, `default_transaction_read_only` is read as new sessions get it: the server's, and those of databases and roles.

**Passes** when all that is asked for is so. **Fails** when the role or the timeline is another, when one of `peers` is a primary with the
same system identifier (split brain), or when new sessions could write, or not write, against `read_only`. **Unknown** when the
server or one of `peers` cannot be asked: a former primary that does not answer here may well answer the application.
Also unknown when one of `peers` is another cluster or the server itself, and when our own role hides the server's default.

**Traps.** A former primary that starts again is a primary, on its old timeline, and takes writes that will be lost: fence it (stop it
for good, or make it a standby) before anything else. It is told when a stopped peer would start as a primary. A standby stays one
until it is promoted; that it also streams is `replication_streaming`. A read-only default is not a lock: a session may set it back.

```yaml
preconditions:
  - server_role: { target: old, role: primary, read_only: true }
postconditions:
  - server_role: { id: promoted, target: new, role: primary, peers: [old], timeline: 2, read_only: false }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: ServerRole = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.role == Role::Standby && !it.peers.is_empty() {
        return Err(
            "`peers` belongs to `role: primary`: it is the primary that must be the only one".to_owned()
        );
    }
    if it.role == Role::Standby && it.read_only.is_some() {
        return Err(
            "`read_only` belongs to `role: primary`: a standby takes no writes in any case".to_owned()
        );
    }
    if it.peers.contains(&it.target) {
        return Err(format!("`peers` names `{}` itself", it.target));
    }
    if it.timeline == Some(Count(0)) {
        return Err("`timeline: 0` is none: the first one is 1".to_owned());
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for ServerRole {
    fn targets(&self) -> Vec<String> {
        std::iter::once(&self.target).chain(&self.peers).cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let mut findings = Findings::default();
        let standby = session.identity().in_recovery;
        let is = if standby { Role::Standby } else { Role::Primary };
        if is != self.role {
            findings.fail(
                format!("{} is {}", self.target, is.word()),
                "find out which server is the primary now before anything writes; then correct the plan or the target",
            );
        }
        let timeline = self.timeline(&session, standby, &mut findings).await;
        if let (Some(Flag(wanted)), Role::Primary) = (self.read_only, is)
            && let Err(error) = writes::judge(&session, &self.target, wanted, &mut findings).await
        {
            let what = format!("what new sessions may do cannot be seen: {}", error.message);
            findings.unknown(what, silent(&error));
        }
        let asked = self.peers.iter().map(|name| peers::ask(name, cx));
        let peers = futures::future::join_all(asked).await;
        for (name, seen) in self.peers.iter().zip(&peers) {
            peers::judge(name, seen, (&self.target, session.identity()), &mut findings);
        }
        let mut observed = format!("{} is {} on timeline {timeline}", self.target, is.word());
        match self.peers.len() {
            0 => {}
            1 => observed += &format!(", and {} is none", self.peers.join("")),
            n => observed += &format!(", and none of {n} others is"),
        }
        let mut outcome = findings
            .outcome(observed, &expected)
            .fact("in_recovery", standby)
            .fact("timeline", timeline)
            .on(&self.target, identity);
        for (name, seen) in self.peers.iter().zip(peers) {
            if let Ok(identity) = seen {
                outcome = outcome.on(name, crate::world::Identity::Postgres(identity));
            }
        }
        outcome
    }
}

impl ServerRole {
    fn expected(&self) -> String {
        let mut expected = self.role.word().to_owned();
        if let Some(timeline) = self.timeline {
            expected += &format!(" on timeline {}", timeline.0);
        }
        match self.read_only {
            Some(Flag(true)) => expected += ", read-only for new sessions",
            Some(Flag(false)) => expected += ", writable for new sessions",
            None => {}
        }
        if !self.peers.is_empty() {
            expected += &format!(", and no other one ({})", self.peers.join(", "));
        }
        expected
    }

    /// The timeline, judged when one is wanted.
    async fn timeline(&self, session: &Session, standby: bool, findings: &mut Findings) -> u64 {
        let own = u64::from(session.identity().timeline);
        // What a standby's last restart point says may be long ago.
        let receives = match standby {
            false => None,
            true => {
                let rows = session.query("select received_tli from pg_stat_wal_receiver").await;
                rows.ok().and_then(|rows| cell(rows.first()?, 0).parse::<u64>().ok())
            }
        };
        let is = receives.unwrap_or(own).max(own);
        let Some(Count(wanted)) = self.timeline else { return is };
        if is < wanted && standby && receives.is_none() {
            findings.unknown(
                format!("{} was on timeline {is} at its last restart point, and may have gone on", self.target),
                "run `checkpoint` on it, or let the role see its WAL receiver (pg_monitor), then measure again",
            );
        } else if is != wanted {
            findings.fail(
                format!("{} is on timeline {is}", self.target),
                "find out which server was promoted, and when, before anything writes",
            );
        }
        is
    }
}
