//! What a walk over many objects saw, and the verdict that follows: a finding fails; else whatever was not seen makes it
//! unknown; a pass needs that everything was seen, and that there was something to see.

use crate::base::text::{count, neutral, thousands};
use crate::check::Outcome;

/// Lines of each sort that evidence carries.
const SHOWN: usize = 20;

/// Longest line of a finding, in characters: amcheck's own words can be long.
const WIDTH: usize = 400;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// What is wrong, one line each.
    pub found: Vec<String>,
    /// What could not be looked at, one line each.
    pub unseen: Vec<String>,
    /// What was left out on purpose, and other remarks.
    pub notes: Vec<String>,
    /// Objects looked at.
    pub looked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Databases entered.
    pub rooms: u64,
    /// What to do about the first thing that could not be looked at.
    pub way: Option<String>,
}

/// How a check calls its objects and what it looks for.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// `table`, `index`.
    pub one: &'static str,
    /// `tables`, `indexes`.
    pub many: &'static str,
    /// What a finding is: `damaged`, `with duplicates`.
    pub wrong: &'static str,
    /// What a pass says: `no damage found`.
    pub fine: &'static str,
    /// What to do about a finding.
    pub help: &'static str,
    /// What to do when there was nothing to look at.
    pub nothing: &'static str,
}

impl Tally {
    /// Something is wrong.
    pub fn finding(&mut self, line: impl Into<String>) {
        self.found.push(cut(&line.into()));
    }

    /// Something could not be looked at; `way` is the one safe thing to do about it.
    pub fn missed(&mut self, line: impl Into<String>, way: &str) {
        self.unseen.push(cut(&line.into()));
        self.way.get_or_insert_with(|| way.to_owned());
    }

    /// The verdict.
    pub fn outcome(self, words: &Words, expected: &str) -> Outcome {
        let all = |n: u64| count(n, words.one, words.many);
        let looked =
            format!("{} in {} looked at", all(self.looked), count(self.rooms, "database", "databases"));
        let outcome = if let Some(first) = self.found.first() {
            let wrong = all(self.found.len() as u64);
            Outcome::fail(format!("{wrong} {}: {first}", words.wrong), expected).help(words.help)
        } else if let Some(first) = self.unseen.first() {
            let more = match self.unseen.len() {
                1 => String::new(),
                n => format!(" (and {} more)", thousands(n as u64 - 1)),
            };
            Outcome::unknown(format!("not measured: {first}{more}"), expected)
                .help(self.way.clone().unwrap_or_else(|| "look into the server's log".to_owned()))
        } else if self.looked == 0 {
            Outcome::unknown(format!("there is no {} to look at", words.one), expected).help(words.nothing)
        } else {
            Outcome::pass(format!("{}: {looked}", words.fine), expected)
        };
        let passed = self.found.is_empty() && self.unseen.is_empty();
        let mut outcome = outcome
            .fact("looked_at", self.looked)
            .fact("bytes", self.bytes)
            .fact("databases", self.rooms)
            .fact("findings", self.found.len())
            .fact("not_measured", self.unseen.len());
        if !passed {
            outcome = outcome.detail(looked);
        }
        // Findings and gaps are told in full only where the first line does not tell all of them already.
        let found = if self.found.len() > 1 || !self.unseen.is_empty() { self.found } else { Vec::new() };
        let gaps = if self.unseen.len() > 1 || outcome.help.as_deref() == Some(words.help) {
            self.unseen.iter().map(|line| format!("not measured: {line}")).collect()
        } else {
            Vec::new()
        };
        for lines in [found, gaps, self.notes] {
            outcome = shown(outcome, &lines);
        }
        outcome
    }
}

/// Adds lines as details, the first ones of many.
pub fn shown(mut outcome: Outcome, lines: &[String]) -> Outcome {
    for line in lines.iter().take(SHOWN) {
        outcome = outcome.detail(line);
    }
    match lines.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => outcome.detail(format!("and {} more", thousands(more as u64))),
        _ => outcome,
    }
}

/// One line of foreign text: neutralised and not too long.
pub fn cut(text: &str) -> String {
    let line = neutral(text).replace('\n', " ");
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    const WORDS: Words = Words {
        one: "table",
        many: "tables",
        wrong: "damaged",
        fine: "no damage found",
        help: "stop",
        nothing: "name one",
    };

    #[test]
    fn only_all_of_something_passes() {
        let verdict = |tally: Tally| tally.outcome(&WORDS, "sound tables");
        assert_eq!(verdict(Tally::default()).verdict, Verdict::Unknown);
        let seen = || Tally { looked: 3, rooms: 1, ..Tally::default() };
        assert_eq!(verdict(seen()).observed, "no damage found: 3 tables in 1 database looked at");
        let mut gap = seen();
        gap.missed("a is locked", "wait");
        gap.missed("b is locked", "do something else");
        let gap = verdict(gap);
        assert_eq!((gap.verdict, gap.help.as_deref()), (Verdict::Unknown, Some("wait")));
        assert_eq!(gap.observed, "not measured: a is locked (and 1 more)");
        let mut both = seen();
        both.missed("a is locked", "wait");
        both.finding("b is broken");
        let both = verdict(both);
        assert_eq!((both.verdict, both.help.as_deref()), (Verdict::Fail, Some("stop")));
        assert!(both.details.contains(&"not measured: a is locked".to_owned()), "{both:?}");
    }

    #[test]
    fn evidence_stays_small() {
        let mut many = Tally { looked: 100, rooms: 1, ..Tally::default() };
        for n in 0..100 {
            many.finding(format!("{n} {}", "x".repeat(1000)));
        }
        let outcome = many.outcome(&WORDS, "sound tables");
        assert_eq!(outcome.details.len(), 22);
        assert_eq!(outcome.details.last().map(String::as_str), Some("and 80 more"));
        assert!(outcome.observed.starts_with("100 tables damaged: 0 xxx") && outcome.observed.len() < 500);
        assert_eq!(cut("a\x1b[2J\nb"), "a␛[2J b");
    }
}
