//! Secrets that stand in the file for everybody to read: passwords in addresses, arguments and environments, private keys,
//! tokens of well-known shapes. Looks at the text as written. The place of a finding is the secret itself, so that those
//! who draw it can cover it; no message quotes one.
//!
//! What is certain by its shape is an error, what only a name gives away a warning. Variables, paths, empty texts and words
//! that plainly stand for something are none.

mod shape;

use std::ops::Range;

use crate::problem::Problem;
use crate::runbook::load::Document;
use crate::runbook::subst::place;
use crate::runbook::tree::Node;

const HELP: &str = "declare a variable with `secret: true` and `env`, and use it here; or keep it in a file that the \
                    program reads, such as .pgpass";

/// Adds secrets in plain text, and variables that should be secret.
pub(super) fn judge(doc: &Document, problems: &mut Vec<Problem>) {
    let mut walk = Walk { text: &doc.source().text, problems };
    variables(doc, &mut walk);
    for entry in doc.root().entries().iter().filter(|entry| &*entry.key.text != "vars") {
        walk.node(&entry.value, &entry.key.text);
    }
}

fn variables(doc: &Document, walk: &mut Walk<'_>) {
    for variable in doc.root().get("vars").map(Node::entries).unwrap_or_default() {
        let name = &*variable.key.text;
        let default = variable.value.get("default");
        let value = default.and_then(Node::text).unwrap_or_default();
        if let Some(node) = default
            && (walk.shaped(node, value) || doc.names().secrets.contains(name))
        {
            continue;
        }
        if !shape::named(name) || doc.names().secrets.contains(name) {
            continue;
        }
        match default.filter(|_| shape::literal(value)) {
            Some(node) => walk.by_name(node, value, &format!("the default of `{name}`")),
            None if value.is_empty() => {
                let message =
                    format!("`{name}` is named like a secret, and its value would be shown and kept");
                walk.problems.push(
                    Problem::warning("HP074", message, variable.key.range())
                        .help("add `secret: true`; if it is none, give it another name"),
                );
            }
            None => {}
        }
    }
    for environment in doc.root().get("environments").map(Node::entries).unwrap_or_default() {
        for entry in environment.value.get("vars").map(Node::entries).unwrap_or_default() {
            let value = entry.value.text().unwrap_or_default();
            if shape::named(&entry.key.text) && shape::literal(value) {
                walk.by_name(&entry.value, value, &format!("the value of `{}`", entry.key.text));
            }
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, key: &str) {
        for entry in node.entries() {
            let name = &*entry.key.text;
            if key == "env"
                && let Some(value) = entry.value.text()
                && shape::named(name)
                && shape::literal(value)
                && !self.shaped(&entry.value, value)
            {
                self.by_name(&entry.value, value, &format!("the value of `{name}`"));
                continue;
            }
            self.node(&entry.value, name);
        }
        let items = node.items();
        for (nth, item) in items.iter().enumerate() {
            let before = nth.checked_sub(1).and_then(|nth| items[nth].text());
            let program = items.first().and_then(Node::text).unwrap_or_default();
            match (item.text(), before) {
                (Some(value), Some(option))
                    if shape::option(option, program) && !value.starts_with('-') && shape::literal(value) =>
                {
                    self.certain(item, value, &format!("the value of `{option}`"));
                }
                _ => self.node(item, key),
            }
        }
        let Some(value) = node.text() else { return };
        if self.shaped(node, value) {
            return;
        }
        if matches!(key, "postgres" | "run" | "rehearse" | "statements" | "sql" | "url" | "conninfo")
            && let Some((what, secret)) = shape::assigned(value)
        {
            self.certain(node, secret, &format!("the value of `{what}`"));
        }
    }

    /// True, with a problem, when a text holds something that is a secret by its shape.
    fn shaped(&mut self, node: &Node, value: &str) -> bool {
        let Some((what, secret)) = shape::shaped(value) else { return false };
        self.certain(node, secret, what);
        true
    }

    fn range(&self, node: &Node, secret: &str) -> Range<usize> {
        place(self.text, node.range(), secret, 0)
    }

    fn certain(&mut self, node: &Node, secret: &str, what: &str) {
        let message = format!("{what} is a secret, and stands here in plain text");
        let range = self.range(node, secret);
        self.problems.push(Problem::error("HP073", message, range).help(HELP));
    }

    fn by_name(&mut self, node: &Node, secret: &str, what: &str) {
        let message = format!("{what} looks like a secret, and stands here in plain text");
        let range = self.range(node, secret);
        self.problems.push(Problem::warning("HP073", message, range).help(HELP));
    }
}
