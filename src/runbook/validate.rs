//! Judges a tree by the schema's rules and makes values of it: all problems at once, each with its exact place.
//!
//! Invariants: a text that the schema wants as a text keeps every character (`16.10`, `no`); nothing is accepted that the
//! rules do not describe; a secret value never becomes part of a message.

use std::ops::Range;

use super::draft::Draft;
use super::names::{Names, listed};
use super::rules::{Extra, Kinds, Rule, Rules};
use super::source::first_line;
use super::tree::{Entry, Kind, Node};
use super::vars::Values;
use crate::base::text::nearest;
use crate::problem::Problem;

/// More problems than this are not collected: a file that has them is not a runbook.
pub const MAX_PROBLEMS: usize = 100;

/// Keys that belong to the format and that this version cannot keep its word about.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("approvals", "leave it out; nothing would enforce it"),
    ("change_window", "leave it out; nothing would enforce it"),
    ("notify", "leave it out; nobody would be told"),
    ("ssh", "run Holdpoint on that host instead"),
    ("docker", "name the address that the server listens on instead"),
    ("include", "write the steps out in this file"),
];

/// What is to be done about variables.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'v> {
    /// Only their names are judged.
    Names,
    /// Values are put in and judged where they are used.
    Bind(&'v Values),
    /// As [`Mode::Bind`], for reading without running: what has no value yet is stood in for.
    Lint(&'v Values),
}

/// How a value is called in messages.
#[derive(Debug, Clone)]
pub(super) struct Slot<'a> {
    pub name: &'a str,
    pub item: bool,
    /// Where to point when something is missing: its key.
    pub owner: Option<Range<usize>>,
    /// All rules of which one is to fit, when there are several.
    pub leaves: &'a [usize],
}

impl Slot<'_> {
    pub fn word(&self) -> String {
        match (self.name, self.item) {
            ("", _) => "the runbook".to_owned(),
            ("steps", true) => "a step".to_owned(),
            (name, true) => format!("an item of `{name}`"),
            (name, false) => format!("`{name}`"),
        }
    }
}

