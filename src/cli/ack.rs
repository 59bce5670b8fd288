//! `ack`: somebody got a page, and says the code that it carried. Also: where pages are on record.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::global::Cmd;
use super::session;
use crate::check::context::Outside;
use crate::check::people::pages::{self, Ack, Entry};
use crate::check::people::stamp::rounded;
use crate::engine::Exit;
use crate::journal::disk;
use crate::runbook::Runbook;
use crate::world::host;

/// The folder of the pages in a store.
pub fn folder(store: &Path) -> PathBuf {
    store.join("pages")
}

/// What checks may send: with `may_send` in the name of whoever asks; the folder is made when a check needs it.
pub fn outside(cmd: &Cmd, store: &Path, runbook: &Runbook, may_send: bool) -> Result<Outside, CliError> {
    let pages = folder(store);
    let checks = runbook.steps.iter().flat_map(|step| {
        let undo = step.rollback.iter().flat_map(|rollback| &rollback.postconditions);
        step.preconditions.iter().chain(&step.invariants).chain(&step.postconditions).chain(undo)
    });
    let checks = checks.chain(&runbook.checks);
    if may_send && checks.into_iter().any(|check| check.kind == "page_acknowledged") {
        match disk::create_dir(&pages) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let message = format!("{} cannot be made: {}", pages.display(), disk::words(&error));
                return Err(CliError::journal(message));
            }
            _ => {}
        }
    }
    Ok(Outside { may_send, pages: Some(pages), by: cmd.by() })
}

/// Acknowledges the page that carried this code.
pub fn ack(cmd: &Cmd, code: &str) -> Result<Exit, CliError> {
    let code: String = code.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let folder = folder(cmd.store()?.root());
    let found = session::runtime()?.block_on(pages::all(&folder, &*cmd.world.files))?;
    let found = found.map_err(CliError::journal)?;
    let mut carried = found.into_iter().filter(|entry| entry.page.carries(&code));
    let by = cmd.by();
    // Of several with the same code, the one that still waits for this person.
    let first = carried.next();
    let entry = match &first {
        Some(entry) if open(entry, &by) => first,
        _ => carried.find(|entry| open(entry, &by)).or(first),
    };
    let Some(Entry { page, ack }) = entry else {
        return Err(CliError::usage("no page carried this code").hint(format!(
            "read it again; a page sent from another machine is on record in that machine's store, not in {}",
            super::global::shown(folder.parent().unwrap_or(&folder))
        )));
    };
    if let Some(ack) = ack {
        cmd.print(&format!("{} has acknowledged it already, at {:.0}.\n", ack.by, ack.at.wall));
        return Ok(Exit::Done);
    }
    if !page.may_acknowledge(&by) {
        return Err(CliError::new(
            Exit::Waiting,
            format!("{} sent it, so somebody else has to acknowledge it", page.by),
        )
        .hint("it shows that a page reaches somebody who is not at this keyboard"));
    }
    let now = cmd.now();
    let ack = Ack { by, at: now, boot: host::boot_id() };
    let text = serde_json::to_vec_pretty(&ack).map_err(CliError::journal)?;
    put(&page.ack_file(&folder), &text).map_err(|error| {
        CliError::journal(format!("the acknowledgement was not written: {}", disk::words(&error)))
    })?;
    let took = pages::between(&page.sent, &page.boot, &now, &ack.boot).map_err(CliError::journal)?;
    let limit = std::time::Duration::from_millis(page.within_ms);
    let late = match took > limit {
        true => format!(", which is later than the {} that it had", rounded(limit)),
        false => String::new(),
    };
    if cmd.global.json {
        let value = serde_json::json!({
            "page": page.id, "sent_by": page.by, "acknowledged_by": ack.by, "seconds": took.as_secs(),
            "in_time": took <= limit,
        });
        cmd.print(&format!("{value:#}\n"));
    } else {
        cmd.print(&format!("acknowledged: {} sent it {} ago{late}.\n", page.by, rounded(took)));
    }
    Ok(Exit::Done)
}

fn open(entry: &Entry, by: &str) -> bool {
    entry.ack.is_none() && entry.page.may_acknowledge(by)
}

/// Puts a whole file in place, once: whoever looks sees all of it or nothing, and the first one stays.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension(format!("ack.{}.new", std::process::id()));
    disk::write_new(&aside, bytes)?;
    let linked = std::fs::hard_link(&aside, path);
    let _ = std::fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => path.parent().map_or(Ok(()), disk::sync_dir),
    }
}
