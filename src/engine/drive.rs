//! The thin loop: takes effects from the machine, performs them in order, and feeds what came of them back.
//!
//! The journal is written before anything that follows it in the list; when it cannot be written, the session ends and
//! nothing more happens. Slow work runs in tasks of its own, so that a signal, a tick or an answer is never kept waiting.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::event::{Exit, Notice, Operator, Question, Reporter};
use super::machine::{Effect, Input, Machine, Measured};
use super::plan::Plan;
use super::state::RunState;
use super::{blast, work};
use crate::base::{Digest, StepId};
use crate::check::{Context, measure};
use crate::journal::{AppendError, Journal, Lease};
use crate::journal::record::Event;
use crate::runbook::Runbook;
use crate::world::identify;

/// How often work under way is looked after.
const TICK: Duration = Duration::from_millis(200);
/// How often the journal is read for what others wrote: a note, an offer.
const LISTEN: Duration = Duration::from_secs(1);

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
}

struct Driver {
    desk: Desk,
    machine: Machine,
    queue: VecDeque<Effect>,
    tx: UnboundedSender<Input>,
    working: Option<(JoinHandle<()>, PathBuf)>,
    questions: Arc<tokio::sync::Mutex<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Drives a run until it ends, is refused, waits, or is interrupted.
pub async fn drive(desk: Desk, machine: Machine, resumed: bool, rebooted: bool) -> Exit {
    let (tx, rx) = unbounded_channel();
    let signals = signals(tx.clone());
    let questions = Arc::new(tokio::sync::Mutex::new(()));
    let mut driver =
        Driver { desk, machine, queue: VecDeque::new(), tx, working: None, questions, tasks: Vec::new() };
    let exit = driver.run(rx, Input::Start { resumed, rebooted }).await;
    signals.into_iter().for_each(|task| task.abort());
    driver.tasks.iter().for_each(JoinHandle::abort);
    if let Some((task, _)) = driver.working {
        // Only the watching ends: a command under its supervisor goes on.
        task.abort();
    }
    exit
}

fn signals(tx: UnboundedSender<Input>) -> Vec<JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        (SignalKind::interrupt(), true),
        (SignalKind::terminate(), false),
        (SignalKind::hangup(), false),
    ];
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
            Effect::Measure { purpose, step, checks, prove, blast } => {
                self.measure(purpose, step, checks, prove, blast);
            }
            Effect::Look { step, attempt, undo } => {
                let found = work::look(&self.job(step, attempt, undo));
                let _ = self.tx.send(Input::Found(found));
            }
            Effect::Work { cleared, attempt, undo } => {
                let job = self.job(cleared.step().clone(), attempt, undo);
                let (tx, dir) = (self.tx.clone(), job.dir());
                let task = tokio::spawn(async move {
                    let _ = tx.send(Input::WorkEnded(work::perform(cleared, job).await));
                });
                self.working = Some((task, dir));
            }
            Effect::Attach { step, attempt, undo } => {
                let job = self.job(step, attempt, undo);
                let (tx, dir) = (self.tx.clone(), job.dir());
                let task = tokio::spawn(async move {
                    let _ = tx.send(Input::WorkEnded(work::attach(job).await));
                });
                self.working = Some((task, dir));
            }
            Effect::Stop { why } => self.command(|dir| work::stop(dir, &why)),
            Effect::Pause => self.command(work::pause),
            Effect::Continue => self.command(work::go_on),
            Effect::Ask(question) => self.ask(question).await,
            Effect::Say(text) => self.desk.reporter.tell(&Notice::Message(text)),
            Effect::Soaking { step, elapsed_ms, wanted_ms } => self.desk.reporter.tell(&Notice::Soaking {
                step,
                elapsed: Duration::from_millis(elapsed_ms),
                wanted: Duration::from_millis(wanted_ms),
            }),
            Effect::Leave(exit) => return Some(exit),
        }
        None
    }

    fn job(&self, step: StepId, attempt: u32, undo: bool) -> work::Job {
        work::Job {
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
        if let Some((_, dir)) = &self.working
            && let Err(why) = act(dir)
        {
            self.desk.reporter.tell(&Notice::Warning(why));
        }
    }

    fn append(&mut self, batches: Vec<Vec<Event>>) -> Option<Exit> {
        // Where there is no room for all, there may be some for those that close something.
        let each = if batches.len() > 1 { batches.clone() } else { Vec::new() };
        match self.append_one(batches.into_iter().flatten().collect()) {
            Err(AppendError::NoSpace { .. }) if !each.is_empty() => {
                each.into_iter().find_map(|events| self.append_one(events).err()).map(|error| self.lost(&error))
            }
            done => done.err().map(|error| self.lost(&error)),
        }
    }

    fn append_one(&mut self, events: Vec<Event>) -> Result<(), AppendError> {
        let captured = events.iter().any(|event| matches!(event, Event::Captured { .. }));
        let now = self.desk.cx.world.clock.now();
        let epoch = self.desk.lease.epoch();
        let appended = self.desk.journal.append(&self.desk.by, Some(epoch), now, events)?;
        for line in appended.foreign.iter().chain(&appended.own) {
            self.desk.reporter.tell(&Notice::Journal(line.clone()));
        }
        if !appended.foreign.is_empty() {
            let _ = self.tx.send(Input::Foreign(appended.foreign));
        }
        if captured {
            self.rebind();
        }
        Ok(())
    }

    /// What others wrote to the journal since we last looked.
    fn listen(&mut self) -> Result<Option<Input>, Exit> {
        match self.desk.journal.poll() {
            Ok(lines) if lines.is_empty() => Ok(None),
            Ok(lines) => {
                lines.iter().for_each(|line| self.desk.reporter.tell(&Notice::Journal(line.clone())));
                Ok(Some(Input::Foreign(lines)))
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &AppendError) -> Exit {
        self.desk.reporter.tell(&Notice::Warning(error.to_string()));
        if matches!(error, AppendError::Fenced { .. } | AppendError::NeedsLease) { Exit::Busy } else { Exit::Journal }
    }

    fn rebind(&mut self) {
        match (self.desk.rebind)(self.machine.state()) {
            Ok(runbook) => {
                self.desk.cx.targets = Arc::new(runbook.targets.clone());
                self.desk.tools.captured = self.machine.state().captured.clone();
                self.machine.rebind(Plan::new(runbook));
            }
            Err(why) => self.desk.reporter.tell(&Notice::Warning(why)),
        }
    }

    fn measure(
        &mut self, purpose: crate::journal::record::Purpose, step: StepId,
        checks: Vec<super::plan::Placed>, prove: Vec<String>, blast: bool,
    ) {
        if purpose != crate::journal::record::Purpose::Invariant && !checks.is_empty() {
            let titles = checks.iter().map(|(id, spec)| {
                let title = spec.common.title.clone().unwrap_or_else(|| crate::check::registry::title(spec));
                (id.clone(), title)
            });
            let checks = titles.collect();
            self.desk.reporter.tell(&Notice::Measuring { step: step.clone(), purpose, checks });
        }
        let destroys = self.machine.plan().step(&step).and_then(|s| s.destroys.clone()).filter(|_| blast);
        let (cx, tx, reporter) = (self.desk.cx.clone(), self.tx.clone(), self.desk.reporter.clone());
        let copy = self.desk.folder.join("runbook.yaml");
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(async move {
            let one = |(id, spec)| {
                let (cx, reporter, step) = (&cx, &reporter, step.clone());
                async move {
                    let evidence = measure::measure(id, &spec, cx).await;
                    reporter.tell(&Notice::Measured { step, purpose, evidence: evidence.clone() });
                    evidence
                }
            };
            let evidence = measure::side_by_side(checks.into_iter().map(one)).await;
            let proofs = prove.into_iter().map(|name| {
                let cx = &cx;
                async move {
                    let identity = match cx.target(&name) {
                        Ok(target) => identify::identity(target).await,
                        Err(why) => Err(why),
                    };
                    (name, identity)
                }
            });
            let proved = futures::future::join_all(proofs).await.into_iter().collect();
            let blast = match &destroys {
                Some(destroys) => Some(blast::measure(destroys, &cx).await),
                None => None,
            };
            let runbook_now = match tokio::fs::read(&copy).await {
                Ok(bytes) => Digest::of(&bytes),
                Err(_) => Digest::from("unreadable"),
            };
            let _ = tx.send(Input::Measured(Measured { purpose, step, evidence, proved, blast, runbook_now }));
        }));
    }

    /// Prompts block, so they run beside the loop, one after the other.
    async fn ask(&mut self, question: Question) {
        let (operator, tx, turn) = (self.desk.operator.clone(), self.tx.clone(), self.questions.clone());
        if !operator.present() {
            let _ = operator.ask(&question).await;
            return;
        }
        self.tasks.push(tokio::spawn(async move {
            let _turn = turn.lock().await;
            let answer = operator.ask(&question).await;
            let _ = tx.send(Input::Answer(answer));
        }));
    }
}
