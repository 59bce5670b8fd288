//! The runs of a store: a list that reads only the ends of each journal, and finding one by the beginning of its name.
//! A run whose journal cannot be read is listed as damaged, never left out.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::chain;
use super::disk;
use super::lease;
use super::record::{Event, Line};
use super::store::{RunDir, Store, StoreError};
use crate::base::text;

/// How a run stands, as far as the ends of its journal tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It can be gone on with.
    Unfinished,
    /// Every step is done.
    Completed,
    /// It was given up.
    Abandoned,
    /// Its folder was made, and its first event never reached the disk.
    NeverBegun,
    /// Its journal cannot be read; the text says why.
    Damaged(String),
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The run.
    pub dir: RunDir,
    /// How it stands.
    pub state: RunState,
    /// Its first line, when it could be read.
    pub opened: Option<Line>,
    /// Its last complete line, when it could be read.
    pub last: Option<Line>,
    /// Who drives it at this moment.
    pub driver: Option<String>,
}

impl Store {
    /// All runs, the newest last by the time of their beginning.
    pub fn runs(&self) -> Result<Vec<RunSummary>, StoreError> {
        let path = self.runs_dir();
        let failed =
            |error: io::Error| StoreError::Io { path: path.clone(), what: "read", why: disk::words(&error) };
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if let Some(dir) = RunDir::at(&entry.path()).filter(|_| !hidden) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    runs.push(summary(dir));
                } else {
                    let state = RunState::Damaged("it is not a folder".into());
                    runs.push(RunSummary { dir, state, opened: None, last: None, driver: None });
                }
            }
        }
        let began = |run: &RunSummary| run.opened.as_ref().map(|line| line.at.wall);
        runs.sort_by(|a, b| (began(a), &a.dir.run).cmp(&(began(b), &b.dir.run)));
        Ok(runs)
    }

    /// The run whose name begins with `prefix`; without one, the only unfinished run.
    pub fn find(&self, prefix: Option<&str>) -> Result<RunDir, StoreError> {
        let runs = self.runs()?;
        let store = || self.root().to_owned();
        let names = |runs: &[&RunSummary]| runs.iter().map(|run| run.dir.run.to_string()).collect();
        let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else {
            // A damaged run is not finished, and must not be passed over for another.
            let open: Vec<&RunSummary> = runs
                .iter()
                .filter(|r| matches!(r.state, RunState::Unfinished | RunState::Damaged(_)))
                .collect();
            return match open[..] {
                [] => Err(StoreError::NoUnfinished { store: store() }),
                [one] => Ok(one.dir.clone()),
                _ => Err(StoreError::Several { runs: names(&open) }),
            };
        };
        if let Some(exact) = runs.iter().find(|run| run.dir.run.as_str() == prefix) {
            return Ok(exact.dir.clone());
        }
        let fits: Vec<&RunSummary> =
            runs.iter().filter(|run| run.dir.run.as_str().starts_with(prefix)).collect();
        match fits[..] {
            [one] => Ok(one.dir.clone()),
            [] => {
                let near =
                    text::nearest(prefix, runs.iter().map(|run| run.dir.run.as_str())).map(str::to_owned);
                Err(StoreError::NoSuchRun { prefix: text::neutral(prefix), store: store(), near })
            }
            _ => Err(StoreError::Ambiguous { prefix: prefix.to_owned(), runs: names(&fits) }),
        }
    }
}

fn summary(dir: RunDir) -> RunSummary {
    let driver = lease::driver(&dir);
    let (state, opened, last) = match ends(&dir) {
        Ok(Ends { opened: None, .. }) => (RunState::NeverBegun, None, None),
        Ok(Ends { opened, last, state }) => (state, opened, last),
        Err(why) => (RunState::Damaged(why), None, None),
    };
    RunSummary { dir, state, opened, last, driver }
}

struct Ends {
    opened: Option<Line>,
    last: Option<Line>,
    state: RunState,
}

fn ends(dir: &RunDir) -> Result<Ends, String> {
    let nothing = Ends { opened: None, last: None, state: RunState::NeverBegun };
    super::read::plain(dir).map_err(|error| error.to_string())?;
    let file = match disk::options().read(true).open(dir.journal()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        other => other.map_err(|error| disk::words(&error))?,
    };
    let length = file.metadata().map_err(|error| disk::words(&error))?.size();
    let Some(first) = first_line(&file, length).map_err(|error| disk::words(&error))? else {
        return Ok(nothing);
    };
    let opened = chain::decode(&first).map_err(|why| format!("line 1: {why}"))?;
    match &opened.event {
        Event::Opened { run, .. } if *run == dir.run => {}
        Event::Opened { run, .. } => return Err(format!("it holds the journal of run {run}")),
        _ => return Err("line 1: it is not `opened`".into()),
    }
    let (mut last, mut state) = (None, None);
    let mut tail = Tail { file: &file, start: length, bytes: Vec::new(), trimmed: false };
    while state.is_none() {
        let Some(line) = tail.line_before().map_err(|error| disk::words(&error))? else { break };
        let line = chain::decode(&line).map_err(|why| format!("near its end: {why}"))?;
        state = match &line.event {
            Event::Completed { .. } => Some(RunState::Completed),
            Event::Abandoned { .. } => Some(RunState::Abandoned),
            // These may follow the end of a run without opening it again.
            Event::Released { .. } | Event::Lease { .. } => None,
            event if !event.drives() && !matches!(event, Event::Opened { .. }) => None,
            _ => Some(RunState::Unfinished),
        };
        last.get_or_insert(line);
    }
    Ok(Ends { opened: Some(opened), last, state: state.unwrap_or(RunState::Unfinished) })
}

const PART: u64 = 16 << 10;

fn first_line(file: &File, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        bytes.extend(super::read::from(file, at, PART.min(length - at))?);
        if let Some(end) = bytes[at as usize..].iter().position(|b| *b == b'\n') {
            bytes.truncate(at as usize + end);
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Complete lines from the end of a file backwards.
struct Tail<'a> {
    file: &'a File,
    /// Where `bytes` begin in the file.
    start: u64,
    bytes: Vec<u8>,
    /// True once what stands behind the last newline is gone.
    trimmed: bool,
}

impl Tail<'_> {
    fn line_before(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let newline = self.bytes.iter().rposition(|b| *b == b'\n');
            match (newline, self.trimmed) {
                (Some(at), false) => {
                    self.bytes.truncate(at);
                    self.trimmed = true;
                }
                (Some(at), true) => {
                    let line = self.bytes.split_off(at + 1);
                    self.bytes.truncate(at);
                    return Ok(Some(line));
                }
                (None, trimmed) if self.start == 0 => {
                    let line = std::mem::take(&mut self.bytes);
                    return Ok((trimmed && !line.is_empty()).then_some(line));
                }
                (None, _) => {
                    let part = PART.min(self.start);
                    let mut bytes = vec![0; part as usize];
                    self.file.read_exact_at(&mut bytes, self.start - part)?;
                    bytes.append(&mut self.bytes);
                    self.bytes = bytes;
                    self.start -= part;
                }
            }
        }
    }
}
