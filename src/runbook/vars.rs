//! Values for a runbook's variables: from `--var`, the process environment, the chosen environment, the default, in
//! this order. All that is missing or wrong is said at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;

use super::load::Document;
use super::names::listed;
use super::tree::{Entry, Node};
use crate::base::text::nearest;
use crate::problem::Problem;

/// The shortest secret: shorter ones cannot be kept out of output without hiding ordinary words.
pub const MIN_SECRET: usize = 6;

/// Values of variables.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// Values by name, in the order of the file; captured ones after them.
    pub values: IndexMap<String, String>,
    /// Names of secret variables.
    pub secrets: HashSet<String>,
    /// Names that a step will capture and that have no value yet.
    pub pending: HashSet<String>,
}

impl Values {
    /// The value of a variable, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// True for a variable whose value must not be shown.
    pub fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name)
    }

    /// True for a value that a step has yet to capture.
    pub fn is_pending(&self, name: &str) -> bool {
        self.pending.contains(name)
    }

    /// Gives a captured value its text. An error says why the text cannot be one.
    pub fn capture(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(why) = unfit(value) {
            return Err(format!("the captured value of `{name}` {why}"));
        }
        self.pending.remove(name);
        self.values.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The texts of all secrets, for a redactor.
    pub fn secret_values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(name, _)| self.secrets.contains(*name)).map(|(_, value)| value.as_str())
    }
}

/// Finds a value for every variable.
///
/// `environment` is the one chosen with `--env`; `given` are the pairs of `--var`; `env` looks into the process
/// environment.
pub fn resolve(
    doc: &Document,
    environment: Option<&str>,
    given: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Values, Vec<Problem>> {
    let mut problems = Vec::new();
    let place_of_env = chosen(doc, environment, &mut problems);
    let of_env =
        place_of_env.and_then(|entry| entry.value.get("vars")).map(Node::entries).unwrap_or_default();
    let mut by_hand: HashMap<&str, &str> = HashMap::new();
    for (name, value) in given {
        if !doc.names().has_var(name) {
            problems.push(unknown_var(doc, name));
        } else if by_hand.insert(name, value).is_some_and(|before| before != value) {
            problems.push(nowhere(
                "HP032",
                format!("--var {name} is given twice, with two values"),
                "keep one of them",
            ));
        }
    }
    let mut values = Values::default();
    for variable in doc.root().get("vars").map(Node::entries).unwrap_or_default() {
        let name = &*variable.key.text;
        let secret = doc.names().secrets.contains(name);
        let default = variable.value.get_text("default");
        let process = variable.value.get_text("env");
        let in_env = of_env.iter().find(|entry| &*entry.key.text == name);
        let (value, from) = if let Some(value) = by_hand.get(name) {
            (Some((*value).to_owned()), format!("--var {name}"))
        } else if let Some(value) = process.and_then(env) {
            (Some(value), format!("the environment variable {}", process.unwrap_or_default()))
        } else if let Some(entry) = in_env {
            (
                entry.value.text().map(str::to_owned),
                format!("the environment `{}`", environment.unwrap_or_default()),
            )
        } else {
            (default.map(str::to_owned), "its default".to_owned())
        };
        if secret {
            values.secrets.insert(name.to_owned());
        }
        match value {
            None => problems.push(missing(doc, variable, environment)),
            Some(value) => {
                match judge(&value, secret, default == Some("")) {
                    None => {}
                    Some(why) => {
                        let message = format!("the value of `{name}` {why} (from {from})");
                        let place =
                            in_env.filter(|_| from.starts_with("the environment `")).unwrap_or(variable);
                        problems.push(
                            Problem::error("HP031", message, place.key.range()).help("give it another value"),
                        );
                    }
                }
                values.values.insert(name.to_owned(), value);
            }
        }
    }
    values.pending = doc.names().captured.keys().cloned().collect();
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// The values that reading without running can know: the defaults.
pub fn defaults(doc: &Document) -> Values {
    let mut values = Values { secrets: doc.names().secrets.clone(), ..Values::default() };
    for variable in doc.root().get("vars").map(Node::entries).unwrap_or_default() {
        if let Some(default) = variable.value.get_text("default") {
            values.values.insert(variable.key.text.to_string(), default.to_owned());
        }
    }
    values.pending = doc.names().captured.keys().cloned().collect();
    values
}

/// The values that an environment is known to have: defaults, and what the file says for it. What only the process that
/// works there is given is not among them.
pub fn known(doc: &Document, environment: &str) -> Values {
    let mut values = defaults(doc);
    let place = doc.root().get("environments").and_then(|all| all.get(environment));
    for entry in place.and_then(|place| place.get("vars")).map(Node::entries).unwrap_or_default() {
        if let Some(text) = entry.value.text() {
            values.values.insert(entry.key.text.to_string(), text.to_owned());
        }
    }
    values
}

/// The environment of a script: every variable that is not secret and has a value, and those secrets that the script
/// names.
pub fn script_env(values: &Values, script: &str) -> BTreeMap<String, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: HashSet<&str> = script.split(|c: char| !word(c)).collect();
    let wanted = values
        .values
        .iter()
        .filter(|(name, _)| !values.secrets.contains(*name) || names.contains(name.as_str()));
    wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn chosen<'d>(
    doc: &'d Document,
    environment: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<&'d Entry> {
    let name = environment?;
    let all = doc.root().get("environments").map(Node::entries).unwrap_or_default();
    let found = all.iter().find(|entry| &*entry.key.text == name);
    if found.is_none() {
        let known = || all.iter().map(|entry| &*entry.key.text);
        let help = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if all.is_empty() => "this runbook declares no environments; leave --env out".to_owned(),
            None => format!("there are {}", listed(known(), "and")),
        };
        problems.push(nowhere("HP033", format!("no environment is called `{name}`"), help));
    }
    found
}

