//! Needs by file system, and the verdict. Pure.

use std::fmt;

use serde_json::json;

use super::super::backing::Doubt;
use super::needs::Need;
use crate::base::Size;
use crate::base::text::{count, thousands};
use crate::check::Outcome;
use crate::world::files::Space;

/// What must stay available: both a share of the file system and a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Keep {
    pub share: f64,
    pub least: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { share: 10.0, least: 5 << 30 }
    }
}

impl Keep {
    fn of(self, total: u64) -> u64 {
        ((total as f64 * self.share / 100.0).ceil() as u64).max(self.least)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.share > 0.0, self.least > 0) {
            (true, true) => write!(f, "{} % and at least {}", self.share, Size(self.least)),
            (true, false) => write!(f, "{} %", self.share),
            _ => write!(f, "{}", Size(self.least)),
        }
    }
}

/// A file system with all that will be written to it.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub space: Space,
    pub needs: Vec<Need>,
    pub doubt: Option<Doubt>,
}

/// Adds a need to its file system.
pub(super) fn add(volumes: &mut Vec<Volume>, space: Space, need: Need, doubt: Option<Doubt>) {
    match volumes.iter_mut().find(|volume| volume.space.device == space.device) {
        Some(volume) => {
            // A directory with a quota of its own reports less than its neighbours.
            volume.space.available = volume.space.available.min(space.available);
            volume.space.read_only |= space.read_only;
            volume.needs.push(need);
        }
        None => volumes.push(Volume { space, needs: vec![need], doubt }),
    }
}

impl Volume {
    fn need(&self) -> u64 {
        self.needs.iter().map(|need| need.bytes).sum()
    }

    fn files(&self) -> u64 {
        self.needs.iter().map(|need| need.files).sum()
    }

    fn keep(&self, keep: Keep) -> u64 {
        if self.needs.iter().any(|need| need.keeps) { keep.of(self.space.total) } else { 0 }
    }

    /// Bytes that are missing, what must stay included.
    fn missing(&self, keep: Keep) -> u64 {
        (self.need() + self.keep(keep)).saturating_sub(self.space.available)
    }

    fn files_missing(&self) -> bool {
        self.space.inodes > 0 && self.files() > self.space.inodes_available
    }

    /// Why it is short, if it is.
    fn short(&self, keep: Keep) -> Option<String> {
        let at = self.space.path.display();
        if self.space.read_only {
            return Some(format!("{at} is mounted read-only"));
        }
        if self.missing(keep) > 0 {
            return Some(format!(
                "{at} is short of {}: {} needed and {} to stay free, {} available",
                Size(self.missing(keep)),
                Size(self.need()),
                Size(self.keep(keep)),
                Size(self.space.available)
            ));
        }
        self.files_missing().then(|| {
            format!(
                "{at} has {} inodes left, and about {} files are made",
                thousands(self.space.inodes_available),
                thousands(self.files())
            )
        })
    }

    fn line(&self, keep: Keep) -> String {
        let parts: Vec<String> =
            self.needs.iter().map(|need| format!("{} {}", need.what, Size(need.bytes))).collect();
        let left = self.space.available.saturating_sub(self.need());
        let after = if self.need() > self.space.available {
            "nothing after".to_owned()
        } else {
            format!("{} after", Size(left))
        };
        format!(
            "{} ({}): needs {} ({}), {} available, {after}, {} to stay free",
            self.space.path.display(),
            self.space.kind.as_deref().unwrap_or("unknown type"),
            Size(self.need()),
            parts.join(", "),
            Size(self.space.available),
            Size(self.keep(keep))
        )
    }
}

