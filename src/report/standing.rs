//! Where a run stands, as facts: what `status` shows and `status --json` prints.

use jiff::Timestamp;
use serde::Serialize;

use super::commands;
use super::second::{self, ApprovalLine, WaiverLine, WindowLine};
use crate::base::{CheckId, Moment, RunId, Span, StepId};
use crate::check::Verdict;
use crate::engine::Machine;
use crate::engine::people::Signers;
use crate::engine::reverse::{self, Horizon};
use crate::engine::state::{End, Offer, Remark, RunState, Status, StepState, Undo};
use crate::journal::record::{Blocker, LeaseHow};
use crate::runbook::Runbook;

/// What the journal does not say and the caller may know.
#[derive(Debug, Clone)]
pub struct Around {
    /// Now.
    pub now: Moment,
    /// Whether the holder's process is alive; `None` when nobody could tell (another machine).
    pub holder_alive: Option<bool>,
    /// Who asks, as the journal would name them; `None` when it does not matter.
    pub me: Option<String>,
    /// Whose signatures count.
    pub signers: Signers,
    /// Boot id of this machine.
    pub boot: String,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The run.
    pub run: RunId,
    /// The runbook's name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// A rehearsal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    /// The host.
    pub host: String,
    /// When it was opened, UTC.
    pub opened: Timestamp,
    /// One word: `running`, `held`, `failed`, `in_doubt`, `waiting`, `offered`, `completed`, `abandoned`.
    pub phase: &'static str,
    /// One sentence.
    pub summary: String,
    /// Steps done.
    pub done: usize,
    /// All steps, in order.
    pub steps: Vec<StepLine>,
    /// Who holds it; `None` when nobody does.
    pub holder: Option<HolderLine>,
    /// The open offer.
    pub offer: Option<Offer>,
    /// The step whose hold point stays closed.
    pub held_step: Option<StepId>,
    /// All blockers of the last refusal.
    pub blockers: Vec<Blocker>,
    /// Checks whose last measurement did not pass: id, verdict, what was seen.
    pub not_passing: Vec<(CheckId, Verdict, String)>,
    /// Notes and observations.
    pub remarks: Vec<Remark>,
    /// Decisions of people.
    pub decisions: Vec<Remark>,
    /// Approvals that are wanted.
    pub approvals: Vec<ApprovalLine>,
    /// Waivers that are not settled.
    pub waivers: Vec<WaiverLine>,
    /// Change windows.
    pub windows: Vec<WindowLine>,
    /// How far one can still go back.
    pub horizon: Horizon,
    /// The same in a sentence.
    pub way_back: String,
    /// The one safe next act.
    pub next: Next,
    /// Sequence number of the journal's last line.
    pub seq: u64,
}

/// A step.
#[derive(Debug, Clone, Serialize)]
pub struct StepLine {
    /// 1, 2, …
    pub number: usize,
    /// Its id.
    pub id: StepId,
    /// Its title, or its id.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// A few words on that: `done`, `failed: exit status 1`, `running for 4min`.
    pub words: String,
    /// What it destroys.
    pub destroys: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// An undoing that is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoing: Option<UndoLine>,
    /// Processes that it left running.
    pub left_running: Vec<String>,
}

/// An undoing that was begun and is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoLine {
    /// How far it is.
    pub state: Undo,
    /// How often it was begun.
    pub attempts: u32,
    /// How it last ended, where that is known: `exit status 1`.
    pub ended: Option<String>,
}

/// Who holds the run.
#[derive(Debug, Clone, Serialize)]
pub struct HolderLine {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Moment,
    /// How they came to hold it.
    pub how: LeaseHow,
    /// True when they left cleanly.
    pub released: bool,
    /// Whether their process is alive, if it is known.
    pub alive: Option<bool>,
}

/// The one safe next act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// What and why, in one sentence.
    pub why: String,
    /// The command, if it is one.
    pub command: Option<String>,
}

