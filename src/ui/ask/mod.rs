//! The screen of every question: what happened, what is known, what each answer does.

pub mod begin;
pub mod confirm;
pub mod menu;
pub mod talk;
pub mod trouble;

use crate::base::Moment;
use crate::engine::Machine;
use crate::engine::event::Question;
use crate::report::{Tone, commands};
use crate::ui::page::Page;
use crate::ui::screen::Style;
use crate::ui::view::Snapshot;

/// The page of a question, without its choices.
pub fn page(question: &Question, snapshot: &Snapshot, now: &Moment, style: &Style) -> String {
    let mut page = Page::new(style).without(&snapshot.secrets);
    match question {
        Question::Environment { name } => begin::environment(&mut page, snapshot, name),
        Question::Begin { step } => begin::begin(&mut page, snapshot, step, now),
        Question::Undo { step, .. } => begin::undo(&mut page, snapshot, step),
        Question::Manual { step, observe } => begin::manual(&mut page, snapshot, step, observe.as_deref()),
        Question::Confirm { step, text, blast, horizon, undo } => {
            confirm::confirm(&mut page, snapshot, (step, undo.is_some()), (text, blast, horizon), now);
        }
        Question::Held { step, undo, blockers } => {
            trouble::held(&mut page, snapshot, (step, *undo), blockers);
        }
        Question::Failed { step, why, may_rerun, may_finish } => {
            trouble::failed(&mut page, snapshot, step, (why, *may_rerun, *may_finish), now);
        }
        Question::NotUndone { step, blockers, .. } => {
            trouble::not_undone(&mut page, snapshot, step, blockers);
        }
        Question::Doubt { step, why, evidence, may_rerun, may_finish } => {
            trouble::doubt(&mut page, snapshot, step, (why, evidence, *may_rerun, *may_finish));
        }
        Question::Paused { step, evidence } => trouble::paused(&mut page, snapshot, step, evidence),
        Question::Interrupted { running } => trouble::interrupted(&mut page, snapshot, running.as_ref(), now),
    }
    page.finish()
}

/// The choices of a question as lines: `  [g]o        begin this step`.
pub fn choices(question: &Question, style: &Style) -> String {
    let mut page = Page::new(style);
    for choice in menu::choices(question) {
        let (first, rest) = choice.word.split_at(1);
        page.item(2, (Tone::Strong, &format!("[{first}]{rest}")), 15, choice.effect);
    }
    page.blank();
    page.say(
        Tone::Plain,
        match question {
            Question::Confirm { .. } => "Type the text to destroy, or a letter, then Enter.",
            Question::Environment { .. } => "Type the name to begin, or a letter, then Enter.",
            _ => "Type a letter, then Enter.",
        },
    );
    format!("\n{}", page.finish())
}

/// What is printed when nobody is there to answer: the page, what would be asked, and the command that answers it. How to
/// go on when nothing has to be decided is said when the session ends.
pub fn unanswered(question: &Question, snapshot: &Snapshot, now: &Moment, style: &Style) -> String {
    let mut page = Page::new(style).without(&snapshot.secrets);
    let resume = commands::resume(&snapshot.state.run);
    page.blank();
    page.rule('-');
    let asked = match question {
        Question::Environment { name } => format!("type the environment's name, {name}"),
        Question::Begin { step } => format!("begin {step}?"),
        Question::Undo { step, .. } => format!("undo {step}?"),
        Question::Manual { step, .. } => format!("was {step} carried out by hand?"),
        Question::Confirm { step, text, undo: Some(_), .. } => {
            format!("undoing {step} destroys: type the text `{text}`")
        }
        Question::Confirm { step, text, .. } => format!("{step}: type the text `{text}`"),
        Question::Held { step, undo, blockers } if Machine::only_people(blockers) => {
            let undoing = if *undo { "undoing " } else { "" };
            format!("{undoing}{step} waits for other people. They answer in their own names; then resume.")
        }
        Question::Held { step, undo: true, .. } => {
            format!("undoing {step} is held. Put right what stands in the way, then go back again.")
        }
        Question::Held { step, .. } => {
            format!("{step} is held. Put right what stands in the way, then resume.")
        }
        Question::Failed { step, .. } => {
            format!("{step} failed, and nothing after it was begun. A person decides.")
        }
        Question::NotUndone { step, .. } => {
            format!("{step} is not undone. Put the cause right; then a person decides to undo it again.")
        }
        Question::Doubt { step, .. } if trouble::came_back(snapshot, step) => {
            format!("{step} is not undone. Go on going back, or decide to go forward again.")
        }
        Question::Doubt { step, .. } => format!("{step} is in doubt: is it done, or is it run again?"),
        Question::Paused { step, .. } => format!("{step} is paused: continue or stop its command?"),
        Question::Interrupted { .. } => "what about the running work?".to_owned(),
    };
    let (tone, label) = match question {
        Question::Failed { .. } => (Tone::Bad, "FAILED"),
        Question::Held { blockers, .. } if Machine::only_people(blockers) => (Tone::Strong, "WAITING"),
        Question::Held { .. } | Question::NotUndone { .. } => (Tone::Bad, "HELD"),
        _ => (Tone::Doubt, "NOT ANSWERED"),
    };
    page.item(0, (tone, label), 14, &asked);
    if tone == Tone::Doubt {
        page.item(
            0,
            (Tone::Plain, ""),
            14,
            "A person has to answer this, and there is no terminal to ask at.",
        );
    }
    let answers: Vec<(&str, String)> = match question {
        Question::Undo { to, .. } => {
            vec![("at a terminal:", commands::rollback(&snapshot.state.run, to.as_ref()))]
        }
        Question::Environment { .. } => {
            vec![("somebody who means it:", format!("{resume} --confirm environment=NAME"))]
        }
        Question::Confirm { step, undo, .. } => {
            let command = match undo {
                Some(undo) => commands::rollback(&snapshot.state.run, undo.to.as_ref()),
                None => resume,
            };
            vec![("somebody who has read the list above:", format!("{command} --confirm {step}=TEXT"))]
        }
        Question::NotUndone { step, to, .. } => {
            let back = commands::rollback(&snapshot.state.run, to.as_ref());
            let decide = format!("{back} --decide {step}=again --reason TEXT");
            vec![("it may pass by now, measure it:", back), ("it has to run again:", decide)]
        }
        Question::Failed { step, may_rerun, may_finish, .. }
        | Question::Doubt { step, may_rerun, may_finish, .. } => {
            let decide = |word: &str| format!("{resume} --decide {step}={word} --reason TEXT");
            let again = may_rerun.then(|| ("the cause is put right, run it again:", decide("again")));
            let done = may_finish.then(|| ("somebody knows that it is done:", decide("done")));
            let back = trouble::came_back(snapshot, step)
                .then(|| ("to go on going back:", commands::rollback(&snapshot.state.run, None)));
            back.into_iter().chain(again).chain(done).collect()
        }
        _ => Vec::new(),
    };
    for (when, command) in answers {
        page.item(0, (Tone::Plain, ""), 14, when);
        page.command(14, &command);
    }
    self::page(question, snapshot, now, style) + &page.finish()
}
