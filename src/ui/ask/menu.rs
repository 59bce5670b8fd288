//! The choices of every question. Letters and Enter; no choice is made by Enter alone.

use crate::engine::event::Question;

/// What a choice leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Begin, go on.
    Go,
    /// The manual step was carried out.
    Carried,
    /// Measure again.
    Measure,
    /// Run again, with a reason.
    Again,
    /// Declare done, with a reason.
    Finished,
    /// Stop the command; asks once more.
    Stop,
    /// A note.
    Note,
    /// A handoff.
    Handoff,
    /// End the run, with a reason.
    Abandon,
    /// Leave.
    Quit,
}

/// One choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The word; its first letter is the key.
    pub word: &'static str,
    /// What it leads to.
    pub act: Act,
    /// What happens, in a few words.
    pub effect: &'static str,
}

const fn choice(word: &'static str, act: Act, effect: &'static str) -> Choice {
    Choice { word, act, effect }
}

const MEASURE: Choice = choice("measure", Act::Measure, "measure again now, change nothing");
const AGAIN: Choice = choice("run again", Act::Again, "run the step again; asks why");
const FINISHED: Choice = choice("done", Act::Finished, "declare it done: its postconditions pass; asks why");
const STOP: Choice = choice("stop", Act::Stop, "stop the command; asks once more");
const NOTE: Choice = choice("note", Act::Note, "put something on record, then ask again");
const HANDOFF: Choice =
    choice("handoff", Act::Handoff, "offer the run to the next operator; asks for a note");
const ABANDON: Choice = choice("abandon", Act::Abandon, "end this run for good, undo nothing; asks why");
const QUIT: Choice = choice("quit", Act::Quit, "leave; the run can be resumed at any time");
const LEAVE: Choice = choice("quit", Act::Quit, "leave; the command runs on; resume the run later");

/// The choices of a question, in the order in which they are shown.
pub fn choices(question: &Question) -> Vec<Choice> {
    let mut all = Vec::new();
    match question {
        Question::Environment { .. } => return vec![QUIT],
        Question::Begin { .. } => all.push(choice("go", Act::Go, "begin this step")),
        Question::Undo { .. } => all.push(choice("go", Act::Go, "undo this step")),
        Question::Manual { observe: None, .. } => {
            all.push(choice("carried out", Act::Carried, "it is done as described"))
        }
        Question::Manual { .. } => {
            all.push(choice("carried out", Act::Carried, "it is done as described; asks what you saw"));
        }
        Question::Confirm { .. } => return vec![NOTE, HANDOFF, QUIT],
        Question::Held { .. } => all.push(MEASURE),
        Question::NotUndone { .. } => {
            all.extend([MEASURE, choice("run again", Act::Again, "run its undoing again; asks why")]);
        }
        Question::Failed { may_rerun, may_finish, .. } | Question::Doubt { may_rerun, may_finish, .. } => {
            all.push(MEASURE);
            if *may_finish {
                let word = if matches!(question, Question::Doubt { evidence, .. } if evidence.is_empty()) {
                    choice("done", Act::Finished, "declare it done on your word alone; asks why")
                } else {
                    FINISHED
                };
                all.push(word);
            }
            if *may_rerun {
                all.push(AGAIN);
            }
        }
        Question::Paused { .. } => {
            let leave = "leave; the command stays paused until the run is resumed";
            let go = choice("go on", Act::Go, "continue the command although this does not hold");
            return vec![MEASURE, go, STOP, NOTE, HANDOFF, choice("quit", Act::Quit, leave)];
        }
        Question::Interrupted { running: Some(_) } => {
            return vec![
                choice("go on", Act::Go, "go on watching; nothing was stopped"),
                LEAVE,
                STOP,
                HANDOFF,
            ];
        }
        Question::Interrupted { running: None } => {
            return vec![choice("go on", Act::Go, "go on as if nothing was typed"), QUIT, HANDOFF];
        }
    }
    all.extend([NOTE, HANDOFF, ABANDON, QUIT]);
    all
}

/// The choice that somebody typed: its letter or its whole word, in any case.
pub fn find(choices: &[Choice], typed: &str) -> Option<Choice> {
    let typed = typed.trim().to_lowercase();
    let hit = |choice: &&Choice| {
        let first = choice.word.split(' ').next().unwrap_or_default();
        typed == choice.word || typed == first || choice.word.get(..1) == Some(typed.as_str())
    };
    choices.iter().find(hit).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Question> {
        let evidence = crate::ui::fixture::evidence("copy.post.up", crate::check::Verdict::Fail);
        let step: crate::base::StepId = "copy".into();
        vec![
            Question::Environment { name: "production".into() },
            Question::Begin { step: step.clone() },
            Question::Manual { step: step.clone(), observe: None },
            Question::Manual { step: step.clone(), observe: Some("how many?".into()) },
            Question::Held { step: step.clone(), undo: false, blockers: vec![] },
            Question::Failed { step: step.clone(), why: String::new(), may_rerun: true, may_finish: true },
            Question::NotUndone { step: step.clone(), blockers: vec![], to: None },
            Question::Doubt {
                step: step.clone(),
                why: String::new(),
                evidence: vec![],
                may_rerun: true,
                may_finish: true,
            },
            Question::Paused { step: step.clone(), evidence },
            Question::Interrupted { running: Some(step) },
            Question::Interrupted { running: None },
        ]
    }

    #[test]
    fn letters_are_unique_and_one_can_always_leave() {
        for question in all() {
            let choices = choices(&question);
            let mut letters: Vec<_> = choices.iter().filter_map(|c| c.word.chars().next()).collect();
            letters.sort_unstable();
            let before = letters.len();
            letters.dedup();
            assert_eq!(letters.len(), before, "{question:?}");
            assert!(choices.iter().any(|c| c.act == Act::Quit), "{question:?}");
            assert_eq!(find(&choices, ""), None, "Enter alone chooses nothing");
            assert_eq!(find(&choices, "yes"), None, "y is no answer");
        }
    }

    #[test]
    fn nothing_is_offered_that_may_not_be_done() {
        let question =
            Question::Failed { step: "copy".into(), why: String::new(), may_rerun: false, may_finish: false };
        let acts: Vec<_> = choices(&question).iter().map(|c| c.act).collect();
        assert_eq!(acts, [Act::Measure, Act::Note, Act::Handoff, Act::Abandon, Act::Quit]);
    }
}
