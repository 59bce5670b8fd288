//! The JSON Schema of a runbook: made from the types of [`super::model`] and from the checks that exist. Editors
//! complete and explain every key with it, and [`super::validate`] judges by the same one, so the two cannot differ.

use serde_json::{Map, Value, json};

use super::model::{CheckCommon, Runbook};

/// A check as the schema needs it. Passed in as data: this layer knows no checks.
#[derive(Debug, Clone)]
pub struct CheckSchema {
    /// Its name in runbooks.
    pub name: String,
    /// What a pass shows, in one line.
    pub summary: String,
    /// The JSON Schema of its own parameters: an object. Strings that name a target have `"format": "target"`, those
    /// that name a recorded manifest `"format": "recorded"`.
    pub schema: Value,
}

/// The schema of a whole runbook.
pub fn schema(checks: &[CheckSchema]) -> Value {
    let mut root = schemars::schema_for!(Runbook).to_value();
    let mut common = schemars::schema_for!(CheckCommon).to_value();
    tidy(&mut root);
    tidy(&mut common);
    let mut defs = take_map(&mut root, "$defs");
    defs.extend(take_map(&mut common, "$defs"));
    // Known to the types, so that older journals can be read; not offered to authors.
    if let Some(Value::Object(target)) =
        defs.get_mut("Target").and_then(|target| target.get_mut("properties"))
    {
        target.shift_remove("ssh");
    }
    let common = take_map(&mut common, "properties");
    let mut names = Map::new();
    for check in checks {
        let body = body(check, &common, &mut defs);
        let def = format!("check.{}", check.name);
        names.insert(check.name.clone(), json!({ "$ref": format!("#/$defs/{def}") }));
        defs.insert(def, body);
    }
    let description = "A check: a map with one key, its name; inside stand its parameters.";
    defs.insert(
        "Check".to_owned(),
        json!({
            "description": description, "type": "object", "properties": names,
            "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
        }),
    );
    if let Value::Object(root) = &mut root {
        root.insert("title".to_owned(), json!("Holdpoint runbook"));
        root.insert("$defs".to_owned(), Value::Object(defs));
    }
    root
}

/// The same for editors. There the text is looked at before values are put in, and as plain YAML: so a `${name}` may stand
/// where a number is wanted, and a number where a text is. What is left to the program is said by `lint`.
pub fn for_editors(checks: &[CheckSchema]) -> Value {
    let mut schema = schema(checks);
    let version = schema.get("properties").and_then(|all| all.get("holdpoint")).cloned();
    loosen(&mut schema);
    if let (Some(version), Some(Value::Object(all))) = (version, schema.get_mut("properties")) {
        all.insert("holdpoint".to_owned(), version);
    }
    schema
}

/// Keys that hold names, in which no variable can stand.
const NAMED: [&str; 5] = ["name", "id", "as", "capture", "env"];

fn loosen(schema: &mut Value) {
    let Value::Object(map) = schema else {
        if let Value::Array(items) = schema {
            items.iter_mut().for_each(loosen);
        }
        return;
    };
    for (key, value) in map.iter_mut() {
        match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(all)) => {
                let named = |name: &str, one: &Value| NAMED.contains(&name) && one.get("pattern").is_some();
                all.iter_mut().filter(|(name, one)| !named(name, one)).for_each(|(_, one)| loosen(one));
            }
            ("items" | "anyOf" | "oneOf" | "additionalProperties", value) => loosen(value),
            _ => {}
        }
    }
    let kind = map.get("type").and_then(Value::as_str);
    let format = map.get("format").and_then(Value::as_str);
    let bound = ["enum", "const", "pattern"].iter().any(|key| map.contains_key(*key))
        || format.is_some_and(|format| !["argv", "confirmation"].contains(&format));
    match kind {
        Some("string") if !bound => {
            map.insert("type".to_owned(), json!(["string", "number", "boolean"]));
        }
        Some("string") if map.contains_key("pattern") => {
            if let Some(Value::String(pattern)) = map.get_mut("pattern") {
                *pattern = format!("(?:{pattern})|\\$\\{{");
            }
        }
        Some("integer" | "number" | "boolean") => {
            // Words for people stay outside, where editors look for them.
            const OUTSIDE: [&str; 4] = ["description", "title", "default", "examples"];
            let inner: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| !OUTSIDE.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            map.retain(|key, _| OUTSIDE.contains(&key.as_str()));
            map.insert("anyOf".to_owned(), json!([inner, { "type": "string", "pattern": "\\$\\{" }]));
        }
        _ => {}
    }
}

