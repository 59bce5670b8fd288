//! What `--json` prints. One object a command, with the format's name and version in front; fields are added in minor
//! versions and never change their meaning.

use serde::Serialize;

use super::checked::Checked;
use super::plan::Plan;
use super::second::ApprovalLine;
use super::standing::{RunRow, Standing};
use super::walkdown::{Changed, OpenPoint};
use crate::base::RunId;
use crate::base::text::neutral;

/// The version of these forms.
pub const FORMAT: u32 = 1;

/// An answer with its name and version.
#[derive(Debug, Serialize)]
pub struct Answer<'a, T: Serialize> {
    /// `holdpoint.status`, `holdpoint.runs`, …
    pub format: &'a str,
    /// See [`FORMAT`].
    pub version: u32,
    /// The facts.
    #[serde(flatten)]
    pub facts: T,
}

/// `runs --json`.
#[derive(Debug, Serialize)]
pub struct Runs<'a> {
    /// Runs that can be read.
    pub runs: &'a [RunRow],
    /// Runs that cannot: id and reason.
    pub unreadable: &'a [(String, String)],
}

/// `accept --json`: the handoff.
#[derive(Debug, Serialize)]
pub struct Handoff<'a> {
    /// Where the run stands.
    pub standing: &'a Standing,
    /// What changed since it was last seen.
    pub walkdown: &'a [Changed],
    /// What must be acknowledged.
    pub open_points: &'a [OpenPoint],
}

fn write<T: Serialize>(format: &str, facts: T) -> String {
    let answer = Answer { format, version: FORMAT, facts };
    match serde_json::to_string_pretty(&answer) {
        Ok(text) => visible(&text) + "\n",
        Err(error) => format!(
            "{{\"format\": \"holdpoint.error\", \"version\": {FORMAT}, \"error\": {:?}}}\n",
            error.to_string()
        ),
    }
}

/// JSON text in which every character that could move a cursor or hide text is escaped; the same to any parser. The
/// JSON writer escapes C0 itself, and leaves DEL, C1, bidirectional and zero-width characters as they are.
pub fn visible(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        let hidden =
            c != '\n' && (c.is_control() || !c.is_ascii() && neutral(&c.to_string()) != c.to_string());
        if hidden {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
        out
    })
}

/// `status --json`.
pub fn status(standing: &Standing) -> String {
    write("holdpoint.status", standing)
}

/// `runs --json`.
pub fn runs(runs: &[RunRow], unreadable: &[(String, String)]) -> String {
    write("holdpoint.runs", Runs { runs, unreadable })
}

/// `plan --json`.
pub fn plan(plan: &Plan) -> String {
    write("holdpoint.plan", plan)
}

/// `approve --json`.
pub fn approval(run: &RunId, line: Option<&ApprovalLine>) -> String {
    #[derive(Serialize)]
    struct Approval<'a> {
        run: &'a RunId,
        approval: Option<&'a ApprovalLine>,
    }
    write("holdpoint.approval", Approval { run, approval: line })
}

/// `check --json`.
pub fn check(checked: &Checked) -> String {
    write("holdpoint.check", checked)
}

/// `accept --json`.
pub fn handoff(standing: &Standing, walkdown: &[Changed], open_points: &[OpenPoint]) -> String {
    write("holdpoint.handoff", Handoff { standing, walkdown, open_points })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checks_at_all_is_not_a_pass() {
        let text = check(&Checked::of("x", Vec::new(), 0));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["pass"], false);
        assert_eq!(value["format"], "holdpoint.check");
    }

    #[test]
    fn hidden_characters_are_escaped_and_mean_the_same() {
        let evil = "a\u{7f}\u{9b}\u{202e}\u{e0041}\u{e9}\n";
        let json = serde_json::to_string(evil).unwrap();
        let shown = visible(&json);
        assert_eq!(shown, "\"a\\u007f\\u009b\\u202e\\udb40\\udc41\u{e9}\\n\"");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), evil);
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = runs(&[], &[("x\u{1b}[2J".to_owned(), "y\r\n".to_owned())]);
        assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{text:?}");
    }
}
