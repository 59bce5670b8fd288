//! Samples of a file system's free space, or of a server's write-ahead log: kept for the process, and in the run's own folder when there is one, so that
//! a resumed run knows the rate at once. Bounded; from this boot only, since ages come from the boot clock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::Span;
use crate::check::Context;
use crate::world::host;

/// Most samples kept of one file system.
const MOST: usize = 240;
/// Samples closer together than this say nothing new.
const CLOSEST_MS: u64 = 500;
/// The shortest distance over which a rate is taken.
const SHORTEST_MS: u64 = 30_000;

/// One look at a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub boot_ms: u64,
    pub available: u64,
    pub inodes: u64,
    pub total: u64,
    /// Where the write-ahead log has come to; 0 in samples of a file system.
    #[serde(default)]
    pub position: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    samples: Vec<Sample>,
}

static IN_MEMORY: Mutex<Option<HashMap<String, Vec<Sample>>>> = Mutex::new(None);

/// Adds a sample; the samples of this series (`disk-fe01`) within the window, oldest first, and what went wrong on the way.
pub(super) async fn add(
    cx: &Context,
    series: &str,
    now: Sample,
    window: Span,
) -> (Vec<Sample>, Option<String>) {
    let Some(dir) = &cx.samples else {
        let mut all = IN_MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.get_or_insert_default().entry(series.to_owned()).or_default();
        push(samples, now);
        return (within(samples, window), None);
    };
    let path: PathBuf = dir.join(format!("{series}.json"));
    let boot_id = host::boot_id();
    let mut trouble = None;
    let mut kept = Kept::default();
    match cx.world.files.stat(&path).await {
        Ok(None) => {}
        Ok(Some(_)) => {
            match cx.world.files.read(&path, 1 << 20).await.map(|text| serde_json::from_slice(&text)) {
                Ok(Ok(found)) => kept = found,
                Ok(Err(e)) => {
                    trouble = Some(format!("earlier samples could not be read: {}: {e}", path.display()))
                }
                Err(why) => trouble = Some(format!("earlier samples could not be read: {why}")),
            }
        }
        Err(why) => trouble = Some(format!("earlier samples could not be read: {why}")),
    }
    if kept.boot_id != boot_id {
        kept = Kept { boot_id, samples: Vec::new() };
    }
    push(&mut kept.samples, now);
    let written = match serde_json::to_vec(&kept) {
        Ok(text) => cx.world.files.replace(&path, &text).await,
        Err(e) => Err(e.to_string()),
    };
    if let Err(why) = written {
        // The disk may be full, which is when the samples matter most: go on in memory.
        trouble = Some(format!("the sample could not be kept: {why}"));
        let mut all = IN_MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.get_or_insert_default().entry(series.to_owned()).or_default();
        if samples.is_empty() {
            *samples = kept.samples;
        } else {
            push(samples, now);
        }
        return (within(samples, window), trouble);
    }
    (within(&kept.samples, window), trouble)
}

fn push(samples: &mut Vec<Sample>, now: Sample) {
    // Another size: the file system was grown, or it is another one under an old number.
    if samples.last().is_some_and(|last| last.total != now.total || last.boot_ms > now.boot_ms) {
        samples.clear();
    }
    let beneath = samples.len().checked_sub(2).and_then(|i| samples.get(i));
    if beneath.is_some_and(|before| now.boot_ms - before.boot_ms < CLOSEST_MS) {
        samples.pop();
    }
    samples.push(now);
    if samples.len() > MOST {
        // Every second of the older half goes: the window stays as long, only coarser.
        let half = samples.len() / 2;
        let mut place = 0;
        samples.retain(|_| {
            place += 1;
            place > half || place % 2 == 1
        });
    }
}

