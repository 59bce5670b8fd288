//! The thin loop: takes effects from the machine, performs them in order, and feeds what came of them back.
//!
//! The journal is written before anything that follows it in the list; when it cannot be written, the session ends and
//! nothing more happens. Slow work runs in tasks of its own, so that a signal, a tick or an answer is never kept waiting.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::event::{Exit, Notice, Operator, Question, Reporter};
use super::machine::{Effect, Ended, Input, Machine, Number};
use super::notify::Hooks;
use super::people::Signers;
use super::plan::Plan;
use super::scrub::scrub;
use super::state::RunState;
use super::survey::{self, Pace, Survey};
use super::work;
use crate::base::StepId;
use crate::check::Context;
use crate::journal::record::{Ending, Event, Purpose};
use crate::journal::{AppendError, Journal, Lease};
use crate::runbook::Runbook;
use crate::runbook::model::Work;

/// How often work under way is looked after.
const TICK: Duration = Duration::from_millis(200);
/// How often the journal is read for what others wrote: a note, an offer.
const LISTEN: Duration = Duration::from_secs(1);

/// How long hooks are waited for by somebody who is in a hurry.
const HURRY: Duration = Duration::from_secs(5);

/// Makes a runbook again with more variables known.
pub type Rebind = Arc<dyn Fn(&RunState) -> Result<Arc<Runbook>, String> + Send + Sync>;

/// Everything a session needs.
pub struct Desk {
    /// The run's folder.
    pub folder: PathBuf,
    /// Its journal, open for writing.
    pub journal: Journal,
    /// The lease, held as long as this lives.
    pub lease: Lease,
    /// Who drives: `operator@host`.
    pub by: String,
    /// What checks may use.
    pub cx: Context,
    /// What commands get.
    pub tools: work::Tools,
    /// Whom to ask.
    pub operator: Arc<dyn Operator>,
    /// Whom to tell.
    pub reporter: Arc<dyn Reporter>,
    /// Makes the runbook again after a capture.
    pub rebind: Rebind,
    /// Reads whose signatures count.
    pub signers: Arc<dyn Fn() -> Signers + Send + Sync>,
}

struct Driver {
    desk: Desk,
    machine: Machine,
    queue: VecDeque<Effect>,
    tx: UnboundedSender<Input>,
    working: Option<Working>,
    asking: Option<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    pace: Pace,
    hooks: Hooks,
    /// The last line that this session wrote.
    wrote: u64,
}

/// Work under way.
struct Working {
    request: Number,
    step: StepId,
    task: JoinHandle<()>,
    dir: PathBuf,
    /// A command under a supervisor; else it is done by this process itself.
    command: bool,
}

/// Drives a run until it ends, is refused, waits, or is interrupted.
pub async fn drive(desk: Desk, machine: Machine, resumed: bool) -> Exit {
    let (tx, rx) = unbounded_channel();
    let signals = signals(tx.clone());
    let hooks = {
        let (world, secrets) = (&desk.cx.world, desk.cx.secrets.clone());
        Hooks::new(&machine.plan().runbook, &machine.state().run, world.processes.clone(), secrets)
    };
    let mut driver = Driver {
        desk,
        machine,
        queue: VecDeque::new(),
        tx,
        working: None,
        asking: None,
        tasks: Vec::new(),
        pace: Pace::default(),
        hooks,
        wrote: 0,
    };
    let exit = driver.run(rx, Input::Start { resumed }).await;
    // Whoever pressed Ctrl-C wants to go; everybody else waits until those who had to be told were told.
    let limit = if exit == Exit::Interrupted { HURRY } else { super::notify::LONGEST + HURRY };
    let told = driver.hooks.finish(limit).await;
    driver.told(told);
    signals.into_iter().for_each(|task| task.abort());
    driver.tasks.iter().chain(&driver.asking).for_each(JoinHandle::abort);
    if let Some(working) = driver.working {
        // Only the watching ends: a command under its supervisor goes on.
        working.task.abort();
    }
    exit
}

