//! The names that a runbook declares: variables, targets, steps, manifests, captured values.

use std::collections::{HashMap, HashSet};

use super::tree::{Core, Node, core};

/// Names and where they are declared; steps by their index.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Targets, in the order of the file.
    pub targets: Vec<String>,
    /// Variables, in the order of the file.
    pub vars: Vec<String>,
    /// Variables that are secret.
    pub secrets: HashSet<String>,
    /// Steps, by id; the first when one is there twice.
    pub steps: HashMap<String, usize>,
    /// Recorded manifests, by the step that makes them.
    pub recorded: HashMap<String, usize>,
    /// Captured values, by the step that makes them.
    pub captured: HashMap<String, usize>,
    known: HashSet<String>,
}

impl Names {
    /// Collects what is there, whatever shape the rest is in.
    pub fn of(root: &Node) -> Self {
        let keys = |section: &str| -> Vec<String> {
            let entries = root.get(section).map(Node::entries).unwrap_or_default();
            entries.iter().map(|entry| entry.key.text.to_string()).collect()
        };
        let mut names = Names { targets: keys("targets"), vars: keys("vars"), ..Names::default() };
        for entry in root.get("vars").map(Node::entries).unwrap_or_default() {
            if entry.value.get_text("secret").is_some_and(|text| core(text) == Core::Bool(true)) {
                names.secrets.insert(entry.key.text.to_string());
            }
        }
        for (at, step) in root.get("steps").map(Node::items).unwrap_or_default().iter().enumerate() {
            let record = step.get("record").and_then(|record| record.get_text("as"));
            let said = [(step.get_text("id"), 0), (record, 1), (step.get_text("capture"), 2)];
            for (name, which) in said.into_iter().filter_map(|(name, which)| name.map(|name| (name, which))) {
                let map = match which {
                    0 => &mut names.steps,
                    1 => &mut names.recorded,
                    _ => &mut names.captured,
                };
                map.entry(name.to_owned()).or_insert(at);
            }
        }
        names.known = names.targets.iter().map(|name| format!("target {name}")).collect();
        names.known.extend(names.vars.iter().map(|name| format!("var {name}")));
        names
    }

    /// True for a declared target.
    pub fn has_target(&self, name: &str) -> bool {
        if self.targets.len() < 16 {
            return self.targets.iter().any(|target| target == name);
        }
        self.known.contains(&format!("target {name}"))
    }

    /// True for a declared variable.
    pub fn has_var(&self, name: &str) -> bool {
        if self.vars.len() < 16 {
            return self.vars.iter().any(|var| var == name);
        }
        self.known.contains(&format!("var {name}"))
    }
}

/// ``` `a`, `b` or `c` ```: names in a sentence; long lists end in a count.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    const MOST: usize = 24;
    let mut quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if quoted.len() > MOST {
        let rest = quoted.len() - MOST;
        quoted.truncate(MOST);
        quoted.push(format!("{rest} more"));
        return quoted.join(", ");
    }
    match quoted.pop() {
        None => "none".to_owned(),
        Some(only) if quoted.is_empty() => only,
        Some(end) => format!("{} {last} {end}", quoted.join(", ")),
    }
}
