//! How long a PostgreSQL server has been what it is now.

use std::time::Duration;

use super::KIND;
use crate::check::door::Door;
use crate::check::{Context, Outcome};
use crate::world::Identity;

/// The time since the server's last start, or since its last restart inside (after a crash of one process the postmaster
/// starts all others anew and keeps its own start time: so the checkpointer's counts). By the server's own clock: a
/// difference of two of its own times, so that clocks of two machines need not agree.
pub(super) async fn up_for(
    target: &str,
    expected: &str,
    cx: &Context,
) -> Result<(Duration, Identity), Box<Outcome>> {
    let door = Door::new(KIND.name, target, expected);
    let (session, identity) = door.open(cx).await?;
    let sql = "select extract(epoch from clock_timestamp() - \
                      greatest(pg_postmaster_start_time(), max(backend_start))), count(backend_start) \
               from pg_stat_activity where backend_type = 'checkpointer'";
    let rows = session.query(sql).await.map_err(|error| door.unanswered(&error))?;
    let cell = |n: usize| rows.first().and_then(|row| row.get(n)).cloned().flatten();
    let seconds = cell(0).and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds >= 0.0);
    match (seconds, cell(1).as_deref()) {
        (Some(seconds), Some("1")) => Ok((Duration::from_secs_f64(seconds), identity)),
        _ => Err(Box::new(
            Outcome::unknown(format!("{target} does not tell since when its processes run"), expected)
                .help("grant pg_monitor to the role, then measure again")
                .on(target, identity),
        )),
    }
}
