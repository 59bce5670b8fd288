//! What a standby says of itself.

use super::ReplicationStreaming;
use super::primary::{self, span};
use crate::base::Size;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::replication::wal::{bytes, number};
use crate::check::{Context, Outcome};
use crate::world::Identity;
use crate::world::pg::conninfo;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub system_identifier: String,
    pub in_recovery: bool,
    /// `None` when there is no WAL receiver at all.
    pub receiver: Option<Receiver>,
    pub replay_paused: bool,
    /// WAL that has arrived and is not replayed.
    pub to_replay: Option<u64>,
}

/// The row of `pg_stat_wal_receiver`. `None` is NULL: not known.
#[derive(Debug, Clone, Default)]
pub(super) struct Receiver {
    pub status: Option<String>,
    /// Seconds since the last message came, by the standby's clock alone.
    pub message_age: Option<f64>,
    pub sender: Option<String>,
    pub slot: Option<String>,
    /// What it calls itself to its sender; not known where its connection string cannot be read.
    pub name: Option<String>,
}

/// The name in a WAL receiver's connection string, where its sender shows it unchanged: not cut, nothing replaced.
pub(super) fn name_in(connection: &str) -> Option<String> {
    let mut pairs = conninfo::parse(connection).ok()?;
    let own = pairs.remove("application_name").filter(|name| !name.is_empty());
    let name = own.or_else(|| pairs.remove("fallback_application_name"))?;
    (name.len() < 64 && name.bytes().all(|b| matches!(b, b' '..=b'~'))).then_some(name)
}

pub(super) async fn ask(door: &Door<'_>, cx: &Context) -> Result<(View, Identity), Outcome> {
    let (session, identity) = door.open(cx).await?;
    let broken = |error| door.unanswered(&error).on(door.target, identity.clone());
    let mut view = View {
        system_identifier: session.identity().system_identifier.clone(),
        in_recovery: session.identity().in_recovery,
        ..View::default()
    };
    if view.in_recovery {
        let sql = "select pg_catalog.pg_is_wal_replay_paused(), pg_catalog.pg_wal_lsn_diff(\
                   pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())";
        for row in session.query(sql).await.map_err(broken)? {
            view.replay_paused = row.first().is_some_and(|paused| paused.as_deref() == Some("t"));
            view.to_replay = row.get(1).and_then(bytes);
        }
        let sql = "select status, extract(epoch from pg_catalog.clock_timestamp() - last_msg_receipt_time), \
                   sender_host || ', port ' || sender_port, slot_name, conninfo from pg_catalog.pg_stat_wal_receiver";
        for row in session.query(sql).await.map_err(broken)? {
            let column = |nth: usize| row.get(nth).cloned().flatten();
            view.receiver = Some(Receiver {
                status: column(0),
                message_age: number(&column(1)),
                sender: column(2),
                slot: column(3),
                name: column(4).as_deref().and_then(name_in),
            });
        }
    }
    drop(session);
    Ok((view, identity))
}

/// Judges one standby; `upstream` is what the server that it should stream from shows, when that was measured.
pub(super) fn judge(
    check: &ReplicationStreaming,
    target: &str,
    view: &View,
    upstream: Option<&primary::View>,
    findings: &mut Findings,
) {
    if let Some(other) = upstream.filter(|other| other.system_identifier != view.system_identifier) {
        findings.fail(
            format!(
                "{target} is no copy of {}: system identifier {}, not {}",
                check.primary, view.system_identifier, other.system_identifier
            ),
            format!("correct the target {target}, or build the standby anew"),
        );
        return;
    }
    if !view.in_recovery {
        findings.fail(
            format!("{target} is not in recovery: it is a primary itself"),
            "find out which server is the primary now, before both are written to",
        );
        return;
    }
    if view.replay_paused {
        findings.fail(
            format!("replay is paused on {target}"),
            "find out who paused it and why; then pg_wal_replay_resume()",
        );
    }
    let caught_up = match view.to_replay {
        Some(0) => "; that it has replayed all it received means nothing",
        _ => "",
    };
    let Some(receiver) = &view.receiver else {
        findings.fail(
            format!("{target} has no WAL receiver: it is not connected to any primary{caught_up}"),
            format!(
                "look into the log of {target} for why it does not connect (primary_conninfo, network, slot)"
            ),
        );
        return;
    };
    let Some(status) = &receiver.status else {
        findings.unknown(
            format!("the WAL receiver of {target} may not be seen"),
            "give the role pg_monitor, then measure again",
        );
        return;
    };
    if status != "streaming" {
        findings.fail(
            format!("the WAL receiver of {target} is `{status}`, not streaming"),
            format!("look into the log of {target}"),
        );
    }
    match receiver.message_age {
        None => findings.unknown(
            format!("{target} has not heard from its primary yet"),
            "measure again in a few seconds",
        ),
        Some(age) if age > check.max_silence.0.as_secs_f64() => findings.fail(
            format!("{target} has heard nothing from its primary for {}", span(age)),
            "look at the network between them, and at wal_receiver_timeout",
        ),
        Some(_) => {}
    }
    if let Some(waiting) = view.to_replay.filter(|waiting| *waiting > check.max_lag.0) {
        findings.fail(
            format!("{target} has received {} that it has not replayed", Size(waiting)),
            "find out what holds replay up: a long query, a slow disk",
        );
    }
    let sender = receiver.sender.as_deref().unwrap_or("a server it does not name");
    if let (Some(upstream), Some(name)) = (upstream, &receiver.name)
        && !upstream.rows.iter().any(|row| row.name == *name)
    {
        findings.fail(
            format!(
                "{target} receives from {sender}, and {} has no connection called {name}: it is lost, or another server \
                 stands between",
                check.primary
            ),
            "find out which server it receives from; where that is another standby, name that one as `primary`, with \
             `cascade: true`",
        );
    }
    let slot = receiver.slot.as_deref().map_or_else(|| "no slot".to_owned(), |slot| format!("slot {slot}"));
    findings.note(format!("{target}: receives from {sender}, {slot}"));
}
