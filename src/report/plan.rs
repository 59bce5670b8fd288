//! What would happen, as facts: every step, the checks that guard it, and how far one could go back after it.

use std::collections::HashMap;

use serde::Serialize;

use super::commands;
use super::room::Room;
use crate::base::{CheckId, Span};
use crate::check::registry;
use crate::engine::event::action_word;
use crate::engine::people::Terms;
use crate::engine::reverse;
use crate::gate::window;
use crate::runbook::Runbook;
use crate::runbook::graph::{self, Section};
use crate::runbook::model::{CheckSpec, Harmless, OnViolation, Rerun, Run, Step, Work};

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The runbook's name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Every step in order.
    pub steps: Vec<PlanStep>,
    /// The first step after which there is no complete way back; `None` when there always is one.
    pub no_way_back_from: Option<String>,
    /// Whether the room on disks lasts; `None` when no step says what it takes, or nobody measured.
    pub room: Option<Room>,
    /// What lint and other readers have to say.
    pub remarks: Vec<String>,
}

/// A step.
#[derive(Debug, Clone, Serialize)]
pub struct PlanStep {
    /// 1, 2, …
    pub number: usize,
    /// Its id.
    pub id: String,
    /// Its title, or its id.
    pub title: String,
    /// `run`, `sql`, `manual`, `record`, `soak`.
    pub kind: &'static str,
    /// What it does: the command, script, statements or instructions themselves.
    pub work: String,
    /// Who runs it, where, how long, whether again: a few words each.
    pub terms: Vec<String>,
    /// What it destroys: the text to type, then what is named besides.
    pub destroys: Option<String>,
    /// What looks as if it destroyed and is called harmless, with the reason; of its undoing, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub harmless: Vec<String>,
    /// How many people other than the operator must approve what it, or its undoing, destroys.
    pub approvals: u32,
    /// Change windows outside of which it does not begin.
    pub windows: Vec<String>,
    /// Checks of its own before it, and, for a destructive step, everything that guards it.
    pub guards: Vec<PlanCheck>,
    /// Checks while it runs.
    pub invariants: Vec<PlanCheck>,
    /// Checks after it.
    pub postconditions: Vec<PlanCheck>,
    /// Earlier postconditions that need not hold from this step on.
    pub lapses: Vec<PlanCheck>,
    /// What undoes it; `None` when nothing does.
    pub undo: Option<String>,
    /// What undoing it destroys: the text to type.
    pub undo_destroys: Option<String>,
    /// Checks before it is undone, and, where that destroys, everything that guards it.
    pub undo_guards: Vec<PlanCheck>,
    /// Checks after it was undone.
    pub undo_postconditions: Vec<PlanCheck>,
    /// Why it cannot be undone, if so.
    pub irreversible: Option<&'static str>,
    /// How far one can go back after it, in a sentence.
    pub way_back: String,
}

/// A check.
#[derive(Debug, Clone, Serialize)]
pub struct PlanCheck {
    /// Its place.
    pub id: CheckId,
    /// What it shows.
    pub title: String,
    /// `until STEP begins`, `advisory`, `every 10s, else pause`: empty when there is nothing to say.
    pub terms: String,
}

/// What would happen. `remarks` are sentences of other readers, such as lint.
pub fn plan(runbook: &Runbook, remarks: Vec<String>) -> Plan {
    plan_in(runbook, None, remarks)
}

/// The same in an environment.
pub fn plan_in(runbook: &Runbook, environment: Option<&str>, remarks: Vec<String>) -> Plan {
    let terms = Terms::of(runbook, environment);
    let window = environment.and_then(|name| runbook.environments.get(name)?.change_window.as_ref());
    // Postconditions of earlier steps, by the step whose beginning releases them.
    let mut until: HashMap<&str, Vec<PlanCheck>> = HashMap::new();
    let steps: Vec<PlanStep> = reverse::sentences(runbook)
        .into_iter()
        .zip(&runbook.steps)
        .enumerate()
        .map(|(at, (way_back, one))| {
            let lapses = until.remove(one.id.as_str()).unwrap_or_default();
            for (id, spec) in graph::check_ids(one, Section::Post) {
                if let Some(step) = &spec.common.until {
                    until.entry(step).or_default().push(check(&id, spec, "", None));
                }
            }
            let mut line = step(runbook, at, one, lapses, way_back);
            let wanted = |undo| terms.wanted(runbook, &one.key(), undo);
            line.approvals = wanted(false).max(wanted(true));
            let windows = window.into_iter().chain(&one.change_window);
            line.windows = windows.filter(|_| one.changes_something()).map(window::words).collect();
            line
        })
        .collect();
    Plan {
        name: runbook.name.clone(),
        title: runbook.title.clone(),
        no_way_back_from: steps.iter().find(|step| step.irreversible.is_some()).map(|step| step.id.clone()),
        steps,
        room: None,
        remarks,
    }
}

