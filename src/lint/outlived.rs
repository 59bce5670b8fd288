//! A postcondition that is measured again after what it measures was destroyed. From then on it can never pass, so the run
//! can never be completed, and its operator would learn that only after the destruction.
//!
//! Only what is certain is said. A target may be made anew (`creates`), a part of it by a later step's text; a file by
//! anything, so a path counts only where another postcondition wants it to be gone. A check of the destroying step, or of
//! a later one, is left alone: it may measure just that.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::{Facts, Places};
use crate::problem::Problem;
use crate::runbook::graph::{self, Positions, Section};
use crate::runbook::model::{Destroys, Run};
use crate::runbook::{CheckSpec, Runbook, Step, Work};

/// Checks that want every one of their `tables` to be in their targets.
const OF_TABLES: [&str; 6] =
    ["rows_at_least", "data_matches", "rows_match", "no_duplicate_keys", "heap_intact", "indexes_intact"];

/// Something that a step destroys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gone<'a> {
    Target(&'a str),
    Database {
        target: &'a str,
        name: &'a str,
    },
    /// Without a database it is in the target's own.
    Table {
        target: &'a str,
        database: Option<&'a str>,
        name: &'a str,
    },
    Index {
        target: &'a str,
        database: Option<&'a str>,
        name: &'a str,
    },
    Path(&'a str),
}

impl<'a> Gone<'a> {
    fn name(self) -> &'a str {
        match self {
            Gone::Target(name) | Gone::Path(name) => name,
            Gone::Database { name, .. } | Gone::Table { name, .. } | Gone::Index { name, .. } => name,
        }
    }

    /// True when a step may make it anew.
    fn made_by(self, step: &Step) -> bool {
        let creates = |target| step.creates.iter().any(|made| made == target);
        // Scripts and statements leave the schema out as often as not.
        let bare = self.name().rsplit('.').next().unwrap_or_default();
        match self {
            Gone::Path(_) => false,
            Gone::Target(target) => creates(target),
            Gone::Database { target, .. } | Gone::Table { target, .. } | Gone::Index { target, .. } => {
                creates(target) || texts(step).any(|text| text.contains(bare))
            }
        }
    }
}

/// Adds postconditions that stand longer than what they measure.
pub(super) fn judge(runbook: &Runbook, facts: Facts<'_>, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let steps = &runbook.steps;
    let mut goes: HashMap<Gone<'_>, Vec<usize>> = HashMap::new();
    // Where, after each step, all that stands is measured again for certain: the next destruction, or the end.
    let mut again = vec![steps.len(); steps.len()];
    let mut from = 0;
    for (at, step) in steps.iter().enumerate() {
        let Some(destroys) = &step.destroys else { continue };
        again[from..at].fill(at);
        from = at;
        for gone in destroyed(destroys) {
            goes.entry(gone).or_default().push(at);
        }
    }
    if goes.is_empty() {
        return;
    }
    let index = graph::positions(runbook);
    let absent = absent(steps);
    let doomed: HashSet<&str> =
        steps.iter().filter_map(|step| step.destroys.as_ref()?.target.as_deref()).collect();
    for (at, step) in steps.iter().enumerate() {
        for (nth, spec) in step.postconditions.iter().enumerate().filter(|(_, spec)| !spec.common.advisory) {
            // Most checks name nothing that goes, and need not be set up for that.
            let named = spec.params.values().any(|value| names(value, &doomed));
            let targets = if named { facts(spec).map(|facts| facts.targets) } else { Ok(Vec::new()) };
            let targets = targets.unwrap_or_default();
            let found = measured(spec, &targets).into_iter().find_map(|gone| {
                let all = goes.get(&gone)?;
                let by = *all.get(all.partition_point(|by| *by <= at))?;
                let end = again[by];
                let certain = match gone {
                    Gone::Path(path) => absent.iter().any(|(gone, left_at, spec)| {
                        (by..end).contains(left_at)
                            && Path::new(path).starts_with(gone)
                            && !graph::released(spec, *left_at, end, &index)
                    }),
                    gone => !steps[by + 1..end].iter().any(|step| gone.made_by(step)),
                };
                (certain && !graph::released(spec, at, end, &index)).then_some((gone, by))
            });
            if let Some((gone, by)) = found {
                problems.push(problem((at, nth, spec), gone, (by, &steps[by].id), &index, places));
            }
        }
    }
}