/// The verdict. `apart`: for a method that needs one file system, why it is not one (or why nobody knows).
pub(super) fn judge(
    volumes: &[Volume],
    keep: Keep,
    apart: Option<Result<String, String>>,
    wanted: String,
) -> Outcome {
    let mut short: Vec<String> = volumes.iter().filter_map(|volume| volume.short(keep)).collect();
    let mut unsure: Vec<String> = Vec::new();
    match apart {
        Some(Ok(why)) => short.insert(0, why),
        Some(Err(why)) => unsure.push(why),
        None => {}
    }
    unsure.extend(volumes.iter().filter_map(|volume| {
        let doubt = volume.doubt.as_ref()?;
        Some(format!(
            "the free space of {} ({}) may not be there: {}",
            volume.space.path.display(),
            doubt.word,
            doubt.why
        ))
    }));
    let more =
        |all: &[String]| if all.len() > 1 { format!(" (and {} more)", all.len() - 1) } else { String::new() };
    let outcome = match (short.first(), unsure.first()) {
        (Some(first), _) => Outcome::fail(format!("{first}{}", more(&short)), wanted).help(
            "free room there, extend it, or let the copy go elsewhere; the lines below have every part",
        ),
        (None, Some(first)) => Outcome::unknown(format!("{first}{}", more(&unsure)), wanted)
            .help("measure what lies behind it; if you vouch for its room, name its kind in `trust`"),
        (None, None) => {
            let total: u64 = volumes.iter().map(Volume::need).sum();
            let n = count(volumes.len() as u64, "file system", "file systems");
            let tight =
                volumes.iter().min_by_key(|v| v.space.available.saturating_sub(v.need() + v.keep(keep)));
            let least = tight.map_or(String::new(), |volume| {
                let left = volume.space.available.saturating_sub(volume.need());
                format!("; {} will have {} left", volume.space.path.display(), Size(left))
            });
            Outcome::pass(format!("{} fit on {n}{least}", Size(total)), wanted)
        }
    };
    let outcome = volumes.iter().fold(outcome, |outcome, volume| outcome.detail(volume.line(keep)));
    let outcome =
        short.iter().chain(&unsure).skip(1).fold(outcome, |outcome, line| outcome.detail(line.as_str()));
    let facts: Vec<_> = volumes
        .iter()
        .map(|volume| {
            json!({
                "path": volume.space.path.display().to_string(),
                "kind": volume.space.kind,
                "bytes_total": volume.space.total,
                "bytes_available": volume.space.available,
                "bytes_needed": volume.need(),
                "bytes_to_keep": volume.keep(keep),
                "bytes_missing": volume.missing(keep),
                "files_needed": volume.files(),
                "trusted": volume.doubt.is_none(),
            })
        })
        .collect();
    outcome.fact("file_systems", facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    const G: u64 = 1 << 30;

    fn space(device: u64, available: u64) -> Space {
        Space {
            path: format!("/fs{device}").into(),
            total: 100 * G,
            available,
            free: available,
            inodes: 10_000,
            inodes_available: 5_000,
            read_only: false,
            device,
            kind: Some("ext4".into()),
        }
    }

    fn need(what: &str, gib: u64, files: u64) -> Need {
        Need { what: what.into(), path: "/x".into(), bytes: gib * G, files, keeps: what != "logs" }
    }

    fn judged(all: Vec<(Space, Need, Option<Doubt>)>) -> Outcome {
        let mut volumes = Vec::new();
        all.into_iter().for_each(|(space, need, doubt)| add(&mut volumes, space, need, doubt));
        judge(&volumes, Keep::default(), None, "room".into())
    }

    #[test]
    fn needs_on_one_file_system_add_up() {
        let two = |last| {
            judged(vec![
                (space(1, 30 * G), need("data", 15, 0), None),
                (space(1, 30 * G), need("dump", last, 0), None),
            ])
        };
        assert_eq!(two(5).verdict, Verdict::Pass);
        let short = two(6);
        assert_eq!(short.verdict, Verdict::Fail);
        assert!(
            short.observed.contains("/fs1 is short of 1.00 GiB: 21.0 GiB needed and 10.0 GiB"),
            "{short:?}"
        );
        assert!(short.details[0].contains("data 15.0 GiB, dump 6.00 GiB"), "{short:?}");
        let apart = judged(vec![
            (space(1, 30 * G), need("data", 15, 0), None),
            (space(2, 30 * G), need("dump", 6, 0), None),
        ]);
        assert_eq!(apart.verdict, Verdict::Pass);
    }

    #[test]
    fn a_quota_on_one_directory_counts_and_so_do_inodes() {
        let quota = judged(vec![
            (space(1, 30 * G), need("data", 5, 0), None),
            (space(1, 12 * G), need("wal", 1, 0), None),
        ]);
        assert_eq!(quota.verdict, Verdict::Fail, "{quota:?}");
        let files = judged(vec![(space(1, 90 * G), need("data", 1, 5_001), None)]);
        assert!(files.verdict == Verdict::Fail && files.observed.contains("inodes"), "{files:?}");
        let logs = judged(vec![(space(1, G), need("logs", 1, 0), None)]);
        assert_eq!(logs.verdict, Verdict::Pass, "a log's file system may be small");
    }

    #[test]
    fn room_that_may_not_be_there_is_unknown_and_a_lack_of_it_is_certain() {
        let doubt = || Some(Doubt { word: "nfs4".into(), why: "quotas".into() });
        assert_eq!(judged(vec![(space(1, 90 * G), need("data", 1, 0), doubt())]).verdict, Verdict::Unknown);
        assert_eq!(judged(vec![(space(1, G), need("data", 1, 0), doubt())]).verdict, Verdict::Fail);
    }
}