/// Where a run stands.
pub fn standing(runbook: &Runbook, state: &RunState, around: &Around) -> Standing {
    let steps = steps(runbook, state, &around.now);
    let done = steps.iter().filter(|step| step.status == Status::Done).count();
    let horizon = reverse::now(runbook, state);
    let (phase, summary) = summary(state, &steps, done);
    Standing {
        run: state.run.clone(),
        name: state.name.clone(),
        title: state.title.clone(),
        environment: state.environment.clone(),
        rehearsal: state.rehearsal,
        host: state.host.clone(),
        opened: state.opened.wall,
        phase,
        summary,
        done,
        holder: state.holder.as_ref().filter(|_| state.end.is_none()).map(|holder| HolderLine {
            by: holder.by.clone(),
            since: holder.since,
            how: holder.how,
            released: holder.released,
            alive: around.holder_alive,
        }),
        offer: state.offer.clone(),
        held_step: state.held.as_ref().map(|(step, _)| step.clone()),
        blockers: state.held.as_ref().map(|(_, blockers)| blockers.clone()).unwrap_or_default(),
        not_passing: state
            .last
            .iter()
            .filter(|(_, evidence)| evidence.verdict() != Verdict::Pass)
            .map(|(id, evidence)| (id.clone(), evidence.verdict(), evidence.outcome.observed.clone()))
            .collect(),
        remarks: state.remarks.clone(),
        decisions: state.decisions.clone(),
        approvals: second::approvals(runbook, state, around),
        waivers: second::waivers(runbook, state, around),
        windows: second::windows(runbook, state, around),
        way_back: horizon.sentence(),
        horizon,
        next: next(state, around),
        seq: state.seq,
        steps,
    }
}

/// Every step of the runbook with where it stands.
pub fn steps(runbook: &Runbook, state: &RunState, now: &Moment) -> Vec<StepLine> {
    let line = |(n, step): (usize, &crate::runbook::Step)| {
        let at = state.step(&step.key());
        StepLine {
            number: n + 1,
            id: step.key(),
            title: step.name().to_owned(),
            status: at.status,
            words: words(&at, step.soak.as_ref().map(|soak| soak.length), now),
            destroys: step.destroys.as_ref().map(|destroys| destroys.what.clone()),
            attempts: at.attempts,
            undoing: (at.undo != Undo::No).then(|| UndoLine {
                state: at.undo,
                attempts: at.rollbacks,
                ended: at.undo_ending.as_ref().map(|ending| ending.describe()),
            }),
            left_running: at.left_running,
        }
    };
    runbook.steps.iter().enumerate().map(line).collect()
}

fn words(at: &StepState, soak: Option<Span>, now: &Moment) -> String {
    let mut text = at.status.word().to_owned();
    if at.status == Status::Running {
        if let Some(began) = at.began.filter(|began| !now.jumped_since(began)) {
            text.push_str(&format!(" for {}", Span::secs(now.since(&began).as_secs())));
        }
        if let Some(length) = soak {
            text.push_str(&format!(", watched {} of {length}", Span::millis(at.soaked_ms)));
        }
    }
    let alerts: u32 = at.alerts.values().sum();
    if soak.is_some() && alerts > 0 {
        text.push_str(&format!(", {}", crate::base::text::count(alerts.into(), "alert", "alerts")));
    }
    if let (Status::Done, Some(began), Some(ended)) = (at.status, at.began, at.ended)
        && !ended.jumped_since(&began)
        && ended.since(&began).as_secs() > 0
    {
        text.push_str(&format!(" in {}", Span::secs(ended.since(&began).as_secs())));
    }
    if let Some(why) = &at.why {
        text.push_str(&format!(": {why}"));
    }
    if at.attempts > 1 {
        text.push_str(&format!(" (attempt {})", at.attempts));
    }
    text
}

fn summary(state: &RunState, steps: &[StepLine], done: usize) -> (&'static str, String) {
    let all = steps.len();
    match &state.end {
        Some(End::Completed) => return ("completed", format!("Complete: {all} of {all} steps are done.")),
        Some(End::Abandoned(why)) => {
            return ("abandoned", format!("Abandoned after {done} of {all} steps: {why}"));
        }
        None => {}
    }
    let so_far = format!("{done} of {all} steps done");
    let find = |wanted: &[Status]| steps.iter().find(|step| wanted.contains(&step.status));
    if let Some(step) = find(&[Status::InDoubt]) {
        let undoing = if state.step(&step.id).undo == Undo::No { "" } else { "undoing " };
        return (
            "in_doubt",
            format!("{so_far}. Nobody knows how {undoing}{} ended; a person has to decide.", step.id),
        );
    }
    if let Some(step) = find(&[Status::NotUndone]) {
        let why = state.step(&step.id).why.unwrap_or_default();
        return ("failed", format!("{so_far}. {} is not undone: {why}.", step.id));
    }
    if let Some(step) = find(&[Status::Failed]) {
        return ("failed", format!("{so_far}. {} failed.", step.id));
    }
    if let Some(step) = find(&[Status::Reopened]) {
        return ("failed", format!("{so_far}. {} was done and no longer holds.", step.id));
    }
    if let Some(step) = find(&[Status::Running, Status::RollingBack]) {
        return ("running", format!("{so_far}. {} is {}.", step.id, step.status.word()));
    }
    if let Some((step, blockers)) = &state.held {
        let n =
            crate::base::text::count(super::blockers::merged(blockers).len() as u64, "blocker", "blockers");
        let undoing = if state.held_undo { "undoing " } else { "" };
        return ("held", format!("{so_far}. Held before {undoing}{step}: {n}."));
    }
    let phase = if state.offer.is_some() { "offered" } else { "waiting" };
    match find(&[Status::Ended, Status::Pending, Status::RolledBack]) {
        Some(step) => (phase, format!("{so_far}. The next step is {}.", step.id)),
        None => (phase, format!("{so_far}.")),
    }
}

