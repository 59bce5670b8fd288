//! Receipts of rehearsals: asked for before a run starts, kept in the store, verified.

use std::path::{Path, PathBuf};

use super::args::{Book, ReceiptOptions};
use super::book::Bound;
use super::error::CliError;
use super::global::{Cmd, shown};
use super::local::LocalFiles;
use super::{session, signing};
use crate::base::{Digest, Span};
use crate::engine::Exit;
use crate::journal::disk;
use crate::journal::record::Blocker;
use crate::journal::scripts::Scripts;
use crate::lint::Beside;
use crate::rehearse::demand::{self, Wanted};
use crate::rehearse::receipt::{self, MAX_BYTES, Sealed};
use crate::rehearse::{places, scripts};
use crate::runbook::model::Demand;
use crate::ui::refusal;

/// The folder of receipts in a store.
fn folder(store: &Path) -> PathBuf {
    store.join("receipts")
}

/// Keeps a receipt in the store, where `run` finds it.
pub fn keep(cmd: &Cmd, name: &str, text: &str) -> Result<PathBuf, CliError> {
    let folder = folder(cmd.store()?.root());
    let failed = |error: std::io::Error| {
        CliError::journal(format!(
            "the receipt cannot be kept in {}: {}",
            shown(&folder),
            disk::words(&error)
        ))
    };
    match disk::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let path = folder.join(format!("{name}.json"));
    disk::write_new(&path, text.as_bytes()).map_err(failed)?;
    disk::sync_dir(&folder).map_err(failed)?;
    Ok(path)
}

/// A file of moderate size; `None` for anything else.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let meta = std::fs::metadata(path).ok()?;
    (meta.is_file() && meta.len() <= MAX_BYTES).then(|| std::fs::read(path).ok()).flatten()
}

/// True for what means to be a receipt.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{') && {
        let head = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
        String::from_utf8_lossy(head).contains("\"holdpoint_receipt\"")
    }
}

/// The receipt that the environment asks for, when it asks for one: its digest goes on record. Everything that does not
/// match is said at once.
pub fn demanded(
    cmd: &Cmd,
    bound: &Bound,
    book: &Book,
    options: &ReceiptOptions,
) -> Result<Option<Digest>, CliError> {
    let all = &bound.runbook.environments;
    let asking = all.iter().find(|(_, place)| place.rehearsal.is_some());
    if let (None, Some((name, _))) = (&book.env, asking) {
        let message =
            format!("`{name}` takes only what was rehearsed, and nobody says whether this is `{name}`");
        return Err(CliError::usage(message).hint("name the environment with --env"));
    }
    let environment = book.env.as_ref().and_then(|name| all.get(name));
    let Some(demand) = environment.and_then(|environment| environment.rehearsal.as_ref()) else {
        return match &options.receipt {
            None => Ok(None),
            Some(_) => Err(CliError::usage(
                "this environment asks for no rehearsal: nothing would look at the receipt",
            )
            .hint("leave --receipt out, or give the environment a `rehearsal`")),
        };
    };
    let wanted = wanted(cmd, bound, book)?;
    let secrets = bound.redactor();
    let signers = signing::signers(cmd)().0;
    let judged = |sealed: &Sealed| {
        let signer = signers.as_ref().map_err(Clone::clone).and_then(|all| sealed.signer(all, wanted.now));
        let mut blockers = demand::judge(demand, &wanted, &sealed.receipt, &signer);
        for blocker in &mut blockers {
            blocker.observed = secrets.text(&blocker.observed);
        }
        blockers
    };
    let (sealed, blockers) = match &options.receipt {
        Some(path) => {
            let bytes = read(path).ok_or_else(|| {
                CliError::usage(format!("the receipt {} cannot be read", shown(path)))
                    .hint("give the file that `holdpoint rehearse --receipt FILE` wrote")
            })?;
            let sealed = receipt::open(&bytes)
                .map_err(|why| CliError::new(Exit::Held, format!("{} is no receipt: {why}", shown(path))))?;
            let blockers = judged(&sealed);
            (Some(sealed), blockers)
        }
        None => newest(cmd, &wanted.name, judged, demand),
    };
    match sealed.filter(|_| blockers.is_empty()) {
        Some(sealed) => {
            let receipt = &sealed.receipt;
            cmd.err(&format!(
                "rehearsed in {} at {:.0} by {} (receipt {})\n",
                receipt.environment,
                receipt.ended,
                crate::base::text::neutral(&receipt.by),
                sealed.digest.short()
            ));
            Ok(Some(sealed.digest))
        }
        None => {
            cmd.err(&refusal::refusal("The run does not start", &blockers, &cmd.err_style));
            let name = book.env.as_deref().unwrap_or_default();
            Err(CliError::new(Exit::Held, format!("`{name}` takes only what was rehearsed")))
        }
    }
}

