//! From a text to a [`Document`] whose structure and names are right, and from there to a [`Runbook`] with values.
//!
//! Invariants: the text is read by two independent YAML readers, and refused when they differ in one character; every
//! failure is a list of problems with places, never a panic.

use serde::Deserialize as _;

use super::again;
use super::draft::Draft;
use super::model::{Runbook, Step};
use super::names::Names;
use super::rules::Rules;
use super::schema::{CheckSchema, schema};
use super::shape;
use super::source::{Source, first_line};
use super::tree::Node;
use super::validate::{MAX_PROBLEMS, Mode, Walk};
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
    let (root, differs) = again::read(&source)?;
    let names = Names::of(&root);
    let mut problems = judge(&root, &rules, &names, &source.text);
    shape::judge(&root, &names, &source.text, &mut problems);
    problems.extend(differs);
    if problems.is_empty() {
        return Ok(Document { source, root, names, rules });
    }
    Err(in_order(problems))
}

/// What the rules have against a tree.
fn judge(root: &Node, rules: &Rules, names: &Names, text: &str) -> Vec<Problem> {
    let mut walk = Walk::new(rules, names, text, Mode::Names);
    walk.head(root);
    let mut problems = walk.problems;
    for mut found in side_by_side(steps(root), |first, steps| {
        let mut walk = Walk::new(rules, names, text, Mode::Names);
        steps.iter().enumerate().for_each(|(nth, step)| drop(walk.one_step(first + nth, step)));
        walk.problems
    }) {
        problems.append(&mut found);
    }
    problems.truncate(MAX_PROBLEMS);
    problems
}

/// Does `work` on parts of a long list at the same time; each part comes with the position of its first step. Results come
/// in the order of the list.
fn side_by_side<T: Send>(all: &[Node], work: impl Fn(usize, &[Node]) -> T + Sync) -> Vec<T> {
    let parts = if all.len() < MANY { 1 } else { again::threads() };
    let size = all.len().div_ceil(parts).max(1);
    let mut parts = all.chunks(size).enumerate().map(|(nth, part)| (nth * size, part));
    let work = &work;
    std::thread::scope(|scope| {
        let own = parts.next();
        let others: Vec<_> = parts
            .map(|(first, part)| {
                let other = std::thread::Builder::new().spawn_scoped(scope, move || work(first, part));
                (first, part, other)
            })
            .collect();
        let own = own.map(|(first, part)| work(first, part));
        let others = others.into_iter().map(|(first, part, other)| match other.map(|other| other.join()) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread to be had: then one after the other.
            Err(_) => work(first, part),
        });
        own.into_iter().chain(others).collect()
    })
}

/// Problems in the order of the file, each once.
pub fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let start = |problem: &Problem| problem.places.first().map_or(0, |place| place.range.start);
    problems.sort_by_key(start);
    problems.dedup();
    problems
}

/// Lists from this length on are worked on by several threads.
const MANY: usize = 500;

fn steps(root: &Node) -> &[Node] {
    root.get("steps").map(Node::items).unwrap_or_default()
}

fn defect(why: &str, range: std::ops::Range<usize>) -> Problem {
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

    /// The same with other values than the defaults; what is not known stays `${name}`. Never run what this gives.
    pub fn bind_partly(&self, values: &Values) -> Result<Runbook, Vec<Problem>> {
        self.make(Mode::Lint(values))
    }

    fn make(&self, mode: Mode<'_>) -> Result<Runbook, Vec<Problem>> {
        let walk = || Walk::new(&self.rules, &self.names, &self.source.text, mode);
        let mut head_walk = walk();
        let mut head = head_walk.head(&self.root);
        if let Draft::Map(lines) = &mut head {
            lines.push(("steps", Draft::List(Vec::new())));
        }
        let all = steps(&self.root);
        let mut problems = head_walk.problems;
        let mut made: Vec<Step> = Vec::with_capacity(all.len());
        for (more, mut found) in side_by_side(all, |first, steps| self.make_steps(walk(), first, steps)) {
            made.extend(more);
            problems.append(&mut found);
        }
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() {
            match Runbook::deserialize(head) {
                Ok(runbook) => return Ok(Runbook { steps: made, ..runbook }),
                Err(why) => problems.push(self.unread(&why, &self.root)),
            }
        }
        Err(in_order(problems))
    }

    /// Makes some steps, the first of which has this position; none when there is something against one of them.
    fn make_steps(&self, mut walk: Walk<'_>, first: usize, steps: &[Node]) -> (Vec<Step>, Vec<Problem>) {
        let mut made = Vec::with_capacity(steps.len());
        for (nth, node) in steps.iter().enumerate() {
            let draft = walk.one_step(first + nth, node);
            if !walk.problems.is_empty() {
                continue;
            }
            match Step::deserialize(draft) {
                Ok(step) => made.push(step),
                Err(why) => walk.problems.push(self.unread(&why, node)),
            }
        }
        (made, walk.problems)
    }

    /// The schema let something through that the types refuse. Its words may quote a value, so they are not shown when
    /// the runbook has secrets.
    fn unread(&self, why: &serde_json::Error, node: &Node) -> Problem {
        let why =
            if self.names.secrets.is_empty() { why.to_string() } else { "its types refuse this".to_owned() };
        defect(&why, first_line(&self.source.text, node.range()))
    }
}
