//! The local files that a runbook's steps call, with their digests. A script that was changed after the rehearsal was not
//! rehearsed.

use std::path::Path;

use super::receipt::Script;
use crate::base::Digest;
use crate::lint::{self, Beside};
use crate::runbook::Runbook;
use crate::runbook::load::Document;

/// Nothing that is larger is a script.
const MAX_BYTES: u64 = 8 << 20;

/// Files beside the runbook that its steps call, with the values that are valid here: what is called only there was not
/// rehearsed.
pub fn called(document: &Document, runbook: &Runbook, beside: Beside<'_>, folder: &Path) -> Vec<Script> {
    let calls = lint::calls(document, runbook, beside).into_iter();
    calls
        .map(|called| Script {
            digest: read(&folder.join(&called.path)),
            step: called.step,
            path: called.path,
        })
        .collect()
}

fn read(path: &Path) -> Option<Digest> {
    let meta = std::fs::metadata(path).ok()?;
    (meta.len() <= MAX_BYTES).then(|| std::fs::read(path).ok()).flatten().map(|bytes| Digest::of(&bytes))
}
