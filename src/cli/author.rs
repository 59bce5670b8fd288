//! Commands for those who write runbooks: `lint`, `plan`, `checks`, `schema`.

use std::path::PathBuf;

use super::args::{Book, LintFormat};
use super::error::CliError;
use super::global::Cmd;
use super::{book, session};
use crate::check::registry;
use crate::engine::{self, Exit};
use crate::lint as judge;
use crate::lint::pages as lint_pages;
use crate::problem::Severity;
use crate::report::findings::Found;
use crate::report::{annotations, findings, json, plan, room, sarif};
use crate::runbook::schema;
use crate::ui::{self, snippet};

/// Finds what is wrong with runbooks.
pub fn lint(cmd: &Cmd, files: &[PathBuf], format: LintFormat) -> Result<Exit, CliError> {
    let format = if cmd.global.json && format == LintFormat::Text { LintFormat::Json } else { format };
    let mut all = Vec::new();
    for file in files {
        let (source, _) = book::source(file)?;
        let (_, problems) = book::judge(&source);
        if format == LintFormat::Text {
            match problems.as_slice() {
                [] => cmd.print(&format!("{}: no problems\n", source.name)),
                problems => cmd.print(&snippet::render(problems, &source, cmd.style.colour, cmd.style.width)),
            }
        }
        all.push(Found { source, problems });
    }
    match format {
        LintFormat::Text => explainable(cmd, &all),
        LintFormat::Json => cmd.print(&findings::json(&all)),
        LintFormat::Github => cmd.print(&annotations::annotations(&all)),
        LintFormat::Sarif => cmd.print(&sarif::log(&all, &std::env::current_dir().unwrap_or_default())),
    }
    let bad = all.iter().flat_map(|found| &found.problems).any(|p| p.severity == Severity::Error);
    Ok(if bad { Exit::Usage } else { Exit::Done })
}

/// Says once where a code is explained.
fn explainable(cmd: &Cmd, all: &[Found]) {
    if let Some(first) = all.iter().find_map(|found| found.problems.first()) {
        cmd.print(&format!("`holdpoint lint --explain {}` says more\n", first.code));
    }
}

/// All about one code.
pub fn explain(cmd: &Cmd, given: &str) -> Result<Exit, CliError> {
    let code = lint_pages::code(given).map_err(|near| {
        let error = CliError::usage(format!("there is no code `{}`", crate::base::text::neutral(given)));
        match near.and_then(|near| Some((near, judge::codes::meaning(near)?))) {
            Some((near, meaning)) => error.hint(format!("the nearest is {near}: {meaning}")),
            None => error.hint("codes look like HP053; docs/lint.md lists them"),
        }
    })?;
    let page = lint_pages::markdown(code).unwrap_or_default();
    if cmd.global.json {
        let facts = serde_json::json!({
            "code": code, "meaning": judge::codes::meaning(code), "warning": judge::codes::is_warning(code),
            "page": page,
        });
        cmd.print(&format!("{facts:#}\n"));
        return Ok(Exit::Done);
    }
    cmd.print(&if cmd.style.colour || cmd.style.live {
        ui::markdown::render(&page, cmd.style.width, &cmd.style).join("\n") + "\n"
    } else {
        page
    });
    Ok(Exit::Done)
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
    cmd.print(&format!("{:#}\n", schema::for_editors(&judge::catalogue())));
    Ok(Exit::Done)
}
