//! Rules about single steps: keys that would do nothing, watches that watch nothing, commands without a limit.

use super::Places;
use crate::problem::Problem;
use crate::runbook::graph::Section;
use crate::runbook::{Step, Work};

/// Adds what breaks the rules.
pub(super) fn judge(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    checks(at, step, places, problems);
    let Some(work) = step.work() else { return };
    match work {
        Work::Soak(_) if step.invariants.is_empty() => problems.push(
            Problem::error("HP048", format!("`{}` watches nothing", step.id), places.key(at, "soak"))
                .help("add invariants: they are what has to hold all the time"),
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

fn checks(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    for section in Section::ALL {
        for (nth, check) in section.of(step).iter().enumerate() {
            let common = &check.common;
            if common.until.is_some() && section != Section::Post {
                let range = places.check(at, section, nth, Some("until"));
                let message = "only a postcondition holds on until another step begins";
                problems.push(Problem::error("HP046", message, range).help("leave `until` out"));
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
