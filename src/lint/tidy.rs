//! Rules about single steps: keys that would do nothing, watches that watch nothing, commands without a limit.

use std::ops::Range;

use super::Places;
use crate::base::Span;
use crate::problem::Problem;
use crate::runbook::graph::Section;
use crate::runbook::model::{CheckCommon, OnViolation, Sql};
use crate::runbook::{Step, Work};

/// True for an invariant that a soak's clock does not depend on.
fn only_shown(common: &CheckCommon) -> bool {
    common.advisory || common.on_violation == Some(OnViolation::Alert)
}

/// Adds what breaks the rules.
pub(super) fn judge(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    checks(at, step, places, problems);
    let Some(work) = step.work() else { return };
    match work {
        Work::Soak(_) if step.invariants.is_empty() => problems.push(
            Problem::error("HP048", format!("`{}` watches nothing", step.id), places.key(at, "soak"))
                .help("add invariants: they are what has to hold all the time"),
        ),
        Work::Soak(_) if step.invariants.iter().all(|check| only_shown(&check.common)) => problems.push(
            Problem::error(
                "HP048",
                format!("nothing that `{}` watches counts", step.id),
                places.key(at, "soak"),
            )
            .help("add an invariant that is neither advisory nor an alert: its time is what is counted"),
        ),
        Work::Sql(_) | Work::Manual(_) | Work::Record(_) if !step.invariants.is_empty() => problems.push(
            Problem::error(
                "HP049",
                format!("nothing measures invariants during `{}`", work.word()),
                places.key(at, "invariants"),
            )
            .help("move them to a `run` or `soak` step, or make pre- and postconditions of them"),
        ),
        _ => {}
    }
    if matches!(work, Work::Run(_) | Work::Sql(_)) && step.timeout.is_none() {
        let message = format!("`{}` may run for ever", step.id);
        problems.push(
            Problem::warning("HP061", message, places.key(at, work.word()))
                .help("add a `timeout`, such as 2h"),
        );
    }
    affects(work, &step.id, || places.key(at, "sql.affects"), problems);
    if let Some(undoing) = step.rollback.as_ref().and_then(|rollback| rollback.work()) {
        affects(undoing, &step.id, || places.key(at, "rollback.sql.affects"), problems);
    }
    let given = |key: &str| match key {
        "env" => !step.env.is_empty(),
        "cwd" => step.cwd.is_some(),
        "user" => step.user.is_some(),
        "capture" => step.capture.is_some(),
        "creates" => !step.creates.is_empty(),
        "destroys" => step.destroys.is_some(),
        "rehearse" => step.rehearse.is_some(),
        _ => false,
    };
    let idle: &[&str] = match work {
        Work::Run(_) => &["rehearse"],
        Work::Sql(_) => &["env", "cwd", "user", "capture", "rehearse"],
        Work::Manual(_) => &["env", "cwd", "user", "capture"],
        Work::Record(_) | Work::Soak(_) => {
            &["env", "cwd", "user", "capture", "creates", "destroys", "rehearse"]
        }
    };
    // What stands in for a manual step is a command, and these are for it.
    let stands_in = step.rehearse.is_some() && matches!(work, Work::Manual(_));
    for key in idle.iter().filter(|key| given(key) && !(stands_in && **key != "capture")) {
        let message = format!("`{key}` has no effect in a `{}` step", work.word());
        problems.push(Problem::error("HP051", message, places.key(at, key)).help("leave it out"));
    }
}

/// What would not be rolled back, or not be counted, when it affects too many rows.
const UNBOUND: [&str; 12] = [
    "ABORT", "ALTER", "BEGIN", "CALL", "COMMIT", "DROP", "END", "PREPARE", "ROLLBACK", "START", "TRUNCATE",
    "VACUUM",
];

fn affects(work: Work<'_>, step: &str, range: impl Fn() -> Range<usize>, problems: &mut Vec<Problem>) {
    let Work::Sql(Sql { statements, affects: Some(affects), .. }) = work else { return };
    // `at_most` itself is allowed whenever any number is.
    if !affects.allows(affects.at_most) {
        let message = format!("no number of rows is at least and at most what `{step}` says");
        let help = "`at_least` is 1 when it is not given; it must not be more than `at_most`";
        problems.push(Problem::error("HP057", message, range()).help(help));
    }
    let first = |part: &str| part.split_whitespace().next().unwrap_or_default().to_uppercase();
    let parts = statements.iter().flat_map(|statement| statement.split(';'));
    if let Some(word) = parts.map(first).find(|word| UNBOUND.contains(&word.as_str())) {
        let message =
            format!("`{word}` in `{step}` affects no rows that could be counted, or ends the transaction");
        let help = "make a step of its own of it, without `affects`";
        problems.push(Problem::error("HP057", message, range()).help(help));
    }
}

fn checks(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    for section in Section::ALL {
        for (nth, check) in section.of(step).iter().enumerate() {
            let common = &check.common;
            if common.until.is_some() && section != Section::Post {
                let range = places.check(at, section, nth, Some("until"));
                let message = "only a postcondition holds on until another step begins";
                problems.push(Problem::error("HP046", message, range).help("leave `until` out"));
            }
            if let Some(wait) = common.wait_up_to {
                let range = places.check(at, section, nth, Some("wait_up_to"));
                let after = matches!(section, Section::Post | Section::Undo);
                problems.extend(if after { out_of_bounds(wait, range) } else { Some(no_wait(range)) });
            }
            if common.falsify.is_some() && section == Section::Inv {
                let range = places.check(at, section, nth, Some("falsify"));
                let message = "`falsify` has no effect on an invariant, which guards no destruction";
                problems.push(Problem::error("HP051", message, range).help("leave it out"));
            }
            let watched =
                [("on_violation", common.on_violation.is_some()), ("every", common.every.is_some())];
            for (key, _) in watched.iter().filter(|(_, given)| *given && section != Section::Inv) {
                let range = places.check(at, section, nth, Some(key));
                let message = format!("only an invariant takes `{key}`");
                problems.push(
                    Problem::error("HP047", message, range).help("leave it out, or make it an invariant"),
                );
            }
        }
    }
}

/// The shortest and the longest that a postcondition is waited for.
const PATIENCE: std::ops::RangeInclusive<Span> = Span::secs(1)..=Span::secs(60 * 60);

fn out_of_bounds(wait: Span, range: Range<usize>) -> Option<Problem> {
    let (shortest, longest) = (PATIENCE.start(), PATIENCE.end());
    let message = format!("`wait_up_to` is {wait}; it can be {shortest} to {longest}");
    let help = "for what takes longer, add a step of its own that waits or watches; for what needs no waiting, leave it out";
    (!PATIENCE.contains(&wait)).then(|| Problem::error("HP077", message, range).help(help))
}

/// Only after a step's work there is something to wait for.
pub(super) fn no_wait(range: Range<usize>) -> Problem {
    let message = "only a postcondition is waited for; any other check is a question about this moment";
    let help =
        "leave `wait_up_to` out, and say it where the waiting belongs: at a postcondition of the step before";
    Problem::error("HP077", message, range).help(help)
}