fn problem(
    (at, nth, spec): (usize, usize, &CheckSpec),
    gone: Gone<'_>,
    (by, destroyer): (usize, &str),
    index: &Positions<'_>,
    places: &Places<'_>,
) -> Problem {
    let until = spec.common.until.as_deref().filter(|id| index.get(id).is_some_and(|until| *until > at));
    let lasts = until.map_or("to the end of the run".to_owned(), |until| format!("until `{until}`"));
    let message = format!(
        "`{}` has to hold {lasts}, and `{destroyer}` destroys `{}`, which it measures",
        spec.kind,
        gone.name()
    );
    let key = until.map(|_| "until");
    Problem::warning("HP076", message, places.check(at, Section::Post, nth, key))
        .label("can never pass after that, so the run cannot be completed")
        .also(places.key(by, "destroys"), "gone from here on")
        .help(format!("write `until: {destroyer}`: it still guards that step, and is not measured after it"))
}

/// What a step destroys, by everything that a check may name.
fn destroyed(destroys: &Destroys) -> Vec<Gone<'_>> {
    let mut all: Vec<_> = destroys.paths.iter().map(|path| Gone::Path(path.trim_end_matches('/'))).collect();
    if let Some(target) = destroys.target.as_deref() {
        let database = destroys.database.as_deref();
        all.extend(destroys.tables.iter().map(|name| Gone::Table { target, database, name }));
        all.extend(destroys.indexes.iter().map(|name| Gone::Index { target, database, name }));
        if !destroys.relations() {
            all.push(database.map_or(Gone::Target(target), |name| Gone::Database { target, name }));
        }
    }
    all
}

/// True when a parameter is the name of a target of which something goes.
fn names(value: &Value, doomed: &HashSet<&str>) -> bool {
    match value {
        Value::String(text) => doomed.contains(text.as_str()),
        Value::Array(items) => items.iter().any(|item| names(item, doomed)),
        Value::Object(map) => map.values().any(|inner| names(inner, doomed)),
        _ => false,
    }
}

/// What has to be there so that a check can pass.
fn measured<'a>(spec: &'a CheckSpec, targets: &'a [String]) -> Vec<Gone<'a>> {
    let text = |key: &str| spec.params.get(key).and_then(Value::as_str);
    let list = |key: &str| spec.params.get(key).and_then(Value::as_array).into_iter().flatten();
    if spec.kind == "file" {
        let path = text("path").filter(|_| !of_absence(spec)).map(Path::new);
        let above = path.into_iter().flat_map(Path::ancestors).filter_map(Path::to_str);
        return above.map(Gone::Path).collect();
    }
    let mut all = Vec::new();
    for target in targets.iter().map(String::as_str) {
        all.push(Gone::Target(target));
        // What stands in a backup is no part of the target that it is of.
        if spec.kind == "backup_restores" {
            continue;
        }
        let databases: Vec<&str> =
            text("database").into_iter().chain(list("databases").filter_map(Value::as_str)).collect();
        all.extend(databases.iter().map(|name| Gone::Database { target, name }));
        let database = databases.first().copied();
        if databases.len() > 1 {
            continue;
        }
        if OF_TABLES.contains(&spec.kind.as_str()) {
            let names = list("tables").filter_map(Value::as_str);
            all.extend(names.map(|name| Gone::Table { target, database, name }));
        }
        if spec.kind == "index_drop_safe" {
            all.extend(text("index").map(|name| Gone::Index { target, database, name }));
        }
    }
    all
}

/// Paths that have to be gone, with the steps that leave them so.
fn absent(steps: &[Step]) -> Vec<(&str, usize, &CheckSpec)> {
    let each = steps.iter().enumerate().flat_map(|(at, step)| {
        step.postconditions
            .iter()
            .filter(|spec| !spec.common.advisory && of_absence(spec))
            .filter_map(move |spec| Some((spec.params.get("path").and_then(Value::as_str)?, at, spec)))
    });
    each.collect()
}

/// True for a check that wants nothing to be at its path.
fn of_absence(spec: &CheckSpec) -> bool {
    let exists = spec.params.get("exists");
    spec.kind == "file" && exists.is_some_and(|exists| *exists == false || *exists == "false")
}

/// What a step's work says.
fn texts(step: &Step) -> impl Iterator<Item = &str> {
    let all: Vec<&str> = match step.work() {
        Some(Work::Run(Run::Argv(argv))) => argv.iter().map(String::as_str).collect(),
        Some(Work::Run(Run::Script(script))) => vec![script],
        Some(Work::Sql(sql)) => sql.statements.iter().map(String::as_str).collect(),
        Some(Work::Manual(manual)) => vec![&manual.instructions],
        Some(Work::Record(_) | Work::Soak(_)) | None => Vec::new(),
    };
    all.into_iter()
}
