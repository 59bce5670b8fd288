//! The local files that a runbook's steps call. A script that was changed after the rehearsal was not rehearsed.

use std::collections::BTreeSet;
use std::path::Path;

use super::receipt::Script;
use crate::base::Digest;
use crate::runbook::model::Run;
use crate::runbook::{Runbook, Step};

/// Nothing that is larger is a script.
const MAX_BYTES: u64 = 8 << 20;

/// Files beside the runbook that are named in what its steps run, with their digests.
pub fn called(runbook: &Runbook, folder: &Path) -> Vec<Script> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut all = Vec::new();
    for step in &runbook.steps {
        let paths: BTreeSet<String> = words(step).iter().filter_map(|word| beside(word, &folder)).collect();
        all.extend(paths.into_iter().map(|path| Script {
            step: step.id.clone(),
            digest: read(&folder.join(&path)),
            path,
        }));
    }
    all
}

fn words(step: &Step) -> Vec<String> {
    let undo = step.rollback.as_ref().and_then(|rollback| rollback.run.as_ref());
    let runs = [step.run.as_ref(), step.rehearse.as_ref(), undo];
    let of_run = |run: &Run| -> Vec<String> {
        let parts: Vec<&str> = match run {
            Run::Argv(argv) => argv.iter().map(String::as_str).collect(),
            Run::Script(text) => vec![text],
        };
        let split = |c: char| c.is_whitespace() || "'\"`;|&<>(){}=".contains(c);
        let words = parts.iter().flat_map(|part| part.split(split).chain([*part]));
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    runs.into_iter().flatten().flat_map(of_run).collect()
}

/// The path from the folder, of a file that lies in it.
fn beside(word: &str, folder: &Path) -> Option<String> {
    let path = folder.join(word).canonicalize().ok()?;
    let inside = path.strip_prefix(folder).ok()?;
    path.is_file().then(|| inside.to_str().map(str::to_owned)).flatten()
}

fn read(path: &Path) -> Option<Digest> {
    let meta = std::fs::metadata(path).ok()?;
    (meta.len() <= MAX_BYTES).then(|| std::fs::read(path).ok()).flatten().map(|bytes| Digest::of(&bytes))
}
