//! The commands that messages name. One place, so that they all name commands that exist, and none names a way round
//! a check.

use crate::base::{RunId, StepId};

/// Go on with one's own run.
pub fn resume(run: &RunId) -> String {
    format!("holdpoint resume {run}")
}

/// Take an offered run.
pub fn accept(run: &RunId) -> String {
    format!("holdpoint accept {run}")
}

/// Take a run whose holder has left without offering it.
pub fn take_over(run: &RunId) -> String {
    format!("holdpoint accept {run} --take-over --reason TEXT")
}

/// Read what waits for other people.
pub fn approve(run: &RunId, step: &StepId, undo: bool) -> String {
    let undo = if undo { " --undo" } else { "" };
    format!("holdpoint approve {run} {step}{undo}")
}

/// See where it stands.
pub fn status(run: &RunId) -> String {
    format!("holdpoint status {run}")
}

/// Read what happened.
pub fn log(run: &RunId) -> String {
    format!("holdpoint log {run}")
}

/// Undo steps, newest first, down to this one, or all.
pub fn rollback(run: &RunId, to: Option<&StepId>) -> String {
    let to = to.map(|step| format!(" --to {step}")).unwrap_or_default();
    format!("holdpoint rollback {run}{to}")
}

/// A word as a shell reads it back: quoted only where it must be.
pub fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command line as a shell reads it back.
pub fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_change() {
        let argv = ["pg_dropcluster", "13", "a b", "it's", "", "$HOME"].map(str::to_owned);
        assert_eq!(line(&argv), r"pg_dropcluster 13 'a b' 'it'\''s' '' '$HOME'");
    }
}
