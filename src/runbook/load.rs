//! From a text to a [`Document`] whose structure and names are right, and from there to a [`Runbook`] with values.
//!
//! Invariants: the text is read by two independent YAML readers, and refused when they differ in one character; every
//! failure is a list of problems with places, never a panic.

use serde_json::Value;

use super::again;
use super::model::{Runbook, Step};
use super::names::Names;
use super::rules::Rules;
use super::schema::{CheckSchema, schema};
use super::shape;
use super::source::{Source, first_line};
use super::tree::Node;
use super::validate::{Mode, Walk};
use super::vars::{self, Values};
use crate::problem::Problem;

/// A runbook whose structure and names are right; its variables have no values yet.
#[derive(Debug, Clone)]
pub struct Document {
    source: Source,
    root: Node,
    names: Names,
    rules: Rules,
}

/// Reads a runbook. `checks` are the checks that there are. On failure: everything that is wrong, in the order of the
/// file.
pub fn parse(source: Source, checks: &[CheckSchema]) -> Result<Document, Vec<Problem>> {
    let rules = Rules::new(&schema(checks)).map_err(|why| vec![defect(&why, 0..0)])?;
    let root = source.read()?;
    let names = Names::of(&root);
    let mut problems = Vec::new();
    let other = again::beside(&source.text, &root, || {
        let mut walk = Walk::new(&rules, &names, &source.text, Mode::Names);
        walk.head(&root);
        for (at, step) in steps(&root).iter().enumerate() {
            walk.one_step(at, step);
        }
        problems.append(&mut walk.problems);
        shape::judge(&root, &names, &source.text, &mut problems);
    });
    problems.extend(other.err());
    if problems.is_empty() {
        return Ok(Document { source, root, names, rules });
    }
    Err(in_order(problems))
}

/// Problems in the order of the file, each once.
pub fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let start = |problem: &Problem| problem.places.first().map_or(0, |place| place.range.start);
    problems.sort_by_key(start);
    problems.dedup();
    problems
}

fn steps(root: &Node) -> &[Node] {
    root.get("steps").map(Node::items).unwrap_or_default()
}

pub(super) fn defect(why: &str, range: std::ops::Range<usize>) -> Problem {
    Problem::error("HP000", format!("a defect in Holdpoint: {why}"), range)
        .help("please report it with this runbook")
}

impl Document {
    /// The text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The names that it declares.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The runbook's short name.
    pub fn name(&self) -> &str {
        self.root.get_text("name").unwrap_or_default()
    }

    /// A step's place in the tree.
    pub fn step(&self, at: usize) -> Option<&Node> {
        steps(&self.root).get(at)
    }

    /// Where a path stands in the text: `steps[3].preconditions[0].disk_free.path`. Of a list or map its first line.
    pub fn place(&self, path: &str) -> Option<std::ops::Range<usize>> {
        self.root.at(path).map(|node| first_line(&self.source.text, node.range()))
    }

    /// Puts values in and makes the runbook. Captured values that are still pending stay as `${name}`.
    pub fn bind(&self, values: &Values) -> Result<Runbook, Vec<Problem>> {
        self.make(Mode::Bind(values))
    }

    /// The runbook as far as it is known without values from outside: defaults are put in; where a variable has none,
    /// texts keep `${name}` and sizes, durations and numbers get a harmless stand-in. Never run what this gives.
    pub fn bind_for_lint(&self) -> Result<Runbook, Vec<Problem>> {
        self.make(Mode::Lint(&vars::defaults(self)))
    }

    fn make(&self, mode: Mode<'_>) -> Result<Runbook, Vec<Problem>> {
        let mut walk = Walk::new(&self.rules, &self.names, &self.source.text, mode);
        let mut head = walk.head(&self.root);
        if let Value::Object(head) = &mut head {
            head.insert("steps".to_owned(), Value::Array(Vec::new()));
        }
        let all = steps(&self.root);
        let mut made: Vec<Step> = Vec::with_capacity(all.len());
        for (at, node) in all.iter().enumerate() {
            let value = walk.one_step(at, node);
            if !walk.problems.is_empty() {
                continue;
            }
            match serde_json::from_value(value) {
                Ok(step) => made.push(step),
                Err(why) => walk.problems.push(self.unread(&why, node)),
            }
        }
        if walk.problems.is_empty() {
            match serde_json::from_value::<Runbook>(head) {
                Ok(runbook) => return Ok(Runbook { steps: made, ..runbook }),
                Err(why) => walk.problems.push(self.unread(&why, &self.root)),
            }
        }
        Err(in_order(walk.problems))
    }

    /// The schema let something through that the types refuse. Its words may quote a value, so they are not shown when
    /// the runbook has secrets.
    fn unread(&self, why: &serde_json::Error, node: &Node) -> Problem {
        let why =
            if self.names.secrets.is_empty() { why.to_string() } else { "its types refuse this".to_owned() };
        defect(&why, first_line(&self.source.text, node.range()))
    }
}
