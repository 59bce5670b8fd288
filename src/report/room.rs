//! The forecast of room as facts: for each file system what the run takes, when most of it, and whether it lasts.

use serde::Serialize;

use crate::engine::forecast::{Claim, Fits};
use crate::engine::room::Volume;
use crate::runbook::Runbook;

/// What comes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It fits at every step.
    Fits,
    /// It does not.
    RunsOut,
    /// Something could not be measured.
    Unknown,
}

/// A step, by number and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct At {
    /// 1, 2, …
    pub number: usize,
    /// Its id.
    pub step: String,
}

/// Something that is taken or given back.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What.
    pub what: String,
    /// Bytes; `None` when nobody knows.
    pub bytes: Option<u64>,
    /// Why nobody knows.
    pub why_unknown: Option<String>,
}

/// A step at which something changes.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The step.
    #[serde(flatten)]
    pub at: At,
    /// What it takes.
    pub takes: Vec<Part>,
    /// What is there again after it.
    pub gives_back: Vec<Part>,
    /// Bytes in use by the run while it works, as far as they are known.
    pub bytes_used: i128,
    /// Bytes available while it works, as far as they are known; less than zero is what is missing.
    pub bytes_left: Option<i128>,
    /// False when something that counts here is not known.
    pub known: bool,
}

/// A file system.
#[derive(Debug, Clone, Serialize)]
pub struct FileSystem {
    /// The paths that the steps name.
    pub paths: Vec<String>,
    /// Where it was measured; `None` when it could not be.
    pub measured_at: Option<String>,
    /// Its type, when known.
    pub kind: Option<String>,
    /// Its size.
    pub bytes_total: Option<u64>,
    /// What an ordinary user gets of it now.
    pub bytes_available: Option<u64>,
    /// Why it could not be measured.
    pub why_unknown: Option<String>,
    /// Why its free space may not be there.
    pub doubt: Option<String>,
    /// What comes of it.
    pub verdict: Verdict,
    /// The most that the run uses of it at once, as far as it is known.
    pub bytes_peak: Option<i128>,
    /// When.
    pub peak_at: Option<At>,
    /// The first step at which there is not enough.
    pub runs_out_at: Option<At>,
    /// What is missing then.
    pub bytes_short: Option<i128>,
    /// The first step at which nobody knows.
    pub unknown_from: Option<At>,
    /// Every step at which something changes.
    pub steps: Vec<Row>,
}

/// The forecast.
#[derive(Debug, Clone, Serialize)]
pub struct Room {
    /// The worst of all: one that runs out, else one that is unknown.
    pub verdict: Verdict,
    /// File systems, in the order in which the steps name them.
    pub file_systems: Vec<FileSystem>,
}

/// The forecast in the runbook's words.
pub fn room(runbook: &Runbook, volumes: &[Volume]) -> Room {
    let at = |step: usize| At {
        number: step + 1,
        step: runbook.steps.get(step).map(|step| step.id.clone()).unwrap_or_default(),
    };
    let file_systems: Vec<FileSystem> = volumes.iter().map(|volume| file_system(volume, &at)).collect();
    let any = |verdict| file_systems.iter().any(|fs| fs.verdict == verdict);
    let verdict = match () {
        () if any(Verdict::RunsOut) => Verdict::RunsOut,
        () if any(Verdict::Unknown) => Verdict::Unknown,
        () => Verdict::Fits,
    };
    Room { verdict, file_systems }
}

fn file_system(volume: &Volume, at: &dyn Fn(usize) -> At) -> FileSystem {
    let sum = volume.sum();
    let disk = volume.disk.as_ref().ok();
    let left = |used: i128| disk.map(|disk| i128::from(disk.available) - used);
    let read_only = disk.is_some_and(|disk| disk.read_only);
    let fits = match (disk, sum.rows.first()) {
        (None, Some(first)) => Fits::Unknown(first.step),
        (Some(_), Some(first)) if read_only => Fits::No(first.step),
        _ => sum.fits,
    };
    let rows: Vec<Row> = sum
        .rows
        .iter()
        .map(|row| Row {
            at: at(row.step),
            takes: row.taken.iter().map(part).collect(),
            gives_back: row.given.iter().map(part).collect(),
            bytes_used: row.used,
            bytes_left: left(row.used),
            known: row.known,
        })
        .collect();
    let used_at = |step: usize| sum.rows.iter().find(|row| row.step == step).map_or(0, |row| row.used);
    let peak = sum.peak.and_then(|at| sum.rows.get(at));
    FileSystem {
        paths: volume.paths.clone(),
        measured_at: disk.map(|disk| disk.path.display().to_string()),
        kind: disk.and_then(|disk| disk.kind.clone()),
        bytes_total: disk.map(|disk| disk.total),
        bytes_available: disk.map(|disk| disk.available),
        why_unknown: volume.disk.as_ref().err().cloned(),
        doubt: match read_only {
            true => Some("it is mounted read-only".to_owned()),
            false => volume.doubt.clone(),
        },
        verdict: match fits {
            Fits::Yes => Verdict::Fits,
            Fits::No(_) => Verdict::RunsOut,
            Fits::Unknown(_) => Verdict::Unknown,
        },
        bytes_peak: peak.map(|row| row.used),
        peak_at: peak.map(|row| at(row.step)),
        runs_out_at: if let Fits::No(step) = fits { Some(at(step)) } else { None },
        bytes_short: match fits {
            Fits::No(step) => left(used_at(step)).map(|left| (-left).max(0)),
            _ => None,
        },
        unknown_from: if let Fits::Unknown(step) = fits { Some(at(step)) } else { None },
        steps: rows,
    }
}

fn part(claim: &Claim) -> Part {
    Part {
        what: claim.what.clone(),
        bytes: claim.bytes.as_ref().ok().copied(),
        why_unknown: claim.bytes.as_ref().err().cloned(),
    }
}
