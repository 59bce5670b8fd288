//! Proves that a journal is whole: finds an edit, a reordering, a splice, a lost byte, a repeated line, lines of another
//! run, and leases that go backwards. With a head that was remembered elsewhere, also a cut tail and an old copy.
//!
//! What it cannot prove: a change of the very last line, a cut tail or a chain made anew from the start look whole to
//! anyone who does not hold a head from outside.

use std::io::BufRead as _;

use super::chain::{self, Hash};
use super::kind;
use super::record::Event;
use crate::base::{Digest, RunId};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} (byte {byte}): {what}")]
pub struct Damage {
    /// Counted from 1.
    pub line: u64,
    /// Offset of the line's first byte.
    pub byte: u64,
    /// What, in words.
    pub what: String,
}

/// A last record that was never finished: its writer died, or power was lost, before it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins; everything before is whole.
    pub byte: u64,
    /// Its length.
    pub bytes: u64,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Complete lines.
    pub lines: u64,
    /// The hash of the last complete line; of nothing in an empty journal.
    pub head: Option<Digest>,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Damage>,
    /// A torn tail is reported, and is no damage: it never counted.
    pub torn: Option<Torn>,
    hashes: Vec<Hash>,
}

impl Report {
    /// True when nothing is wrong.
    pub fn whole(&self) -> bool {
        self.problems.is_empty() && self.lines > 0
    }
}

/// What the chain needs to know of a line.
pub(super) struct Parsed<'a> {
    hash: Hash,
    envelope: Result<chain::Envelope<'a>, chain::DecodeError>,
}

impl<'a> Parsed<'a> {
    pub fn of(line: &'a [u8]) -> Self {
        Parsed { hash: chain::raw_hash(line), envelope: chain::envelope(line) }
    }
}

/// Where a reader stands in the chain. The same rules serve `verify`, opening, and lines that others appended.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    run: RunId,
    /// Complete lines so far; also the last sequence number of an undamaged journal.
    pub lines: u64,
    /// Offset of the next line.
    pub byte: u64,
    /// Hash of the last line.
    pub head: Hash,
    /// The newest fencing token.
    pub epoch: u64,
    seq: u64,
}

impl Cursor {
    pub fn start(run: &RunId) -> Self {
        let head = chain::raw_hash(run.as_str().as_bytes());
        Cursor { run: run.clone(), lines: 0, byte: 0, head, epoch: 0, seq: 0 }
    }

    /// The sequence number of the next line.
    pub fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// Takes one complete line, given without its newline. Goes on behind a damaged one, so that each damage is found once.
    pub fn step(&mut self, line: &[u8]) -> Result<(), Damage> {
        self.step_parsed(line, Parsed::of(line))
    }

    /// The same with what does not depend on other lines and can be made beforehand.
    pub fn step_parsed(&mut self, line: &[u8], Parsed { hash, envelope }: Parsed<'_>) -> Result<(), Damage> {
        let (number, byte) = (self.lines + 1, self.byte);
        let prev = std::mem::replace(&mut self.head, hash);
        self.lines = number;
        self.byte += line.len() as u64 + 1;
        let judged = match envelope {
            Ok(envelope) => self.judge(&envelope, &prev, line),
            Err(error) => {
                self.seq += 1;
                Err(error.to_string())
            }
        };
        judged.map_err(|what| Damage { line: number, byte, what })
    }

    fn judge(&mut self, line: &chain::Envelope<'_>, prev: &Hash, bytes: &[u8]) -> Result<(), String> {
        let want = self.next_seq();
        let before = want - 1;
        self.seq = line.seq;
        if self.lines == 1 {
            self.first(line, bytes)?;
        } else if line.what == "opened" {
            return Err("a second `opened`: lines of another journal begin here".into());
        }
        if line.seq != want {
            return Err(match line.seq {
                seq if seq > want => {
                    format!("its number is {seq}, after {before}: lines are missing before it")
                }
                seq => format!("its number is {seq}, after {before}: it is repeated or out of order"),
            });
        }
        if chain::unhex(line.prev.as_bytes()).as_ref() != Some(prev) {
            return Err(match self.lines {
                1 => format!("it does not begin the run {}: its `prev` is not the hash of that id", self.run),
                n => format!(
                    "its `prev` is not the hash of line {}: that line was changed, or this one does not belong here",
                    n - 1
                ),
            });
        }
        self.fencing(line)
    }

    fn first(&self, line: &chain::Envelope<'_>, bytes: &[u8]) -> Result<(), String> {
        if line.what != "opened" {
            return Err("the first line is not `opened`: the beginning is missing".into());
        }
        match chain::decode(bytes).map_err(|error| error.to_string())?.event {
            Event::Opened { run, .. } if run != self.run => {
                Err(format!("this is the journal of run {run}, not of {}", self.run))
            }
            _ => Ok(()),
        }
    }

