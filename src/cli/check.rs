//! `check`: measures now, side by side, changes nothing, and prints for people or for programs.

use std::path::Path;

use super::args::{Book, CheckFormat, CheckOptions};
use super::error::CliError;
use super::global::Cmd;
use super::{book, records, session};
use crate::base::CheckId;
use crate::check::measure;
use crate::engine::Exit;
use crate::report::checked::{Checked, Item};
use crate::report::{json, junit, monitor};
use crate::runbook::graph::{self, Section};
use crate::runbook::{CheckSpec, Runbook};
use crate::ui;

/// Measures the checks of a runbook, of one step, or of a file of checks.
pub fn check(cmd: &Cmd, book: &Book, step: Option<&str>, options: &CheckOptions) -> Result<Exit, CliError> {
    let format = if cmd.global.json { CheckFormat::Json } else { options.format };
    match measured(cmd, book, step, options) {
        // A plugin that says nothing on standard output is shown without a reason.
        Err(error) if format == CheckFormat::Nagios => {
            write(cmd, options.output.as_deref(), &monitor::nagios_error(&error.message))?;
            Ok(Exit::Plugin(3))
        }
        Err(error) => Err(error),
        Ok(checked) => {
            let text = match format {
                CheckFormat::Text if options.output.is_some() => {
                    let style = ui::screen::Style { width: cmd.style.width, ..ui::screen::Style::PLAIN };
                    ui::evidence::check(&checked, &style)
                }
                CheckFormat::Text => ui::evidence::check(&checked, &cmd.style),
                CheckFormat::Json => json::check(&checked),
                CheckFormat::Junit => junit::checks(&checked).map_err(CliError::usage)?,
                CheckFormat::Nagios => monitor::nagios(&checked),
                CheckFormat::Prometheus => {
                    monitor::prometheus(&checked, cmd.now().wall.as_millisecond() as f64 / 1000.0)
                }
            };
            write(cmd, options.output.as_deref(), &text)?;
            Ok(match format {
                CheckFormat::Nagios => Exit::Plugin(checked.level().status()),
                _ if checked.pass => Exit::Done,
                _ => Exit::Failed,
            })
        }
    }
}

fn measured(cmd: &Cmd, book: &Book, step: Option<&str>, options: &CheckOptions) -> Result<Checked, CliError> {
    let bound = book::bind(cmd, &book.file, book.env.as_deref(), &book.vars)?;
    let checks = wanted(&bound.runbook, step)?;
    let run = options.run.as_deref().map(|run| cmd.find(Some(run))).transpose()?;
    let mut cx = session::context(cmd, &bound, None);
    if options.page {
        cx.outside = super::ack::outside(cmd, cmd.store()?.root(), &bound.runbook, true)?;
    } else if let Some(store) = cmd.existing_store() {
        cx.outside = super::ack::outside(cmd, &store, &bound.runbook, false)?;
    }
    if let Some(run) = run {
        cx.records = std::sync::Arc::new(records::Shelf::new(run));
    }
    if let Some(samples) = &options.samples {
        let made = std::fs::create_dir_all(samples).and_then(|()| samples.canonicalize());
        cx.samples = Some(made.map_err(|error| {
            CliError::usage(format!("the folder for samples {} cannot be used: {error}", samples.display()))
        })?);
    }
    let began = cmd.now();
    let evidence = session::runtime()?.block_on(measure::measure_all(&checks, &cx))?;
    let advisory = checks.iter().map(|(_, spec)| spec.common.advisory);
    let items = evidence.into_iter().zip(advisory).map(|(evidence, advisory)| Item { evidence, advisory });
    Ok(Checked::of(&bound.runbook.name, items.collect(), cmd.now().since(&began).as_millis() as u64))
}

fn wanted<'r>(runbook: &'r Runbook, step: Option<&str>) -> Result<Vec<(CheckId, &'r CheckSpec)>, CliError> {
    if let (Some(step), true) = (step, runbook.steps.is_empty()) {
        return Err(CliError::usage(format!("the file has checks alone, and no step `{step}`")));
    }
    let steps: Vec<_> = runbook.steps.iter().filter(|s| step.is_none_or(|id| s.id == id)).collect();
    if let (Some(step), true) = (step, steps.is_empty()) {
        let near = crate::base::text::nearest(step, runbook.steps.iter().map(|s| s.id.as_str()));
        let error = CliError::usage(format!("the runbook has no step `{step}`"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    let of_steps = steps.into_iter().flat_map(|s| Section::OWN.map(|section| graph::check_ids(s, section)));
    let checks: Vec<_> = of_steps.flatten().chain(graph::file_checks(runbook)).collect();
    if checks.is_empty() {
        return Err(CliError::usage("there is no check to measure")
            .hint("nothing measured is not a pass; name a step that has checks"));
    }
    Ok(checks)
}

/// To standard output, or to a file that is there whole or not at all.
fn write(cmd: &Cmd, output: Option<&Path>, text: &str) -> Result<(), CliError> {
    let Some(path) = output else {
        cmd.print(text);
        return Ok(());
    };
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        CliError::usage(format!("{} cannot be written: {error}", path.display()))
    })
}