fn signals(tx: UnboundedSender<Input>) -> Vec<JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds =
        [(SignalKind::interrupt(), true), (SignalKind::terminate(), false), (SignalKind::hangup(), false)];
    let mut tasks = Vec::new();
    for (kind, interrupt) in kinds {
        let Ok(mut stream) = signal(kind) else { continue };
        let tx = tx.clone();
        tasks.push(tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let _ = tx.send(if interrupt { Input::Interrupt } else { Input::Leave });
            }
        }));
    }
    tasks
}

impl Driver {
    async fn run(&mut self, mut rx: UnboundedReceiver<Input>, first: Input) -> Exit {
        let mut input = first;
        let mut ticker = tokio::time::interval(TICK);
        let mut listen = tokio::time::interval(LISTEN);
        listen.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            if let Input::WorkEnded(request, ended) = &mut input {
                self.came_to_an_end(*request, ended);
            }
            if matches!(input, Input::Start { .. } | Input::Measured(_) | Input::Foreign(_)) {
                self.machine.set_signers((self.desk.signers)());
            }
            let now = self.desk.cx.world.clock.now();
            let effects = self.machine.step(input, now);
            self.queue.extend(effects);
            while let Some(effect) = self.queue.pop_front() {
                if let Some(exit) = self.perform(effect).await {
                    return exit;
                }
            }
            input = loop {
                tokio::select! {
                    biased;
                    Some(next) = rx.recv() => break next,
                    _ = ticker.tick() => break Input::Tick,
                    _ = listen.tick() => match self.listen() {
                        Ok(Some(input)) => break input,
                        Ok(None) => {}
                        Err(exit) => return exit,
                    },
                }
            };
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Exit> {
        tracing::debug!(effect = effect.name(), "performs");
        match effect {
            Effect::Append(events) => {
                // What follows on record without anything in between is of the same moment: one flush for all of it.
                let mut batches = vec![events];
                while let Some(Effect::Append(_)) = self.queue.front() {
                    if let Some(Effect::Append(events)) = self.queue.pop_front() {
                        batches.push(events);
                    }
                }
                return self.append(batches);
            }
            Effect::Measure { request, purpose, step, checks, prove, goes: destroys } => {
                let folder = self.desk.folder.clone();
                let scripts = self.machine.state().scripts.clone();
                let survey = Survey { request, purpose, step, checks, prove, destroys, folder, scripts };
                survey.apart().for_each(|survey| self.measure(survey));
            }
            Effect::Look { request, step, attempt, undo } => {
                let found = work::look(&self.job(step, attempt, undo));
                let _ = self.tx.send(Input::Found(request, found));
            }
            Effect::Work { request, cleared, attempt, undo } => {
                let job = self.job(cleared.step().clone(), attempt, undo);
                self.set_to_work(request, job, |job| Box::pin(work::perform(cleared, job)));
            }
            Effect::Attach { request, step, attempt, undo } => {
                let job = self.job(step, attempt, undo);
                self.set_to_work(request, job, |job| Box::pin(work::attach(job)));
            }
            Effect::Stop { why } => self.stop(&why),
            Effect::Pause => self.command(work::pause),
            Effect::Continue => self.command(work::go_on),
            Effect::Ask(request, question) => self.ask(request, question).await,
            Effect::Withdraw => self.withdraw(),
            Effect::Say(text) => self.desk.reporter.tell(&Notice::Message(text)),
            Effect::Soaking { step, elapsed_ms, wanted_ms } => self.desk.reporter.tell(&Notice::Soaking {
                step,
                elapsed: Duration::from_millis(elapsed_ms),
                wanted: Duration::from_millis(wanted_ms),
            }),
            Effect::Leave(exit) => {
                if exit == Exit::Waiting && self.machine.state().offer.is_none() {
                    let step = self.machine.waits_at();
                    self.hooks.waits(self.wrote, step);
                }
                return Some(exit);
            }
        }
        None
    }

    fn job(&self, step: StepId, attempt: u32, undo: bool) -> work::Job {
        let began = self.machine.state().step(&step).began.filter(|_| !undo);
        work::Job {
            began,
            step,
            attempt,
            undo,
            folder: self.desk.folder.clone(),
            runbook: self.machine.plan().runbook.clone(),
            cx: self.desk.cx.clone(),
            tools: self.desk.tools.clone(),
            reporter: self.desk.reporter.clone(),
        }
    }

    fn command(&self, act: impl FnOnce(&std::path::Path) -> Result<(), String>) {
        if let Some(working) = &self.working
            && let Err(why) = act(&working.dir)
        {
            self.desk.reporter.tell(&Notice::Warning(why));
        }
    }

    /// Work in a task of its own. One that breaks down has an unknown end, and not none.
    fn set_to_work(
        &mut self,
        request: Number,
        job: work::Job,
        work: impl FnOnce(work::Job) -> futures::future::BoxFuture<'static, Ended>,
    ) {
        let (tx, dir, step) = (self.tx.clone(), job.dir(), job.step.clone());
        let command = matches!(job.work(), Some(Work::Run(_)));
        let work = AssertUnwindSafe(work(job)).catch_unwind();
        let task = tokio::spawn(async move {
            let ended = work.await.unwrap_or_else(|_| {
                let why = "Holdpoint itself broke down while it was under way (a defect)".to_owned();
                Ended::how(Ending::Unknown { why })
            });
            let _ = tx.send(Input::WorkEnded(request, ended));
        });
        self.working = Some(Working { request, step, task, dir, command });
    }

    /// Stops a command by its supervisor. Work of our own is broken off; what a server has made of it, nobody knows.
    fn stop(&mut self, why: &str) {
        match &self.working {
            Some(working) if !working.command => {
                working.task.abort();
                let why = format!("{why}; a statement may have been under way");
                let _ = self.tx.send(Input::WorkEnded(working.request, Ended::how(Ending::Unknown { why })));
            }
            _ => self.command(|dir| work::stop(dir, why)),
        }
    }

    /// A value that does not fit into the runbook is no value: found out before it is on record.
    fn came_to_an_end(&mut self, request: Number, ended: &mut Ended) {
        let Some(working) = self.working.take_if(|working| working.request == request) else { return };
        let Some(Ok(value)) = &ended.captured else { return };
        let name = self.machine.plan().step(&working.step).and_then(|step| step.capture.clone());
        // What is an observation only becomes no variable.
        let Some(name) = name else { return };
        let mut state = self.machine.state().clone();
        state.captured.insert(name, value.clone());
        if let Err(why) = (self.desk.rebind)(&state) {
            ended.captured = Some(Err(why));
        }
    }

    fn append(&mut self, batches: Vec<Vec<Event>>) -> Option<Exit> {
        // Where there is no room for all, there may be some for those that close something.
        let each = if batches.len() > 1 { batches.clone() } else { Vec::new() };
        let mut done = self.append_one(batches.into_iter().flatten().collect());
        if matches!(done, Err(AppendError::NoSpace { .. })) {
            for events in each {
                done = self.append_one(events);
                if done.is_err() {
                    break;
                }
            }
        }
        done.unwrap_or_else(|error| Some(self.lost(&error)))
    }

    fn append_one(&mut self, events: Vec<Event>) -> Result<Option<Exit>, AppendError> {
        let captured = events.iter().any(|event| matches!(event, Event::Captured { .. }));
        let events = events.into_iter().map(|event| scrub(event, &self.desk.cx.secrets)).collect();
        let now = self.desk.cx.world.clock.now();
        let epoch = self.desk.lease.epoch();
        let appended = self.desk.journal.append(&self.desk.by, Some(epoch), now, events)?;
        for line in appended.foreign.iter().chain(&appended.own) {
            self.desk.reporter.tell(&Notice::Journal(line.clone()));
        }
        for line in &appended.own {
            self.wrote = line.seq;
            self.hooks.tell(line);
        }
        if !appended.foreign.is_empty() {
            let _ = self.tx.send(Input::Foreign(appended.foreign));
        }
        Ok(if captured { self.rebind() } else { None })
    }

    /// What became of hooks goes on record. That it cannot be written stops nothing: the next event that matters will.
    fn told(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let now = self.desk.cx.world.clock.now();
        match self.desk.journal.append(&self.desk.by, None, now, events) {
            Ok(appended) => {
                for line in appended.foreign.iter().chain(&appended.own) {
                    self.desk.reporter.tell(&Notice::Journal(line.clone()));
                }
                if !appended.foreign.is_empty() {
                    let _ = self.tx.send(Input::Foreign(appended.foreign));
                }
            }
            Err(error) => {
                let text = format!("what became of a hook is not on record: {error}");
                self.desk.reporter.tell(&Notice::Warning(text));
            }
        }
    }

    /// What others wrote to the journal since we last looked.
    fn listen(&mut self) -> Result<Option<Input>, Exit> {
        let told = self.hooks.ended();
        self.told(told);
        match self.desk.journal.poll() {
            Ok(lines) if lines.is_empty() => Ok(None),
            Ok(lines) => {
                lines.iter().for_each(|line| self.desk.reporter.tell(&Notice::Journal(line.clone())));
                let newer = lines.iter().rev().find(|line| matches!(line.event, Event::Lease { .. }));
                if let Some(line) = newer {
                    // Paused, then handed over: what is under way is theirs to watch, and the screen must say so.
                    let mine = self.desk.lease.epoch().number();
                    let (holder, newest) = (line.by.clone(), line.epoch);
                    return Err(self.lost(&AppendError::Fenced { holder, newest, mine }));
                }
                Ok(Some(Input::Foreign(lines)))
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &AppendError) -> Exit {
        self.desk.reporter.tell(&Notice::Warning(error.to_string()));
        if matches!(error, AppendError::Fenced { .. } | AppendError::NeedsLease) {
            Exit::Busy
        } else {
            Exit::Journal
        }
    }

    fn rebind(&mut self) -> Option<Exit> {
        match (self.desk.rebind)(self.machine.state()) {
            Ok(runbook) => {
                let captured = self.machine.state().captured.clone();
                self.desk.cx.targets = Arc::new(runbook.targets.clone());
                let known = self.desk.cx.script_env.clone();
                let more = captured.clone();
                self.desk.cx.script_env = Arc::new(move |script| {
                    let mut env = known(script);
                    env.extend(more.clone());
                    env
                });
                self.desk.tools.captured = captured;
                self.machine.rebind(Plan::new(runbook));
                None
            }
            Err(why) => {
                // Later steps would run with a placeholder instead of the value.
                self.desk.reporter.tell(&Notice::Warning(why));
                Some(Exit::Failed)
            }
        }
    }

    fn measure(&mut self, survey: Survey) {
        if survey.purpose != Purpose::Invariant && !survey.checks.is_empty() {
            let titles = survey.checks.iter().map(|(id, spec)| {
                let title = spec.common.title.clone().unwrap_or_else(|| crate::check::registry::title(spec));
                (id.clone(), title)
            });
            let (step, purpose) = (survey.step.clone(), survey.purpose);
            self.desk.reporter.tell(&Notice::Measuring { step, purpose, checks: titles.collect() });
        }
        let (cx, tx, reporter) = (self.desk.cx.clone(), self.tx.clone(), self.desk.reporter.clone());
        let (pace, faults) = (self.pace.clone(), self.desk.tools.faults.clone());
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(async move {
            let _ = tx.send(Input::Measured(survey::survey(survey, cx, pace, faults, reporter).await));
        }));
    }

    /// A prompt blocks, so it runs beside the loop. The question before it is withdrawn.
    async fn ask(&mut self, request: Number, question: Question) {
        self.withdraw();
        let (operator, tx) = (self.desk.operator.clone(), self.tx.clone());
        if !operator.present() {
            let _ = operator.ask(&question).await;
            return;
        }
        self.asking = Some(tokio::spawn(async move {
            let answer = operator.ask(&question).await;
            let _ = tx.send(Input::Answer(request, answer));
        }));
    }

    fn withdraw(&mut self) {
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }
}
