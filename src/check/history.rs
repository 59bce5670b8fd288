//! What a check saw earlier: a short series of its own samples, for rates and for "it has been so for ten minutes".
//!
//! Ages come from the boot clock, so that nobody can set them; samples of an earlier boot are forgotten. The series is
//! kept in the run's folder of samples when there is one, else for as long as the process lives.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Context;
use crate::base::Span;
use crate::world::host;

/// The largest file of samples that is read.
const LARGEST: u64 = 8 << 20;

/// How much of a series is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// How far back samples matter; the newest one beyond stays, too, so that "since longer than this" can be shown.
    pub reach: Span,
    /// Samples closer together than this say nothing new.
    pub closest: Span,
    /// Most samples; beyond, the older half is thinned out.
    pub most: usize,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample<T> {
    /// When, by the boot clock.
    pub boot_ms: u64,
    /// What was seen.
    pub value: T,
}

/// What was seen so far, oldest first; the last one is the look that was just added.
#[derive(Debug, Clone)]
pub struct Series<T> {
    /// The samples.
    pub samples: Vec<Sample<T>>,
    /// What went wrong with keeping them, for the evidence.
    pub trouble: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    samples: Vec<Sample<Value>>,
}

static IN_MEMORY: Mutex<Option<HashMap<String, Vec<Sample<Value>>>>> = Mutex::new(None);

/// Adds what was just seen, and returns what is known. `name` says what it is a series of, and must name the server by
/// what it is (its system identifier and place), not by its name in the runbook.
pub async fn add<T>(cx: &Context, name: &str, value: T, keep: Keep) -> Series<T>
where
    T: Serialize + DeserializeOwned + Clone,
{
    // Two checks of one kind that look back differently far do not share: the shorter would forget for the longer.
    let name = &format!("{name} {}", keep.reach.0.as_millis());
    let now = |value: &T| sample(cx.world.clock.now().boot_ms, value);
    let (samples, trouble) = match &cx.samples {
        None => match now(&value) {
            Ok(newest) => (in_memory(name, newest, keep), None),
            Err(why) => (Vec::new(), Some(why)),
        },
        Some(folder) => in_folder(cx, folder, name, keep, || now(&value)).await,
    };
    let mut samples: Vec<Sample<T>> = samples
        .into_iter()
        .filter_map(|old| {
            // Written by another version of the program: what cannot be read was not seen.
            Some(Sample { boot_ms: old.boot_ms, value: serde_json::from_value(old.value).ok()? })
        })
        .collect();
    if samples.is_empty() {
        samples.push(Sample { boot_ms: cx.world.clock.now().boot_ms, value });
    }
    Series { samples, trouble }
}

/// The name of a series: its kind, and a server's system identifier, host and data directory.
pub fn name_of(kind: &str, identity: &crate::world::Identity) -> String {
    use crate::world::Identity;
    match identity {
        Identity::Postgres(pg) => {
            format!("{kind} {} {} {}", pg.system_identifier, pg.host, pg.data_directory)
        }
        Identity::Sqlite(file) => format!("{kind} {} {}", file.host, file.path),
    }
}

fn sample<T: Serialize>(boot_ms: u64, value: &T) -> Result<Sample<Value>, String> {
    serde_json::to_value(value)
        .map(|value| Sample { boot_ms, value })
        .map_err(|e| format!("the sample could not be written down: {e}"))
}

fn in_memory(name: &str, newest: Sample<Value>, keep: Keep) -> Vec<Sample<Value>> {
    let mut all = IN_MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = all.get_or_insert_default().entry(name.to_owned()).or_default();
    push(samples, newest, keep);
    samples.clone()
}

/// Reads, adds, writes, with other writers kept out meanwhile. When the folder fails, it goes on in memory and says so.
async fn in_folder(
    cx: &Context,
    folder: &Path,
    name: &str,
    keep: Keep,
    now: impl Fn() -> Result<Sample<Value>, String>,
) -> (Vec<Sample<Value>>, Option<String>) {
    let path = folder.join(file_name(name));
    let files = &cx.world.files;
    let mut trouble = Vec::new();
    let guard = files.hold(&path).await;
    let mut kept = match read(cx, &path).await {
        Ok(kept) => kept,
        Err(why) => {
            trouble.push(format!("earlier samples could not be read, so that history begins anew: {why}"));
            Kept::default()
        }
    };
    let boot_id = host::boot_id();
    if kept.boot_id != boot_id {
        kept = Kept { boot_id, samples: Vec::new() };
    }
    let newest = match now() {
        Ok(newest) => newest,
        Err(why) => return (kept.samples, Some(why)),
    };
    push(&mut kept.samples, newest.clone(), keep);
    let written = match (&guard, serde_json::to_vec(&kept)) {
        (Ok(_), Ok(text)) => files.replace(&path, &text).await,
        (Err(why), _) => Err(why.clone()),
        (_, Err(e)) => Err(e.to_string()),
    };
    if let Err(why) = written {
        // The disk may be full, which is when history matters most.
        trouble.push(format!("the sample could not be kept: {why}"));
        let remembered = in_memory(name, newest, keep);
        if remembered.len() > kept.samples.len() {
            kept.samples = remembered;
        }
    }
    let trouble = (!trouble.is_empty()).then(|| trouble.join("; "));
    (kept.samples, trouble)
}