/// One walk over a tree.
pub struct Walk<'a> {
    pub(super) rules: &'a Rules,
    pub(super) names: &'a Names,
    pub(super) text: &'a str,
    pub(super) mode: Mode<'a>,
    /// The step that is looked at.
    pub(super) step: Option<usize>,
    /// In `vars` and `environments`, where no variable can be used.
    pub(super) literal: bool,
    /// What was found.
    pub problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    /// A walk over the tree of `text`.
    pub fn new(rules: &'a Rules, names: &'a Names, text: &'a str, mode: Mode<'a>) -> Self {
        Walk { rules, names, text, mode, step: None, literal: false, problems: Vec::new() }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn builds(&self) -> bool {
        !matches!(self.mode, Mode::Names)
    }

    /// Judges the whole runbook except its steps, and makes a value of it. Each step: [`Walk::one_step`].
    pub fn head<'n>(&mut self, root: &'n Node) -> Draft<'n> {
        let rules = self.rules;
        let rule = rules.get(rules.root);
        let slot = Slot { name: "", item: false, owner: None, leaves: &[] };
        if !matches!(root.kind, Kind::Map(_)) {
            let range = first_line(self.text, root.range());
            let problem =
                Problem::error("HP012", format!("a runbook is a map, but this is {}", root.word()), range);
            let help = "docs/runbook-format.md has a small one to start from";
            self.push(problem.help(help));
            return Draft::Null;
        }
        self.map(root, rule, &slot)
    }

    /// Judges one step and makes a value of it.
    pub fn one_step<'n>(&mut self, at: usize, node: &'n Node) -> Draft<'n> {
        let rules = self.rules;
        let steps = rules.get(rules.root).properties.get("steps").and_then(|steps| rules.get(*steps).items);
        let Some(rule) = steps else { return Draft::Null };
        self.step = Some(at);
        let value = self.value(node, rule, &Slot { name: "steps", item: true, owner: None, leaves: &[] });
        self.step = None;
        value
    }

    /// Judges a value by a rule.
    pub(super) fn value<'n>(&mut self, node: &'n Node, at: usize, slot: &Slot<'_>) -> Draft<'n> {
        let rules = self.rules;
        let rule = rules.get(at);
        if rule.def.as_deref() == Some("Check") {
            return self.check(node, rule);
        }
        if !rule.any_of.is_empty() {
            return self.alternatives(node, rule, slot);
        }
        match &node.kind {
            Kind::Scalar { text, plain } => {
                if node.is_null() {
                    return self.nothing(node, rule, slot);
                }
                self.scalar(node, text, *plain, &[rule], slot)
            }
            Kind::Seq(items) => {
                if !rule.kinds.takes(Kinds::ARRAY) {
                    return self.wrong_kind(node, &[rule], slot);
                }
                self.count(items.len(), rule, node, slot);
                let inner = Slot { name: slot.name, item: true, owner: None, leaves: &[] };
                let values = items.iter().map(|item| match rule.items {
                    Some(rule) => self.value(item, rule, &inner),
                    None => self.untyped(item, &inner),
                });
                Draft::List(values.collect())
            }
            Kind::Map(_) => {
                if !rule.kinds.takes(Kinds::OBJECT) {
                    return self.wrong_kind(node, &[rule], slot);
                }
                self.map(node, rule, slot)
            }
        }
    }

    fn map<'n>(&mut self, node: &'n Node, rule: &Rule, slot: &Slot<'_>) -> Draft<'n> {
        let mut out = Vec::with_capacity(if self.builds() { node.entries().len() } else { 0 });
        for entry in node.entries() {
            let key = &*entry.key.text;
            let top = slot.name.is_empty() && !slot.item;
            let inner = Slot { name: key, item: false, owner: Some(entry.key.range()), leaves: &[] };
            let was = self.literal;
            self.literal |= top && matches!(key, "vars" | "environments" | "name" | "holdpoint");
            // What proves a place is measured with the values that are valid there.
            self.literal &= !(key == "proof" && rule.def.as_deref() == Some("Environment"));
            let value = match (rule.properties.get(key), rule.extra) {
                // Steps are judged one by one.
                (Some(_), _)
                    if top
                        && key == "steps"
                        && matches!(&entry.value.kind, Kind::Seq(all) if !all.is_empty()) =>
                {
                    None
                }
                (Some(rule), _) => Some(self.value(&entry.value, *rule, &inner)),
                (None, Extra::Refused) => {
                    self.unknown_key(entry, rule, slot);
                    None
                }
                (None, extra) => {
                    if let Some(names) = rule.names.as_ref().filter(|names| !names.matches(key)) {
                        let message = format!("`{key}` cannot be a name in {}", slot.word());
                        self.push(
                            Problem::error("HP014", message, entry.key.range())
                                .help(name_help(names.as_str())),
                        );
                    }
                    Some(match extra {
                        Extra::Follows(rule) => self.value(&entry.value, rule, &inner),
                        _ => self.untyped(&entry.value, &inner),
                    })
                }
            };
            self.literal = was;
            if let Some(value) = value.filter(|_| self.builds()) {
                out.push((key, value));
            }
        }
        let missing: Vec<&str> =
            rule.required.iter().map(String::as_str).filter(|key| node.entry(key).is_none()).collect();
        if !missing.is_empty() {
            let range = slot.owner.clone().unwrap_or_else(|| first_line(self.text, node.range()));
            self.push(Problem::error(
                "HP011",
                format!("{} needs {}", slot.word(), listed(missing, "and")),
                range,
            ));
        }
        Draft::Map(out)
    }

    fn unknown_key(&mut self, entry: &Entry, rule: &Rule, slot: &Slot<'_>) {
        let key = &*entry.key.text;
        let range = entry.key.range();
        let in_check = rule.def.as_deref().is_some_and(|def| def.starts_with("check."));
        if let Some((_, help)) = UNSUPPORTED.iter().find(|(name, _)| *name == key && !in_check) {
            let message = format!("`{key}` is not supported by this version of Holdpoint");
            self.push(Problem::error("HP013", message, range).help(*help));
            return;
        }
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let keys = || rule.properties.keys().map(String::as_str);
        let help = match nearest(key, keys()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("allowed here: {}", listed(keys(), "and")),
        };
        self.push(Problem::error("HP010", format!("{} has no key `{key}`", slot.word()), range).help(help));
    }

    /// A check: a map with one key.
    fn check<'n>(&mut self, node: &'n Node, rule: &Rule) -> Draft<'n> {
        let names = || rule.properties.keys().map(String::as_str);
        let entries = node.entries();
        let one = "a check is a map with one key, its name";
        let (Some(entry), Kind::Map(_)) = (entries.first(), &node.kind) else {
            let range = first_line(self.text, node.range());
            let problem = Problem::error("HP021", format!("{one}, but this is {}", node.word()), range);
            let written = node.text().filter(|text| rule.properties.contains_key(*text));
            self.push(match written {
                Some(name) => {
                    problem.help(format!("write `{name}:` and its parameters under it, or `{name}: {{}}`"))
                }
                None => problem.help("write its name, a colon, and its parameters under it"),
            });
            return Draft::Null;
        };
        let kind = &*entry.key.text;
        if let Some(second) = entries.get(1) {
            let help = if rule.properties.contains_key(&*second.key.text) {
                format!("begin a new list item for `{}`", second.key.text)
            } else {
                format!("indent its parameters further than `{kind}`")
            };
            let problem = Problem::error("HP021", one, second.key.range()).label("a second key");
            self.push(problem.also(entry.key.range(), "the check").help(help));
        }
        let Some(body) = rule.properties.get(kind) else {
            let help = match nearest(kind, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("there are {}", listed(names(), "and")),
            };
            self.push(
                Problem::error("HP020", format!("there is no check called `{kind}`"), entry.key.range())
                    .help(help),
            );
            return Draft::Null;
        };
        if entries.len() > 1 {
            return Draft::Null;
        }
        let slot = Slot { name: kind, item: false, owner: Some(entry.key.range()), leaves: &[] };
        let value = self.value(&entry.value, *body, &slot);
        if !self.builds() {
            return Draft::Null;
        }
        Draft::Map(vec![(kind, value)])
    }

    /// One of several rules: the branch of the right kind with the fewest problems.
    fn alternatives<'n>(&mut self, node: &'n Node, rule: &Rule, slot: &Slot<'_>) -> Draft<'n> {
        let rules = self.rules;
        let mut leaves = Vec::new();
        collect(rules, rule, &mut leaves);
        let kind = match &node.kind {
            Kind::Seq(_) => Kinds::ARRAY,
            Kind::Map(_) => Kinds::OBJECT,
            Kind::Scalar { text, plain } => {
                if node.is_null() {
                    return match leaves.iter().find(|at| rules.get(**at).kinds.takes(Kinds::NULL)) {
                        Some(_) => Draft::Null,
                        None => self.nothing(node, rule, slot),
                    };
                }
                let scalars = leaves.iter().map(|at| rules.get(*at)).filter(|rule| takes_scalar(rule));
                let scalars: Vec<&Rule> = scalars.collect();
                if scalars.is_empty() {
                    let all: Vec<&Rule> = leaves.iter().map(|at| rules.get(*at)).collect();
                    return self.wrong_kind(node, &all, slot);
                }
                let slot = Slot { leaves: &leaves, ..slot.clone() };
                return self.scalar(node, text, *plain, &scalars, &slot);
            }
        };
        let fitting: Vec<usize> =
            leaves.iter().copied().filter(|at| rules.get(*at).kinds.takes(kind)).collect();
        let mut best: Option<(Vec<Problem>, Draft<'n>)> = None;
        let before = std::mem::take(&mut self.problems);
        for at in &fitting {
            let value = self.value(node, *at, slot);
            let found = std::mem::take(&mut self.problems);
            if best.as_ref().is_none_or(|(least, _)| found.len() < least.len()) {
                let done = found.is_empty();
                best = Some((found, value));
                if done {
                    break;
                }
            }
        }
        self.problems = before;
        match best {
            Some((found, value)) => {
                found.into_iter().for_each(|problem| self.push(problem));
                value
            }
            None => {
                let all: Vec<&Rule> = leaves.iter().map(|at| rules.get(*at)).collect();
                self.wrong_kind(node, &all, slot)
            }
        }
    }

    /// A value that no rule describes, by the core rules of YAML 1.2; variables work in it.
    fn untyped<'n>(&mut self, node: &'n Node, slot: &Slot<'_>) -> Draft<'n> {
        let any = Rule::default();
        match &node.kind {
            Kind::Scalar { text, plain } => self.scalar(node, text, *plain, &[&any], slot),
            Kind::Seq(items) => Draft::List(items.iter().map(|item| self.untyped(item, slot)).collect()),
            Kind::Map(entries) => {
                let values = entries.iter().map(|e| (&*e.key.text, self.untyped(&e.value, slot)));
                Draft::Map(values.collect())
            }
        }
    }

    fn nothing(&mut self, node: &Node, rule: &Rule, slot: &Slot<'_>) -> Draft<'static> {
        if rule.kinds.takes(Kinds::NULL) && (rule.any_of.is_empty() || !rule.kinds.any()) {
            return Draft::Null;
        }
        let range = slot.owner.clone().unwrap_or_else(|| node.range());
        let help = match node.text() {
            Some("") | None => "give it one, or leave the key out",
            Some(_) => "give it one, or leave the key out; a text with this word stands in quotes",
        };
        self.push(Problem::error("HP015", format!("{} has no value", slot.word()), range).help(help));
        Draft::Null
    }

    fn count(&mut self, items: usize, rule: &Rule, node: &Node, slot: &Slot<'_>) {
        let (least, most) = rule.item_count;
        let range = slot.owner.clone().unwrap_or_else(|| first_line(self.text, node.range()));
        if let Some(least) = least.filter(|least| (items as u64) < *least) {
            let message = format!(
                "{} needs at least {}",
                slot.word(),
                crate::base::text::count(least, "item", "items")
            );
            self.push(Problem::error("HP014", message, range.clone()));
        }
        if let Some(most) = most.filter(|most| items as u64 > *most) {
            let message =
                format!("{} takes at most {}", slot.word(), crate::base::text::count(most, "item", "items"));
            self.push(Problem::error("HP014", message, range));
        }
    }

    pub(super) fn wrong_kind(&mut self, node: &Node, rules: &[&Rule], slot: &Slot<'_>) -> Draft<'static> {
        let wanted = super::scalar::wanted(rules);
        let message = format!("{} must be {wanted}, but this is {}", slot.word(), node.word());
        let range = first_line(self.text, node.range());
        self.push(Problem::error("HP012", message, range));
        Draft::Null
    }
}

fn collect(rules: &Rules, rule: &Rule, leaves: &mut Vec<usize>) {
    for at in &rule.any_of {
        let branch = rules.get(*at);
        if branch.any_of.is_empty() { leaves.push(*at) } else { collect(rules, branch, leaves) }
    }
}

fn takes_scalar(rule: &Rule) -> bool {
    [Kinds::STRING, Kinds::INTEGER, Kinds::NUMBER, Kinds::BOOLEAN].iter().any(|kind| rule.kinds.takes(*kind))
}

/// What a name pattern says, in words where it is one of ours.
pub(super) fn name_help(pattern: &str) -> String {
    match pattern {
        p if p.starts_with("^[a-z0-9][a-z0-9-]") => "use lower-case letters, digits and hyphens".to_owned(),
        p if p.starts_with("^[A-Za-z_]") => "use letters, digits and underscores, no digit first".to_owned(),
        p if p.starts_with("^[A-Za-z0-9]") => "use letters, digits, hyphens and underscores".to_owned(),
        "^/" => "write it from the root, as in /var/lib".to_owned(),
        p => format!("it must match {p}"),
    }
}
