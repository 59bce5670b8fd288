//! The handoff log: the journal for people and for programs. Text for a pager, Markdown for a change ticket, JSON lines as
//! they stand in the journal.

use std::fmt::Write as _;

use super::when;
use super::words::{self, Words, flat};
use crate::engine::state::{End, RunState};
use crate::journal::Line;
use crate::journal::record::Event;

/// The log as text: one line an event, further facts below it, never wrapped.
pub fn text(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut date = String::new();
    for line in lines {
        let (day, _) = split(line);
        if day != date {
            let _ = writeln!(out, "{}{day} (UTC)", if date.is_empty() { "" } else { "\n" });
            date = day;
        }
        out.push_str(&entry(line));
    }
    out
}

/// One event of the text log: for `watch` and `log --follow`, too.
pub fn entry(line: &Line) -> String {
    let Words { mark, head, more, .. } = words::line(line);
    let mut out = format!("{:>5}  {}  {mark:<7} {head}{}\n", line.seq, split(line).1, author(line, &head));
    for (label, body) in more {
        let _ = writeln!(out, "{:26}{label:<8} {body}", "");
    }
    out
}

/// ` (alice@db1)`, unless the sentence names the author already.
fn author(line: &Line, head: &str) -> String {
    let by = flat(&line.by);
    let person = matches!(line.event, Event::Held { .. } | Event::Began { .. } | Event::RollbackBegan { .. });
    if !person || head.contains(&by) { String::new() } else { format!(" ({by})") }
}

fn split(line: &Line) -> (String, String) {
    let stamp = when::stamp(line.at.wall);
    let (day, time) = stamp.split_once(' ').unwrap_or((&stamp, ""));
    (day.to_owned(), time.to_owned())
}

/// The journal's own lines. For a terminal, characters that it could obey are escaped; to a parser that is the same, to
/// a hash it is not.
pub fn jsonl(lines: &[Line], terminal: bool) -> Result<String, serde_json::Error> {
    lines.iter().try_fold(String::new(), |mut out, line| {
        let json = serde_json::to_string(line)?;
        out.push_str(&if terminal { super::json::visible(&json) } else { json });
        out.push('\n');
        Ok(out)
    })
}

/// The log as Markdown, to be pasted into a change ticket. Everything foreign is escaped: no link, image, table cell,
/// heading or HTML comes from it.
pub fn markdown(lines: &[Line]) -> String {
    let mut out = String::new();
    if let Ok(state) = RunState::fold(lines) {
        front(&mut out, &state, lines);
    }
    out.push_str("| # | UTC | | what |\n|---:|---|---|---|\n");
    for line in lines {
        let words = words::line(line);
        let mut cell = escaped(&(words.head.clone() + &author(line, &words.head)));
        for (label, body) in &words.more {
            let _ = write!(cell, "<br>{label}: {}", escaped(body));
        }
        let mark = if words.mark.is_empty() { String::new() } else { format!("`{}`", words.mark) };
        let _ = writeln!(out, "| {} | {} | {mark} | {cell} |", line.seq, when::stamp(line.at.wall));
    }
    out
}

fn front(out: &mut String, state: &RunState, lines: &[Line]) {
    let title = state.title.as_deref().unwrap_or(&state.name);
    let _ = writeln!(out, "## {}\n", escaped(&flat(title)));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "- **{name}:** {}", escaped(&flat(&value)));
    };
    fact("Run", state.run.to_string());
    fact("Runbook", format!("{}, SHA-256 {}", state.name, state.runbook));
    fact(
        "Where",
        match &state.environment {
            Some(environment) => format!("{environment}, on {}", state.host),
            None => state.host.clone(),
        },
    );
    fact("From", when::stamp(state.opened.wall));
    fact("To", when::stamp(state.latest.wall));
    let mut people: Vec<&str> = Vec::new();
    for line in lines {
        if !people.contains(&line.by.as_str()) {
            people.push(&line.by);
        }
    }
    fact("People", people.join(", "));
    fact(
        "Outcome",
        match &state.end {
            Some(End::Completed) => "complete".to_owned(),
            Some(End::Abandoned(why)) => format!("abandoned: {why}"),
            None => "not ended".to_owned(),
        },
    );
    out.push('\n');
}

/// Text in which Markdown and HTML find nothing to interpret.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' => out.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        out
    })
}
