//! `approve`: a second person reads what would be destroyed, and says yes or no.

use clap::Args;

use super::error::CliError;
use super::global::Cmd;
use super::{session, signing, walk};
use crate::base::{Span, StepId};
use crate::engine::people;
use crate::engine::second::Said;
use crate::engine::{Exit, RunState};
use crate::gate::approvals::{Judged, LONGEST};
use crate::journal::record::Event;
use crate::journal::{Journal, RunDir};
use crate::report::{commands, second as facts};
use crate::runbook::Runbook;
use crate::ui::ask::talk::Read;
use crate::ui::{handover, prompt, second};
use crate::world::host;

/// How long an approval counts when nobody says.
const VALID: Span = Span::secs(8 * 3600);

/// What is said about a step.
#[derive(Debug, Args, Clone, Default)]
pub struct Approval {
    /// About undoing the step, rather than about its work.
    #[arg(long)]
    pub undo: bool,
    /// Say no. Needs --reason; it stands until you approve or withdraw.
    #[arg(long, requires = "reason", conflicts_with_all = ["withdraw", "valid", "confirm"])]
    pub reject: bool,
    /// Take back what you said before. Needs --reason.
    #[arg(long, requires = "reason", conflicts_with_all = ["valid", "confirm"])]
    pub withdraw: bool,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long the approval counts, at most 7d [default: 8h].
    #[arg(long, value_name = "SPAN")]
    pub valid: Option<Span>,
    /// Without a terminal: the text that names what goes. Needs --content.
    #[arg(long, value_name = "TEXT", requires = "content")]
    pub confirm: Option<String>,
    /// Without a terminal: what was read, by the digest that stands on its page.
    #[arg(long, value_name = "DIGEST")]
    pub content: Option<String>,
}

/// Approves, rejects, or withdraws.
pub fn approve(cmd: &Cmd, run: &str, step: &str, said: &Approval) -> Result<Exit, CliError> {
    let dir = cmd.find(Some(run))?;
    let (mut journal, state) = session::open(&dir)?;
    if state.end.is_some() {
        return Err(CliError::usage(format!("run {} has ended", state.run)));
    }
    let bound = session::readable(cmd, &dir, &state)?;
    let step = known(&bound.runbook, step, said.undo)?;
    let reason = said.reason.clone().unwrap_or_default();
    if (said.reject || said.withdraw) && reason.trim().is_empty() {
        return Err(CliError::usage("the reason is empty"));
    }
    let undo = said.undo;
    if said.withdraw {
        let event = Event::ApprovalWithdrawn { step: step.clone(), undo, reason, signature: None };
        let mine = |s: &Said| s.by.eq_ignore_ascii_case(&cmd.by());
        if !state.second.about(&step, undo).any(mine) {
            let message = format!("{} has said nothing about `{step}` that could be withdrawn", cmd.by());
            return Err(CliError::usage(message));
        }
        return put(cmd, &dir, &mut journal, &state, &bound.runbook, (&step, undo), event);
    }
    let Some(wanted) = state.second.wanted(&step, undo).cloned() else {
        return Err(CliError::new(
            Exit::Waiting,
            format!("nobody has asked for an approval of `{step}` yet"),
        )
        .hint("it is asked for when the run comes to it and everything else holds"));
    };
    if !said.reject {
        may(cmd, &state, &bound.runbook, &step, undo)?;
    }
    let around = walk::around(cmd, walk::holder_alive(&state));
    let lines = facts::approvals(&bound.runbook, &state, &around);
    let line = lines.iter().find(|line| line.step == step && line.undo == undo);
    if !cmd.global.json {
        cmd.print(&second::page(&bound.runbook, &state, &wanted, line, &cmd.now(), &cmd.style));
    }
    if said.reject {
        let content = wanted.digest.clone();
        let event = Event::Rejected { step: step.clone(), undo, content, reason, signature: None };
        return put(cmd, &dir, &mut journal, &state, &bound.runbook, (&step, undo), event);
    }
    let text = match typed(cmd, said, &wanted.digest.0)? {
        Some(text) => text,
        None => {
            let digest = wanted.digest.short();
            cmd.err(&second::unanswered(&state.run, &step, undo, digest, &cmd.err_style));
            return Ok(Exit::Waiting);
        }
    };
    if text != wanted.content.text {
        cmd.err("That is not the text. Nothing was approved.\n");
        return Ok(Exit::Held);
    }
    let valid = said.valid.unwrap_or(VALID);
    if valid.0.is_zero() || valid.0 > LONGEST {
        return Err(CliError::usage(format!("an approval counts for at most {}", Span(LONGEST))));
    }
    let until = later(cmd, valid)?;
    let (content, boot) = (wanted.digest.clone(), host::boot_id());
    let event = Event::Approved { step: step.clone(), undo, content, text, until, boot, signature: None };
    put(cmd, &dir, &mut journal, &state, &bound.runbook, (&step, undo), event)
}

/// So long from now, by the wall clock, in whole seconds.
pub fn later(cmd: &Cmd, span: Span) -> Result<jiff::Timestamp, CliError> {
    let seconds = i64::try_from(span.0.as_secs().max(1)).map_err(CliError::usage)?;
    jiff::Timestamp::from_second(cmd.now().wall.as_second().saturating_add(seconds)).map_err(CliError::usage)
}

