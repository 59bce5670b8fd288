//! Brings a session together and drives it: journal, lease, machine, screens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::book::{self, Bound};
use super::error::CliError;
use super::global::Cmd;
use crate::base::StepId;
use crate::check::Context;
use crate::engine::faults::Faults;
use crate::engine::machine::{Given, Mode};
use crate::engine::notify::{self, Hooks};
use crate::engine::state::Status;
use crate::engine::work::Tools;
use crate::engine::{Exit, Machine, Notice, Operator, Plan, Reporter, RunState, drive};
use crate::engine::{reverse, scripts};
use crate::journal::read::{self, Entry};
use crate::journal::record::{Decision, LeaseHow};
use crate::journal::{Claim, Journal, Lease, RunDir, Seat};
use crate::report::commands;
use crate::ui::live::Live;
use crate::ui::view::{Fan, Snapshot, View};
use crate::ui::{NobodyOperator, PlainReporter, TerminalOperator, TerminalReporter, prompt};
use crate::ui::{handover, overview};

/// Time between TERM and KILL for a step's command.
const GRACE: Duration = Duration::from_secs(10);

/// Confirmations and decisions from the command line. An unknown step or word is an error.
pub fn given(bound: &Bound, answers: &super::args::Answers, mode: &Mode) -> Result<Given, CliError> {
    let back = matches!(mode, Mode::Back { .. });
    let mut given = Given::default();
    let known = |step: &str| bound.runbook.steps.iter().any(|s| s.id == step);
    let unknown = |step: &str| {
        let names = bound.runbook.steps.iter().map(|s| s.id.as_str());
        let error = CliError::usage(format!("the runbook has no step `{step}`"));
        match crate::base::text::nearest(step, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    };
    for (step, text) in &answers.confirm {
        let environment = !back && step == "environment";
        if !known(step) && !environment {
            return Err(unknown(step));
        }
        let destroys = |s: &crate::runbook::Step| s.id == *step && s.destroying(back).is_some();
        if !environment && !bound.runbook.steps.iter().any(destroys) {
            let what = if back { format!("undoing `{step}`") } else { format!("`{step}`") };
            return Err(CliError::usage(format!("{what} destroys nothing: there is nothing to confirm")));
        }
        given.confirm.insert(StepId(step.clone()), text.clone());
    }
    for (step, word) in &answers.decide {
        if !known(step) {
            return Err(unknown(step));
        }
        let decision = match word.as_str() {
            "again" => Decision::Again,
            _ if back => {
                let why = format!("`{word}` is no decision about undoing `{step}`; write `again`");
                return Err(CliError::usage(why).hint("that it is undone, its postconditions show"));
            }
            "done" => Decision::Done,
            _ => return Err(CliError::usage(format!("`{word}` is no decision; write `again` or `done`"))),
        };
        let reason = answers.reason.clone().filter(|reason| !reason.trim().is_empty());
        let reason = reason.ok_or_else(|| CliError::usage("a decision needs a --reason"))?;
        given.decide.insert(StepId(step.clone()), (decision, reason));
    }
    Ok(given)
}

/// What checks may use in a run.
pub fn context(cmd: &Cmd, bound: &Bound, folder: Option<&RunDir>) -> Context {
    let mut cx = Context::local(cmd.world.clone());
    cx.targets = Arc::new(bound.runbook.targets.clone());
    cx.secrets = Arc::new(bound.redactor());
    let captures =
        bound.runbook.steps.iter().filter_map(|step| Some((step.capture.clone()?, step.id.clone())));
    cx.captures = Arc::new(captures.collect());
    let values = bound.values.clone();
    cx.script_env = Arc::new(move |script| crate::runbook::vars::script_env(&values, script));
    if let Some(folder) = folder {
        cx.records = Arc::new(super::records::Shelf::new(folder.clone()));
        cx.samples = store_of(folder).map(|store| store.join("samples"));
        cx.outside.pages = store_of(folder).map(super::ack::folder);
        cx.outside.by = cmd.by();
    }
    cx
}

/// The store that a run lives in.
pub fn store_of(folder: &RunDir) -> Option<&Path> {
    folder.path.parent().and_then(Path::parent)
}

/// A session about to be driven.
pub struct Session<'a> {
    /// The command's surroundings.
    pub cmd: &'a Cmd,
    /// The runbook.
    pub bound: Bound,
    /// The run's folder.
    pub dir: RunDir,
    /// Its journal.
    pub journal: Journal,
    /// The lease.
    pub lease: Lease,
    /// The state, the lease included.
    pub state: RunState,
    /// Which way.
    pub mode: Mode,
    /// Answers from the command line.
    pub given: Given,
    /// Not the first session.
    pub resumed: bool,
    /// Who is asked and who is told, where that is not whoever sits at the terminal.
    pub cast: Option<Cast>,
    /// Faults of a fault rehearsal; none otherwise.
    pub faults: Faults,
}

