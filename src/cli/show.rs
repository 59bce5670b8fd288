//! Commands that show and change nothing: `status`, `runs`, `watch`, `log`, `verify`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::args::LogFormat;
use super::error::CliError;
use super::global::Cmd;
use super::{receipts, session, walk};
use crate::base::RunId;
use crate::base::text::neutral;
use crate::engine::Exit;
use crate::journal::read::{self, Entry};
use crate::journal::record::Event;
use crate::journal::verify::{self, HeadMatch};
use crate::journal::{RunDir, chain};
use crate::report::{self, json, log, standing};
use crate::ui::{status, words};

/// Where a run stands.
pub fn status(cmd: &Cmd, run: Option<&str>) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    print_status(cmd, &dir)?;
    Ok(Exit::Done)
}

/// Prints where a run stands.
pub fn print_status(cmd: &Cmd, dir: &RunDir) -> Result<(), CliError> {
    let (_, state) = session::peek(dir)?;
    let bound = session::readable(cmd, dir, &state)?;
    let around = walk::around(cmd, walk::holder_alive(&state));
    let standing = standing::standing(&bound.runbook, &state, &around);
    cmd.print(&if cmd.global.json {
        json::status(&standing)
    } else {
        status::status(&standing, &cmd.now(), &cmd.style)
    });
    Ok(())
}

/// All runs.
pub fn runs(cmd: &Cmd) -> Result<Exit, CliError> {
    let store = cmd.store()?;
    let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
    for summary in store.runs().map_err(CliError::journal)? {
        let row = session::peek(&summary.dir).and_then(|(_, state)| {
            let bound = session::readable(cmd, &summary.dir, &state)?;
            Ok(standing::RunRow::of(&bound.runbook, &state, &cmd.now()))
        });
        match row {
            Ok(row) => rows.push(row),
            Err(error) => unreadable.push((summary.dir.run.0.clone(), error.message)),
        }
    }
    let text = if cmd.global.json {
        json::runs(&rows, &unreadable)
    } else {
        status::runs(&rows, &unreadable, &cmd.now(), &cmd.style)
    };
    cmd.print(&text);
    Ok(Exit::Done)
}

/// The handoff log. Of a damaged journal it shows what can be read, says what cannot, and fails.
pub fn log(cmd: &Cmd, run: Option<&str>, format: LogFormat) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    let reading = read::read(&dir).map_err(CliError::journal)?;
    let (mut lines, mut unread) = (Vec::new(), Vec::new());
    for (n, entry) in reading.entries.into_iter().enumerate() {
        match entry {
            Entry::Known(line) => lines.push(*line),
            Entry::Raw { why, .. } => unread.push(format!("line {} cannot be read: {why}", n + 1)),
        }
    }
    let format = if cmd.global.json { LogFormat::Jsonl } else { format };
    cmd.print(&match format {
        LogFormat::Text => log::text(&lines),
        LogFormat::Markdown => log::markdown(&lines),
        LogFormat::Jsonl => log::jsonl(&lines, cmd.style.live).map_err(CliError::journal)?,
    });
    let damage = reading.report.problems.iter().map(ToString::to_string);
    let wrong: Vec<String> = unread.into_iter().chain(damage).collect();
    if wrong.is_empty() {
        return Ok(Exit::Done);
    }
    wrong.iter().for_each(|what| cmd.err(&format!("damaged: {}\n", neutral(what))));
    Err(CliError::journal(format!("{} is damaged: do not rely on what is shown", dir.journal().display()))
        .hint("`holdpoint verify` lists all damage"))
}

/// Follows a run until it ends.
pub fn watch(cmd: &Cmd, run: Option<&str>) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    let (mut shown, mut size) = (0, None);
    loop {
        // Most of the time nothing happens, and a journal may be long.
        let now = std::fs::metadata(dir.journal()).map(|meta| (meta.len(), meta.ino())).ok();
        if now.is_none() || now != size {
            let (lines, state) = session::peek(&dir)?;
            for line in lines.iter().filter(|line| line.seq > shown) {
                let text = if cmd.global.json {
                    log::jsonl(std::slice::from_ref(line), cmd.style.live).map_err(CliError::journal)?
                } else {
                    words::render(&report::words::line(line), Some(line.at.wall), &cmd.style, true)
                };
                if cmd.out.print(&text).is_err() || cmd.out.closed() {
                    return Ok(Exit::Done);
                }
            }
            shown = state.seq;
            size = now;
            if state.end.is_some() {
                return Ok(Exit::Done);
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Proves that a journal is whole.
pub fn verify(cmd: &Cmd, what: &str, head: Option<&str>, signers: Option<&Path>) -> Result<Exit, CliError> {
    let path = Path::new(what);
    if let Some(bytes) = receipts::read(path).filter(|bytes| receipts::is_one(bytes)) {
        return receipts::verify(cmd, path, &bytes, head, signers);
    }
    let (path, run) = if path.is_file() {
        (path.to_owned(), run_of(path)?)
    } else {
        let dir = cmd.find(Some(what))?;
        (dir.journal(), dir.run.clone())
    };
    let bytes = std::fs::read(&path)
        .map_err(|e| CliError::journal(format!("cannot read {}: {e}", path.display())))?;
    let report = verify::verify(&bytes, &run);
    let mut text = String::new();
    let whole = report.whole();
    for damage in &report.problems {
        text.push_str(&format!("damaged: {damage}\n"));
    }
    let mut matches = true;
    if let Some(head) = head {
        match verify::verify_against_head(&report, head) {
            Ok(HeadMatch::Last) => text.push_str("the head is the last line\n"),
            Ok(HeadMatch::Grown(more)) => {
                text.push_str(&format!("the head is there; {more} lines came after it\n"))
            }
            Err(why) => {
                matches = false;
                text.push_str(&format!("{why}\n"));
            }
        }
    }
    if cmd.global.json {
        let value = serde_json::json!({
            "run": run, "lines": report.lines, "head": report.head, "whole": whole, "head_matches": matches,
            "damage": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        cmd.print(&format!("{value:#}\n"));
    } else {
        if whole {
            text.push_str(&format!(
                "whole: {} lines of run {run}\nhead: {}\n",
                report.lines,
                report.head.clone().unwrap_or_else(|| "none".into())
            ));
        }
        if let Some(torn) = &report.torn {
            text.push_str(&format!(
                "a last record of {} bytes was never finished; it never counted\n",
                torn.bytes
            ));
        }
        if whole && head.is_none() {
            text.push_str(
                "A chain alone cannot show that its last lines were cut off, or that an older\n\
                 copy was put in its place: compare with the head that a handoff printed (--head).\n",
            );
        }
        cmd.print(&text);
    }
    Ok(if whole && matches { Exit::Done } else { Exit::Journal })
}

/// The run that a journal file says it is of, in its first line.
fn run_of(path: &Path) -> Result<RunId, CliError> {
    use std::io::BufRead as _;
    let cannot =
        |why: &dyn std::fmt::Display| CliError::journal(format!("{} is no journal: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| cannot(&e))?;
    let mut first = Vec::new();
    let limit = 1 << 20;
    std::io::BufReader::new(std::io::Read::take(file, limit))
        .read_until(b'\n', &mut first)
        .map_err(|e| cannot(&e))?;
    let line = chain::decode(first.strip_suffix(b"\n").unwrap_or(&first)).map_err(|e| cannot(&e))?;
    match line.event {
        Event::Opened { run, .. } => Ok(run),
        _ => Err(cannot(&"it does not begin with `opened`")),
    }
}
