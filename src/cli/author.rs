//! Commands for those who write runbooks: `lint`, `plan`, `checks`, `schema`.

use std::path::PathBuf;

use super::args::{Book, LintFormat};
use super::error::CliError;
use super::global::Cmd;
use super::{book, session};
use crate::check::registry;
use crate::engine::{self, Exit};
use crate::lint as judge;
use crate::problem::{Problem, Severity};
use crate::report::{json, plan, room};
use crate::runbook::schema;
use crate::ui::{self, snippet};

/// Finds what is wrong with runbooks.
pub fn lint(cmd: &Cmd, files: &[PathBuf], format: LintFormat) -> Result<Exit, CliError> {
    let mut errors = 0;
    let mut all = Vec::new();
    for file in files {
        let (source, _) = book::source(file)?;
        let (_, problems) = book::judge(&source);
        errors += problems.iter().filter(|p| p.severity == Severity::Error).count();
        if format == LintFormat::Text && !cmd.global.json {
            match problems.as_slice() {
                [] => cmd.print(&format!("{}: no problems\n", source.name)),
                problems => cmd.print(&snippet::render(problems, &source, cmd.style.colour, cmd.style.width)),
            }
        }
        all.extend(problems.iter().map(|problem| finding(&source, problem)));
    }
    if format == LintFormat::Json || cmd.global.json {
        cmd.print(&format!("{:#}\n", serde_json::Value::Array(all)));
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::Usage })
}

fn finding(source: &crate::runbook::source::Source, problem: &Problem) -> serde_json::Value {
    let place = problem.places.first().map(|place| source.line_col(place.range.start));
    serde_json::json!({
        "file": source.name, "line": place.map(|p| p.0), "column": place.map(|p| p.1), "code": problem.code,
        "severity": problem.severity, "message": problem.message, "help": problem.help,
    })
}

/// What would happen, and whether there is room for it.
pub fn plan(cmd: &Cmd, book: &Book) -> Result<Exit, CliError> {
    let bound = book::work(cmd, &book.file, book.env.as_deref(), &book.vars)?;
    let mut plan = plan::plan_in(&bound.runbook, book.env.as_deref(), Vec::new());
    if engine::room::declared(&bound.runbook) {
        let cx = session::context(cmd, &bound, None);
        let volumes = session::runtime()?.block_on(engine::room::forecast(&bound.runbook, &cx))?;
        plan.room = Some(room::room(&bound.runbook, &volumes));
    }
    let runs_out = plan.room.as_ref().is_some_and(|room| room.verdict == room::Verdict::RunsOut);
    let text = if cmd.global.json { json::plan(&plan) } else { ui::plan::plan(&plan, &cmd.style) };
    cmd.print(&bound.redactor().text(&text));
    Ok(if runs_out { Exit::Failed } else { Exit::Done })
}

/// The catalogue, or all about one check.
pub fn checks(cmd: &Cmd, name: Option<&str>) -> Result<Exit, CliError> {
    if cmd.global.json {
        let wanted = registry::all().filter(|kind| name.is_none_or(|name| kind.name == name));
        let all: Vec<_> = wanted
            .map(|kind| serde_json::json!({ "name": kind.name, "summary": kind.summary, "schema": (kind.schema)() }))
            .collect();
        if !all.is_empty() {
            cmd.print(&format!("{:#}\n", serde_json::Value::Array(all)));
            return Ok(Exit::Done);
        }
    }
    let Some(name) = name else {
        let width = registry::all().map(|kind| kind.name.len()).max().unwrap_or(0);
        for family in registry::FAMILIES {
            cmd.print(&format!("{}\n", family.title));
            for kind in family.kinds {
                cmd.print(&format!("  {:width$}  {}\n", kind.name, kind.summary));
            }
        }
        return Ok(Exit::Done);
    };
    let kind = registry::find(name).ok_or_else(|| {
        let error = CliError::usage(format!("there is no check called `{name}`"));
        match crate::base::text::nearest(name, registry::all().map(|kind| kind.name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`holdpoint checks` lists them"),
        }
    })?;
    let page = super::pages::check(kind);
    cmd.print(&if cmd.style.colour || cmd.style.live {
        ui::markdown::render(&page, cmd.style.width, &cmd.style).join("\n") + "\n"
    } else {
        page
    });
    Ok(Exit::Done)
}

/// The JSON Schema of runbooks.
pub fn print_schema(cmd: &Cmd) -> Result<Exit, CliError> {
    cmd.print(&format!("{:#}\n", schema::schema(&judge::catalogue())));
    Ok(Exit::Done)
}
