//! `holdpoint new`: a runbook to start from, out of a template or out of a guide in Markdown.
//!
//! Invariants: no file is ever overwritten; what destroys is never written without a hold point; what only the author can
//! know is left as `TODO`, which `lint` refuses, so that a draft cannot be run by accident.

mod danger;
mod guide;
mod hints;
mod lines;
mod step;
mod yaml;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::book;
use super::error::CliError;
use super::global::{Cmd, shown};
use crate::base::text::{count, nearest, neutral};
use crate::engine::Exit;
use crate::problem::Severity;
use crate::runbook::source::{MAX_BYTES, Source};

/// A runbook to start from.
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// The runbook.
    pub text: &'static str,
}

/// All templates.
pub const TEMPLATES: [Template; 6] = [
    Template {
        name: "minimal",
        summary: "one change and one clean-up, with every kind of key explained",
        text: include_str!("templates/minimal.yaml"),
    },
    Template {
        name: "postgres-major-upgrade",
        summary: "a Debian PostgreSQL cluster to a new major version; the old one is dropped at the end",
        text: include_str!("../../../runbooks/postgres-major-upgrade.yaml"),
    },
    Template {
        name: "postgres-move",
        summary: "all databases of a PostgreSQL cluster to another server",
        text: include_str!("templates/postgres-move.yaml"),
    },
    Template {
        name: "docker-recreate",
        summary: "containers made again without losing the database in one of them",
        text: include_str!("templates/docker-recreate.yaml"),
    },
    Template {
        name: "sqlite-to-postgres",
        summary: "an application from an SQLite file to PostgreSQL",
        text: include_str!("templates/sqlite-to-postgres.yaml"),
    },
    Template {
        name: "disk-cleanup",
        summary: "room on a full disk: moved aside first, deleted when nobody misses it",
        text: include_str!("templates/disk-cleanup.yaml"),
    },
];

/// Lists the templates.
pub fn list(cmd: &Cmd) -> Result<Exit, CliError> {
    if cmd.global.json {
        let all: Vec<_> = TEMPLATES
            .iter()
            .map(|template| serde_json::json!({ "name": template.name, "summary": template.summary }))
            .collect();
        cmd.print(&format!("{:#}\n", serde_json::Value::Array(all)));
        return Ok(Exit::Done);
    }
    let width = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0);
    for template in &TEMPLATES {
        cmd.print(&format!("{:width$}  {}\n", template.name, template.summary));
    }
    Ok(Exit::Done)
}

/// Writes a runbook from a template.
pub fn template(cmd: &Cmd, name: &str, output: Option<&Path>) -> Result<Exit, CliError> {
    let found = TEMPLATES.iter().find(|template| template.name == name).ok_or_else(|| {
        let error = CliError::usage(format!("there is no template called `{}`", neutral(name)));
        match nearest(name, TEMPLATES.iter().map(|template| template.name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`holdpoint new --list` lists them"),
        }
    })?;
    write(cmd, found.text, output)
}

/// Writes a runbook from a guide in Markdown.
pub fn from_guide(cmd: &Cmd, path: &Path, output: Option<&Path>) -> Result<Exit, CliError> {
    let text = read(path)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let guide = guide::read(&text, &danger::destroys);
    if guide.sections.iter().all(|section| section.parts.is_empty()) {
        return Err(CliError::usage(format!("{} holds no commands and no instructions", shown(path)))
            .hint("code blocks become steps; `holdpoint new --template minimal` begins without a guide"));
    }
    write(cmd, &step::runbook(&guide, &stem), output)
}

fn read(path: &Path) -> Result<String, CliError> {
    use std::io::Read as _;
    let cannot = |why: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot read the guide {}: {why}", shown(path))).hint("check the path")
    };
    let mut bytes = Vec::new();
    let meta = std::fs::metadata(path).map_err(|e| cannot(&e))?;
    if !meta.is_file() {
        return Err(cannot(&"it is not a plain file"));
    }
    let file = std::fs::File::open(path).map_err(|e| cannot(&e))?;
    file.take(MAX_BYTES as u64 / 4 + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    if bytes.len() > MAX_BYTES / 4 {
        return Err(cannot(&"it is larger than 2 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| cannot(&"it is not UTF-8 text"))?;
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
}

/// To a new file, or to standard output; then says what is still to be done.
fn write(cmd: &Cmd, text: &str, output: Option<&Path>) -> Result<Exit, CliError> {
    let Some(path) = output else {
        cmd.print(text);
        return Ok(Exit::Done);
    };
    create(path, text)?;
    let (_, problems) = book::judge(&Source::new(path.display().to_string(), text));
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count() as u64;
    let file = crate::report::commands::quoted(&path.display().to_string());
    let next = if errors > 0 {
        let places = count(errors, "place is", "places are");
        format!("{places} still to be filled in; `holdpoint lint {file}` shows them\n")
    } else {
        format!("next: read it, then `holdpoint lint {file}` and `holdpoint plan {file}`\n")
    };
    cmd.err(&format!("{} is written\n{next}", shown(path)));
    Ok(Exit::Done)
}

fn create(path: &Path, text: &str) -> Result<(), CliError> {
    let cannot = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::usage(format!("{} is there already, and is left as it is", shown(path)))
                .hint("give another name with --output")
        }
        _ => CliError::usage(format!("cannot write {}: {error}", shown(path))).hint("check the directory"),
    };
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| cannot(&e))?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a runbook must not be taken for one.
        let _ = std::fs::remove_file(path);
        return Err(cannot(&error));
    }
    Ok(())
}

/// What `new` was asked for.
pub struct Asked {
    /// A template's name.
    pub template: Option<String>,
    /// A guide.
    pub from: Option<PathBuf>,
    /// The file to write.
    pub output: Option<PathBuf>,
    /// Only list the templates.
    pub list: bool,
}

/// The command.
pub fn new(cmd: &Cmd, asked: &Asked) -> Result<Exit, CliError> {
    let output = asked.output.as_deref();
    match (&asked.from, &asked.template) {
        _ if asked.list => list(cmd),
        (Some(guide), _) => from_guide(cmd, guide, output),
        (None, name) => template(cmd, name.as_deref().unwrap_or("minimal"), output),
    }
}