/// Makes an operator of one that has nobody to ask.
pub type Casting = Box<dyn FnOnce(&View, Arc<dyn Operator>) -> Arc<dyn Operator>>;

/// Who takes part in a session with nobody at a terminal.
pub struct Cast {
    /// The operator.
    pub operator: Casting,
    /// Who is told, too.
    pub reporters: Vec<Arc<dyn Reporter>>,
}

impl Session<'_> {
    /// Drives the run until it ends, is refused, waits, or is interrupted.
    pub fn drive(self) -> Result<Exit, CliError> {
        let (cmd, dir) = (self.cmd, self.dir.clone());
        let runtime = runtime()?;
        let exit = runtime.block_on(self.run())?;
        if cmd.global.json {
            super::show::print_status(cmd, &dir)?;
        }
        exit
    }

    async fn run(self) -> Result<Exit, CliError> {
        let cmd = self.cmd;
        let secrets = Arc::new(self.bound.redactor());
        let view = View::new(Snapshot {
            runbook: self.bound.runbook.clone(),
            state: self.state.clone(),
            secrets: secrets.clone(),
        });
        let alone = self.cast.is_some();
        let (operator, screens) = match self.cast {
            Some(cast) => {
                let nobody = NobodyOperator::new(view.clone(), cmd.world.clock.clone()).for_ever();
                let (_, plain) = people(cmd, &view, false);
                ((cast.operator)(&view, Arc::new(nobody)), [cast.reporters, vec![plain]].concat())
            }
            None => {
                let (operator, screen) = people(cmd, &view, prompt::present(cmd.global.non_interactive));
                (operator, vec![screen])
            }
        };
        let present = operator.present();
        let mut cx = context(cmd, &self.bound, Some(&self.dir));
        if let Some(store) = store_of(&self.dir) {
            cx.outside = super::ack::outside(cmd, store, &self.bound.runbook, true)?;
        }
        let reporter: Arc<dyn Reporter> =
            Arc::new(Fan([vec![Arc::new(view.clone()) as _], screens].concat()));
        let teller = reporter.clone();
        cx.progress = Arc::new(move |progress| teller.tell(&Notice::Progress { check: None, progress }));
        let teller = reporter.clone();
        cx.progress_of = Some(Arc::new(move |check, progress| {
            teller.tell(&Notice::Progress { check: Some(check.clone()), progress });
        }));
        let now = self.state.holder.as_ref().map_or_else(|| cmd.now(), |holder| holder.since);
        let by = cmd.by();
        let plan = Plan::new(self.bound.runbook.clone());
        let mode = self.mode.clone();
        let machine = Machine::new(plan, self.state.clone(), self.mode, present, self.given, &by, now);
        let desk = drive::Desk {
            folder: self.dir.path.clone(),
            journal: self.journal,
            lease: self.lease,
            by,
            cx,
            tools: Tools {
                run: self.state.run.0.clone(),
                values: Arc::new(self.bound.values.clone()),
                captured: self.state.captured.clone(),
                secrets: self.bound.secrets(),
                grace: GRACE,
                faults: self.faults,
            },
            operator,
            reporter,
            rebind: rebinder(self.bound, view.clone()),
            signers: super::signing::signers(cmd),
        };
        if present && !alone && !self.resumed {
            cmd.err(&overview::overview(&view.snapshot(), &cmd.by(), &cmd.err_style));
        }
        let exit = drive::drive(desk, machine, self.resumed).await;
        if !alone {
            cmd.err(&next(cmd, &view, exit, &mode));
        }
        Ok(exit)
    }
}

