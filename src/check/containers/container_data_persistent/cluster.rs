//! What belongs to a PostgreSQL cluster besides its data directory, and whether it is the cluster that the target is.

use std::path::Path;

use super::Place;
use super::standing::{Standing, stands};
use crate::check::containers::bytes::resolved;
use crate::check::door::Door;
use crate::check::{Context, Outcome, Verdict};
use crate::world::Identity;

/// Seconds that a server may take from its start, which is in `postmaster.pid`, to the moment that it calls its start.
const START_SLACK: i64 = 5;

/// What the target says of itself.
pub(super) struct Asked {
    pub(super) data_directory: String,
    pub(super) identity: Identity,
    system_identifier: String,
    /// Unix time.
    started: Option<i64>,
}

/// Asks the target.
pub(super) async fn ask(cx: &Context, check: &str, target: &str, wanted: &str) -> Result<Asked, Outcome> {
    let door = Door::new(check, target, wanted);
    let (session, identity) = door.open(cx).await?;
    let Identity::Postgres(postgres) = &identity else {
        return Err(Outcome::unknown(format!("{target} is no PostgreSQL server"), wanted)
            .help("name a PostgreSQL target, or give `data_directory`"));
    };
    let system_identifier = postgres.system_identifier.clone();
    // Not the identity's own: that has links resolved on this machine, and the path is the container's.
    let say = |sql: &'static str| session.value(sql);
    let directory =
        say("select pg_catalog.current_setting('data_directory')").await.map_err(|e| door.unanswered(&e))?;
    let started =
        say("select floor(extract(epoch from pg_catalog.pg_postmaster_start_time()))::bigint::text")
            .await
            .map_err(|e| door.unanswered(&e))?;
    let Some(data_directory) = directory.filter(|path| !path.is_empty()) else {
        return Err(Outcome::unknown(format!("{target} does not say where its data directory is"), wanted)
            .help("give the role the right to see it (pg_read_all_settings), then measure again"));
    };
    let started = started.and_then(|text| text.parse().ok());
    Ok(Asked { data_directory, identity, system_identifier, started })
}

/// WAL and tablespaces last, too, and it is the target's cluster. Gives its version.
pub(super) async fn rest_of_it(
    place: &Place<'_>,
    path: &str,
    here: &Path,
    asked: Option<&Asked>,
) -> Result<String, (Verdict, String)> {
    let files = &place.cx.world.files;
    let unknown = |why: String| (Verdict::Unknown, why);
    let version = files.read(&here.join("PG_VERSION"), 64).await.map_err(unknown)?;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    if let Some(asked) = asked {
        belongs(place, here, asked).await?;
    }
    let mut links = vec!["pg_wal".to_owned()];
    if files.stat(&here.join("pg_tblspc")).await.map_err(unknown)?.is_some() {
        for entry in files.list(&here.join("pg_tblspc")).await.map_err(unknown)? {
            links.extend(entry.path.file_name().map(|name| format!("pg_tblspc/{}", name.to_string_lossy())));
        }
    }
    for link in links {
        let Some(target) = files.read_link(&here.join(&link)).await.map_err(unknown)? else { continue };
        let target = target.display().to_string();
        let target = if target.starts_with('/') { target } else { format!("{path}/{target}") };
        let target = match place.root {
            Some(root) => resolved(place.cx, root, &target).await.map_err(unknown)?,
            None => target,
        };
        let what = if link == "pg_wal" { "the WAL" } else { "a tablespace" };
        match stands(place, &target).await {
            Standing::Kept { .. } => {}
            Standing::Lost(how) => {
                return Err((Verdict::Fail, format!("{what} ({link} leads to {target}) lies {how}")));
            }
            Standing::Unclear(why) => return Err(unknown(format!("{link} leads to {target}: {why}"))),
        }
    }
    Ok(version)
}

/// The files are the target's own: the same system identifier, and started at the same time, which a copy was not.
async fn belongs(place: &Place<'_>, here: &Path, asked: &Asked) -> Result<(), (Verdict, String)> {
    let files = &place.cx.world.files;
    let unknown = |why: String| (Verdict::Unknown, why);
    let first = files.read_range(&here.join("global/pg_control"), 0, 8).await.map_err(unknown)?;
    let first: [u8; 8] =
        first.try_into().map_err(|_| unknown("global/pg_control is too short".to_owned()))?;
    // pg_control is written in the machine's own byte order.
    let found = u64::from_ne_bytes(first).to_string();
    if found != asked.system_identifier {
        return Err((
            Verdict::Fail,
            format!(
                "the target is another cluster (system identifier {}) than the one in {} ({found})",
                asked.system_identifier,
                here.display()
            ),
        ));
    }
    let file = here.join("postmaster.pid");
    let lines = match files.stat(&file).await.map_err(unknown)? {
        None => String::new(),
        Some(_) => String::from_utf8_lossy(&files.read(&file, 4096).await.map_err(unknown)?).into_owned(),
    };
    let started: Option<i64> = lines.lines().nth(2).and_then(|line| line.trim().parse().ok());
    match (started, asked.started) {
        // Never the other way round: a server that was started a second later is another one.
        (Some(file), Some(said)) if (0..=START_SLACK).contains(&(said - file)) => Ok(()),
        (Some(_), Some(_)) => Err((
            Verdict::Fail,
            format!("the target is not the server of {}: it was started at another time", here.display()),
        )),
        (None, Some(_)) => {
            Err((Verdict::Fail, format!("no server runs in {}, but the target answers", here.display())))
        }
        (_, None) => Err(unknown("the target does not say when it was started".to_owned())),
    }
}
