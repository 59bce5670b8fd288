//! Tells others by the runbook's hooks. A hook runs beside the work, which never waits for it; how it ended goes on
//! record. A line is told about once: by the session that wrote it, never again when the run is resumed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::base::redact::Redactor;
use crate::base::text::neutral;
use crate::base::{RunId, Span, StepId};
use crate::journal::Line;
use crate::journal::record::{Blocker, Event};
use crate::runbook::Runbook;
use crate::runbook::limits::{Hook, Occasion};
use crate::world::process::{Probe, Processes};

/// How long a hook may take that does not say.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How long any may take.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Characters of a summary: it may become a text message.
const SUMMARY: usize = 400;
/// Bytes of a hook's output that are kept.
const KEEP: usize = 300;

/// The hooks of a run, and what became of those that were started.
pub struct Hooks {
    hooks: Vec<Hook>,
    run: RunId,
    processes: Arc<dyn Processes>,
    secrets: Arc<Redactor>,
    tx: UnboundedSender<Event>,
    rx: UnboundedReceiver<Event>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    under_way: usize,
    /// Somebody was told that the run stands still, and it has not gone on since.
    stands: bool,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    on: Occasion,
    of: u64,
    step: Option<StepId>,
    summary: String,
}

impl Hooks {
    /// The hooks of a runbook.
    pub fn new(
        runbook: &Runbook,
        run: &RunId,
        processes: Arc<dyn Processes>,
        secrets: Arc<Redactor>,
    ) -> Self {
        let (tx, rx) = unbounded_channel();
        let hooks = runbook.notify.clone();
        let (run, tasks) = (run.clone(), Vec::new());
        Hooks { hooks, run, processes, secrets, tx, rx, tasks, under_way: 0, stands: false }
    }

    /// A line that this session wrote.
    pub fn tell(&mut self, line: &Line) {
        match &line.event {
            Event::Began { .. } | Event::Done { .. } | Event::RollbackBegan { .. } => self.stands = false,
            _ => {}
        }
        if let Some(told) = told(&self.run, line) {
            self.stands |= !matches!(told.on, Occasion::Completed | Occasion::Abandoned);
            self.send(told);
        }
    }

    /// The session ends because it waits for a person; `line` is the last that it wrote. Nothing is said when somebody was
    /// told already why the run stands still.
    pub fn waits(&mut self, line: u64, step: Option<StepId>) {
        if !std::mem::replace(&mut self.stands, true) {
            let place = step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
            let summary = format!("{} waits for a person{place}", self.run);
            self.send(Told { on: Occasion::Waiting, of: line, step, summary });
        }
    }

    fn send(&mut self, mut told: Told) {
        told.summary = short(&self.secrets.text(&told.summary));
        let wanted: Vec<Hook> =
            self.hooks.iter().filter(|hook| hook.on.contains(&told.on)).cloned().collect();
        for hook in wanted {
            let (tx, processes, secrets) = (self.tx.clone(), self.processes.clone(), self.secrets.clone());
            let (run, told) = (self.run.clone(), told.clone());
            self.under_way += 1;
            self.tasks.push(tokio::spawn(async move {
                let (outcome, delivered) = call(&hook, &told, &run, &*processes).await;
                let program = hook.run.first().cloned().unwrap_or_default();
                let _ = tx.send(Event::Notified {
                    of: told.of,
                    on: told.on.word().to_owned(),
                    program: short(&secrets.text(&program)),
                    outcome: short(&secrets.text(&outcome)),
                    delivered,
                });
            }));
        }
    }

    /// What has ended since it was last asked.
    pub fn ended(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Ok(event) = self.rx.try_recv() {
            self.under_way -= 1;
            all.push(event);
        }
        all
    }

    /// Waits for those that still run, no longer than `limit`; each has a limit of its own.
    pub async fn finish(&mut self, limit: Duration) -> Vec<Event> {
        let mut all = self.ended();
        let until = tokio::time::Instant::now() + limit;
        while self.under_way > 0 {
            match tokio::time::timeout_at(until, self.rx.recv()).await {
                Ok(Some(event)) => {
                    self.under_way -= 1;
                    all.push(event);
                }
                _ => break,
            }
        }
        // One that is not waited for is killed with its group.
        self.tasks.drain(..).for_each(|task| task.abort());
        all
    }
}

