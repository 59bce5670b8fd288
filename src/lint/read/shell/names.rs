//! What a script's variables can be known to be: those that it gives one plain value, and no other.

use std::collections::HashMap;

use tree_sitter::Node;

use super::super::word::{UNKNOWN, Word};

/// What is known of a variable that a script sets.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Not enough.
    Unknown,
    /// The raw text of its one value, and where it stands.
    Raw(String, std::ops::Range<usize>),
    /// The same of an array: its items.
    Items(Vec<(String, std::ops::Range<usize>)>),
    /// The raw text that `read -a` splits into an array, and where it stands.
    Split(String, std::ops::Range<usize>),
    /// A value.
    Known(Word),
}

/// What a script sets, calls and defines, gathered before it is walked.
#[derive(Debug, Default)]
pub(super) struct Names<'t> {
    pub values: HashMap<String, Value>,
    pub functions: HashMap<String, Node<'t>>,
    /// The script changes how values are split.
    pub ifs: bool,
}

impl<'t> Names<'t> {
    pub fn of(root: Node<'t>, text: &str) -> Self {
        let mut names = Names::default();
        let mut cursor = root.walk();
        loop {
            names.node(cursor.node(), text);
            if cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return names;
                }
            }
        }
    }

    fn node(&mut self, node: Node<'t>, text: &str) {
        let of = |node: Node<'_>| text.get(node.byte_range()).unwrap_or_default().to_owned();
        match node.kind() {
            "variable_assignment" => {
                let Some(name) = node.child_by_field_name("name") else { return };
                // `IFS= read` is for one command.
                if of(name) == "IFS" && node.parent().is_none_or(|parent| parent.kind() != "command") {
                    self.ifs = true;
                }
                let appends = node.child(1).is_some_and(|operator| operator.kind() == "+=");
                let value = match node.child_by_field_name("value") {
                    _ if appends || name.kind() != "variable_name" => Value::Unknown,
                    None => Value::Raw(String::new(), node.byte_range()),
                    Some(value) if value.kind() == "array" => {
                        let mut cursor = value.walk();
                        let items = value.named_children(&mut cursor);
                        Value::Items(items.map(|item| (of(item), item.byte_range())).collect())
                    }
                    Some(value) => Value::Raw(of(value), value.byte_range()),
                };
                self.set(of(name), value);
            }
            "for_statement" => {
                let Some(name) = node.child_by_field_name("variable") else { return };
                self.set(of(name), Value::Unknown);
            }
            "function_definition" => {
                if let Some(name) = node.child_by_field_name("name") {
                    self.functions.insert(of(name), node);
                }
            }
            "expansion" => {
                // `${x:=value}` sets it.
                let inner = of(node);
                let name =
                    inner.strip_prefix("${").and_then(|inner| inner.split_once('=')).map(|(name, _)| name);
                if let Some(name) = name.filter(|name| !name.contains(['-', '+', '/', '%', '#', '['])) {
                    self.set(name.trim_end_matches(':').to_owned(), Value::Unknown);
                }
            }
            "command_name" => {
                let Some(command) = node.parent() else { return };
                let name = of(node);
                let setter = matches!(
                    name.as_str(),
                    "read" | "mapfile" | "readarray" | "printf" | "getopts" | "declare" | "let" | "wait"
                );
                if setter && (name != "printf" || of(command).contains("-v")) {
                    if let Some((array, value)) = read_array(command, text).filter(|_| name == "read") {
                        return self.set(array, value);
                    }
                    let mut cursor = command.walk();
                    for word in command.children_by_field_name("argument", &mut cursor) {
                        let word = of(word);
                        let bare = word.split(['=', '+']).next().unwrap_or_default();
                        if bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                            self.set(bare.to_owned(), Value::Unknown);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, name: String, value: Value) {
        let once = !self.values.contains_key(&name);
        self.values.insert(name, if once { value } else { Value::Unknown });
    }
}

/// `read -ra NAME <<<TEXT`: the array's name, and what it gets.
fn read_array(command: Node<'_>, text: &str) -> Option<(String, Value)> {
    let mut cursor = command.walk();
    let of = |node: Node<'_>| text.get(node.byte_range()).unwrap_or_default().to_owned();
    let words: Vec<String> = command.children_by_field_name("argument", &mut cursor).map(of).collect();
    let [flags, name] = words.as_slice() else { return None };
    if !flags.starts_with('-') || !flags.ends_with('a') {
        return None;
    }
    let mut cursor = command.walk();
    let here = command.named_children(&mut cursor).find(|child| child.kind() == "herestring_redirect")?;
    let given = here.named_child(u32::try_from(here.named_child_count()).ok()?.checked_sub(1)?)?;
    Some((name.clone(), Value::Split(of(given), given.byte_range())))
}

/// Nothing known.
pub(super) fn unknown() -> String {
    UNKNOWN.to_string()
}
