//! Findings as SARIF 2.1.0, for code scanning: rules with their pages, regions, and fingerprints that stay the same when
//! lines move.

use std::collections::HashMap;
use std::path::{Component, Path};

use serde_json::{Map, Value, json};

use super::findings::{Found, Region, line, message, region};
use crate::base::Digest;
use crate::lint::{codes, pages};
use crate::problem::{Problem, Severity};
use crate::runbook::source::Source;

/// Where the format is described.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The file. Paths below `here` are written from there.
pub fn log(all: &[Found], here: &Path) -> String {
    let mut rules: Vec<&'static str> =
        all.iter().flat_map(|found| found.problems.iter().map(|problem| problem.code)).collect();
    rules.sort_unstable();
    rules.dedup();
    let mut results = Vec::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    for (index, found) in all.iter().enumerate() {
        let file = Artifact { uri: uri(&found.source.name, here), index, source: &found.source };
        for problem in &found.problems {
            results.push(result(problem, &file, &rules, &mut seen));
        }
    }
    let artifacts: Vec<Value> = all
        .iter()
        .map(|found| json!({ "location": { "uri": uri(&found.source.name, here) }, "length": found.source.text.len() }))
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "holdpoint",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            } },
            "columnKind": "utf16CodeUnits",
            "artifacts": artifacts,
            "results": results,
        }],
    });
    super::json::visible(&format!("{log:#}\n"))
}

struct Artifact<'a> {
    uri: String,
    index: usize,
    source: &'a Source,
}

fn rule(code: &str) -> Value {
    let meaning = codes::meaning(code).unwrap_or(code);
    let page = pages::markdown(code).unwrap_or_default();
    let full = pages::summary(code).filter(|text| !text.is_empty()).unwrap_or_else(|| meaning.to_owned());
    json!({
        "id": code,
        "shortDescription": { "text": meaning },
        "fullDescription": { "text": full },
        "help": { "text": page, "markdown": page },
        "defaultConfiguration": { "level": if codes::is_warning(code) { "warning" } else { "error" } },
    })
}

fn result(problem: &Problem, file: &Artifact<'_>, rules: &[&str], seen: &mut HashMap<String, u32>) -> Value {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(problem.code));
    if let Some(at) = rules.iter().position(|code| *code == problem.code) {
        result.insert("ruleIndex".to_owned(), json!(at));
    }
    result.insert("level".to_owned(), json!(level));
    result.insert("message".to_owned(), json!({ "text": message(problem) }));
    let first = problem.places.first().map(|place| region(file.source, &place.range));
    result.insert("locations".to_owned(), json!([location(file, first, None)]));
    let others: Vec<Value> = problem
        .places
        .iter()
        .skip(1)
        .map(|place| location(file, Some(region(file.source, &place.range)), Some(&place.label)))
        .collect();
    if !others.is_empty() {
        result.insert("relatedLocations".to_owned(), Value::Array(others));
    }
    result.insert(
        "partialFingerprints".to_owned(),
        json!({ "holdpointFinding/v1": fingerprint(problem, file, seen) }),
    );
    Value::Object(result)
}

fn location(file: &Artifact<'_>, region: Option<Region>, label: Option<&str>) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": file.uri, "index": file.index } });
    if let (Some(r), Value::Object(physical)) = (region, &mut physical) {
        let region = json!({
            "startLine": r.line, "startColumn": r.column, "endLine": r.end_line, "endColumn": r.end_column,
        });
        physical.insert("region".to_owned(), region);
    }
    let mut location = json!({ "physicalLocation": physical });
    if let (Some(label), Value::Object(location)) = (label.filter(|label| !label.is_empty()), &mut location) {
        location.insert("message".to_owned(), json!({ "text": crate::base::text::neutral(label) }));
    }
    location
}

/// The same for the same finding in the same file, wherever its line stands: file, code, message and the line's words, and
/// which of several equal ones it is. A line with a secret is left out: a digest of it could be guessed.
fn fingerprint(problem: &Problem, file: &Artifact<'_>, seen: &mut HashMap<String, u32>) -> String {
    let place = problem.places.first().filter(|_| !codes::covers(problem.code));
    let words = place.map(|place| line(file.source, &place.range)).unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    let key = [file.uri.as_str(), problem.code, &problem.message, &words.join(" ")].join("\0");
    let nth = seen.entry(key.clone()).and_modify(|nth| *nth += 1).or_insert(0);
    Digest::of(format!("{key}\0{nth}").as_bytes()).to_string()
}

/// A path as a URI: relative where it lies below `here`.
fn uri(name: &str, here: &Path) -> String {
    let path = Path::new(name);
    let relative = path.strip_prefix(here).unwrap_or(path);
    let parts = relative.components().filter_map(|part| match part {
        Component::Normal(part) => Some(encoded(&part.to_string_lossy())),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    let joined = parts.collect::<Vec<_>>().join("/");
    if relative.is_absolute() { format!("file:///{joined}") } else { joined }
}

fn encoded(part: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=@".contains(&byte);
    let each = part
        .bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        let at = text.find("bad").unwrap();
        let twice = text.rfind("bad").unwrap();
        let problems = vec![
            Problem::error("HP010", "no key `bad`", at..at + 3).also(0..1, "here"),
            Problem::error("HP010", "no key `bad`", twice..twice + 3),
            Problem::warning("HP061", "for ever", at..at + 3),
        ];
        Found { source: Source::new("/repo/a b/x#.yaml", text), problems }
    }

    fn prints(text: &str) -> Vec<String> {
        let log: Value = serde_json::from_str(&log(&[found(text)], Path::new("/repo"))).unwrap();
        let all = log["runs"][0]["results"].as_array().unwrap();
        all.iter()
            .map(|one| one["partialFingerprints"]["holdpointFinding/v1"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn fingerprints_do_not_move_with_lines() {
        let before = prints("a: 1\nbad: 2\n  bad: 2\n");
        let after = prints("# more\n\n\na: 1\n   bad: 2\nx: y\nbad:   2\n");
        assert_eq!(before, after);
        let mut each = before.clone();
        each.dedup();
        assert_eq!(each.len(), 3, "three findings, three fingerprints");
        assert_ne!(before, prints("a: 1\nbad: 3\n  bad: 2\n"));
    }

    #[test]
    fn places_rules_and_paths() {
        let text = log(&[found("a: 1\nbad: 2\nbad: 2\n")], Path::new("/repo"));
        let log: Value = serde_json::from_str(&text).unwrap();
        let run = &log["runs"][0];
        let first = &run["results"][0];
        let physical = &first["locations"][0]["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "a%20b/x%23.yaml");
        assert_eq!(
            physical["region"],
            json!({ "startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 4 })
        );
        assert_eq!(first["relatedLocations"][0]["message"]["text"], "here");
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!((rules[0]["id"].as_str(), rules[1]["id"].as_str()), (Some("HP010"), Some("HP061")));
        assert_eq!(rules[1]["defaultConfiguration"]["level"], "warning");
        assert_eq!(first["ruleIndex"], 0);
        assert_eq!(uri("/etc/x.yaml", Path::new("/repo")), "file:///etc/x.yaml");
        assert_eq!(uri("./runbooks/x.yaml", Path::new("/repo")), "runbooks/x.yaml");
    }
}
