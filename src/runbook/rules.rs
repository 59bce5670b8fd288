//! The JSON Schema, read once into rules that are quick to apply. A keyword that is not known here is an error, so that
//! nothing an author is promised goes unchecked.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::pattern::Pattern;

/// Which kinds of value a rule takes; empty means any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// A text.
    pub const STRING: Kinds = Kinds(1);
    /// A whole number.
    pub const INTEGER: Kinds = Kinds(2);
    /// A number.
    pub const NUMBER: Kinds = Kinds(4);
    /// True or false.
    pub const BOOLEAN: Kinds = Kinds(8);
    /// A list.
    pub const ARRAY: Kinds = Kinds(16);
    /// A map.
    pub const OBJECT: Kinds = Kinds(32);
    /// Nothing.
    pub const NULL: Kinds = Kinds(64);

    /// True when a value of this kind is taken.
    pub fn takes(self, kind: Kinds) -> bool {
        self.0 == 0 || self.0 & kind.0 != 0
    }

    /// True when nothing is said about kinds.
    pub fn any(self) -> bool {
        self.0 == 0
    }

    fn of(name: &str) -> Option<Kinds> {
        Some(match name {
            "string" => Kinds::STRING,
            "integer" => Kinds::INTEGER,
            "number" => Kinds::NUMBER,
            "boolean" => Kinds::BOOLEAN,
            "array" => Kinds::ARRAY,
            "object" => Kinds::OBJECT,
            "null" => Kinds::NULL,
            _ => return None,
        })
    }
}

/// What a text must be, beyond being a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A size with its unit.
    Size,
    /// A length of time with its unit.
    Duration,
    /// The name of a target.
    Target,
    /// The name of a recorded manifest.
    Recorded,
    /// The id of a later step.
    Step,
    /// The id of this step or a later one.
    StepFrom,
    /// A shell script: variables are never put into it.
    Script,
    /// An argument of a command: everybody on the machine can see it.
    Argv,
    /// An argument of a hook: as `Argv`, with the names of the event besides.
    Hook,
    /// A text that the operator is shown and types.
    Confirmation,
}

/// What is said about keys that are not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extra {
    /// Any key with any value.
    #[default]
    Any,
    /// None.
    Refused,
    /// Any key; its value follows a rule.
    Follows(usize),
}

/// Hashes short names (FNV-1a) where their number is small or bounded, so that nobody gains by names that collide.
#[derive(Debug, Clone)]
pub struct Fnv(u64);

/// Makes [`Fnv`] hashers.
pub type Quick = BuildHasherDefault<Fnv>;

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Name of its definition: `Step`, `Check`, `check.disk_free`.
    pub def: Option<String>,
    /// Kinds of value it takes.
    pub kinds: Kinds,
    /// Keys with their rules.
    pub properties: IndexMap<String, usize, Quick>,
    /// Keys that must be there.
    pub required: Vec<String>,
    /// Other keys.
    pub extra: Extra,
    /// What keys must look like.
    pub names: Option<Pattern>,
    /// The rule of a list's items.
    pub items: Option<usize>,
    /// Fewest and most items.
    pub item_count: (Option<u64>, Option<u64>),
    /// Shortest and longest text, in characters.
    pub length: (Option<u64>, Option<u64>),
    /// What a text must look like.
    pub pattern: Option<Pattern>,
    /// What a text must be.
    pub format: Option<Format>,
    /// The only texts allowed.
    pub choices: Vec<String>,
    /// Smallest and largest number, the limits themselves allowed.
    pub range: (Option<f64>, Option<f64>),
    /// Smallest and largest number, the limits themselves not allowed.
    pub between: (Option<f64>, Option<f64>),
    /// One of these rules.
    pub any_of: Vec<usize>,
}

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// The whole runbook.
    pub root: usize,
}