/// The exact next command, in one line: whoever leaves may be too tired to remember it.
fn next(cmd: &Cmd, view: &View, exit: Exit, mode: &Mode) -> String {
    let state = view.snapshot().state;
    let run = &state.run;
    let (command, who) = match exit {
        _ if state.end.is_some() => (cmd.again(&commands::log(run), false), "; it shows what happened"),
        Exit::Busy | Exit::Journal => (cmd.again(&commands::status(run), false), ""),
        _ if state.offer.is_some() => (cmd.again(&commands::accept(run), false), ", by the next operator"),
        // Whoever was going back is not sent forward.
        _ => match mode {
            Mode::Back { to } if exit != Exit::Done && may_go_back(&view.snapshot()) => {
                (cmd.again(&commands::rollback(run, to.as_ref()), true), "")
            }
            _ => (cmd.again(&commands::resume(run), true), ""),
        },
    };
    handover::next(&command, who, &cmd.err_style)
}

/// False when what is held cannot be undone at all, or not before it is known how it ended.
fn may_go_back(snapshot: &Snapshot) -> bool {
    let Some((step, _)) = &snapshot.state.held else { return true };
    let known = snapshot.state.status(step) != Status::Running;
    known && snapshot.step(step).is_some_and(|(_, step)| reverse::irreversible(step).is_none())
}

/// Whom to ask and where to show: the terminal, or nobody and plain lines.
fn people(cmd: &Cmd, view: &View, present: bool) -> (Arc<dyn Operator>, Arc<dyn Reporter>) {
    let clock = cmd.world.clock.clone();
    if present {
        let live = Live::stderr(cmd.err_style);
        let operator = TerminalOperator::new(live.clone(), view.clone(), clock);
        return (Arc::new(operator), Arc::new(TerminalReporter::new(live, view.clone())));
    }
    let plain = PlainReporter::new(crate::ui::Out::stderr(&cmd.err_style), view.clone());
    (Arc::new(NobodyOperator::new(view.clone(), clock)), Arc::new(plain))
}

/// Makes the runbook again once a step has captured a value.
fn rebinder(bound: Bound, view: View) -> drive::Rebind {
    Arc::new(move |state| {
        let mut values = bound.values.clone();
        for (name, value) in &state.captured {
            values.capture(name, value)?;
        }
        let runbook = bound.again(&values).map_err(|problems| {
            let first = problems.into_iter().next().map(|p| p.message);
            first.unwrap_or_else(|| "a captured value does not fit".to_owned())
        })?;
        let runbook = Arc::new(runbook);
        view.update(|snapshot| snapshot.runbook = runbook.clone());
        Ok(runbook)
    })
}

/// A runtime for one command. It never waits for what is left in it, after a panic neither: a prompt that blocks cannot
/// be cancelled.
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, CliError> {
        let runtime = self.0.as_ref().ok_or_else(|| CliError::new(Exit::Journal, "the runtime is gone"))?;
        Ok(runtime.block_on(future))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A runtime for one command.
pub fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map(|runtime| Runtime(Some(runtime)))
        .map_err(|e| CliError::new(Exit::Journal, format!("cannot start: {e}")))
}

