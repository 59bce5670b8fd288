//! Reads a runbook for what could go wrong with it: errors stop `run`, warnings are shown. Nothing is measured here.
//!
//! Invariants: cost grows linearly with the runbook; a rule that needs a value that is not known yet waits for the run,
//! which lints again with all values.

mod backup;
mod code;
pub mod codes;
mod danger;
mod law;
mod limits;
mod outlived;
pub mod pages;
pub mod proof;
pub mod read;
mod rehearsal;
mod secret;
mod tidy;
mod unfilled;
mod watch;
mod works;

use std::ops::Range;

use crate::check::{DataProof, registry};
use crate::problem::{Problem, Severity};
use crate::runbook::graph::Section;
use crate::runbook::load::{Document, in_order, side_by_side};
use crate::runbook::schema::CheckSchema;
use crate::runbook::tree::Node;
use crate::runbook::vars::{self, Values};
use crate::runbook::{CheckSpec, Runbook};
use read::files::{Called, Files, NoFiles};

/// What is to be known of a check without measuring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckFacts {
    /// Targets that it measures.
    pub targets: Vec<String>,
    /// What a pass proves about data.
    pub proves: Option<DataProof>,
    /// The recorded manifest that it compares with.
    pub recorded: Option<String>,
}

/// Tells the facts of a check, or why it cannot be set up.
pub type Facts<'a> = &'a dyn Fn(&CheckSpec) -> Result<CheckFacts, String>;

/// The facts of a check of the catalogue.
pub fn facts(spec: &CheckSpec) -> Result<CheckFacts, String> {
    let check = registry::build(spec)?;
    Ok(CheckFacts {
        targets: check.targets(),
        proves: check.proves(),
        recorded: check.recorded().map(str::to_owned),
    })
}

/// The catalogue as the schema needs it.
pub fn catalogue() -> Vec<CheckSchema> {
    let each = registry::all().map(|kind| CheckSchema {
        name: kind.name.to_owned(),
        summary: kind.summary.to_owned(),
        schema: (kind.schema)().to_value(),
    });
    each.collect()
}

/// What is known beside the runbook's own text.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Values of variables; the defaults when there are none yet.
    pub values: Option<&'a Values>,
    /// The files that its steps may call.
    pub files: &'a dyn Files,
}

impl Beside<'_> {
    /// Nothing: defaults, and no files.
    pub fn nothing() -> Self {
        Beside { values: None, files: &NoFiles }
    }
}

/// The local files that the steps of a runbook call, in the order of the steps; also those that such files call in turn,
/// read statements from, or source. Each once for each step.
pub fn calls(doc: &Document, runbook: &Runbook, beside: Beside<'_>) -> Vec<Called> {
    let defaults = if beside.values.is_none() { vars::defaults(doc) } else { Values::default() };
    let around = works::Around { doc, values: beside.values.unwrap_or(&defaults), files: beside.files };
    let mut all: Vec<Called> = Vec::new();
    for (at, step) in runbook.steps.iter().enumerate() {
        for text in doc.step(at).map(works::of_step).unwrap_or_default() {
            for path in around.read(&text).called {
                let one = Called { step: step.id.clone(), path };
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
    }
    all
}

/// Everything that is questionable about a runbook by itself, in the order of the file. `runbook` comes from
/// [`Document::bind_for_lint`], or from [`Document::bind`] before a run.
pub fn lint(doc: &Document, runbook: &Runbook, facts: Facts<'_>) -> Vec<Problem> {
    lint_beside(doc, runbook, facts, Beside::nothing())
}

/// The same, with what is known beside the runbook.
pub fn lint_beside(doc: &Document, runbook: &Runbook, facts: Facts<'_>, beside: Beside<'_>) -> Vec<Problem> {
    let defaults = if beside.values.is_none() { vars::defaults(doc) } else { Values::default() };
    let around = works::Around { doc, values: beside.values.unwrap_or(&defaults), files: beside.files };
    let mut problems = Vec::new();
    let places = Places { doc };
    let known = proof::collect(runbook, facts, &places, &mut problems);
    proof::alone(runbook, facts, &places, &mut problems);
    rehearsal::judge(runbook, facts, &places, &mut problems);
    law::judge(runbook, &known, &places, &mut problems);
    backup::judge(runbook, &places, &mut problems);
    outlived::judge(runbook, facts, &places, &mut problems);
    secret::judge(doc, &mut problems);
    unfilled::judge(doc, &mut problems);
    limits::judge(runbook, &places, &mut problems);
    for (at, step) in runbook.steps.iter().enumerate() {
        tidy::judge(at, step, &places, &mut problems);
        watch::judge(at, step, &places, &mut problems);
        code::judge(at, &places, &mut problems);
    }
    let nodes = doc.root().get("steps").map(Node::items).unwrap_or_default();
    for mut found in side_by_side(nodes, |first, part| {
        let mut found = Vec::new();
        for (at, step) in runbook.steps.iter().enumerate().skip(first).take(part.len()) {
            danger::judge(at, step, &places, &around, &mut found);
        }
        found
    }) {
        problems.append(&mut found);
    }
    in_order(problems)
}

/// True when one of the problems stops a run.
pub fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// Finds places by steps and sections.
pub(crate) struct Places<'a> {
    doc: &'a Document,
}

impl Places<'_> {
    /// A step's id.
    fn step(&self, at: usize) -> Range<usize> {
        let step = self.doc.step(at);
        step.and_then(|step| step.get("id").or(Some(step))).map_or(0..0, |node| node.range())
    }

    /// A key of a step; the step's id when the key is not there.
    fn key(&self, at: usize, path: &str) -> Range<usize> {
        let mut node = self.doc.step(at);
        let mut range = None;
        for key in path.split('.') {
            let entry = node.and_then(|node| node.entry(key));
            range = entry.map(|entry| entry.key.range()).or(range);
            node = entry.map(|entry| &entry.value);
        }
        range.unwrap_or_else(|| self.step(at))
    }

    /// A key of an environment; the environment's name when it is not there.
    fn environment(&self, name: &str, key: &str) -> Range<usize> {
        let entry = self.doc.root().get("environments").and_then(|all| all.entry(name));
        let inner = entry.and_then(|entry| entry.value.entry(key));
        inner.or(entry).map_or(0..0, |entry| entry.key.range())
    }

    /// The time limit of a hook.
    fn hook(&self, nth: usize) -> Range<usize> {
        let hook = self.doc.root().get("notify").and_then(|list| list.items().get(nth));
        hook.and_then(|hook| hook.entry("timeout")).map_or(0..0, |entry| entry.key.range())
    }

    /// The name of a check in a file without steps.
    fn alone(&self, nth: usize) -> Range<usize> {
        let check = self.doc.root().get("checks").and_then(|list| list.items().get(nth));
        check.and_then(|check| check.entries().first()).map_or(0..0, |entry| entry.key.range())
    }

    /// A check's name, or one of its keys.
    fn check(&self, at: usize, section: Section, nth: usize, key: Option<&str>) -> Range<usize> {
        let list = self.doc.step(at).and_then(|step| step.at(section.key()));
        let entry = list.and_then(|list| list.items().get(nth)).and_then(|check| check.entries().first());
        let inner = key.and_then(|key| entry.and_then(|entry| entry.value.entry(key)));
        inner.or(entry).map_or_else(|| self.step(at), |entry| entry.key.range())
    }
}
