//! Workflow commands of GitHub Actions: annotations at a step's place in the runbook, groups, and the token behind which
//! what a command prints is no workflow command.

use super::course::Fate;
use super::rehearsed::{Rehearsed, bad};
use super::words::flat;
use crate::base::StepId;

/// An annotation for each step that is not done, for each check that stands in the way, and for each finding. `line` gives
/// a step's line in the runbook.
pub fn annotations(all: &Rehearsed, file: &str, line: &dyn Fn(&StepId) -> Option<usize>) -> String {
    let mut out = String::new();
    let mut error = |step: Option<&StepId>, title: &str, message: &str| {
        let at = step.and_then(line).map(|line| format!(",line={line}")).unwrap_or_default();
        let (file, title) = (property(file), property(title));
        out.push_str(&format!("::error file={file}{at},title={title}::{}\n", data(message)));
    };
    for why in &all.refusals {
        error(None, "the rehearsal refuses", why);
    }
    for stage in &all.course.stages {
        let why = match &stage.fate {
            Fate::Done | Fate::NotReached(_) => continue,
            Fate::Failed(why) | Fate::Doubt(why) => why.clone(),
            Fate::Held(blockers) => {
                let all = super::blockers::merged(blockers);
                all.iter()
                    .map(|b| {
                        format!("{}: seen {}, wanted {}; next: {}", b.title, b.observed, b.expected, b.next)
                    })
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        };
        error(Some(&stage.id), &format!("{} {}", stage.id, stage.fate.word()), &why);
        if matches!(stage.fate, Fate::Held(_)) {
            continue;
        }
        for case in stage.cases.iter().filter(|case| bad(case)) {
            let Some(evidence) = &case.evidence else { continue };
            let (seen, wanted) = (&evidence.outcome.observed, &evidence.outcome.expected);
            let next =
                evidence.outcome.help.as_deref().map(|help| format!("\nnext: {help}")).unwrap_or_default();
            let title = format!("{} {}", evidence.verdict().word(), case.id);
            error(Some(&stage.id), &title, &format!("{}\nseen: {seen}\nwanted: {wanted}{next}", case.title));
        }
    }
    for trial in &all.trials {
        if let Err(found) = &trial.outcome {
            error(None, &trial.title, found);
        }
    }
    if !all.passed() && out.is_empty() {
        return format!("::error file={},title=rehearsal::{}\n", property(file), data(&all.headline()));
    }
    for (stage, manner) in all.partial() {
        let at = line(&stage.id).map(|line| format!(",line={line}")).unwrap_or_default();
        let (file, words) = (property(file), data(&manner.words()));
        out.push_str(&format!("::warning file={file}{at},title={}::{words}\n", property(stage.id.as_str())));
    }
    out
}

/// What follows `::` in a workflow command: several lines become one.
pub(super) fn data(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(flat).collect();
    lines.join("\n").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
pub(super) fn property(text: &str) -> String {
    data(&flat(text)).replace(':', "%3A").replace(',', "%2C")
}

/// Begins a group of lines.
pub fn group(title: &str) -> String {
    format!("::group::{}\n", data(&flat(title)))
}

/// Ends it.
pub const GROUP_END: &str = "::endgroup::\n";

/// From here on nothing is a command, until [`speak`] with the same token.
pub fn silence(token: &str) -> String {
    format!("::stop-commands::{token}\n")
}

/// From here on commands are heard again.
pub fn speak(token: &str) -> String {
    format!("::{token}::\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_in_its_place() {
        let evil = "a\n::set-output name=x::y\r\n100%,title=z::\u{1b}[2J";
        let message = data(evil);
        assert_eq!(message.lines().count(), 1);
        assert!(message.contains("%0A::set-output") && message.contains("100%25"), "{message}");
        let property = property(evil);
        assert!(
            !property.contains("::") && !property.contains(',') && !property.contains('\u{1b}'),
            "{property}"
        );
        assert_eq!(group("t\n::x").lines().count(), 1);
    }
}