/// One check's parameters: its own and the common ones.
fn body(check: &CheckSchema, common: &Map<String, Value>, defs: &mut Map<String, Value>) -> Value {
    let mut own = check.schema.clone();
    tidy(&mut own);
    let hoisted = take_map(&mut own, "$defs");
    let mut renamed: Vec<(String, String)> = Vec::new();
    for (name, def) in &hoisted {
        if defs.get(name).is_some_and(|there| there != def) {
            renamed.push((format!("#/$defs/{name}"), format!("#/$defs/{}.{name}", check.name)));
        }
    }
    for (name, mut def) in hoisted {
        let to = renamed.iter().find(|(from, _)| *from == format!("#/$defs/{name}"));
        let name = to.map_or(name, |(_, to)| to.trim_start_matches("#/$defs/").to_owned());
        redirect(&mut def, &renamed);
        defs.insert(name, def);
    }
    redirect(&mut own, &renamed);
    let required = own.get("required").cloned().filter(|r| r.as_array().is_some_and(|r| !r.is_empty()));
    let mut properties = take_map(&mut own, "properties");
    for (key, value) in common {
        properties.insert(key.clone(), value.clone());
    }
    let kinds = if required.is_some() { json!("object") } else { json!(["object", "null"]) };
    let mut body = json!({
        "description": check.summary, "type": kinds, "properties": properties, "additionalProperties": false,
    });
    if let (Value::Object(body), Some(required)) = (&mut body, required) {
        body.insert("required".to_owned(), required);
    }
    body
}

fn take_map(value: &mut Value, key: &str) -> Map<String, Value> {
    match value.as_object_mut().and_then(|map| map.shift_remove(key)) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// An optional key is left out, not set to nothing: takes `null` out of what Rust's options became.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(map) => {
            map.values_mut().for_each(tidy);
            if map.get("default") == Some(&Value::Null) {
                map.shift_remove("default");
            }
            if let Some(Value::Array(kinds)) = map.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            let Some(Value::Array(branches)) = map.get_mut("anyOf") else { return };
            branches.retain(|branch| branch != &json!({ "type": "null" }));
            if let [Value::Object(only)] = branches.as_slice() {
                let only = only.clone();
                map.shift_remove("anyOf");
                for (key, value) in only {
                    map.entry(key).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

fn redirect(value: &mut Value, renamed: &[(String, String)]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, renamed)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some((_, new)) = renamed.iter().find(|(old, _)| old == to) {
                            *to = new.clone();
                        }
                    }
                    value => redirect(value, renamed),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_take_their_own_keys_and_the_common_ones() {
        let size = json!({ "type": "string", "format": "size" });
        let checks = ["a", "b"].map(|name| CheckSchema {
            name: name.to_owned(),
            summary: format!("{name} holds"),
            schema: json!({
                "type": "object",
                "properties": { "x": { "$ref": "#/$defs/X" }, "y": { "type": ["string", "null"], "default": null } },
                "required": if name == "a" { json!(["x"]) } else { json!([]) },
                "$defs": { "X": if name == "a" { size.clone() } else { json!({ "type": "integer" }) } },
            }),
        });
        let schema = schema(&checks);
        let defs = &schema["$defs"];
        assert_eq!(defs["Check"]["properties"]["a"]["$ref"], "#/$defs/check.a");
        assert_eq!(defs["check.a"]["type"], "object");
        assert_eq!(defs["check.a"]["required"], json!(["x"]));
        assert_eq!(defs["check.a"]["additionalProperties"], false);
        assert_eq!(defs["check.a"]["properties"]["y"], json!({ "type": "string" }));
        assert_eq!(defs["check.a"]["properties"]["until"]["format"], "step");
        assert!(defs["check.a"]["properties"]["until"]["description"].is_string(), "hover texts stay");
        assert_eq!(defs["check.b"]["type"], json!(["object", "null"]));
        assert_eq!(
            defs["check.b"]["properties"]["x"]["$ref"], "#/$defs/b.X",
            "two checks, two meanings of X"
        );
        assert_eq!(defs["b.X"]["type"], "integer");
        assert!(defs["Target"]["properties"].get("ssh").is_none());
        assert_eq!(defs["Step"]["properties"]["timeout"]["$ref"], "#/$defs/Duration");
        assert!(defs["Step"]["properties"]["timeout"]["description"].is_string());
    }

    #[test]
    fn editors_take_variables_and_plain_numbers() {
        let schema = for_editors(&[]);
        let step = &schema["$defs"]["Step"]["properties"];
        assert_eq!(step["changes"]["anyOf"][1]["pattern"], "\\$\\{");
        assert!(step["changes"]["description"].is_string(), "words stay where editors look");
        assert_eq!(step["title"]["type"], json!(["string", "number", "boolean"]));
        assert_eq!(schema["$defs"]["Space"]["properties"]["path"]["pattern"], "(?:^/)|\\$\\{");
        assert_eq!(step["id"], super::schema(&[])["$defs"]["Step"]["properties"]["id"], "a name stays plain");
        assert_eq!(schema["properties"]["holdpoint"]["type"], "integer");
    }
}