fn step(runbook: &Runbook, at: usize, step: &Step, lapses: Vec<PlanCheck>, way_back: String) -> PlanStep {
    let guards = if step.destroys.is_some() {
        graph::guards(runbook, at).into_iter().map(|(id, spec)| check(&id, spec, "", None)).collect()
    } else {
        own(step, Section::Pre)
    };
    let undo_destroys = step.destroying(true).map(|d| d.what.clone());
    let undo_guards = if undo_destroys.is_some() {
        graph::undo_guards(runbook, at).into_iter().map(|(id, spec)| check(&id, spec, "", None)).collect()
    } else {
        own(step, Section::UndoPre)
    };
    PlanStep {
        number: at + 1,
        id: step.id.clone(),
        title: step.name().to_owned(),
        kind: step.work().map(|work| work.word()).unwrap_or("nothing"),
        work: step.work().map(|work| work_text(&work)).unwrap_or_default(),
        terms: terms(step),
        destroys: step.destroys.as_ref().map(|d| d.what.clone()),
        harmless: harmless(step),
        approvals: 0,
        windows: Vec::new(),
        guards,
        invariants: own(step, Section::Inv),
        postconditions: own(step, Section::Post),
        lapses,
        undo: step.rollback.as_ref().and_then(|r| r.work().map(|work| work_text(&work))),
        undo_destroys,
        undo_guards,
        undo_postconditions: own(step, Section::Undo),
        irreversible: reverse::irreversible(step),
        way_back,
    }
}

fn harmless(step: &Step) -> Vec<String> {
    let undo = step.rollback.as_ref().map(|undo| undo.harmless.as_slice()).unwrap_or_default();
    let line = |one: &Harmless| format!("{}: {}", one.text.trim(), one.because.trim());
    let undo = undo.iter().map(|one| format!("{} (when undone)", line(one)));
    step.harmless.iter().map(line).chain(undo).collect()
}

fn own(step: &Step, section: Section) -> Vec<PlanCheck> {
    let soak = step.soak.as_ref().map(|soak| soak.every);
    let checks = graph::check_ids(step, section).into_iter();
    checks.map(|(id, spec)| check(&id, spec, section.word(), soak)).collect()
}

fn check(id: &CheckId, spec: &CheckSpec, section: &str, soak: Option<Span>) -> PlanCheck {
    let mut terms = Vec::new();
    if section == Section::Inv.word() {
        let every = spec.common.every.or(soak).unwrap_or(Span::secs(10));
        let action = match (spec.common.on_violation, soak) {
            _ if spec.common.advisory => action_word(OnViolation::Alert),
            (None | Some(OnViolation::Pause), Some(_)) => "start again at zero",
            (given, _) => action_word(given.unwrap_or_default()),
        };
        terms.push(format!("every {every}, else {action}"));
    }
    if let Some(wait) = spec.common.wait_up_to {
        terms.push(format!("waited for up to {wait}"));
    }
    if let Some(until) = &spec.common.until {
        terms.push(format!("until {until} begins"));
    }
    if spec.common.waivable {
        terms.push("may be waived by a second person".to_owned());
    }
    if spec.common.advisory {
        terms.push("advisory: shown, no gate".to_owned());
    }
    PlanCheck { id: id.clone(), title: title(spec), terms: terms.join("; ") }
}

/// A check's own title, or its name and parameters.
pub fn title(spec: &CheckSpec) -> String {
    spec.common.title.clone().unwrap_or_else(|| registry::title(spec))
}

/// What work does, as it would be written: argv for a shell, the script, the statements, the instructions.
pub fn work_text(work: &Work<'_>) -> String {
    match work {
        Work::Run(Run::Argv(argv)) => commands::line(argv),
        Work::Run(Run::Script(script)) => script.trim_end().to_owned(),
        Work::Sql(sql) => sql.statements.join("\n"),
        Work::Manual(manual) => manual.instructions.trim_end().to_owned(),
        Work::Record(record) => {
            format!("measures every table of {} and keeps it as `{}`", record.target, record.name)
        }
        Work::Soak(soak) => format!("watches for {}, measuring every {}", soak.length, soak.every),
    }
}

/// Who does the work, where, how long, whether again: a few words each.
pub fn terms(step: &Step) -> Vec<String> {
    let mut terms = Vec::new();
    match step.work() {
        Some(Work::Run(_)) => {
            terms.push(match &step.user {
                Some(user) => format!("as user {user}"),
                None => "as the user who runs holdpoint".to_owned(),
            });
            terms.push(format!("in {}", step.cwd.as_deref().unwrap_or("/")));
        }
        Some(Work::Sql(sql)) => {
            terms.push(format!("on target {}", sql.target));
            terms.extend(
                sql.affects.as_ref().map(|affects| format!("rolled back unless it affects {affects} rows")),
            );
        }
        Some(Work::Manual(_)) => terms.push("by hand".to_owned()),
        _ => {}
    }
    match step.timeout {
        Some(limit) => terms.push(format!("at most {limit}")),
        None if matches!(step.work(), Some(Work::Run(_) | Work::Sql(_))) => {
            terms.push("no time limit".to_owned())
        }
        None => {}
    }
    match step.rerun {
        Rerun::Safe => terms.push("safe to repeat".to_owned()),
        Rerun::Never => terms.push("never to be repeated".to_owned()),
        Rerun::Ask => {}
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_invariant_of_a_soak_leads_to_is_said() {
        let step: Step = serde_json::from_value(serde_json::json!({
            "id": "soak", "soak": { "for": "1h", "every": "5min" }, "invariants": [
                { "file": { "path": "/a" } },
                { "file": { "path": "/b", "every": "1s", "on_violation": "stop" } },
                { "file": { "path": "/c", "on_violation": "alert" } },
                { "file": { "path": "/d", "advisory": true } },
            ],
        }))
        .unwrap();
        let terms: Vec<String> = own(&step, Section::Inv).into_iter().map(|check| check.terms).collect();
        let wanted = [
            "every 5min, else start again at zero",
            "every 1s, else stop",
            "every 5min, else alert",
            "every 5min, else alert; advisory: shown, no gate",
        ];
        assert_eq!(terms, wanted);
    }
}