/// The one safe next act.
pub fn next(state: &RunState, around: &Around) -> Next {
    let act = |why: String, command: String| Next { why, command: Some(command) };
    match &state.end {
        Some(End::Completed) => {
            return act("The run is complete. Read what happened:".to_owned(), commands::log(&state.run));
        }
        Some(End::Abandoned(_)) => {
            return act(
                "The run is over; nothing more can be done in it. Read what happened:".to_owned(),
                commands::log(&state.run),
            );
        }
        None => {}
    }
    if let Some(offer) = &state.offer {
        let whom = offer.to.as_deref().unwrap_or("the next operator");
        return act(
            format!("{} offers the run to {whom}, who takes it with:", offer.by),
            commands::accept(&state.run),
        );
    }
    // Whoever was on the way back goes on with that.
    let not_undone = state.steps.values().any(|step| step.status == Status::NotUndone);
    let go_on = match not_undone || (state.held.is_some() && state.held_undo) {
        true => commands::rollback(&state.run, None),
        false => commands::resume(&state.run),
    };
    let Some(holder) = &state.holder else {
        return act("Nobody holds the run. Go on with:".to_owned(), go_on);
    };
    let mine = around.me.as_ref().is_none_or(|me| *me == holder.by || *me == holder.operator);
    let people = state.held.as_ref().filter(|(_, blockers)| Machine::only_people(blockers));
    if let Some((step, _)) = people.filter(|_| !mine) {
        return act(
            format!("{} waits for other people to approve what goes. Read it with:", holder.by),
            commands::approve(&state.run, step, state.held_undo),
        );
    }
    let blocked =
        if state.held.is_some() { "Put the blockers right. Then go on with:" } else { "Go on with:" };
    match (holder.released, around.holder_alive) {
        (true, _) if mine => act(blocked.to_owned(), go_on),
        (true, _) => act(
            format!("{} has left the run. Take it over with:", holder.by),
            commands::take_over(&state.run),
        ),
        (false, Some(false)) if mine => {
            act("The session that held the run is gone. Go on with:".to_owned(), go_on)
        }
        (false, Some(false)) => act(
            format!("{} held the run, and their session is gone. Take it over with:", holder.by),
            commands::take_over(&state.run),
        ),
        (false, _) => act(
            format!("{} drives the run now. Watch it with:", holder.by),
            format!("holdpoint watch {}", state.run),
        ),
    }
}

/// One line of `runs`.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// The environment.
    pub environment: Option<String>,
    /// A rehearsal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    /// One word, as in [`Standing::phase`].
    pub phase: &'static str,
    /// One sentence.
    pub summary: String,
    /// Who holds it: operator and host.
    pub holder: Option<String>,
    /// When it was opened, UTC.
    pub opened: Timestamp,
    /// When something last happened.
    pub latest: Moment,
}

