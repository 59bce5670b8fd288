//! The conversation about one question: reads lines, explains, and ends with an answer. Knows no terminal.
//!
//! Invariants: no question has a default answer; Enter alone, the end of the input and Ctrl-C are never a yes; several
//! pasted lines never choose or confirm anything.

use crate::engine::event::{Answer, Question};
use crate::report::Tone;
use crate::ui::ask::menu::{self, Act};
use crate::ui::page::Page;
use crate::ui::screen::Style;

/// What reading one line gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// The input has ended or the terminal is gone.
    Gone,
}

/// A place where questions are shown and answered.
pub trait Console {
    /// Shows text.
    fn show(&mut self, text: &str);
    /// Throws away what was typed so far.
    fn discard(&mut self);
    /// Reads a line after a short mark. Blocks.
    fn read(&mut self, mark: &str) -> Read;
    /// True when more was typed, or pasted, than the line just read.
    fn more(&mut self) -> bool;
    /// What the screen can do now.
    fn style(&self) -> Style;
}

/// The conversation about one question, until there is an answer.
pub fn converse(question: &Question, console: &mut dyn Console) -> Answer {
    let choices = menu::choices(question);
    let interrupted = matches!(question, Question::Interrupted { .. });
    let mut ignored = 0;
    console.discard();
    loop {
        let line = match console.read("> ") {
            Read::Line(line) => line,
            Read::Interrupted if interrupted && ignored < 2 => {
                ignored += 1;
                say(console, "Ctrl-C does nothing here. Type a letter, then Enter.");
                continue;
            }
            Read::Interrupted | Read::Gone => return Answer::Quit,
        };
        if wanted(question) == Some(line.as_str()) {
            if !console.more() {
                return Answer::Typed(line);
            }
            console.discard();
            say(console, "More than one line came. That confirms nothing. Type the text by hand.");
            continue;
        }
        let Some(choice) = menu::find(&choices, &line) else {
            say(console, &misunderstood(question, &line));
            console.discard();
            continue;
        };
        if console.more() {
            console.discard();
            say(console, "More than one line came. Nothing was done. Type one letter, then Enter.");
            continue;
        }
        if let Some(answer) = act(question, choice.act, console) {
            return answer;
        }
        say(console, "Back at the question. Type a letter, then Enter.");
    }
}

fn wanted(question: &Question) -> Option<&str> {
    match question {
        Question::Environment { name } => Some(name),
        Question::Confirm { text, .. } => Some(text),
        _ => None,
    }
}

fn misunderstood(question: &Question, line: &str) -> String {
    let empty = line.trim().is_empty();
    match question {
        Question::Confirm { text, .. } => {
            format!(
                "{} Nothing is destroyed. The text is: {text}",
                if empty { "Nothing was typed." } else { "That is not the text." }
            )
        }
        Question::Environment { name } => {
            format!(
                "{} Nothing has begun. The name is: {name}",
                if empty { "Nothing was typed." } else { "That is not the name." }
            )
        }
        other => {
            let letters: Vec<String> =
                menu::choices(other).iter().map(|c| c.word.chars().take(1).collect::<String>()).collect();
            let said = if empty { "Enter alone chooses nothing." } else { "That is none of the choices." };
            format!("{said} Type one of {}, then Enter.", letters.join(" "))
        }
    }
}

/// Carries out a choice; `None` goes back to the question.
fn act(question: &Question, act: Act, console: &mut dyn Console) -> Option<Answer> {
    match act {
        Act::Go => Some(Answer::Go),
        Act::Measure => Some(Answer::Measure),
        Act::Quit => Some(Answer::Quit),
        Act::Note => line(console, "The note:").map(Answer::Note),
        Act::Again => line(console, "Why is it run again?").map(Answer::Again),
        Act::Finished => line(console, "Why is it done? How do you know?").map(Answer::Finished),
        Act::Abandon => {
            line(console, "This ends the run for good and undoes nothing. Why?").map(Answer::Abandon)
        }
        Act::Carried => match question {
            Question::Manual { observe: Some(observe), .. } => {
                line(console, observe).map(|seen| Answer::Carried(Some(seen)))
            }
            _ => Some(Answer::Carried(None)),
        },
        Act::Stop => {
            console.discard();
            say(console, "TERM is sent, then KILL after a grace period. How far it came is then unknown.");
            let typed = line(console, "Type stop to stop the command:")?;
            (typed == "stop").then_some(Answer::Stop)
        }
        Act::Handoff => {
            let note = line(console, "What should the next operator know?")?;
            console.discard();
            say(console, "To whom? Enter alone: to anybody.");
            match console.read("> ") {
                Read::Line(to) => {
                    let to = to.trim();
                    Some(Answer::Handoff { to: (!to.is_empty()).then(|| to.to_owned()), note })
                }
                Read::Interrupted | Read::Gone => None,
            }
        }
    }
}

/// A line of free text; `None` when nothing was written.
fn line(console: &mut dyn Console, question: &str) -> Option<String> {
    say(console, question);
    match console.read("> ") {
        Read::Line(text) if !text.trim().is_empty() => {
            if console.more() {
                console.discard();
                say(console, "More than one line came; only the first is kept.");
            }
            Some(text.trim().to_owned())
        }
        Read::Line(_) => {
            say(console, "Nothing was written.");
            None
        }
        Read::Interrupted | Read::Gone => None,
    }
}

