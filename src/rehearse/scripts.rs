//! The local files that a runbook's steps call, with their digests. A script that was changed after the rehearsal was not
//! rehearsed.

use std::path::Path;

use super::receipt::Script;
use crate::engine::scripts::digest;
use crate::lint::{self, Beside};
use crate::runbook::Runbook;
use crate::runbook::load::Document;

/// Files beside the runbook that its steps call, with the values that are valid here: what is called only there was not
/// rehearsed.
pub fn called(document: &Document, runbook: &Runbook, beside: Beside<'_>, folder: &Path) -> Vec<Script> {
    let calls = lint::calls(document, runbook, beside).into_iter();
    calls
        .map(|called| Script {
            digest: digest(&folder.join(&called.path)),
            step: called.step,
            path: called.path,
        })
        .collect()
}