fn known(runbook: &Runbook, step: &str, undo: bool) -> Result<StepId, CliError> {
    let Some(found) = runbook.steps.iter().find(|s| s.id == step) else {
        let error = CliError::usage(format!("the runbook has no step `{step}`"));
        let near = crate::base::text::nearest(step, runbook.steps.iter().map(|s| s.id.as_str()));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    if found.destroying(undo).is_none() {
        let what = if undo { format!("undoing `{step}`") } else { format!("`{step}`") };
        return Err(CliError::usage(format!("{what} destroys nothing: there is nothing to approve")));
    }
    Ok(found.key())
}

/// The text that was typed, or given; `None` when nobody is there to type it.
fn typed(cmd: &Cmd, said: &Approval, digest: &str) -> Result<Option<String>, CliError> {
    if let (Some(text), Some(content)) = (&said.confirm, &said.content) {
        let content = content.trim().to_ascii_lowercase();
        if content.len() < 12 || !digest.starts_with(&content) {
            return Err(CliError::new(
                Exit::Held,
                "what would be destroyed is not what you read: the digest is another",
            )
            .hint("read the page again; `--content` takes the first 12 characters or more of its digest"));
        }
        return Ok(Some(text.clone()));
    }
    if !prompt::present(cmd.global.non_interactive) || cmd.global.json {
        return Ok(None);
    }
    match prompt::one_line(&second::question(&cmd.err_style), &cmd.err_style) {
        Read::Line(line) => Ok(Some(line)),
        _ => Ok(None),
    }
}

/// Refuses early whoever cannot approve here, before they read a long page.
fn may(cmd: &Cmd, state: &RunState, runbook: &Runbook, step: &StepId, undo: bool) -> Result<(), CliError> {
    let terms = people::Terms::of(runbook, state.environment.as_deref());
    if terms.signed {
        signing::demanded(cmd, "an approval")?;
    }
    if cmd.signing.sign.is_some() {
        return Ok(());
    }
    let event = Event::Approved {
        step: step.clone(),
        undo,
        content: "".into(),
        text: String::new(),
        until: jiff::Timestamp::MAX,
        boot: String::new(),
        signature: None,
    };
    refuse(cmd, state, runbook, (step, undo), &event)
}

/// Why this person's word would not count, if it would not.
fn refuse(
    cmd: &Cmd,
    state: &RunState,
    runbook: &Runbook,
    (step, undo): (&StepId, bool),
    event: &Event,
) -> Result<(), CliError> {
    let signers = signing::signers(cmd)();
    let said = Said { by: cmd.by(), at: cmd.now(), event: event.clone(), used: None, copied: false };
    let approvals = people::approvals(runbook, state, &signers, step, undo);
    let (person, proven) = signers.who(&state.run, &said);
    match approvals.refuses(&person, &proven) {
        None => Ok(()),
        Some(why) => Err(CliError::new(Exit::Held, format!("this approval would not count: {why}"))
            .hint("nothing went on record; somebody else has to approve")),
    }
}

/// Signs it where a key is given, and puts it on record.
fn put(
    cmd: &Cmd,
    dir: &RunDir,
    journal: &mut Journal,
    state: &RunState,
    runbook: &Runbook,
    (step, undo): (&StepId, bool),
    mut event: Event,
) -> Result<Exit, CliError> {
    signing::sign(cmd, &state.run, &journal.head(), &mut event)?;
    if matches!(event, Event::Approved { .. }) {
        refuse(cmd, state, runbook, (step, undo), &event)?;
    }
    journal.append(&cmd.by(), None, cmd.now(), vec![event.clone()]).map_err(super::append_error)?;
    let (_, state) = session::peek(dir)?;
    let alive = walk::holder_alive(&state);
    let around = walk::around(cmd, alive);
    let lines = facts::approvals(runbook, &state, &around);
    let line = lines.into_iter().find(|line| line.step == *step && line.undo == undo);
    if cmd.global.json {
        cmd.print(&crate::report::json::approval(&state.run, line.as_ref()));
        return Ok(Exit::Done);
    }
    let word = match event {
        Event::Approved { until, .. } => format!("approved until {until:.0}"),
        Event::Rejected { .. } => "rejected; it stands until you approve or withdraw".to_owned(),
        _ => "withdrawn".to_owned(),
    };
    let judged = line.map_or_else(Judged::default, |line| line.judged);
    cmd.print(&format!(
        "{word}: {} of {}\n",
        if undo { format!("undoing {step}") } else { step.to_string() },
        state.run
    ));
    if !judged.counted.is_empty() {
        cmd.print(&format!("counted so far: {}\n", judged.counted.join("; ")));
    }
    let holder = state.holder.as_ref().map_or("", |holder| holder.by.as_str());
    if alive == Some(true) {
        cmd.print(&format!("{holder}'s session sees it, and goes on by itself.\n"));
    } else {
        let who = format!(", by {holder}");
        cmd.print(&handover::next(&cmd.again(&commands::resume(&state.run), false), &who, &cmd.style));
    }
    Ok(Exit::Done)
}