impl Rules {
    /// Reads a schema. An error is a defect of a schema of ours, not of a runbook.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let mut reader = Reader { schema, rules: Vec::new(), defs: HashMap::new() };
        let root = reader.rule(schema, Some("Runbook".to_owned()))?;
        Ok(Rules { rules: reader.rules, root })
    }

    /// A rule by its number.
    pub fn get(&self, at: usize) -> &Rule {
        // Numbers only come from `self`; the first rule is the root.
        self.rules.get(at).unwrap_or(&self.rules[0])
    }
}

struct Reader<'a> {
    schema: &'a Value,
    rules: Vec<Rule>,
    defs: HashMap<String, usize>,
}

const NOTES: [&str; 8] =
    ["$schema", "$defs", "title", "description", "default", "examples", "deprecated", "markdownDescription"];

impl Reader<'_> {
    fn rule(&mut self, schema: &Value, def: Option<String>) -> Result<usize, String> {
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(true) => &Map::new(),
            _ => return Err(format!("a schema must be an object: {schema}")),
        };
        if let Some(Value::String(to)) = map.get("$ref") {
            return self.reference(to, map);
        }
        let at = self.rules.len();
        if let Some(name) = &def {
            self.defs.insert(name.clone(), at);
        }
        self.rules.push(Rule::default());
        let rule = self.read(map, def)?;
        self.rules[at] = rule;
        Ok(at)
    }

    fn reference(&mut self, to: &str, map: &Map<String, Value>) -> Result<usize, String> {
        let name = to.strip_prefix("#/$defs/").ok_or_else(|| format!("unknown reference {to}"))?;
        let schema = self.schema;
        let target =
            schema.get("$defs").and_then(|defs| defs.get(name)).ok_or_else(|| format!("nothing at {to}"))?;
        let bare = map.keys().all(|key| key == "$ref" || NOTES.contains(&key.as_str()));
        if bare {
            return match self.defs.get(name) {
                Some(at) => Ok(*at),
                None => self.rule(target, Some(name.to_owned())),
            };
        }
        let mut merged = target.as_object().cloned().unwrap_or_default();
        merged.extend(
            map.iter().filter(|(key, _)| *key != "$ref").map(|(key, value)| (key.clone(), value.clone())),
        );
        self.rule(&Value::Object(merged), None)
    }

    fn read(&mut self, map: &Map<String, Value>, def: Option<String>) -> Result<Rule, String> {
        let mut rule = Rule { def, ..Rule::default() };
        for (key, value) in map {
            let wrong = || format!("cannot read {key}: {value}");
            let strings = |value: &Value| -> Option<Vec<String>> {
                value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            };
            match key.as_str() {
                note if NOTES.contains(&note) => {}
                "type" => {
                    let names = value
                        .as_str()
                        .map(|one| vec![one.to_owned()])
                        .or_else(|| strings(value))
                        .ok_or_else(wrong)?;
                    for name in names {
                        rule.kinds.0 |= Kinds::of(&name).ok_or_else(wrong)?.0;
                    }
                }
                "properties" => {
                    for (name, schema) in value.as_object().ok_or_else(wrong)? {
                        let at = self.rule(schema, None)?;
                        rule.properties.insert(name.clone(), at);
                    }
                }
                "required" => rule.required = strings(value).ok_or_else(wrong)?,
                "additionalProperties" => {
                    rule.extra = match value {
                        Value::Bool(true) => Extra::Any,
                        Value::Bool(false) => Extra::Refused,
                        schema => Extra::Follows(self.rule(schema, None)?),
                    };
                }
                "propertyNames" => {
                    let text = value.get("pattern").and_then(Value::as_str).ok_or_else(wrong)?;
                    rule.names = Some(Pattern::new(text)?);
                }
                "items" => rule.items = Some(self.rule(value, None)?),
                "minItems" => rule.item_count.0 = Some(value.as_u64().ok_or_else(wrong)?),
                "maxItems" => rule.item_count.1 = Some(value.as_u64().ok_or_else(wrong)?),
                "minLength" => rule.length.0 = Some(value.as_u64().ok_or_else(wrong)?),
                "maxLength" => rule.length.1 = Some(value.as_u64().ok_or_else(wrong)?),
                // Only `Check` has these, and a check's one key is looked at in its own way.
                "minProperties" | "maxProperties" if rule.def.as_deref() == Some("Check") => {}
                "pattern" => rule.pattern = Some(Pattern::new(value.as_str().ok_or_else(wrong)?)?),
                "format" => rule.format = format(value.as_str().ok_or_else(wrong)?),
                "enum" => rule.choices = strings(value).ok_or_else(wrong)?,
                "const" => rule.choices = vec![value.as_str().ok_or_else(wrong)?.to_owned()],
                "minimum" => rule.range.0 = Some(value.as_f64().ok_or_else(wrong)?),
                "maximum" => rule.range.1 = Some(value.as_f64().ok_or_else(wrong)?),
                "exclusiveMinimum" => rule.between.0 = Some(value.as_f64().ok_or_else(wrong)?),
                "exclusiveMaximum" => rule.between.1 = Some(value.as_f64().ok_or_else(wrong)?),
                "anyOf" | "oneOf" => {
                    for branch in value.as_array().ok_or_else(wrong)? {
                        let at = self.rule(branch, None)?;
                        rule.any_of.push(at);
                    }
                }
                _ => return Err(format!("`{key}` is a schema keyword that is not supported")),
            }
        }
        self.flatten(&mut rule);
        if !rule.any_of.is_empty() && (!rule.properties.is_empty() || !rule.required.is_empty()) {
            return Err("alternatives beside properties are not supported in a schema".to_owned());
        }
        Ok(rule)
    }

    /// An enumeration whose values carry descriptions comes as alternatives of one text each.
    fn flatten(&self, rule: &mut Rule) {
        let constants: Option<Vec<&Rule>> = rule
            .any_of
            .iter()
            .map(|at| {
                self.rules.get(*at).filter(|branch| !branch.choices.is_empty() && branch.any_of.is_empty())
            })
            .collect();
        if let Some(constants) = constants
            && !constants.is_empty()
        {
            rule.choices = constants.iter().flat_map(|branch| branch.choices.clone()).collect();
            rule.kinds = Kinds::STRING;
            rule.any_of.clear();
        }
    }
}