async fn read(cx: &Context, path: &Path) -> Result<Kept, String> {
    match cx.world.files.stat(path).await? {
        None => Ok(Kept::default()),
        Some(_) => serde_json::from_slice(&cx.world.files.read(path, LARGEST).await?)
            .map_err(|e| format!("{}: {e}", path.display())),
    }
}

/// A name for a file: what can be read of the series' name, and a sum of all of it.
fn file_name(name: &str) -> String {
    let plain: String =
        name.chars().take_while(|c| *c != ' ').filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    // FNV-1a: names that differ must not meet; nobody attacks here.
    let sum = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut file = plain;
    let _ = write!(file, "-{sum:016x}.json");
    file
}

fn push(samples: &mut Vec<Sample<Value>>, newest: Sample<Value>, keep: Keep) {
    // A sample from the future is damage: this clock does not go back within one boot.
    samples.retain(|sample| sample.boot_ms <= newest.boot_ms);
    samples.sort_by_key(|sample| sample.boot_ms);
    let ms = |span: Span| span.0.as_millis() as u64;
    let beneath = samples.len().checked_sub(2).and_then(|i| samples.get(i));
    if beneath.is_some_and(|before| newest.boot_ms - before.boot_ms < ms(keep.closest)) {
        samples.pop();
    }
    let oldest = newest.boot_ms.saturating_sub(ms(keep.reach));
    let beyond = samples.iter().filter(|sample| sample.boot_ms <= oldest).count();
    samples.drain(..beyond.saturating_sub(1));
    samples.push(newest);
    if samples.len() > keep.most.max(4) {
        // Every second of the older half goes: the series reaches as far, only coarser.
        let half = samples.len() / 2;
        let mut place = 0;
        samples.retain(|_| {
            place += 1;
            place > half || place % 2 == 1
        });
    }
}

impl<T> Series<T> {
    /// The look that was just added.
    pub fn now_ms(&self) -> u64 {
        self.samples.last().map_or(0, |last| last.boot_ms)
    }

    /// From the first look to the last.
    pub fn reach(&self) -> Span {
        Span::millis(self.samples.first().map_or(0, |first| self.now_ms() - first.boot_ms))
    }

    /// How long it has been so at every look, the last one included; `None` when the last look does not show it.
    pub fn held_for(&self, holds: impl Fn(&T) -> bool) -> Option<Span> {
        let since = self.samples.iter().rev().take_while(|sample| holds(&sample.value)).last()?;
        Some(Span::millis(self.now_ms() - since.boot_ms))
    }

    /// How long ago the last look was that showed it; `None` when none did.
    pub fn last_seen(&self, shows: impl Fn(&T) -> bool) -> Option<Span> {
        let seen = self.samples.iter().rev().find(|sample| shows(&sample.value))?;
        Some(Span::millis(self.now_ms() - seen.boot_ms))
    }

    /// The newest look that is at least this old.
    pub fn before(&self, age: Span) -> Option<&Sample<T>> {
        let age = age.0.as_millis() as u64;
        self.samples.iter().rev().find(|sample| self.now_ms() - sample.boot_ms >= age)
    }

    /// The fastest growth per second over each of `windows` and over the whole series; `None` when no look is at least
    /// `shortest` old. Zero when nothing grew.
    pub fn fastest(&self, windows: &[Span], shortest: Span, of: impl Fn(&T) -> f64) -> Option<f64> {
        let last = self.samples.last()?;
        let first = self.samples.first()?;
        let mut starts: Vec<&Sample<T>> =
            windows.iter().filter_map(|window| self.before((*window).max(shortest))).collect();
        starts.push(first);
        starts
            .into_iter()
            .filter(|from| {
                Span::millis(last.boot_ms - from.boot_ms) >= shortest && last.boot_ms > from.boot_ms
            })
            .map(|from| {
                let seconds = (last.boot_ms - from.boot_ms) as f64 / 1000.0;
                ((of(&last.value) - of(&from.value)) / seconds).max(0.0)
            })
            .fold(None, |fastest: Option<f64>, rate| Some(fastest.map_or(rate, |f| f.max(rate))))
    }
}

#[cfg(test)]
mod tests;
