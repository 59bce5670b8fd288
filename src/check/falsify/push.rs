//! The same check with one demand out of reach: what is there cannot satisfy it, so it has to fail. It shows that the
//! measurement sees something and compares it; a check that measured nothing would be unknown, and one that compares
//! nothing would still pass.

use serde_json::{Map, Value, json};

use super::list;
use super::table::{self, Push};
use crate::check::registry;
use crate::runbook::CheckSpec;

/// More than there is of anything that is counted.
pub const MANY: u64 = 9_000_000_000_000_000;

/// A check with one demand out of reach.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The check.
    pub spec: CheckSpec,
    /// What was pushed: ``` `at_least: 100%` in place of `20%` ```.
    pub words: String,
    /// The parameter.
    pub key: String,
    /// The check has to fail. Else a pass only means that staging holds nothing that it could object to.
    pub sure: bool,
}

/// Every way to push a check out of reach that makes a valid check. Several for one key are to be tried in their order.
pub fn pushed(spec: &CheckSpec) -> Vec<Pushed> {
    let Some(kind) = registry::find(&spec.kind) else { return Vec::new() };
    let schema = (kind.schema)().to_value();
    let mut all = Vec::new();
    for key in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
        let Some(rule) = table::rule(kind.name, key) else { continue };
        let given = spec.params.get(key);
        if given.is_none() && !rule.implied {
            continue;
        }
        for params in made(spec, key, given, rule.push) {
            let spec = CheckSpec { params, ..spec.clone() };
            if registry::build(&spec).is_err() {
                continue;
            }
            let shown = spec.params.get(key).map_or_else(|| "another".to_owned(), words);
            let instead = given.map_or_else(|| "the default".to_owned(), words);
            let words = match rule.push {
                Push::Whole(_) => difference(&spec),
                _ => format!("`{key}: {shown}` in place of {instead}"),
            };
            all.push(Pushed { spec, words, key: key.clone(), sure: rule.sure });
        }
    }
    // What has to fail comes first: then nothing has to be tried that may not.
    all.sort_by_key(|pushed| !pushed.sure);
    all
}

fn difference(spec: &CheckSpec) -> String {
    let shown: Vec<String> =
        spec.params.iter().map(|(key, value)| format!("{key}: {}", words(value))).collect();
    format!("`{}`", shown.join(", "))
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn made(spec: &CheckSpec, key: &str, given: Option<&Value>, push: Push) -> Vec<Map<String, Value>> {
    let with = |value: Value| {
        let mut params = spec.params.clone();
        params.insert(key.to_owned(), value);
        params
    };
    let values = match push {
        Push::Up => vec![json!("7000000TiB"), json!("36500d"), json!("100%"), json!(MANY)],
        Push::Down => below(given),
        Push::Other(value) => vec![value(), json!([value()])],
        Push::More(one) => {
            let mut more = list(given);
            more.push(one.to_owned());
            vec![json!(more)]
        }
        Push::State => {
            let turned = json!(!truth(given, true));
            let bare = only_the_subject(spec, key, turned.clone());
            return vec![with(turned), bare];
        }
        Push::Flip => vec![json!(!truth(given, false))],
        Push::Whole(make) => return make(&spec.params),
    };
    values.into_iter().map(with).collect()
}

/// What is less than a ceiling, in the ceiling's own terms.
fn below(given: Option<&Value>) -> Vec<Value> {
    let number = match given {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse::<f64>().ok(),
        _ => None,
    };
    let all = vec![json!(-(MANY as i64)), json!("1ms"), json!("1s"), json!("1B"), json!("0.0001%"), json!(0)];
    match number {
        // Nothing is below zero where only whole numbers of things count.
        Some(number) if number <= 0.0 => vec![json!(-(MANY as i64))],
        _ => all,
    }
}

fn truth(given: Option<&Value>, default: bool) -> bool {
    match given {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => text == "true",
        _ => default,
    }
}

/// What a check is about, without what it demands of it: "it must not be there" goes with no other demand.
fn only_the_subject(spec: &CheckSpec, key: &str, value: Value) -> Map<String, Value> {
    const SUBJECT: [&str; 13] = [
        "path", "name", "command", "unit", "process", "pidfile", "user", "group", "port", "protocol",
        "package", "address", "on",
    ];
    let mut params: Map<String, Value> = spec.params.clone();
    params.retain(|name, _| SUBJECT.contains(&name.as_str()));
    params.insert(key.to_owned(), value);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, params: Value) -> Vec<String> {
        let spec: CheckSpec = serde_json::from_value(json!({ kind: params })).unwrap();
        pushed(&spec).into_iter().map(|pushed| pushed.words).collect()
    }

    #[test]
    fn every_demand_that_is_made_is_pushed_in_its_own_terms() {
        let disk = of("disk_free", json!({ "path": "/", "at_least": "20GiB", "inodes_at_least": "5%" }));
        let wanted = [
            "`at_least: 7000000TiB` in place of 20GiB",
            "`at_least: 100%` in place of 20GiB",
            "`inodes_at_least: 100%` in place of 5%",
            "`inodes_at_least: 9000000000000000` in place of 5%",
        ];
        assert_eq!(disk, wanted);
        assert_eq!(
            of("file", json!({ "path": "/x", "at_least": "5B" })),
            ["`exists: false` in place of the default", "`at_least: 7000000TiB` in place of 5B",]
        );
        assert_eq!(
            of("file", json!({ "path": "/x", "exists": false })),
            ["`exists: true` in place of false", "`exists: true` in place of false",]
        );
        assert_eq!(
            of("backup_fresh", json!({ "path": "/x", "max_age": "1d" }))[0],
            "`max_age: 1ms` in place of 1d"
        );
        assert_eq!(
            of("pg_query", json!({ "target": "db", "sql": "select 1", "equals": 1 }))[0],
            "`equals: holdpoint-falsified` in place of 1"
        );
        assert_eq!(of("command", json!({ "run": ["true"] })), Vec::<String>::new(), "only its author knows");
        assert!(of("page_acknowledged", json!({ "send": ["true"] })).is_empty(), "a page is no toy");
    }
}