/// A format that is not ours says something to editors only, as JSON Schema has it.
fn format(name: &str) -> Option<Format> {
    Some(match name {
        "size" => Format::Size,
        "duration" => Format::Duration,
        "target" => Format::Target,
        "recorded" => Format::Recorded,
        "step" => Format::Step,
        "step-from" => Format::StepFrom,
        "script" => Format::Script,
        "argv" => Format::Argv,
        "hook" => Format::Hook,
        "confirmation" => Format::Confirmation,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_whole_schema() {
        let rules = Rules::new(&super::super::schema::schema(&[])).unwrap();
        let root = rules.get(rules.root);
        assert_eq!(root.required, ["holdpoint", "name"]);
        let steps = rules.get(root.properties["steps"]);
        let step = rules.get(steps.items.unwrap());
        assert_eq!(step.def.as_deref(), Some("Step"));
        let rerun = rules.get(step.properties["rerun"]);
        assert_eq!(rerun.choices, ["safe", "ask", "never"]);
        assert_eq!(rules.get(step.properties["timeout"]).format, Some(Format::Duration));
    }

    #[test]
    fn an_unknown_keyword_is_an_error() {
        assert!(Rules::new(&json!({ "type": "object", "dependentRequired": {} })).is_err());
        assert!(Rules::new(&json!({ "type": "string", "pattern": "(?=a)" })).is_err());
        assert!(Rules::new(&json!({ "$ref": "#/$defs/none" })).is_err());
    }

    #[test]
    fn a_rule_may_hold_itself() {
        let schema = json!({ "$ref": "#/$defs/T", "$defs": { "T": {
            "type": "object", "properties": { "all": { "type": "array", "items": { "$ref": "#/$defs/T" } } },
        } } });
        let rules = Rules::new(&schema).unwrap();
        let all = rules.get(rules.get(rules.root).properties["all"]);
        assert_eq!(all.items, Some(rules.root));
    }
}