fn within(samples: &[Sample], window: Span) -> Vec<Sample> {
    let now = samples.last().map_or(0, |last| last.boot_ms);
    let longest = window.0.as_millis() as u64;
    let recent: Vec<Sample> =
        samples.iter().filter(|sample| now - sample.boot_ms <= longest).copied().collect();
    // Measured more seldom than the window is long: three regular samples are a rate, too. After a break they are not
    // regular, and the average over the break would hide what happens now.
    match samples {
        [.., a, b, c] if recent.len() < 3 => {
            let (first, second) = (b.boot_ms - a.boot_ms, c.boot_ms - b.boot_ms);
            if first.max(second) <= first.min(second).saturating_mul(2) { vec![*a, *b, *c] } else { recent }
        }
        _ => recent,
    }
}

/// The fastest loss per second of what `of` reads, over the last 30 s, a quarter of the window, and all of it; zero when
/// nothing was lost.
pub(super) fn fastest(samples: &[Sample], window: Span, of: impl Fn(&Sample) -> u64) -> f64 {
    let Some(now) = samples.last() else { return 0.0 };
    let window = window.0.as_millis() as u64;
    let mut rate: f64 = 0.0;
    for back in [SHORTEST_MS, window / 4, window] {
        // The nearest sample at least that old, but never one so near that chance rules; else the oldest.
        let back = back.max(SHORTEST_MS);
        let from =
            samples.iter().rev().find(|sample| now.boot_ms - sample.boot_ms >= back).or(samples.first());
        if let Some(from) = from
            && now.boot_ms - from.boot_ms >= SHORTEST_MS
        {
            let seconds = (now.boot_ms - from.boot_ms) as f64 / 1000.0;
            rate = rate.max(of(from).saturating_sub(of(now)) as f64 / seconds);
        }
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn sample(boot_ms: u64, available: u64) -> Sample {
        Sample { boot_ms, available, inodes: 0, total: 1000, position: 0 }
    }

    #[test]
    fn samples_are_bounded_and_keep_their_reach() {
        let mut samples = Vec::new();
        (0..10_000).for_each(|i| push(&mut samples, sample(i * 1000, 5)));
        assert!(samples.len() <= MOST, "{}", samples.len());
        assert_eq!(samples.first().map(|s| s.boot_ms), Some(0));
        assert_eq!(samples.last().map(|s| s.boot_ms), Some(9_999_000));
        push(&mut samples, Sample { total: 2000, ..sample(10_000_000, 5) });
        assert_eq!(samples.len(), 1, "another size is another file system");
    }

    #[test]
    fn a_crowd_of_samples_counts_once() {
        let mut samples = Vec::new();
        (0..100).for_each(|i| push(&mut samples, sample(i * 10, 5)));
        assert!(samples.len() < 5, "{}", samples.len());
    }

    #[test]
    fn seldom_but_regular_samples_reach_beyond_the_window() {
        let minutes = |all: &[u64]| all.iter().map(|m| sample(m * 60_000, 5)).collect::<Vec<_>>();
        let window = Span::secs(600);
        assert_eq!(within(&minutes(&[0, 30, 60]), window).len(), 3, "every half hour");
        assert_eq!(within(&minutes(&[0, 1, 300]), window).len(), 1, "after a break");
    }

    #[tokio::test]
    async fn samples_outlive_the_process_in_the_folder_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut cx = Context::local(World::local());
        cx.samples = Some(dir.path().to_owned());
        let window = Span::secs(600);
        for i in 1..=3 {
            let (seen, trouble) = add(&cx, "disk-4d", sample(i * 20_000, 500 - i), window).await;
            assert_eq!((seen.len() as u64, trouble), (i, None));
        }
        std::fs::write(dir.path().join("disk-4d.json"), "{half").unwrap();
        let (seen, trouble) = add(&cx, "disk-4d", sample(80_000, 400), window).await;
        assert_eq!(seen.len(), 1);
        assert!(trouble.unwrap().contains("could not be read"));
        cx.samples = Some(dir.path().join("gone/for/good"));
        let (seen, trouble) = add(&cx, "disk-4d", sample(90_000, 400), window).await;
        assert_eq!(seen.len(), 1);
        assert!(trouble.unwrap().contains("could not be kept"));
        assert_eq!(
            add(&cx, "disk-4d", sample(100_000, 400), window).await.0.len(),
            2,
            "it goes on in memory"
        );
    }
}