/// Runs one hook; how it ended, and whether that was well.
async fn call(hook: &Hook, told: &Told, run: &RunId, processes: &dyn Processes) -> (String, bool) {
    let step = told.step.as_ref().map_or("", StepId::as_str);
    let values =
        [("summary", told.summary.as_str()), ("kind", told.on.word()), ("run", run.as_str()), ("step", step)];
    let limit = hook.timeout.map_or(TIMEOUT, |span| span.0).min(LONGEST);
    let probe = Probe {
        argv: hook.run.iter().map(|item| filled(item, &values)).collect(),
        env: values
            .iter()
            .map(|(name, value)| {
                (format!("HOLDPOINT_EVENT_{}", name.to_uppercase()), value.replace('\0', ""))
            })
            .collect::<BTreeMap<_, _>>(),
        cwd: None,
        user: None,
        timeout: limit,
        keep: KEEP,
    };
    match processes.send(&probe).await {
        Err(why) => (format!("not started: {why}"), false),
        Ok(ended) if ended.timed_out => (format!("killed: it took longer than {}", Span(limit)), false),
        Ok(ended) => {
            let how = match (ended.status, ended.signal) {
                (Some(status), _) => format!("exit status {status}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "its end was not seen".to_owned(),
            };
            let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
            let said = String::from_utf8_lossy(said);
            let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let delivered = ended.status == Some(0);
            let said = if said.is_empty() || delivered { String::new() } else { format!(": {said}") };
            (format!("{how}{said}"), delivered)
        }
    }
}

/// Puts the event into an argument, in one pass: what a value says is not read again.
fn filled(item: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(item.len());
    let mut rest = item;
    while let Some(at) = rest.find("${event.") {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let name = found.find('}').map(|end| &found["${event.".len()..end]);
        match name.and_then(|name| values.iter().find(|(known, _)| *known == name)) {
            Some((name, value)) => {
                out.push_str(&value.replace('\0', ""));
                rest = &found["${event.".len() + name.len() + 1..];
            }
            None => {
                out.push_str("${event.");
                rest = &found["${event.".len()..];
            }
        }
    }
    out + rest
}

/// One line that fits into a message.
fn short(text: &str) -> String {
    let line = neutral(text).replace('\n', " / ");
    match line.char_indices().nth(SUMMARY) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What a line is told as, if it is.
fn told(run: &RunId, line: &Line) -> Option<Told> {
    use crate::gate::{APPROVAL, REJECTION};
    let by = &line.by;
    let tell = |on, step: Option<&StepId>, words: String| {
        let summary = format!("{run}: {words}");
        Some(Told { on, of: line.seq, step: step.cloned(), summary })
    };
    match &line.event {
        Event::Failed { step, why } => tell(Occasion::Failed, Some(step), format!("{step} FAILED: {why}")),
        Event::Reopened { step, why } => {
            tell(Occasion::Failed, Some(step), format!("{step} no longer holds: {why}"))
        }
        Event::InDoubt { step, why, .. } => {
            tell(Occasion::InDoubt, Some(step), format!("{step} is in doubt: {why}"))
        }
        // That people are waited for was said when it was put on record what they would approve.
        Event::Held { blockers, .. }
            if blockers.iter().all(|b| b.subject == APPROVAL || b.subject == REJECTION) =>
        {
            None
        }
        Event::Held { step, undo, blockers } => {
            let undoing = if *undo { "undoing " } else { "" };
            let first = blockers.first().map(headline).unwrap_or_default();
            let more = match blockers.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            tell(Occasion::Held, Some(step), format!("held before {undoing}{step}: {first}{more}"))
        }
        Event::ApprovalWanted { count, content } => {
            let step = &content.step;
            let undoing = if content.undo { "undoing " } else { "" };
            let people = crate::base::text::count((*count).into(), "person", "people");
            let words = format!("{undoing}{step} waits for the approval of {people} besides {by}");
            tell(Occasion::Waiting, Some(step), words)
        }
        Event::Offered { to, note, .. } => {
            let whom = to.as_deref().unwrap_or("the next operator");
            tell(Occasion::Handoff, None, format!("{by} offers the run to {whom}: {note}"))
        }
        Event::Completed { .. } => tell(Occasion::Completed, None, "every step is done".to_owned()),
        Event::Abandoned { reason } => {
            tell(Occasion::Abandoned, None, format!("{by} abandons the run: {reason}"))
        }
        _ => None,
    }
}

fn headline(blocker: &Blocker) -> String {
    format!("{}: {}", blocker.title, blocker.observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_in_once_and_not_read_again() {
        let values = [("summary", "x ${event.run} $(id)"), ("run", "r")];
        assert_eq!(filled("a ${event.summary}/${event.run}!", &values), "a x ${event.run} $(id)/r!");
        assert_eq!(filled("${event.nothing} ${event.", &values), "${event.nothing} ${event.");
        assert_eq!(filled("plain", &values), "plain");
    }

    #[test]
    fn a_summary_is_one_short_line() {
        let long = format!("a\n{}\u{1b}[2J", "é".repeat(1000));
        let line = short(&long);
        assert!(line.chars().count() <= SUMMARY + 1 && !line.contains('\n'), "{line}");
        assert!(!short("\u{1b}[2J").contains('\u{1b}'));
    }
}