impl RunRow {
    /// The line of a run.
    pub fn of(runbook: &Runbook, state: &RunState, now: &Moment) -> RunRow {
        let steps = steps(runbook, state, now);
        let done = steps.iter().filter(|step| step.status == Status::Done).count();
        let (phase, summary) = summary(state, &steps, done);
        let holder =
            state.holder.as_ref().filter(|h| !h.released && state.end.is_none()).map(|h| h.by.clone());
        RunRow {
            run: state.run.clone(),
            environment: state.environment.clone(),
            rehearsal: state.rehearsal,
            phase,
            summary,
            holder,
            opened: state.opened.wall,
            latest: state.latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::Event;
    use crate::report::fixture::{at, blocker, failed_lines, lines, opened, runbook};

    fn told(more: Vec<Event>, alive: Option<bool>, me: &str) -> Standing {
        let mut events = opened();
        events.extend(more);
        let state = RunState::fold(&lines(events)).unwrap();
        standing(
            &runbook(),
            &state,
            &Around {
                now: at(900),
                holder_alive: alive,
                me: Some(me.to_owned()),
                signers: Signers::default(),
                boot: "b".into(),
            },
        )
    }

    fn command(standing: &Standing) -> &str {
        standing.next.command.as_deref().unwrap().split(' ').nth(1).unwrap()
    }

    #[test]
    fn the_next_act_depends_on_who_holds_the_run_and_who_asks() {
        let left = || vec![Event::Released { why: "quit".into() }];
        assert_eq!(command(&told(vec![], Some(true), "bob@db1")), "watch");
        assert_eq!(
            command(&told(vec![], None, "bob@db1")),
            "watch",
            "an unknown holder is not taken for dead"
        );
        assert_eq!(command(&told(vec![], Some(false), "alice@db1")), "resume");
        assert_eq!(command(&told(vec![], Some(false), "bob@db1")), "accept");
        assert_eq!(command(&told(left(), None, "alice@db1")), "resume");
        assert_eq!(command(&told(left(), None, "bob@db1")), "accept");
        let held = |undo| Event::Held { step: "copy".into(), undo, blockers: vec![blocker("it runs")] };
        let after = |undo| command(&told([vec![held(undo)], left()].concat(), None, "alice@db1")).to_owned();
        assert_eq!((after(false), after(true)), ("resume".to_owned(), "rollback".to_owned()));
        let offer = Event::Offered { to: Some("bob".into()), note: "n".into(), signature: None };
        assert_eq!(command(&told(vec![offer], Some(true), "alice@db1")), "accept");
        assert_eq!(command(&told(vec![Event::Abandoned { reason: "r".into() }], None, "a")), "log");
        assert_eq!(command(&told(vec![Event::Completed { steps: 4 }], None, "a")), "log");
    }

    #[test]
    fn how_often_a_soak_alerted_stands_beside_it() {
        let mut soak = StepState { status: Status::Done, ..StepState::default() };
        soak.alerts.insert("soak.inv.disk".into(), 2);
        soak.alerts.insert("soak.inv.wal".into(), 1);
        assert_eq!(words(&soak, Some(Span::secs(60)), &at(900)), "done, 3 alerts");
        assert_eq!(words(&soak, None, &at(900)), "done", "of a command its log tells");
    }

    #[test]
    fn half_way_back_says_what_is_undone_and_what_is_not() {
        let began = |step: &str| Event::Began { step: step.into(), attempt: 1, permit: None };
        let back = |step: &str| Event::RollbackBegan { step: step.into(), attempt: 1, permit: None };
        let undone = |step: &str| Event::RolledBack { step: step.into() };
        let way = |events: Vec<Event>| told(events, None, "a").way_back;
        let copied = || vec![began("before"), began("copy")];
        let all = |more: Vec<Event>| way([copied(), more].concat());
        assert_eq!(
            all(vec![]),
            "You can still go back to the start, by undoing `copy`. The way back ends when `drop-old` begins."
        );
        let begun = "Undoing `copy` was begun and is not complete. Then you are back at the start.";
        assert_eq!(all(vec![back("copy")]), begun);
        let ending = crate::journal::record::Ending::Exited { status: 1 };
        let failed = Event::RollbackEnded { step: "copy".into(), attempt: 1, ending };
        assert_eq!(all(vec![back("copy"), failed.clone()]), begun);
        // Whoever runs it again is not going back.
        assert!(all(vec![back("copy"), failed, began("copy")]).starts_with("You can still go back"));
        assert_eq!(
            all(vec![back("copy"), undone("copy")]),
            "Undone already: `copy`. There is nothing more to undo."
        );
    }

    #[test]
    fn the_worst_is_said_first() {
        let state = RunState::fold(&failed_lines()).unwrap();
        let facts = standing(
            &runbook(),
            &state,
            &Around {
                now: at(900),
                holder_alive: None,
                me: None,
                signers: Signers::default(),
                boot: "b".into(),
            },
        );
        assert_eq!((facts.phase, facts.done), ("failed", 1));
        assert_eq!(facts.summary, "1 of 4 steps done. copy failed.");
        let value: serde_json::Value = serde_json::from_str(&crate::report::json::status(&facts)).unwrap();
        assert_eq!(value["steps"][1]["status"], "failed");
        assert_eq!(value["steps"][1]["left_running"][0], "sleep 402 (pid 812)");
    }
}