fn say(console: &mut dyn Console, text: &str) {
    let style = console.style();
    let mut page = Page::new(&style);
    page.say(Tone::Plain, text);
    console.show(&page.finish());
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::ui::fixture::{EVIL, blast, evidence, safe};

    /// A person who types these lines. An empty script is a closed terminal.
    struct Script {
        lines: VecDeque<Read>,
        pasted: bool,
        shown: String,
    }

    impl Console for Script {
        fn show(&mut self, text: &str) {
            self.shown.push_str(text);
        }
        fn discard(&mut self) {}
        fn read(&mut self, _: &str) -> Read {
            self.lines.pop_front().unwrap_or(Read::Gone)
        }
        fn more(&mut self) -> bool {
            std::mem::take(&mut self.pasted)
        }
        fn style(&self) -> Style {
            Style::PLAIN
        }
    }

    fn script(lines: &[&str]) -> Script {
        let lines = lines.iter().map(|line| match *line {
            "^C" => Read::Interrupted,
            line => Read::Line(line.to_owned()),
        });
        Script { lines: lines.collect(), pasted: false, shown: String::new() }
    }

    fn said(question: &Question, lines: &[&str]) -> Answer {
        converse(question, &mut script(lines))
    }

    fn confirm() -> Question {
        Question::Confirm {
            undo: None,
            step: "drop-old".into(),
            text: "cluster 13/main".into(),
            blast: blast(),
            horizon: String::new(),
        }
    }

    fn begin() -> Question {
        Question::Begin { step: "copy".into() }
    }

    #[test]
    fn only_the_exact_text_confirms() {
        assert_eq!(said(&confirm(), &["cluster 13/main"]), Answer::Typed("cluster 13/main".into()));
        for wrong in [
            "",
            "y",
            "yes",
            "g",
            "go",
            "cluster 13/main ",
            " cluster 13/main",
            "CLUSTER 13/MAIN",
            "cluster",
            "^C",
        ] {
            assert_eq!(said(&confirm(), &[wrong]), Answer::Quit, "{wrong:?}");
        }
        let mut pasted = script(&["cluster 13/main"]);
        pasted.pasted = true;
        assert_eq!(converse(&confirm(), &mut pasted), Answer::Quit);
        assert!(pasted.shown.contains("That confirms nothing"));
    }

    #[test]
    fn nothing_that_is_not_a_choice_begins_a_step() {
        assert_eq!(said(&begin(), &["go"]), Answer::Go);
        assert_eq!(said(&begin(), &["x", "", "G"]), Answer::Go);
        for no in [&[][..], &[""], &["y"], &["yes"], &["gg"], &["^C"], &["^C", "g"]] {
            assert_eq!(said(&begin(), no), Answer::Quit, "{no:?}");
        }
        let mut pasted = script(&["g"]);
        pasted.pasted = true;
        assert_eq!(converse(&begin(), &mut pasted), Answer::Quit);
    }

    #[test]
    fn free_text() {
        assert_eq!(said(&begin(), &["n", " disk is slow "]), Answer::Note("disk is slow".into()));
        assert_eq!(
            said(&begin(), &["n", "", "a", "^C", "q"]),
            Answer::Quit,
            "back at the question each time"
        );
        let handoff =
            |to: Option<&str>| Answer::Handoff { to: to.map(str::to_owned), note: "watch it".into() };
        assert_eq!(said(&begin(), &["h", "watch it", ""]), handoff(None));
        assert_eq!(said(&begin(), &["handoff", "watch it", "bob"]), handoff(Some("bob")));
        let manual = Question::Manual { step: "copy".into(), observe: Some("how many?".into()) };
        assert_eq!(said(&manual, &["c", "12"]), Answer::Carried(Some("12".into())));
        assert_eq!(
            said(&manual, &["c", "", "q"]),
            Answer::Quit,
            "an observation that was asked for is needed"
        );
    }

    #[test]
    fn stopping_needs_a_word_and_ctrl_c_kills_nothing() {
        let running = Question::Interrupted { running: Some("copy".into()) };
        assert_eq!(said(&running, &["s", "stop"]), Answer::Stop);
        assert_eq!(said(&running, &["s", "y", "g"]), Answer::Go);
        assert_eq!(said(&running, &["^C", "g"]), Answer::Go);
        assert_eq!(said(&running, &["^C", "^C", "^C"]), Answer::Quit);
    }

    #[test]
    fn decisions_need_a_reason() {
        let doubt = Question::Doubt {
            step: "copy".into(),
            why: String::new(),
            may_rerun: true,
            may_finish: true,
            evidence: vec![evidence("copy.post.up", crate::check::Verdict::Pass)],
        };
        assert_eq!(said(&doubt, &["d", "", "d", "I looked"]), Answer::Finished("I looked".into()));
        assert_eq!(said(&doubt, &["r", "it is safe"]), Answer::Again("it is safe".into()));
        let Question::Doubt { step, why, evidence, .. } = doubt else { unreachable!() };
        let stuck = Question::Doubt { step, why, evidence, may_rerun: false, may_finish: false };
        assert_eq!(said(&stuck, &["d", "x", "r", "x", "q"]), Answer::Quit, "not offered, not accepted");
    }

    #[test]
    fn hostile_questions_do_not_escape_in_replies() {
        let question = Question::Confirm {
            undo: None,
            step: "s".into(),
            text: EVIL.into(),
            blast: blast(),
            horizon: EVIL.into(),
        };
        let mut console = script(&["no", EVIL]);
        converse(&question, &mut console);
        safe(&console.shown, 80);
    }
}
