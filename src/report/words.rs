//! Every event in words. The live session, the log and the briefing all say what this says, so that a person who reads
//! the log next month reads what the operator saw.
//!
//! Invariant: the words hold no control character and no newline; foreign text cannot imitate a line of ours.

use super::goes;
use crate::base::text::{count, neutral};
use crate::base::{CheckId, Size};
use crate::check::{Evidence, Verdict};
use crate::journal::record::{Blast, BlastItem, Blocker, Decision, Event, LeaseHow, Line, Purpose};
use crate::journal::second::Signature;

/// How something is meant. A screen may show it in colour; the words alone must be enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// It holds, it is done.
    Good,
    /// It does not hold, it failed.
    Bad,
    /// Nobody knows, or a person is needed.
    Doubt,
    /// Important.
    Strong,
    /// Less important.
    Dim,
}

/// An event in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// How it is meant.
    pub tone: Tone,
    /// `pass`, `FAIL`, `[x]`, `note`, …: at most seven characters; may be empty.
    pub mark: &'static str,
    /// One line.
    pub head: String,
    /// More lines, each with a label.
    pub more: Vec<(&'static str, String)>,
}

impl Words {
    fn new(tone: Tone, mark: &'static str, head: impl AsRef<str>) -> Self {
        Words { tone, mark, head: flat(head.as_ref()), more: Vec::new() }
    }

    fn with(mut self, label: &'static str, text: impl AsRef<str>) -> Self {
        let text = flat(text.as_ref());
        if !text.is_empty() {
            self.more.push((label, text));
        }
        self
    }

    fn with_all<T: AsRef<str>>(self, label: &'static str, texts: impl IntoIterator<Item = T>) -> Self {
        texts.into_iter().fold(self, |words, text| words.with(label, text))
    }
}

/// Foreign text on one line: nothing in it moves a cursor or begins a new line.
pub fn flat(text: &str) -> String {
    let clean = neutral(text.trim_end_matches('\n'));
    if clean.contains('\n') {
        clean.lines().map(str::trim_end).collect::<Vec<_>>().join(" / ")
    } else {
        clean
    }
}

/// The mark of a verdict and how it is meant.
pub fn verdict(verdict: Verdict) -> (Tone, &'static str) {
    let tone = match verdict {
        Verdict::Pass => Tone::Good,
        Verdict::Fail => Tone::Bad,
        Verdict::Unknown => Tone::Doubt,
    };
    (tone, verdict.word())
}

/// Evidence in words: what was seen, and for all but a pass what was wanted and what to do.
pub fn evidence(evidence: &Evidence) -> Words {
    let (tone, mark) = verdict(evidence.verdict());
    let words = Words::new(tone, mark, format!("{}: {}", evidence.title, evidence.outcome.observed));
    if evidence.verdict() == Verdict::Pass {
        return words;
    }
    words
        .with("wanted", &evidence.outcome.expected)
        .with("next", evidence.outcome.help.as_deref().unwrap_or_default())
        .with("check", evidence.check.as_str())
        .with_all("detail", &evidence.outcome.details)
}

/// Why something was measured, as words before a step's name.
pub fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Precondition => "before",
        Purpose::Invariant => "during",
        Purpose::Postcondition => "after",
        Purpose::Guard => "for the permit of",
        Purpose::WalkDown => "walk-down:",
    }
}

/// One thing that goes: `directory /srv/old, 120 GiB, 1,000 rows`.
pub fn blast_item(item: &BlastItem) -> String {
    let mut text = format!("{} {}", item.kind, item.name);
    if let Some(bytes) = item.bytes {
        text.push_str(&format!(", {}", Size(bytes)));
    }
    if let Some(rows) = item.rows {
        text.push_str(&format!(", {}", count(rows, "row", "rows")));
    }
    text
}

fn blast(words: Words, blast: &Blast) -> Words {
    words
        .with_all("goes", goes::listed(&blast.items).iter().map(blast_item))
        .with("it is", blast.identity.as_ref().map(|i| i.describe()).unwrap_or_default())
        .with_all("in use", &blast.serving)
        .with_all("unknown", &blast.unmeasured)
}

fn blockers(words: Words, blockers: &[Blocker]) -> Words {
    super::blockers::merged(blockers).iter().fold(words, |words, b| {
        words
            .with("blocker", format!("{} ({})", b.title, b.subject))
            .with("seen", &b.observed)
            .with("wanted", &b.expected)
            .with("next", &b.next)
    })
}

