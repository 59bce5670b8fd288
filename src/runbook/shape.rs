//! What the schema cannot say: exactly one kind of work in a step, ids that are there once, targets of one kind,
//! environments that set only declared variables.

use std::collections::HashMap;
use std::ops::Range;

use super::names::{Names, listed};
use super::source::first_line;
use super::tree::{Entry, Node};
use super::validate::MAX_PROBLEMS;
use crate::base::text::nearest;
use crate::problem::Problem;

const WORK: [&str; 5] = ["run", "sql", "manual", "record", "soak"];
const SPACE: [&str; 3] = ["path", "what", "until"];
const UNDO: [&str; 3] = ["run", "sql", "manual"];

/// Variable names that a shell or the loader gives a meaning of its own.
const RESERVED: [&str; 24] = [
    "PATH",
    "IFS",
    "ENV",
    "HOME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "CDPATH",
    "PS1",
    "PS2",
    "PS4",
    "UID",
    "EUID",
    "GROUPS",
    "FUNCNAME",
    "SHELLOPTS",
    "BASHOPTS",
    "GLOBIGNORE",
    "PROMPT_COMMAND",
    "RANDOM",
    "SECONDS",
    "LINENO",
    "OPTARG",
    "_",
];

/// Adds what is wrong to `problems`.
pub(super) fn judge(root: &Node, names: &Names, text: &str, problems: &mut Vec<Problem>) {
    let mut shape = Shape { names, text, problems };
    shape.variables(root);
    shape.targets(root);
    shape.environments(root);
    shape.either(root);
    shape.checks(root.get("checks"));
    let steps = root.get("steps").map(Node::items).unwrap_or_default();
    let mut ids: HashMap<String, Range<usize>> = HashMap::new();
    let mut recorded = HashMap::new();
    let mut captured = HashMap::new();
    for step in steps {
        shape.once(step.entry("id"), "step id", &mut ids);
        shape.once(
            step.get("record").and_then(|record| record.entry("as")),
            "recorded manifest",
            &mut recorded,
        );
        shape.once(step.entry("capture"), "captured value", &mut captured);
        shape.step(step);
        if shape.problems.len() > 2 * MAX_PROBLEMS {
            break;
        }
    }
}

