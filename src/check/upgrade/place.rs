//! Where a cluster of this machine lies: its data directory and its programs, also while it is stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::Context;
use crate::runbook::Target;
use crate::world::Identity;
use crate::world::pg::settings::Surroundings;
use crate::world::pg::{self, Options, debian, stopped};
use crate::world::process::{Probe, Probed};

/// The data directory of a target, and what it is when it could be asked.
pub async fn data_directory(name: &str, target: &Target) -> Result<(PathBuf, Option<Identity>), String> {
    let written = match (&target.data_directory, &target.cluster) {
        (Some(directory), _) => Some(PathBuf::from(directory)),
        (None, Some(cluster)) => Some(of_cluster(cluster)?.1),
        (None, None) => None,
    };
    if let Some(directory) = written {
        return Ok((directory, pg::identity::identity(target).await.ok().map(Identity::Postgres)));
    }
    let session = pg::connect(target, &Options::default()).await.map_err(|error| {
        format!(
            "{name}: {}; the target does not say where its data is (`cluster` or `data_directory`)",
            error.message
        )
    })?;
    if !session.is_local() {
        return Err(format!("{name} runs on another machine; its files cannot be looked at from here"));
    }
    let identity = session.identity().clone();
    Ok((PathBuf::from(&identity.data_directory), Some(Identity::Postgres(identity))))
}

/// Configuration directory and data directory of a Debian cluster.
pub fn of_cluster(cluster: &str) -> Result<(PathBuf, PathBuf), String> {
    let conf = debian::cluster_conf(&Surroundings::of_process().clusters, cluster)?;
    let data = conf.data_directory.ok_or_else(|| {
        let directory = conf.directory.display();
        format!("the configuration of cluster {cluster} in {directory} names no data directory")
    })?;
    Ok((conf.directory, data))
}

/// Where Debian puts the programs of a major version.
pub fn debian_programs(major: &str) -> PathBuf {
    PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))
}

/// The process that serves a data directory, if any does.
pub async fn postmaster(data: &Path) -> Result<Option<u32>, String> {
    let data = data.to_owned();
    tokio::task::spawn_blocking(move || stopped::postmaster(&data))
        .await
        .map_err(|error| error.to_string())?
}

/// Runs a program for its output.
pub async fn run(
    argv: Vec<String>,
    (user, cwd): (Option<&str>, Option<&str>),
    timeout: Duration,
    cx: &Context,
) -> Result<Probed, String> {
    let probe = Probe {
        argv,
        env: Default::default(),
        cwd: cwd.map(str::to_owned),
        user: user.map(str::to_owned),
        timeout,
        keep: 256 * 1024,
    };
    cx.world.processes.probe(&probe).await
}

/// The first line that a program wrote, wherever it did.
pub fn first_line(ran: &Probed) -> String {
    let text = format!("{}\n{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing").to_owned()
}
