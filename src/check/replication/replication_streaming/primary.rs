//! What the primary says of its standbys.

use super::ReplicationStreaming;
use crate::base::{Size, Span};
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::replication::wal::{WAL_END, bytes, number};
use crate::check::{Context, Outcome};
use crate::world::Identity;

/// A reply from the future by more than this is a matter of clocks.
const CLOCKS_DIFFER: f64 = 5.0;

/// What was seen.
pub(super) struct View {
    pub system_identifier: String,
    pub in_recovery: bool,
    pub rows: Vec<Sender>,
}

/// A row of `pg_stat_replication`. `None` is NULL: not known.
#[derive(Debug, Clone, Default)]
pub(super) struct Sender {
    pub name: String,
    pub state: Option<String>,
    pub sync_state: Option<String>,
    pub lag: Option<u64>,
    /// Seconds; NULL also when nothing was left to replay for a while.
    pub replay_lag: Option<f64>,
    /// Seconds since the standby sent its last reply, by two clocks.
    pub reply_age: Option<f64>,
    pub address: Option<String>,
}

pub(super) async fn ask(door: &Door<'_>, cx: &Context) -> Result<(View, Identity), Outcome> {
    let (session, identity) = door.open(cx).await?;
    let sql = format!(
        "select application_name, state, sync_state, pg_catalog.pg_wal_lsn_diff({WAL_END}, replay_lsn), \
                extract(epoch from replay_lag), extract(epoch from pg_catalog.clock_timestamp() - reply_time), \
                pg_catalog.host(client_addr) \
         from pg_catalog.pg_stat_replication order by 1"
    );
    let rows = session
        .query(&sql)
        .await
        .map_err(|error| door.unanswered(&error).on(door.target, identity.clone()))?;
    let sender = |row: Vec<Option<String>>| {
        let column = |nth: usize| row.get(nth).cloned().flatten();
        Sender {
            name: column(0).unwrap_or_default(),
            state: column(1),
            sync_state: column(2),
            lag: bytes(&column(3)),
            replay_lag: number(&column(4)),
            reply_age: number(&column(5)),
            address: column(6),
        }
    };
    let view = View {
        system_identifier: session.identity().system_identifier.clone(),
        in_recovery: session.identity().in_recovery,
        rows: rows.into_iter().map(sender).collect(),
    };
    Ok((view, identity))
}

/// Judges every named standby; `facts` gets the lag of each.
pub(super) fn judge(
    check: &ReplicationStreaming,
    view: &View,
    findings: &mut Findings,
    facts: &mut Vec<(String, Option<u64>)>,
) {
    if view.in_recovery && !check.cascade.0 {
        findings.fail(
            format!("{} is a standby itself", check.primary),
            "find out which server is the primary now before anything else; `cascade: true` when it is meant to be one",
        );
    }
    for name in &check.standbys {
        let rows: Vec<&Sender> = view.rows.iter().filter(|row| row.name == *name).collect();
        if rows.is_empty() {
            let others: Vec<&str> = view.rows.iter().map(|row| row.name.as_str()).collect();
            let others = match others.as_slice() {
                [] => "nobody is connected".to_owned(),
                names => format!("connected: {}", names.join(", ")),
            };
            findings.fail(
                format!("{}: standby {name} is missing ({others})", check.primary),
                format!(
                    "look into the log of {name} for why its WAL receiver does not connect; where it is meant to stream \
                     from another standby, ask that one, with `cascade: true`"
                ),
            );
        }
        if rows.len() > 1 {
            findings.note(format!("{} connections are called {name}: all must hold", rows.len()));
        }
        for row in &rows {
            one(check, row, findings);
        }
        facts.push((name.clone(), rows.iter().filter_map(|row| row.lag).max()));
    }
    synchronous(check, view, findings);
    for row in view.rows.iter().filter(|row| !check.standbys.contains(&row.name)) {
        let state = row.state.as_deref().unwrap_or("state not shown");
        findings.note(format!("also connected, not named: {} ({state})", row.name));
    }
}

fn one(check: &ReplicationStreaming, row: &Sender, findings: &mut Findings) {
    let name = &row.name;
    let Some(state) = &row.state else {
        findings.unknown(
            format!("{name} is connected, but its state may not be seen"),
            "give the role pg_monitor, then measure again",
        );
        return;
    };
    if state != "streaming" {
        findings.fail(
            format!("{name} does not stream: its state is `{state}`"),
            "wait until it has caught up; when it does not, look into its log",
        );
    }
    let keep_up =
        format!("find out what slows {name} down: its disk, the network, a long query that holds replay up");
    match row.lag {
        None => findings.unknown(
            format!("{name} has not said yet how far it has replayed"),
            "measure again in a few seconds",
        ),
        Some(lag) if lag > check.max_lag.0 => {
            findings.fail(format!("{name} has {} of WAL still to replay", Size(lag)), keep_up);
        }
        Some(lag) => {
            let delay = row.replay_lag.map_or_else(String::new, |lag| format!(", {} late", span(lag)));
            let sync = row.sync_state.as_deref().unwrap_or("?");
            let address = row.address.as_deref().unwrap_or("a local socket");
            findings.note(format!("{name}: {state}, {sync}, {} behind{delay}, from {address}", Size(lag)));
            // A lag in time that was measured before the standby caught up says nothing now.
            if lag > 0
                && let Some(delay) = row.replay_lag.filter(|delay| *delay > check.max_delay.0.as_secs_f64())
            {
                findings.fail(format!("{name} replays {} late", span(delay)), keep_up);
            }
        }
    }
    match row.reply_age {
        None => {
            findings.unknown(format!("{name} has not replied yet"), "measure again in a few seconds");
        }
        Some(age) if age < -CLOCKS_DIFFER => findings.unknown(
            format!("the clock of {name} is {} ahead: the age of its replies is not known", span(-age)),
            "set the clocks right (chronyc tracking on both), then measure again",
        ),
        Some(age) if age > check.max_silence.0.as_secs_f64() => findings.fail(
            format!("{name} has not replied for {}", span(age)),
            format!("look at {name}: is it alive, is the network, is its clock right?"),
        ),
        Some(_) => {}
    }
}

fn synchronous(check: &ReplicationStreaming, view: &View, findings: &mut Findings) {
    let Some(wanted) = check.synchronous else { return };
    let is = |name: &&String| {
        let mut rows = view.rows.iter().filter(|row| row.name == **name);
        rows.any(|row| matches!(row.sync_state.as_deref(), Some("sync" | "quorum")))
    };
    let hidden = view.rows.iter().any(|row| check.standbys.contains(&row.name) && row.sync_state.is_none());
    let many = check.standbys.iter().filter(is).count() as u64;
    if many < wanted.0 && !hidden {
        findings.fail(
            format!("{many} of the named standbys are synchronous, not {wanted}"),
            "look at synchronous_standby_names on the primary",
        );
    }
}

/// Seconds for people.
pub(super) fn span(seconds: f64) -> Span {
    Span::millis((seconds.max(0.0) * 1000.0) as u64)
}
