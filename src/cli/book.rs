//! A runbook on its way from a file to something that can be run: read, lint, values, types.

use std::path::Path;
use std::sync::Arc;

use super::error::CliError;
use super::global::Cmd;
use super::local::LocalFiles;
use crate::base::redact::Redactor;
use crate::base::{Digest, text};
use crate::engine::{Exit, RunState, scripts};
use crate::journal::scripts::Scripts;
use crate::lint;
use crate::problem::{Problem, Severity};
use crate::rehearse::standin;
use crate::runbook::Runbook;
use crate::runbook::load::{self, Document};
use crate::runbook::source::Source;
use crate::runbook::vars::{self, Values};
use crate::ui::snippet;

/// A runbook with all its values.
#[derive(Clone)]
pub struct Bound {
    /// The file.
    pub document: Document,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Variables.
    pub values: Values,
    /// The types.
    pub runbook: Arc<Runbook>,
    /// The environment in which it is rehearsed; `None` for the real thing.
    pub rehearsed_in: Option<String>,
}

impl Bound {
    /// As it is rehearsed in this environment.
    pub fn rehearsed(self, environment: &str) -> Bound {
        let runbook = Arc::new(standin::rehearsed(&self.runbook, Some(environment)));
        Bound { runbook, rehearsed_in: Some(environment.to_owned()), ..self }
    }

    /// The runbook with more values known.
    pub fn again(&self, values: &Values) -> Result<Runbook, Vec<Problem>> {
        let runbook = self.document.bind(values)?;
        Ok(match &self.rehearsed_in {
            Some(environment) => standin::rehearsed(&runbook, Some(environment)),
            None => runbook,
        })
    }

    /// Digest of the file.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// What must not be shown.
    pub fn secrets(&self) -> Vec<(String, String)> {
        secrets(&self.values)
    }

    /// Keeps secrets out of texts.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets())
    }
}

/// Names and values of the secret variables.
pub fn secrets(values: &Values) -> Vec<(String, String)> {
    let names = values.secrets.iter();
    names.filter_map(|name| values.get(name).map(|value| (name.clone(), value.to_owned()))).collect()
}