struct Shape<'a> {
    names: &'a Names,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Shape<'_> {
    /// A runbook has steps, a file of checks has checks.
    fn either(&mut self, root: &Node) {
        match (root.entry("steps"), root.entry("checks")) {
            (Some(steps), Some(checks)) => self.problems.push(
                Problem::error("HP022", "`steps` and `checks` cannot stand in one file", checks.key.range())
                    .label("checks alone")
                    .also(steps.key.range(), "work")
                    .help("put the checks into a file of their own, or into the steps that they guard"),
            ),
            (None, None) if !root.entries().is_empty() => {
                let range = first_line(self.text, root.range());
                let help = "a runbook has `steps`; a file for `holdpoint check` has `checks`";
                self.problems
                    .push(Problem::error("HP011", "the file needs `steps` or `checks`", range).help(help));
            }
            _ => {}
        }
    }

    fn once(&mut self, entry: Option<&Entry>, what: &str, seen: &mut HashMap<String, Range<usize>>) {
        let Some((value, name)) = entry.and_then(|e| e.value.text().map(|text| (&e.value, text))) else {
            return;
        };
        if let Some(first) = seen.get(name) {
            self.problems.push(
                Problem::error("HP023", format!("the {what} `{name}` is there twice"), value.range())
                    .label("again here")
                    .also(first.clone(), "first here")
                    .help("give one of them another name"),
            );
            return;
        }
        seen.insert(name.to_owned(), value.range());
        if what == "captured value" && self.names.has_var(name) {
            let message = format!("`{name}` is a variable already, so a step cannot capture it");
            self.problems
                .push(Problem::error("HP023", message, value.range()).help("capture it under another name"));
        }
        if what == "captured value" {
            self.reserved(name, value.range());
        }
    }

    fn variables(&mut self, root: &Node) {
        for variable in root.get("vars").map(Node::entries).unwrap_or_default() {
            let name = &*variable.key.text;
            self.reserved(name, variable.key.range());
            if self.names.secrets.contains(name)
                && let Some(default) = variable.value.entry("default")
            {
                let message = format!("the secret `{name}` has its value in the runbook");
                let help = "leave `default` out, and name an environment variable in `env`";
                self.problems.push(Problem::error("HP029", message, default.key.range()).help(help));
            }
        }
    }

    fn reserved(&mut self, name: &str, range: Range<usize>) {
        let taken =
            RESERVED.contains(&name) || ["LD_", "BASH", "HOLDPOINT"].iter().any(|p| name.starts_with(p));
        if taken {
            let message =
                format!("`{name}` means something of its own to a shell, so it cannot be a variable");
            self.problems.push(Problem::error("HP034", message, range).help("call it by another name"));
        }
    }

    fn targets(&mut self, root: &Node) {
        for target in root.get("targets").map(Node::entries).unwrap_or_default() {
            if target.value.entries().is_empty() || target.value.get("ssh").is_some() {
                continue;
            }
            let name = &target.key.text;
            match (target.value.get("postgres"), target.value.entry("sqlite")) {
                (None, None) => self.problems.push(
                    Problem::error(
                        "HP035",
                        format!("the target `{name}` needs `postgres` or `sqlite`"),
                        target.key.range(),
                    )
                    .help("write how it is reached: a PostgreSQL conninfo, or the path of an SQLite file"),
                ),
                (Some(_), Some(sqlite)) => {
                    let message = format!("the target `{name}` cannot be both `postgres` and `sqlite`");
                    self.problems.push(
                        Problem::error("HP035", message, sqlite.key.range()).help("make two targets of it"),
                    );
                }
                (None, Some(_)) => {
                    for key in ["cluster", "data_directory"] {
                        if let Some(entry) = target.value.entry(key) {
                            let message = format!(
                                "`{key}` says something about PostgreSQL, and `{name}` is an SQLite file"
                            );
                            self.problems.push(
                                Problem::error("HP035", message, entry.key.range()).help("leave it out"),
                            );
                        }
                    }
                }
                (Some(_), None) => {}
            }
        }
    }

    fn environments(&mut self, root: &Node) {
        for environment in root.get("environments").map(Node::entries).unwrap_or_default() {
            for value in environment.value.get("vars").map(Node::entries).unwrap_or_default() {
                let name = &*value.key.text;
                if !self.names.has_var(name) {
                    let help = match nearest(name, self.names.vars.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("declare `{name}` under `vars`"),
                    };
                    let message = format!("no variable is called `{name}`");
                    self.problems.push(Problem::error("HP027", message, value.key.range()).help(help));
                } else if self.names.secrets.contains(name) {
                    let message = format!("the secret `{name}` has its value in the runbook");
                    let help = "leave it out here, and name an environment variable in the variable's `env`";
                    self.problems.push(Problem::error("HP029", message, value.key.range()).help(help));
                }
            }
        }
    }

    fn step(&mut self, step: &Node) {
        if step.entries().is_empty() {
            return;
        }
        self.one_of(step, &WORK, "a step", first_line(self.text, step.range()));
        for section in ["preconditions", "invariants", "postconditions"] {
            self.checks(step.get(section));
        }
        step.get("space").map(Node::items).unwrap_or_default().iter().for_each(|space| self.space(space));
        if let Some(rollback) = step.entry("rollback").filter(|rollback| !rollback.value.entries().is_empty())
        {
            self.one_of(&rollback.value, &UNDO, "a rollback", rollback.key.range());
            for section in ["preconditions", "postconditions"] {
                self.checks(rollback.value.get(section));
            }
        }
    }

    /// Room is taken or given back; taken for how long.
    fn space(&mut self, space: &Node) {
        if space.entries().is_empty() {
            return;
        }
        match (space.entry("needs"), space.entry("frees")) {
            // A word that is not known is a slip of the pen, and is said elsewhere.
            (None, None) if space.entries().iter().any(|e| !SPACE.contains(&&*e.key.text)) => {}
            (None, None) => {
                let message = "an item of `space` needs `needs` or `frees`";
                let range = first_line(self.text, space.range());
                let help = "say how much the step takes there (`needs`), or gives back (`frees`)";
                self.problems.push(Problem::error("HP036", message, range).help(help));
            }
            (Some(needs), Some(frees)) => {
                let message = "an item of `space` has only one of `needs` and `frees`";
                self.problems.push(
                    Problem::error("HP036", message, frees.key.range())
                        .also(needs.key.range(), "the first")
                        .help("make two items of it"),
                );
            }
            (None, Some(_)) => {
                if let Some(until) = space.entry("until") {
                    let message = "`until` has no effect beside `frees`: what is given back stays free";
                    self.problems
                        .push(Problem::error("HP051", message, until.key.range()).help("leave it out"));
                }
            }
            (Some(_), None) => {}
        }
    }

    fn one_of(&mut self, node: &Node, keys: &[&str], what: &str, range: Range<usize>) {
        let given: Vec<&Entry> =
            node.entries().iter().filter(|entry| keys.contains(&&*entry.key.text)).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let message = format!("{what} needs one of {}", listed(keys.iter().copied(), "or"));
                self.problems.push(Problem::error("HP022", message, range));
            }
            [first, second, ..] => {
                let message = format!("{what} has only one of {}", listed(keys.iter().copied(), "or"));
                self.problems.push(
                    Problem::error("HP022", message, second.key.range())
                        .label("a second kind of work")
                        .also(first.key.range(), "the first")
                        .help("make two steps of it"),
                );
            }
        }
    }

    /// Two checks of one list need two names, for their evidence is kept under it.
    fn checks(&mut self, list: Option<&Node>) {
        let mut seen: HashMap<&str, Range<usize>> = HashMap::new();
        for check in list.map(Node::items).unwrap_or_default() {
            let Some(entry) = check.entries().first() else { continue };
            let id = entry.value.get("id").filter(|id| id.text().is_some());
            let (name, range) = match id.and_then(|id| id.text().map(|text| (text, id.range()))) {
                Some(named) => named,
                None => (&*entry.key.text, entry.key.range()),
            };
            if let Some(first) = seen.get(name) {
                self.problems.push(
                    Problem::error("HP023", format!("two checks of this list are called `{name}`"), range)
                        .label("again here")
                        .also(first.clone(), "first here")
                        .help("give one of them an `id` of its own"),
                );
            } else {
                seen.insert(name, range);
            }
        }
    }
}
