//! `check`: measures now, side by side, changes nothing, and prints for people or for programs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::args::{Book, CheckFormat, CheckOptions};
use super::error::CliError;
use super::global::Cmd;
use super::{book, records, session};
use crate::base::{CheckId, StepId};
use crate::check::{Evidence, measure};
use crate::engine::Exit;
use crate::engine::event::Notice;
use crate::journal::record::Purpose;
use crate::report::checked::{Checked, Item};
use crate::report::{json, junit, monitor};
use crate::runbook::graph::{self, Section};
use crate::runbook::{CheckSpec, Runbook};
use crate::ui;
use crate::ui::live::{Live, Source};
use crate::ui::track::Track;

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
        cx.records = Arc::new(records::Shelf::new(run));
    }
    if let Some(samples) = &options.samples {
        let made = std::fs::create_dir_all(samples).and_then(|()| samples.canonicalize());
        cx.samples = Some(made.map_err(|error| {
            CliError::usage(format!("the folder for samples {} cannot be used: {error}", samples.display()))
        })?);
    }
    let began = cmd.now();
    let watch = Watch::new(cmd, &bound.runbook.name, &checks);
    if let Some(watch) = &watch {
        let track = watch.track.clone();
        cx.progress_of = Some(Arc::new(move |check, progress| {
            told(&track, &Notice::Progress { check: Some(check.clone()), progress });
        }));
    }
    let evidence = session::runtime()?.block_on(async {
        let (cx, watch) = (&cx, watch.as_ref());
        let all = checks.iter().map(|(id, spec)| async move {
            let evidence = measure::measure(id.clone(), spec, cx).await;
            watch.iter().for_each(|watch| watch.ended(&evidence));
            evidence
        });
        measure::side_by_side(all).await
    })?;
    drop(watch);
    let advisory = checks.iter().map(|(_, spec)| spec.common.advisory);
    let items = evidence.into_iter().zip(advisory).map(|(evidence, advisory)| Item { evidence, advisory });
    Ok(Checked::of(&bound.runbook.name, items.collect(), cmd.now().since(&began).as_millis() as u64))
}

/// The live line of a terminal: what is measured, how far it is. There is none where nobody looks.
struct Watch {
    track: Arc<Mutex<Track>>,
    live: Arc<Live>,
    line: Source,
    name: StepId,
}

fn told(track: &Mutex<Track>, notice: &Notice) {
    track.lock().unwrap_or_else(PoisonError::into_inner).take(notice, Instant::now());
}

impl Watch {
    fn new(cmd: &Cmd, name: &str, checks: &[(CheckId, &CheckSpec)]) -> Option<Watch> {
        if !cmd.err_style.live || cmd.global.non_interactive {
            return None;
        }
        let track = Arc::new(Mutex::new(Track::default()));
        let checks = checks.iter().map(|(id, spec)| {
            (id.clone(), spec.common.title.clone().unwrap_or_else(|| crate::check::registry::title(spec)))
        });
        let name = StepId::from(name);
        let checks = checks.collect();
        told(&track, &Notice::Measuring { step: name.clone(), purpose: Purpose::Precondition, checks });
        let seen = track.clone();
        let line: Source =
            Arc::new(move || seen.lock().unwrap_or_else(PoisonError::into_inner).line(Instant::now()));
        let live = Live::stderr(cmd.err_style);
        live.line(&line);
        Some(Watch { track, live, line, name })
    }

    fn ended(&self, evidence: &Evidence) {
        let (step, evidence) = (self.name.clone(), evidence.clone());
        told(&self.track, &Notice::Measured { step, purpose: Purpose::Precondition, evidence });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.track.lock().unwrap_or_else(PoisonError::into_inner) = Track::default();
        self.live.line(&self.line);
    }
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
