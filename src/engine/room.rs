//! The forecast of `plan`: which file systems the steps' `space` is about, how large things are, and whether all of it
//! fits. Asks the disk and the servers; changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::forecast::{Change, Claim, Sum, add_up};
use crate::check::Context;
use crate::check::storage::{backing, target_size};
use crate::runbook::Runbook;
use crate::runbook::space::{Space, SpaceAmount};
use crate::world::files::Space as Disk;

/// The longest that measuring one target's size may take.
const SIZING: Duration = Duration::from_secs(60);

/// A file system with what the run does to it.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The paths that the steps name, each once.
    pub paths: Vec<String>,
    /// The file system; the error says why it cannot be measured.
    pub disk: Result<Disk, String>,
    /// Why its free space may not be there, if so.
    pub doubt: Option<String>,
    /// What is taken and given back, in the order of the steps.
    pub claims: Vec<Claim>,
}

impl Volume {
    /// Adds it up; with nothing available when nobody can say what is.
    pub fn sum(&self) -> Sum {
        add_up(self.disk.as_ref().map_or(0, |disk| disk.available), &self.claims)
    }
}

/// True when any step says something about room.
pub fn declared(runbook: &Runbook) -> bool {
    runbook.steps.iter().any(|step| !step.space.is_empty())
}

/// All file systems that the steps name, in the order in which they come.
pub async fn forecast(runbook: &Runbook, cx: &Context) -> Vec<Volume> {
    let sizes = sizes(runbook, cx).await;
    let mut volumes: Vec<Volume> = Vec::new();
    for (at, step) in runbook.steps.iter().enumerate() {
        for space in &step.space {
            let claim = claim(runbook, at, space, &sizes);
            let disk = cx.world.files.space(Path::new(&space.path)).await;
            let same = |volume: &&mut Volume| match (&volume.disk, &disk) {
                (Ok(known), Ok(disk)) => known.device == disk.device,
                (Err(_), Err(_)) => volume.paths.contains(&space.path),
                _ => false,
            };
            match volumes.iter_mut().find(same) {
                Some(volume) => {
                    if !volume.paths.contains(&space.path) {
                        volume.paths.push(space.path.clone());
                    }
                    if let (Ok(known), Ok(disk)) = (&mut volume.disk, &disk) {
                        // A directory with a quota of its own reports less than its neighbours.
                        known.available = known.available.min(disk.available);
                    }
                    volume.claims.push(claim);
                }
                None => {
                    let doubt = match &disk {
                        Ok(disk) => backing::doubt(disk, cx).await.map(|doubt| doubt.why),
                        Err(_) => None,
                    };
                    volumes.push(Volume {
                        paths: vec![space.path.clone()],
                        disk,
                        doubt,
                        claims: vec![claim],
                    });
                }
            }
        }
    }
    volumes
}

/// The size of each target that a step's room depends on, measured once, side by side.
async fn sizes(runbook: &Runbook, cx: &Context) -> BTreeMap<String, Result<u64, String>> {
    let amounts = runbook.steps.iter().flat_map(|step| &step.space);
    let amounts = amounts.filter_map(|space| space.needs.as_ref().or(space.frees.as_ref()));
    let mut names: Vec<&String> = amounts
        .filter_map(|amount| match amount {
            SpaceAmount::Times(times) => Some(&times.size_of),
            SpaceAmount::Bytes(_) => None,
        })
        .collect();
    names.sort();
    names.dedup();
    let each = names.into_iter().map(async |name| {
        let size = match tokio::time::timeout(SIZING, target_size::measure(name, cx)).await {
            Ok(Ok(size)) if size.bytes == 0 => Err(format!("{name} has a size of 0 B: nothing to multiply")),
            Ok(Ok(size)) => Ok(size.bytes),
            Ok(Err(why)) => Err(format!("the size of {name} is not known: {why}")),
            Err(_) => Err(format!("the size of {name} is not known: no answer within a minute")),
        };
        (name.clone(), size)
    });
    futures::future::join_all(each).await.into_iter().collect()
}

fn claim(
    runbook: &Runbook,
    at: usize,
    space: &Space,
    sizes: &BTreeMap<String, Result<u64, String>>,
) -> Claim {
    let until = space.until.as_ref().map(|id| runbook.steps.iter().position(|step| step.id == *id));
    let (amount, change) = match (&space.needs, &space.frees) {
        (Some(amount), _) => (Some(amount), Change::Takes(until.flatten())),
        (None, amount) => (amount.as_ref(), Change::Frees),
    };
    let bytes = match amount {
        Some(SpaceAmount::Bytes(size)) => Ok(size.0),
        Some(SpaceAmount::Times(times)) => match sizes.get(&times.size_of) {
            Some(size) => size.clone().map(|bytes| (bytes as f64 * times.times).ceil() as u64),
            None => Err(format!("the size of {} was not measured", times.size_of)),
        },
        None => Err("the runbook does not say how much".to_owned()),
    };
    let what = space.what.clone().unwrap_or_else(|| space.path.clone());
    Claim { step: at, what, change, bytes }
}