fn unknown_var(doc: &Document, name: &str) -> Problem {
    let known = || doc.names().vars.iter().map(String::as_str);
    let help = match nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if doc.names().vars.is_empty() => "this runbook declares no variables".to_owned(),
        None => format!("there are {}", listed(known(), "and")),
    };
    nowhere("HP032", format!("--var {name}: no variable is called that"), help)
}

fn nowhere(code: &'static str, message: String, help: impl Into<String>) -> Problem {
    let mut problem = Problem::error(code, message, 0..0).help(help);
    problem.places.clear();
    problem
}

fn missing(doc: &Document, variable: &Entry, environment: Option<&str>) -> Problem {
    let name = &*variable.key.text;
    let mut ways = vec![format!("--var {name}=…")];
    if let Some(process) = variable.value.get_text("env") {
        ways.push(format!("the environment variable {process}"));
    }
    let all = doc.root().get("environments").map(Node::entries).unwrap_or_default();
    let gives = |entry: &&Entry| entry.value.get("vars").and_then(|vars| vars.get(name)).is_some();
    let having: Vec<String> =
        all.iter().filter(gives).map(|entry| format!("--env {}", entry.key.text)).collect();
    if environment.is_none() {
        ways.extend(having);
    }
    let help = match ways.split_last() {
        Some((last, [])) => format!("give it with {last}"),
        Some((last, rest)) => format!("give it with {} or {last}", rest.join(", ")),
        None => String::new(),
    };
    let label = variable.value.get_text("help").unwrap_or_default();
    Problem::error("HP030", format!("`{name}` has no value"), variable.key.range()).label(label).help(help)
}

fn judge(value: &str, secret: bool, may_be_empty: bool) -> Option<String> {
    if value.is_empty() {
        return (!may_be_empty || secret).then(|| "is empty".to_owned());
    }
    if secret && value.chars().count() < MIN_SECRET {
        return Some(format!(
            "is a secret shorter than {MIN_SECRET} characters, too short to keep out of all output"
        ));
    }
    unfit(value).map(str::to_owned)
}

fn unfit(value: &str) -> Option<&'static str> {
    if value.contains('\0') {
        return Some("contains a NUL character");
    }
    if value.contains(['\n', '\r']) {
        return Some("has more than one line");
    }
    value.chars().any(char::is_control).then_some("contains control characters")
}