/// The newest receipt of this runbook in the store that has nothing against it; else what stands against the newest.
fn newest(
    cmd: &Cmd,
    name: &str,
    judged: impl Fn(&Sealed) -> Vec<Blocker>,
    demand: &Demand,
) -> (Option<Sealed>, Vec<Blocker>) {
    let folder = cmd.existing_store().map(|store| folder(&store));
    let files = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut all: Vec<Sealed> = files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| receipt::open(&read(&entry.path())?).ok())
        .filter(|sealed| sealed.receipt.name == name)
        .collect();
    all.sort_by_key(|sealed| std::cmp::Reverse(sealed.receipt.ended));
    let mut first = None;
    for sealed in all {
        let blockers = judged(&sealed);
        if blockers.is_empty() {
            return (Some(sealed), blockers);
        }
        first.get_or_insert((Some(sealed), blockers));
    }
    first.unwrap_or_else(|| {
        let blocker = Blocker {
            subject: "receipt".to_owned(),
            title: "This runbook was rehearsed".to_owned(),
            observed: "no receipt of it is in the store".to_owned(),
            expected: format!("the receipt of a rehearsal in `{}`, at most {} old", demand.environment, demand.max_age),
            next: format!(
                "rehearse it: holdpoint rehearse … --env {} --receipt FILE; from another machine, give the file with \
                 --receipt",
                demand.environment
            ),
        };
        (None, vec![blocker])
    })
}

/// What is to be run, as it is now.
fn wanted(cmd: &Cmd, bound: &Bound, book: &Book) -> Result<Wanted, CliError> {
    let place = session::runtime()?.block_on(places::look("", &bound.runbook, true))?;
    let targets = place.targets.into_iter().map(|side| (side.target, side.identity));
    Ok(Wanted {
        name: bound.runbook.name.clone(),
        runbook: bound.digest(),
        called: called(bound, book),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        steps: bound.runbook.steps.iter().map(|step| step.id.clone()).collect(),
        targets: targets.collect(),
        made: bound.runbook.steps.iter().flat_map(|step| step.creates.iter().cloned()).collect(),
        variables: bound.document.names().vars.clone(),
        now: cmd.now().wall,
    })
}

/// The local files that the runbook's steps call.
pub fn called(bound: &Bound, book: &Book) -> Vec<receipt::Script> {
    let files = LocalFiles::beside(&book.file);
    let around = Beside { values: Some(&bound.values), files: &files };
    scripts::called(&bound.document, &bound.runbook, around, beside(&book.file))
}

/// The same, for the record of a run. What cannot be read now could not be compared later: it is named, and left out.
pub fn scripts(cmd: &Cmd, bound: &Bound, book: &Book) -> Result<Scripts, CliError> {
    let mut scripts = Scripts::default();
    for script in called(bound, book) {
        match script.digest {
            Some(digest) => drop(scripts.files.insert(script.path, digest)),
            None => cmd.err(&format!(
                "warning: {} cannot be read: nobody will notice when it is changed during the run\n",
                crate::base::text::neutral(&script.path)
            )),
        }
    }
    if !scripts.is_empty() {
        let folder = beside(&book.file);
        let real = folder.canonicalize().map_err(|why| {
            CliError::usage(format!("cannot find the runbook's folder {}: {why}", shown(folder)))
        })?;
        scripts.folder = real.display().to_string();
    }
    Ok(scripts)
}

/// The folder of a runbook.
fn beside(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Verifies a receipt: its digest, its signature; says what that proves and what not.
pub fn verify(cmd: &Cmd, path: &Path, bytes: &[u8], head: Option<&str>) -> Result<Exit, CliError> {
    let sealed = receipt::open(bytes).map_err(|why| CliError::journal(format!("{}: {why}", shown(path))))?;
    let receipt = &sealed.receipt;
    let asked = cmd.signing.signers.as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    let allowed = signing::signers(cmd)().0;
    let now = cmd.now().wall;
    let (signed, good) = match (&sealed.signature, &allowed) {
        (None, _) => ("it is not signed: whoever can write the file can have made it".to_owned(), !asked),
        (Some(_), Ok(allowed)) => match sealed.signer(allowed, now) {
            Ok(signer) => (format!("signed by {signer}"), true),
            Err(why) => (format!("its signature does not count: {why}"), false),
        },
        (Some(_), Err(why)) => match sealed.key() {
            Ok(key) => (format!("signed with key {key}; whose that is nobody can tell: {why}"), !asked),
            Err(refused) => (format!("its signature does not count: {refused}"), false),
        },
    };
    let matches = head.is_none_or(|head| receipt.head.as_str().starts_with(head) && head.len() >= 8);
    let good = good && matches;
    if cmd.global.json {
        let value = serde_json::json!({
            "digest": sealed.digest, "whole": good, "signed": signed, "receipt": receipt, "head_matches": matches,
        });
        cmd.print(&format!("{value:#}\n"));
    } else {
        let f = crate::report::words::flat;
        let ago = Span::secs((now.as_second() - receipt.ended.as_second()).max(0).unsigned_abs());
        let n = crate::base::text::count(receipt.steps.len() as u64, "step", "steps");
        let mut text = format!(
            "receipt of {} in {}: {n}, ended {:.0} ({ago} ago)\n",
            f(&receipt.name),
            f(&receipt.environment),
            receipt.ended
        );
        let mut say = |label: &str, what: &str| text.push_str(&format!("  {label:<9}{}\n", f(what)));
        say("runbook", receipt.runbook.as_str());
        say("digest", sealed.digest.as_str());
        say("run", &format!("{}, head {}", receipt.run, receipt.head));
        say("by", &format!("{} (as claimed)", receipt.by));
        say("signed", &signed);
        if !matches {
            say("head", "the head of the run's journal is not the one given");
        }
        receipt.not_whole.iter().for_each(|why| say("left out", why));
        receipt.weaknesses.iter().for_each(|why| say("weak", why));
        cmd.print(&text);
        cmd.print(
            "It shows what that run has on record: not that staging is like production, nor that the\n\
             machine which made it was honest. The journal of the run is the record itself.\n",
        );
    }
    Ok(if good { Exit::Done } else { Exit::Journal })
}
