//! What an environment's targets are, as far as can be known from here: addresses from the runbook, identities measured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::runbook::containers::Containers;
use crate::runbook::model::Destroys;
use crate::runbook::{Runbook, Target};
use crate::world::pg::settings::{self, Place as Where, Surroundings};
use crate::world::{Identity, identify};

/// The longest that measuring one target takes.
const MEASURING: Duration = Duration::from_secs(20);

/// A target in an environment.
#[derive(Debug, Clone)]
pub struct Side {
    /// The target's name.
    pub target: String,
    /// Ways to call it; `None` when a variable has no value here.
    pub address: Option<BTreeSet<String>>,
    /// It is reached by something of the machine itself: a socket, a file, a loopback address.
    pub local: bool,
    /// What it is; or why that is not known.
    pub identity: Result<Identity, String>,
}

/// An environment's targets and files.
#[derive(Debug, Clone)]
pub struct Place {
    /// The environment.
    pub environment: String,
    /// False when its hosts are named, and this machine is not one of them.
    pub here: bool,
    /// Its targets.
    pub targets: Vec<Side>,
    /// Files and directories that a step there destroys, or that are its databases.
    pub paths: Vec<PathBuf>,
    /// Containers that a step there removes, as they are called.
    pub containers: BTreeSet<String>,
}

/// True on a machine that the environment is worked on from: one of its hosts, or any where it names none.
pub fn is_here(hosts: &[String], hostname: &str, machine: &str) -> bool {
    let short = hostname.split('.').next().unwrap_or(hostname);
    hosts.is_empty() || hosts.iter().any(|host| host == hostname || host == short || host == machine)
}

/// Looks at an environment. With `measure` off, nothing is asked. What is local to another machine is never asked: it
/// would be this machine's own that answers.
pub async fn look(environment: &str, runbook: &Runbook, here: bool) -> Place {
    let sides = runbook.targets.iter().map(|(name, target)| async move {
        let local = is_local(target);
        let address = address(target);
        let identity = if address.is_none() {
            Err("a variable of its address has no value here".to_owned())
        } else if local && !here {
            Err("it is on another machine".to_owned())
        } else {
            match tokio::time::timeout(MEASURING, identify::identity(target)).await {
                Ok(identity) => identity,
                Err(_) => Err(format!("no answer within {} seconds", MEASURING.as_secs())),
            }
        };
        Side { target: name.clone(), address, local, identity }
    });
    let targets = futures::future::join_all(sides).await;
    Place {
        environment: environment.to_owned(),
        here,
        targets,
        paths: paths(runbook),
        containers: containers(runbook),
    }
}

fn unknown(text: &str) -> bool {
    text.contains("${")
}

fn address(target: &Target) -> Option<BTreeSet<String>> {
    let texts = [&target.postgres, &target.cluster, &target.data_directory, &target.sqlite];
    if texts.iter().any(|text| text.as_deref().is_some_and(unknown)) {
        return None;
    }
    let mut all = BTreeSet::new();
    if let Some(path) = &target.sqlite {
        all.insert(format!("file {}", real(Path::new(path)).display()));
    }
    if let Some(cluster) = &target.cluster {
        all.insert(format!("cluster {cluster}"));
    }
    if let Some(path) = &target.data_directory {
        all.insert(format!("data directory {}", real(Path::new(path)).display()));
    }
    if target.postgres.is_some() {
        match settings::resolve(target, None, &Surroundings::of_process()) {
            Ok(settings) => all.extend(settings.places.iter().map(|(place, port)| match place {
                Where::Socket(dir) => format!("socket {} port {port}", dir.display()),
                Where::Tcp(name, None) => format!("host {} port {port}", name.to_lowercase()),
                Where::Tcp(_, Some(address)) => format!("host {address} port {port}"),
            })),
            // What needs files that are not here is compared as it is written.
            Err(_) => drop(all.insert(format!("server {}", target.postgres.clone().unwrap_or_default()))),
        }
    }
    Some(all)
}

fn is_local(target: &Target) -> bool {
    if target.sqlite.is_some() || target.cluster.is_some() || target.data_directory.is_some() {
        return true;
    }
    match settings::resolve(target, None, &Surroundings::of_process()) {
        Ok(settings) => settings.places.iter().all(|(place, _)| match place {
            Where::Socket(_) => true,
            Where::Tcp(name, address) => {
                name == "localhost"
                    || address.or(name.parse().ok()).is_some_and(|address| address.is_loopback())
            }
        }),
        Err(_) => false,
    }
}

/// What steps, and their undoing, destroy.
fn destroyed(runbook: &Runbook) -> impl Iterator<Item = &Destroys> {
    runbook.steps.iter().flat_map(|step| {
        let undo = step.rollback.as_ref().and_then(|rollback| rollback.destroys.as_ref());
        step.destroys.iter().chain(undo)
    })
}

fn containers(runbook: &Runbook) -> BTreeSet<String> {
    let all = destroyed(runbook).filter_map(|destroys| destroys.containers.as_ref());
    all.flat_map(Containers::called).filter(|name| !unknown(name)).collect()
}

fn paths(runbook: &Runbook) -> Vec<PathBuf> {
    let of_steps = destroyed(runbook).flat_map(|destroys| destroys.paths.clone());
    let of_targets =
        runbook.targets.values().flat_map(|target| [target.sqlite.clone(), target.data_directory.clone()]);
    let all = of_steps.chain(of_targets.flatten()).filter(|path| !unknown(path));
    let all: BTreeSet<PathBuf> = all.map(|path| real(Path::new(&path))).collect();
    all.into_iter().collect()
}

/// A path with the links in it followed, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut at = path;
    loop {
        if let Ok(found) = at.canonicalize() {
            return rest.iter().rev().fold(found, |all, name| all.join(name));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_owned());
                at = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(text: &str) -> Target {
        Target { postgres: Some(text.to_owned()), ..Target::default() }
    }

    #[test]
    fn two_ways_to_write_one_address_are_one() {
        let conninfo = address(&postgres("host=DB1 port=5433 dbname=a user=b")).unwrap();
        assert_eq!(conninfo, address(&postgres("postgresql://c@db1:5433/other")).unwrap());
        assert_ne!(conninfo, address(&postgres("host=db2 port=5433 user=b")).unwrap());
        assert_eq!(address(&postgres("host=${host} user=b")), None);
        assert!(
            is_local(&postgres("host=/run/postgresql user=b"))
                && is_local(&postgres("host=127.0.0.1 user=b"))
        );
        assert!(!is_local(&postgres("host=db1 user=b")));
    }

    #[test]
    fn links_are_followed_as_far_as_there_is_something() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        std::os::unix::fs::symlink(&a, &b).unwrap();
        assert_eq!(real(&b.join("new/deep")), a.canonicalize().unwrap().join("new/deep"));
    }

    #[test]
    fn hosts_by_name_and_machine_id() {
        let hosts = ["db1".to_owned(), "0123456789abcdef".to_owned()];
        assert!(is_here(&[], "x", "y"));
        assert!(is_here(&hosts, "db1.example.org", "y") && is_here(&hosts, "x", "0123456789abcdef"));
        assert!(!is_here(&hosts, "db10", "y"));
    }
}