/// That there is a signature; whose it is, `verify` says, with the allowed signers.
fn signed(signature: Option<&Signature>) -> String {
    signature
        .map(|made| format!("at head {}; `verify --signers` says by whom", made.head.short()))
        .unwrap_or_default()
}

fn ids(checks: &[CheckId]) -> String {
    checks.iter().map(CheckId::as_str).collect::<Vec<_>>().join(", ")
}

/// A line of the journal in words.
pub fn line(line: &Line) -> Words {
    event(&line.event, &line.by)
}

/// An event in words; `by` is who caused it.
pub fn event(event: &Event, by: &str) -> Words {
    match event {
        Event::Opened {
            run,
            title,
            runbook,
            environment,
            vars,
            secrets,
            engine,
            host,
            rehearsal,
            receipt,
            ..
        } => {
            let place = environment.as_ref().map(|e| format!(" in {e}")).unwrap_or_default();
            let rehearsal = if *rehearsal { " as a REHEARSAL" } else { "" };
            Words::new(Tone::Strong, "run", format!("{run} is opened{rehearsal}{place} on {host} by {by}"))
                .with("title", title.as_deref().unwrap_or_default())
                .with("runbook", format!("digest {}, Holdpoint {engine}", runbook.short()))
                .with_all("with", vars.iter().map(|(name, value)| format!("{name} = {value}")))
                .with("secret", secrets.join(", "))
                .with("receipt", receipt.as_ref().map(|digest| digest.short()).unwrap_or_default())
        }
        Event::Lease { operator, how, reason, acknowledged, signature, .. } => {
            let (tone, head) = match how {
                LeaseHow::Start => (Tone::Plain, format!("{operator} holds the run")),
                LeaseHow::Resume => (Tone::Plain, format!("{operator} goes on with the run")),
                LeaseHow::Accept => {
                    (Tone::Strong, format!("{operator} accepts the run and holds it from now on"))
                }
                LeaseHow::TakeOver => (Tone::Strong, format!("{operator} takes the run over")),
            };
            Words::new(tone, "holder", head)
                .with("reason", reason.as_deref().unwrap_or_default())
                .with_all("acknowl.", acknowledged)
                .with("signed", signed(signature.as_ref()))
        }
        Event::Released { why } => Words::new(Tone::Plain, "holder", format!("{by} leaves the run: {why}")),
        Event::Pinned { target, identity } => {
            Words::new(Tone::Plain, "target", format!("{target} is {}", identity.describe()))
        }
        Event::Unpinned { target, step } => Words::new(
            Tone::Plain,
            "target",
            format!("{target} is made anew by {step}; it is pinned when next seen"),
        ),
        Event::Measured { purpose: why, step, evidence: seen, advisory } => {
            let mut words = evidence(seen);
            let gates = if *advisory { " (advisory, no gate)" } else { "" };
            if *advisory && words.tone == Tone::Bad {
                words.tone = Tone::Doubt;
            }
            words.head = flat(&format!("{} {step}{gates}: {}", purpose(*why), words.head));
            words
        }
        Event::Held { step, undo, blockers: all } => {
            let undoing = if *undo { "undoing " } else { "" };
            let head = format!(
                "the hold point before {undoing}{step} stays closed: {}",
                count(super::blockers::merged(all).len() as u64, "blocker", "blockers")
            );
            blockers(Words::new(Tone::Bad, "HELD", head), all)
        }
        Event::Confirmed { step, undo, text, blast: shown } => {
            let undoing = if *undo { "undoing " } else { "" };
            let head = format!("{by} confirms {undoing}{step} by typing `{text}`");
            blast(Words::new(Tone::Strong, "typed", head), shown)
        }
        Event::Permitted { step, undo, permit, guards, approvers, waived, .. } => {
            let undoing = if *undo { "undoing " } else { "" };
            let checks = count((guards.len() - waived.len().min(guards.len())) as u64, "check", "checks");
            let without = match waived.len() {
                0 => String::new(),
                n => format!(", {n} WAIVED"),
            };
            Words::new(
                Tone::Strong,
                "permit",
                format!("permit {permit} for {undoing}{step}: {checks} passed together{without}"),
            )
            .with("checks", ids(guards))
            .with("WAIVED", ids(waived))
            .with("approved", approvers.join("; "))
        }
        Event::Began { step, attempt, permit } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            let under = permit.map(|n| format!(", under permit {n}")).unwrap_or_default();
            Words::new(Tone::Plain, "[>]", format!("{step} begins{again}{under}"))
        }
        Event::Ended { step, ending, output_bytes, left_running, .. } => {
            let output = if *output_bytes > 0 {
                format!(", {} of output", Size(*output_bytes))
            } else {
                String::new()
            };
            let tone = if ending.success() { Tone::Plain } else { Tone::Bad };
            Words::new(tone, "[>]", format!("{step} ended: {}{output}", ending.describe()))
                .with_all("left", left_running)
        }
        Event::Done { step } => Words::new(Tone::Good, "[x]", format!("{step} is done")),
        Event::Failed { step, why } => Words::new(Tone::Bad, "[!]", format!("{step} FAILED: {why}")),
        Event::InDoubt { step, why, .. } => {
            Words::new(Tone::Doubt, "[?]", format!("{step} is IN DOUBT: {why}"))
        }
        Event::Reopened { step, why } => Words::new(Tone::Bad, "[!]", format!("{step} is REOPENED: {why}")),
        Event::Decided { step, reason, by_runbook: true, undo, .. } => {
            let what = if *undo { format!("{step} is undone again") } else { format!("{step} is run again") };
            let head = format!("{what} by {by}; nobody was asked, since the runbook allows it");
            Words::new(Tone::Plain, "again", head).with("reason", reason)
        }
        Event::Decided { step, decision, reason, undo, .. } => {
            let what = match decision {
                Decision::Done => "is done",
                Decision::Again if *undo => "is undone again",
                Decision::Again => "is run again",
            };
            Words::new(Tone::Strong, "decided", format!("{by} decides that {step} {what}"))
                .with("reason", reason)
        }
        Event::Recorded { step, name, target, digest, tables, rows } => {
            let (tables, rows) = (count(*tables, "table", "tables"), count(*rows, "row", "rows"));
            let head = format!("{step} recorded {target} as {name}: {tables}, {rows}");
            Words::new(Tone::Plain, "record", head).with("digest", digest.as_str())
        }
        Event::Captured { step, name, value } => {
            Words::new(Tone::Plain, "value", format!("{step} gave {name} = {value}"))
        }
        Event::Observed { step, text } => {
            Words::new(Tone::Strong, "seen", format!("{by} observed in {step}: {text}"))
        }
        Event::Soaked { step, elapsed_ms: 0 } => {
            Words::new(Tone::Doubt, "watch", format!("{step}: the watch starts again at zero"))
        }
        Event::Soaked { step, elapsed_ms } => Words::new(
            Tone::Plain,
            "watch",
            format!("{step}: watched {} in which all of it held", crate::base::Span::millis(*elapsed_ms)),
        ),
        Event::Violated { step, check, action } => {
            Words::new(Tone::Bad, "[!]", format!("{check} does not pass while {step} runs: {action}"))
        }
        Event::Continued { step } => Words::new(Tone::Plain, "[>]", format!("{step} goes on")),
        Event::Note { text } => Words::new(Tone::Strong, "note", format!("{by}: {text}")),
        Event::Offered { to, note, signature } => {
            let whom = to.as_deref().unwrap_or("the next operator");
            Words::new(Tone::Strong, "handoff", format!("{by} offers the run to {whom}: {note}"))
                .with("signed", signed(signature.as_ref()))
        }
        Event::RollbackBegan { step, attempt, permit } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            let under = permit.map(|n| format!(", under permit {n}")).unwrap_or_default();
            Words::new(Tone::Plain, "[<]", format!("undoing {step} begins{again}{under}"))
        }
        Event::RollbackEnded { step, ending, .. } => {
            let tone = if ending.success() { Tone::Plain } else { Tone::Bad };
            Words::new(tone, "[<]", format!("undoing {step} ended: {}", ending.describe()))
        }
        Event::RolledBack { step } => Words::new(Tone::Good, "[<]", format!("{step} is undone")),
        Event::Abandoned { reason } => {
            Words::new(Tone::Strong, "end", format!("{by} abandons the run: {reason}"))
        }
        Event::Completed { steps } => {
            let steps = count(*steps, "step", "steps");
            Words::new(
                Tone::Good,
                "end",
                format!("the run is complete: {steps} done, and what should hold holds"),
            )
        }
        Event::ApprovalWanted { count: wanted, content } => {
            let undoing = if content.undo { "undoing " } else { "" };
            let people = count((*wanted).into(), "other person", "other people");
            let head = format!("{undoing}{} waits for the approval of {people}", content.step);
            let words = Words::new(Tone::Doubt, "wanted", head)
                .with("content", content.digest().short())
                .with("destroys", &content.text)
                .with("checks", ids(&content.guards))
                .with_all("with", content.vars.iter().map(|(name, value)| format!("{name} = {value}")));
            blast(words, &content.blast)
        }
        Event::Approved { step, undo, content, text, until, signature, .. } => {
            let undoing = if *undo { "undoing " } else { "" };
            let head = format!("{by} approves {undoing}{step} by typing `{text}`, until {until:.0}");
            Words::new(Tone::Strong, "approve", head)
                .with("content", content.short())
                .with("signed", signed(signature.as_ref()))
        }
        Event::Rejected { step, undo, content, reason, signature } => {
            let undoing = if *undo { "undoing " } else { "" };
            Words::new(Tone::Bad, "REJECT", format!("{by} rejects {undoing}{step}: {reason}"))
                .with("content", content.short())
                .with("signed", signed(signature.as_ref()))
        }
        Event::ApprovalWithdrawn { step, undo, reason, signature } => {
            let undoing = if *undo { "undoing " } else { "" };
            let head = format!("{by} withdraws what they said about {undoing}{step}: {reason}");
            Words::new(Tone::Strong, "approve", head).with("signed", signed(signature.as_ref()))
        }
        Event::Waived { check, reason, until, verdict, seen, signature, .. } => {
            let head = format!("{by} waives {check} until {until:.0}: {reason}");
            Words::new(Tone::Doubt, "WAIVED", head)
                .with("seen", format!("{}: {seen}", verdict.word()))
                .with("signed", signed(signature.as_ref()))
        }
        Event::WaiverWithdrawn { check, reason, signature } => {
            Words::new(Tone::Strong, "waiver", format!("{by} takes the waiver of {check} back: {reason}"))
                .with("signed", signed(signature.as_ref()))
        }
        Event::WaiverUsed { step, check, waived_by, reason, until } => {
            let head = format!("{step} goes on WITHOUT {check}");
            Words::new(Tone::Doubt, "WAIVED", head)
                .with("by", format!("{waived_by}, until {until:.0}"))
                .with("reason", reason)
        }
        Event::Notified { of, on, program, outcome, delivered } => {
            let (tone, word) =
                if *delivered { (Tone::Dim, "told") } else { (Tone::Bad, "COULD NOT BE TOLD") };
            let head = format!("{word} about `{on}` (line {of}) by {program}: {outcome}");
            Words::new(tone, "notify", head)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StepId;

    #[test]
    fn foreign_text_stays_on_its_line() {
        let evil = "x\n[x] drop-old is done\r\x1b[2J\x1b]0;t\x07\u{202e}";
        for event in [
            Event::Note { text: evil.to_owned() },
            Event::Failed { step: StepId::from(evil), why: evil.to_owned() },
            Event::Abandoned { reason: evil.to_owned() },
        ] {
            let words = super::event(&event, evil);
            assert!(!words.head.contains(|c: char| c.is_control() || c == '\u{202e}'), "{words:?}");
            assert!(words.head.contains("x / [x] drop-old"), "{words:?}");
        }
    }

    #[test]
    fn an_advisory_failure_does_not_look_like_one_that_gates() {
        let told = |advisory| {
            let evidence = crate::report::fixture::evidence("copy.post.rows", Verdict::Fail);
            let (purpose, step) = (Purpose::Postcondition, StepId::from("copy"));
            super::event(&Event::Measured { purpose, step, evidence, advisory }, "alice@db1")
        };
        let (gates, advises) = (told(false), told(true));
        assert!(gates.head.starts_with("after copy: ") && gates.tone == Tone::Bad, "{gates:?}");
        assert!(advises.head.starts_with("after copy (advisory, no gate): "), "{advises:?}");
        assert_eq!((advises.mark, advises.tone), ("FAIL", Tone::Doubt));
    }

    #[test]
    fn every_mark_fits_its_column() {
        for mark in ["UNKNOWN", "decided", "handoff", "record", "permit", "holder", "target"] {
            assert!(mark.len() <= 7);
        }
    }
}
