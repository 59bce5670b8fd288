//! The room of one place: a server's file systems, a directory's, or what a probe says of another machine.

use std::path::{Path, PathBuf};

use super::{PROBING, df};
use crate::check::Context;
use crate::world::Identity;
use crate::world::pg::{self, Options};
use crate::world::process::Probe;

/// Where.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Target(&'a str),
    Path(&'a str),
    Probe(&'a [String]),
}

/// Its file systems, each counted once.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub total: u64,
    pub used: u64,
    pub available: u64,
    /// Device numbers; none for another machine.
    pub devices: Vec<u64>,
    pub identity: Option<(String, Identity)>,
}

/// Measures; an error is a sentence.
pub(super) async fn measure(place: Place<'_>, cx: &Context) -> Result<Room, String> {
    match place {
        Place::Path(path) => room(&[path.into()], cx).await,
        Place::Probe(argv) => probe(argv, cx).await,
        Place::Target(name) => server(name, cx).await,
    }
}

async fn room(paths: &[PathBuf], cx: &Context) -> Result<Room, String> {
    let mut room = Room { total: 0, used: 0, available: 0, devices: Vec::new(), identity: None };
    for path in paths {
        let space = cx.world.files.space(path).await?;
        if room.devices.contains(&space.device) {
            continue;
        }
        room.devices.push(space.device);
        room.total += space.total;
        room.used += space.total.saturating_sub(space.free);
        room.available += space.available;
    }
    Ok(room)
}

async fn server(name: &str, cx: &Context) -> Result<Room, String> {
    let target = cx.target(name)?;
    if let Some(file) = &target.sqlite {
        return room(&[file.into()], cx).await;
    }
    let options = Options { application_name: "holdpoint capacity_parity".to_owned(), ..Options::default() };
    let session = pg::connect(target, &options).await.map_err(|error| error.message)?;
    if !session.is_local() {
        return Err(format!("{name} is on another machine, and SQL does not tell the size of a file system"));
    }
    let data = Path::new(&session.identity().data_directory).to_owned();
    let places = "select pg_catalog.pg_tablespace_location(oid) from pg_catalog.pg_tablespace \
                  where spcname not in ('pg_default', 'pg_global') order by 1";
    let others = session.query(places).await.map_err(|error| error.message)?;
    let mut paths = vec![data.join("pg_wal"), data];
    paths.extend(others.into_iter().filter_map(|row| row.into_iter().next().flatten()).map(PathBuf::from));
    let room = room(&paths, cx).await?;
    let identity = Identity::Postgres(session.identity().clone());
    Ok(Room { identity: Some((name.to_owned(), identity)), ..room })
}

async fn probe(argv: &[String], cx: &Context) -> Result<Room, String> {
    let probe = Probe {
        argv: argv.to_vec(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: PROBING.0,
        keep: 16 << 10,
    };
    let program = argv.first().map_or("", String::as_str);
    let seen =
        cx.world.processes.probe(&probe).await.map_err(|why| format!("{program} did not start: {why}"))?;
    if seen.timed_out {
        return Err(format!("{program} did not end within {PROBING}"));
    }
    if seen.status != Some(0) {
        let said = String::from_utf8_lossy(&seen.stderr);
        let said = said.lines().find(|line| !line.trim().is_empty()).map(|line| format!(": {line}"));
        let status = seen.status.map_or("a signal".to_owned(), |status| format!("status {status}"));
        return Err(crate::base::text::neutral(&format!(
            "{program} ended with {status}{}",
            said.unwrap_or_default()
        )));
    }
    let (total, used, available) = df::read(&String::from_utf8_lossy(&seen.stdout))?;
    Ok(Room { total, used, available, devices: Vec::new(), identity: None })
}