/// The folder of a run that was found, with its journal open and its state folded.
pub fn open(dir: &RunDir) -> Result<(Journal, RunState), CliError> {
    let (journal, lines) = Journal::open(dir).map_err(CliError::journal)?;
    let state = RunState::fold(&lines).map_err(CliError::journal)?;
    Ok((journal, state))
}

/// Takes one's own run up again, and brings the state up to date with what was written meanwhile.
pub fn lease(cmd: &Cmd, journal: &mut Journal, state: &mut RunState) -> Result<Lease, CliError> {
    let seat = Seat::here().map_err(CliError::journal)?;
    let claim = Claim {
        operator: cmd.by(),
        how: LeaseHow::Resume,
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    let (lease, taken) = Lease::take(journal, &seat, claim, cmd.now()).map_err(super::lease_error)?;
    taken.foreign.iter().chain(&taken.own).for_each(|line| state.apply(line));
    Ok(lease)
}

/// The state of a run for reading: nothing is mended, locked or changed.
pub fn peek(dir: &RunDir) -> Result<(Vec<crate::journal::Line>, RunState), CliError> {
    let reading = read::read(dir).map_err(CliError::journal)?;
    let damage = reading.report.problems.first().map(ToString::to_string);
    let mut lines = Vec::with_capacity(reading.entries.len());
    for entry in reading.entries {
        match entry {
            Entry::Known(line) => lines.push(*line),
            Entry::Raw { why, .. } => {
                let message = format!("line {} of {}: {why}", lines.len() + 1, dir.journal().display());
                return Err(CliError::journal(message).hint("`holdpoint verify` lists all damage"));
            }
        }
    }
    // What was altered is not shown as if it were true.
    if let Some(damage) = damage {
        let message = format!("{} is damaged: {damage}", dir.journal().display());
        return Err(CliError::journal(message)
            .hint("`holdpoint verify` lists all damage; `holdpoint log` shows the rest"));
    }
    let state = RunState::fold(&lines).map_err(CliError::journal)?;
    Ok((lines, state))
}

/// A run's runbook for showing: secrets stay unknown.
pub fn readable(cmd: &Cmd, dir: &RunDir, state: &RunState) -> Result<Bound, CliError> {
    let bound = book::of_run(cmd, &dir.path, state, None)?;
    if bound.digest() != state.runbook {
        cmd.err(&format!(
            "warning: {} is not the runbook that run {} was started with; what is shown may be wrong\n",
            dir.runbook().display(),
            state.run
        ));
    }
    // Whoever only looks may not be allowed to read them.
    let now = scripts::now(&state.scripts);
    for (path, is) in state.scripts.changed(&now).into_iter().filter(|(path, _)| now[*path].is_some()) {
        cmd.err(&format!(
            "warning: {} is not the script that run {} was started with ({is})\n",
            crate::base::text::neutral(path),
            state.run
        ));
    }
    Ok(bound)
}

/// Tells others what a command put on record without driving: a handoff, the end of a run.
pub fn tell(
    cmd: &Cmd,
    bound: &Bound,
    journal: &mut Journal,
    run: &crate::base::RunId,
    lines: &[crate::journal::Line],
) -> Result<(), CliError> {
    if bound.runbook.notify.is_empty() {
        return Ok(());
    }
    let secrets = Arc::new(bound.redactor());
    let told = runtime()?.block_on(async {
        let mut hooks = Hooks::new(&bound.runbook, run, cmd.world.processes.clone(), secrets);
        lines.iter().for_each(|line| hooks.tell(line));
        hooks.finish(notify::LONGEST + GRACE).await
    })?;
    for event in &told {
        if let crate::journal::Event::Notified { delivered: false, .. } = event {
            cmd.err(&format!("warning: {}\n", crate::report::words::event(event, &cmd.by()).head));
        }
    }
    if !told.is_empty() {
        journal.append(&cmd.by(), None, cmd.now(), told).map_err(super::append_error)?;
    }
    Ok(())
}
