//! Which faults a rehearsal is repeated with, and what came of each.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{CheckId, StepId};
use crate::engine::Plan;
use crate::engine::faults::CommandFault;
use crate::journal::record::Event;
use crate::journal::{Line, Point};
use crate::runbook::graph::Section;
use crate::runbook::model::Work;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// The engine is killed at the n-th time that it writes to its journal.
    Killed {
        /// 1, 2, …
        append: u64,
        /// After the flush; else before it.
        flushed: bool,
        /// What it wrote there in the undisturbed rehearsal.
        at: String,
    },
    /// The command of a step fails, or its statements do.
    Command {
        /// The step.
        step: StepId,
        /// How.
        how: How,
    },
    /// A check is unknown.
    Unknown {
        /// The check.
        check: CheckId,
        /// Only when it is measured for a permit; else always.
        in_front: bool,
    },
}

/// How a command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "way")]
pub enum How {
    /// It does not run, and fails.
    Instead,
    /// It runs, and fails.
    After,
    /// It is killed after half of the time that it took.
    Killed {
        /// Milliseconds.
        after_ms: u64,
    },
}

impl How {
    /// For the engine.
    pub fn fault(self) -> CommandFault {
        match self {
            How::Instead => CommandFault::Instead,
            How::After => CommandFault::After,
            How::Killed { after_ms } => CommandFault::Killed(Duration::from_millis(after_ms)),
        }
    }
}

impl Fault {
    /// One line for people.
    pub fn words(&self) -> String {
        match self {
            Fault::Killed { append, flushed, at } => {
                let when = if *flushed { "after" } else { "before" };
                format!("engine killed {when} record {append} was flushed ({at})")
            }
            Fault::Command { step, how } => match how {
                How::Instead => format!("the work of `{step}` fails and does not run"),
                How::After => format!("the work of `{step}` runs and fails"),
                How::Killed { .. } => format!("the command of `{step}` is killed half-way"),
            },
            Fault::Unknown { check, in_front: true } => {
                format!("`{check}` is unknown in front of a destruction")
            }
            Fault::Unknown { check, in_front: false } => format!("`{check}` is unknown"),
        }
    }
}

/// What came of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The fault.
    pub fault: Fault,
    /// How it went: `came to its end after a resume`, `held`.
    pub outcome: String,
    /// Everything that must not have happened; empty when all is well.
    pub violations: Vec<String>,
    /// False when the run ended before the fault could happen.
    pub reached: bool,
    /// Milliseconds.
    pub took_ms: u64,
}

/// All faults that are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Each of them.
    pub tried: Vec<Tried>,
    /// How many there would have been besides.
    pub left_out: u64,
}

impl Faults {
    /// Those that showed something that must not happen.
    pub fn violated(&self) -> impl Iterator<Item = &Tried> {
        self.tried.iter().filter(|tried| !tried.violations.is_empty())
    }

    /// How many did happen.
    pub fn reached(&self) -> usize {
        self.tried.iter().filter(|tried| tried.reached).count()
    }
}

/// What the engine wrote to its journal in the undisturbed rehearsal, append by append, as words.
pub fn at(point: Point, lines: &[Line]) -> Option<String> {
    (point == Point::Written).then(|| {
        let words = lines.iter().map(|line| match &line.event {
            Event::Began { step, .. } => format!("{step} began"),
            Event::Ended { step, .. } => format!("{step} ended"),
            Event::Done { step } => format!("{step} done"),
            Event::Permitted { step, .. } => format!("{step} permitted"),
            Event::Confirmed { step, .. } => format!("{step} confirmed"),
            Event::Measured { evidence, .. } => format!("{} measured", evidence.check),
            other => name(other),
        });
        let mut words: Vec<String> = words.collect();
        let more = words.len().saturating_sub(3);
        words.truncate(3);
        match more {
            0 => words.join(", "),
            more => format!("{}, and {more} more", words.join(", ")),
        }
    })
}

/// The `what` of a line.
fn name(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap_or_default();
    value["what"].as_str().unwrap_or("a record").to_owned()
}

/// Every fault that there is for a runbook, from its undisturbed rehearsal: its journal, and what it wrote at each append.
pub fn all(plan: &Plan, lines: &[Line], appends: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (nth, at) in appends.iter().enumerate() {
        for flushed in [false, true] {
            faults.push(Fault::Killed { append: nth as u64 + 1, flushed, at: at.clone() });
        }
    }
    let took = durations(lines);
    for step in &plan.runbook.steps {
        let half = How::Killed { after_ms: took.get(&step.key()).map_or(0, |ms| ms / 2) };
        let ways: &[How] = match step.work() {
            Some(Work::Run(_)) => &[How::Instead, How::After, half],
            Some(Work::Sql(_)) => &[How::Instead, How::After],
            _ => &[],
        };
        faults.extend(ways.iter().map(|how| Fault::Command { step: step.key(), how: *how }));
    }
    for step in &plan.runbook.steps {
        for section in [Section::Pre, Section::Inv, Section::Post] {
            let gates =
                plan.checks(&step.key(), section).into_iter().filter(|(_, spec)| !spec.common.advisory);
            faults.extend(gates.map(|(check, _)| Fault::Unknown { check, in_front: false }));
        }
        if step.destroys.is_some() {
            let guards = plan.guards(&step.key(), false).into_iter();
            for (check, _) in guards {
                let fault = Fault::Unknown { check, in_front: true };
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
    }
    faults
}

/// How long each step's command took.
fn durations(lines: &[Line]) -> BTreeMap<StepId, u64> {
    let mut began = BTreeMap::new();
    let mut took = BTreeMap::new();
    for line in lines {
        match &line.event {
            Event::Began { step, .. } => {
                began.insert(step.clone(), line.at);
            }
            Event::Ended { step, .. } => {
                if let Some(began) = began.get(step) {
                    took.insert(step.clone(), line.at.since(began).as_millis() as u64);
                }
            }
            _ => {}
        }
    }
    took
}

/// At most so many of them, evenly chosen over the whole list; how many were left out.
pub fn choose(faults: Vec<Fault>, limit: usize) -> (Vec<Fault>, u64) {
    let all = faults.len();
    if all <= limit {
        return (faults, 0);
    }
    let wanted: std::collections::BTreeSet<usize> = (0..limit).map(|nth| nth * all / limit).collect();
    let chosen: Vec<Fault> = faults
        .into_iter()
        .enumerate()
        .filter(|(at, _)| wanted.contains(at))
        .map(|(_, fault)| fault)
        .collect();
    let left_out = (all - chosen.len()) as u64;
    (chosen, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_chosen_evenly_and_counted() {
        let all: Vec<Fault> =
            (1..=100).map(|append| Fault::Killed { append, flushed: true, at: String::new() }).collect();
        let (chosen, left_out) = choose(all.clone(), 4);
        let at: Vec<u64> = chosen
            .iter()
            .map(|fault| match fault {
                Fault::Killed { append, .. } => *append,
                _ => 0,
            })
            .collect();
        assert_eq!((at, left_out), (vec![1, 26, 51, 76], 96));
        assert_eq!(choose(all.clone(), 100), (all.clone(), 0));
        assert_eq!(choose(all, 0).1, 100);
    }

    #[test]
    fn a_fault_survives_its_way_to_another_process() {
        for fault in [
            Fault::Killed { append: 3, flushed: false, at: "copy began".to_owned() },
            Fault::Command { step: "copy".into(), how: How::Killed { after_ms: 40 } },
            Fault::Unknown { check: "copy.post.file".into(), in_front: true },
        ] {
            let text = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault, "{text}");
        }
    }
}