    fn fencing(&mut self, line: &chain::Envelope<'_>) -> Result<(), String> {
        let newest = self.epoch;
        if line.what == "lease" {
            self.epoch = self.epoch.max(line.epoch);
            return match line.epoch {
                epoch if epoch == newest + 1 => Ok(()),
                epoch => {
                    Err(format!("a lease with epoch {epoch} follows epoch {newest}; {} was due", newest + 1))
                }
            };
        }
        match line.epoch {
            epoch if epoch == newest => Ok(()),
            0 if kind::anyone(&line.what) => Ok(()),
            epoch => Err(format!(
                "it carries epoch {epoch} while {newest} is the newest lease: no such driver may write"
            )),
        }
    }
}

/// Walks over complete lines, given without their newlines, and knows in the end what was torn.
///
/// A tail without a newline was never flushed. After a loss of power the length of a file can be on disk without
/// the bytes: then the unflushed append begins with zeros up to a sector's end. A line never holds a zero byte, and a
/// sector that is lost *later* takes the end of an older line with it, so the two cannot be confused.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    offset: u64,
}

impl<'a> Lines<'a> {
    /// `bytes` begin at `offset` in the file, and at the beginning of a line.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Lines { bytes, at: 0, offset }
    }

    /// What is left when the walk has ended.
    pub fn torn(&self) -> Option<Torn> {
        let bytes = (self.bytes.len() - self.at) as u64;
        (bytes > 0).then_some(Torn { byte: self.offset + self.at as u64, bytes })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if rest.first() == Some(&0) {
            let start = self.offset + self.at as u64;
            let zeros = rest.iter().take_while(|b| **b == 0).count() as u64;
            if !start.is_multiple_of(512) && (start + zeros).is_multiple_of(512) {
                return None;
            }
        }
        let mut reader = rest;
        let length = reader.skip_until(b'\n').unwrap_or(0);
        let line = rest[..length].strip_suffix(b"\n")?;
        self.at += length;
        Some(line)
    }
}

/// Checks a whole journal. `run` is what its folder is called.
pub fn verify(bytes: &[u8], run: &RunId) -> Report {
    let mut walk = Lines::new(bytes, 0);
    let lines: Vec<&[u8]> = walk.by_ref().collect();
    let mut cursor = Cursor::start(run);
    let mut report =
        Report { lines: 0, head: None, problems: Vec::new(), torn: walk.torn(), hashes: Vec::new() };
    report.hashes.reserve(lines.len());
    for (line, parsed) in lines.iter().zip(spread(&lines, Parsed::of)) {
        if let Err(damage) = cursor.step_parsed(line, parsed) {
            report.problems.push(damage);
        }
        report.hashes.push(cursor.head);
    }
    let last = lines.last().copied().unwrap_or_default();
    report.lines = cursor.lines;
    if cursor.lines == 0 {
        report.problems.push(Damage { line: 1, byte: 0, what: "the journal holds no complete line".into() });
        return report;
    }
    report.head = Some(chain::digest(&cursor.head));
    // No later line vouches for the last one; that it can be read in full is the least to ask.
    if let Err(error) = chain::decode(last)
        && report.problems.last().is_none_or(|damage| damage.line != cursor.lines)
    {
        let byte = cursor.byte - last.len() as u64 - 1;
        report.problems.push(Damage { line: cursor.lines, byte, what: error.to_string() });
    }
    report
}

/// Does the same to every line, on several cores when there are many lines.
pub(super) fn spread<'a, T: Send>(lines: &[&'a [u8]], act: impl Fn(&'a [u8]) -> T + Sync) -> Vec<T> {
    let all = |lines: &[&'a [u8]]| lines.iter().map(|line| act(line)).collect::<Vec<T>>();
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(lines.len() / 1024);
    if cores < 2 {
        return all(lines);
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> = lines
            .chunks(lines.len().div_ceil(cores))
            .map(|part| {
                // Where no more threads can be had, this one does the work.
                std::thread::Builder::new().spawn_scoped(scope, || all(part)).map_err(|_| part)
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| match part {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(part) => all(part),
            })
            .collect()
    })
}

/// How a journal stands to a head that was remembered elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadMatch {
    /// It ends exactly there.
    Last,
    /// It holds that line, and this many were added since.
    Grown(u64),
}

/// Compares with a head that a handoff printed: in full, or at least its first 12 characters.
pub fn verify_against_head(report: &Report, head: &str) -> Result<HeadMatch, String> {
    let head = head.trim().to_ascii_lowercase();
    if head.len() < 12 || head.len() > 64 || !head.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!(
            "`{head}` is not a head: give 12 to 64 hexadecimal characters, as the handoff printed them"
        ));
    }
    let at = report.hashes.iter().rposition(|hash| chain::digest(hash).as_str().starts_with(&head));
    match at.map(|at| report.hashes.len() - 1 - at) {
        Some(0) => Ok(HeadMatch::Last),
        Some(more) => Ok(HeadMatch::Grown(more as u64)),
        None => Err(format!(
            "this journal does not contain the head {head}: it is an older copy, its tail was cut, or it was changed"
        )),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