/// Reads a file; refuses what is no plain, moderately large file before it can hang or fill the memory.
pub fn source(path: &Path) -> Result<(Source, Vec<u8>), CliError> {
    let bytes = read(path)?;
    Ok((Source::from_bytes(path.display().to_string(), &bytes), bytes))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read as _;
    let cannot = |why: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot read the runbook {}: {why}", path.display()))
            .hint("check the path; `holdpoint demo` shows a runbook at work")
    };
    let meta = std::fs::metadata(path).map_err(|e| cannot(&e))?;
    if !meta.is_file() {
        return Err(cannot(&"it is not a plain file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| cannot(&e))?;
    file.take(crate::runbook::source::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| cannot(&e))?;
    Ok(bytes)
}

/// Everything that is wrong with a runbook, by itself.
pub fn judge(source: &Source) -> (Option<Document>, Vec<Problem>) {
    match load::parse(source.clone(), &lint::catalogue()) {
        Ok(document) => {
            let problems = match document.bind_for_lint() {
                Ok(runbook) => {
                    let files = LocalFiles::beside(Path::new(&source.name));
                    let beside = lint::Beside { values: None, files: &files };
                    lint::lint_beside(&document, &runbook, &lint::facts, beside)
                }
                Err(problems) => problems,
            };
            (Some(document), problems)
        }
        Err(problems) => (None, problems),
    }
}

/// A runbook without errors; its warnings are printed, its errors end the command.
pub fn document(cmd: &Cmd, source: &Source) -> Result<Document, CliError> {
    let (document, problems) = judge(source);
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    match document {
        Some(document) if errors == 0 => Ok(document),
        _ => Err(refuse(cmd, source, &problems)),
    }
}

/// Prints problems; the error that ends the command.
pub fn refuse(cmd: &Cmd, source: &Source, problems: &[Problem]) -> CliError {
    cmd.err(&snippet::render(problems, source, cmd.err_style.colour, cmd.err_style.width));
    CliError::new(Exit::Usage, format!("{} cannot be run as it is", source.name))
}

/// A runbook with its values from the command line, the environment, and its own defaults.
pub fn bind(cmd: &Cmd, path: &Path, env: Option<&str>, vars: &[(String, String)]) -> Result<Bound, CliError> {
    let (source, bytes) = source(path)?;
    let document = document(cmd, &source)?;
    let values = vars::resolve(&document, env, vars, &|name| std::env::var(name).ok())
        .map_err(|problems| refuse(cmd, &source, &problems))?;
    let runbook = document.bind(&values).map_err(|problems| refuse(cmd, &source, &problems))?;
    let errors = judge_bound(&document, &runbook, &values);
    if !errors.is_empty() {
        return Err(refuse(cmd, &source, &errors));
    }
    Ok(Bound { document, bytes, values, runbook: Arc::new(runbook), rehearsed_in: None })
}

/// The same of a file that has work in it: checks alone cannot be run.
pub fn work(cmd: &Cmd, path: &Path, env: Option<&str>, vars: &[(String, String)]) -> Result<Bound, CliError> {
    let bound = bind(cmd, path, env, vars)?;
    if bound.runbook.steps.is_empty() {
        return Err(CliError::usage(format!("{} has checks alone, and no steps", path.display()))
            .hint("`holdpoint check` measures them"));
    }
    Ok(bound)
}

/// What is wrong with a runbook now that its values are known, in words without its secrets.
fn judge_bound(document: &Document, runbook: &Runbook, values: &Values) -> Vec<Problem> {
    let files = LocalFiles::beside(Path::new(&document.source().name));
    let beside = lint::Beside { values: Some(values), files: &files };
    let mut problems = lint::lint_beside(document, runbook, &lint::facts, beside);
    problems.retain(|problem| problem.severity == Severity::Error);
    let redactor = Redactor::new(secrets(values));
    for problem in &mut problems {
        problem.message = redactor.text(&problem.message);
        problem.help = problem.help.as_deref().map(|help| redactor.text(help));
    }
    problems
}

/// The runbook of a run, from the copy in its folder, with the values on record. Secret values come from the command
/// line or the environment; with `secrets: None` they stay unknown, which is enough to show where a run stands.
pub fn of_run(
    cmd: &Cmd,
    folder: &Path,
    state: &RunState,
    secrets: Option<&[(String, String)]>,
) -> Result<Bound, CliError> {
    let path = folder.join("runbook.yaml");
    let (source, bytes) = source(&path).map_err(|e| CliError::journal(e.message))?;
    if secrets.is_some() && Digest::of(&bytes) != state.runbook {
        let message = format!("{} is not the runbook that this run was started with", path.display());
        return Err(CliError::journal(message).hint(
            "put the original bytes back; to work by another runbook, abandon this run and start a new one",
        ));
    }
    if secrets.is_some() {
        refuse_other_scripts(&state.scripts)?;
    }
    let document = match load::parse(source.clone(), &lint::catalogue()) {
        Ok(document) => document,
        Err(problems) => {
            return Err(refuse(cmd, &source, &problems)
                .hint("the run's own copy of the runbook does not fit this version of Holdpoint"));
        }
    };
    let mut values = Values::default();
    for (name, value) in state.vars.iter().chain(&state.captured) {
        values.values.insert(name.clone(), value.clone());
    }
    let declared = document.names().captured.keys().filter(|name| !state.captured.contains_key(*name));
    values.pending.extend(declared.cloned());
    values.secrets.extend(state.secrets.iter().cloned());
    match secrets {
        None => values.pending.extend(state.secrets.iter().cloned()),
        Some(given) => give_secrets(&mut values, &document, state, given)?,
    }
    let runbook = document.bind(&values).map_err(|problems| refuse(cmd, &source, &problems))?;
    let bound = Bound { document, bytes, values, runbook: Arc::new(runbook), rehearsed_in: None };
    Ok(match state.environment.as_deref().filter(|_| state.rehearsal) {
        Some(environment) => bound.rehearsed(environment),
        None => bound,
    })
}

/// A script is as much of the plan as the runbook that calls it.
fn refuse_other_scripts(scripts: &Scripts) -> Result<(), CliError> {
    let now = scripts::now(scripts);
    let changed = scripts.changed(&now);
    if changed.is_empty() {
        return Ok(());
    }
    let each = changed.into_iter().map(|(path, is)| {
        let was = scripts.files.get(path).map(Digest::short).unwrap_or_default();
        format!("{} ({is}, was {was})", Path::new(&scripts.folder).join(path).display())
    });
    let each = each.collect::<Vec<_>>().join(", ");
    let message = format!("not the scripts that this run was started with: {}", text::neutral(&each));
    Err(CliError::journal(message)
        .hint("put the original bytes back; to work by other scripts, abandon this run and start a new one"))
}

fn give_secrets(
    values: &mut Values,
    document: &Document,
    state: &RunState,
    given: &[(String, String)],
) -> Result<(), CliError> {
    let mut missing = Vec::new();
    if let Some((name, _)) = given.iter().find(|(name, _)| !state.secrets.contains(name)) {
        return Err(CliError::usage(format!("`{name}` cannot be changed in a run that has begun"))
            .hint("only secret variables are given again; all others are on record"));
    }
    for name in &state.secrets {
        let from_line = given.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let place = document.root().at(&format!("vars.{name}.env"));
        let from_env = || place.and_then(|node| node.text()).and_then(|env| std::env::var(env).ok());
        match from_line.or_else(from_env).filter(|value| !value.is_empty()) {
            Some(value) => {
                values.values.insert(name.clone(), value);
            }
            None => missing.push(name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::usage(format!("no value for the secret {}", missing.join(", ")))
        .hint("secret values are never stored: set their environment variables, or give --var NAME=VALUE"))
}
