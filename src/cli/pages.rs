//! A check's page, made from the same source as its schema: `holdpoint checks NAME` and `docs/checks.md`.

use serde_json::Value;

use crate::base::Span;
use crate::check::falsify;
use crate::check::measure::DEFAULT_TIMEOUT;
use crate::check::registry::{CheckKind, FAMILIES};

/// All about one check, in Markdown.
pub fn check(kind: &CheckKind) -> String {
    let mut page =
        format!("# {}\n\n{}\n\n{}\n\n## Parameters\n\n", kind.name, kind.summary, kind.docs.trim());
    let schema = (kind.schema)().to_value();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let text = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let must = if required.contains(&name.as_str()) { " (required)" } else { "" };
        page.push_str(&format!("- `{name}`{must}: {text}\n"));
    }
    let limit: Span = kind.timeout.unwrap_or(DEFAULT_TIMEOUT);
    page.push_str(&format!("\nHow a rehearsal makes it fail: {}.\n", falsify::ways(kind).sentence()));
    page.push_str(&format!("\nTime limit unless `timeout` says otherwise: {limit}.\n"));
    page
}

/// The whole catalogue, in Markdown: `docs/checks.md`.
pub fn catalogue() -> String {
    let mut page = String::from(
        "# Checks\n\nMade from the same source as the JSON Schema (`holdpoint schema`) and `holdpoint checks NAME`; a test\n\
         keeps this page up to date.\n\n\
         A check has three verdicts. **pass**: it was measured, and it holds. **FAIL**: it was measured, and it does not.\n\
         **UNKNOWN**: it was not measured, and that blocks like a failure. Nothing compared with nothing is unknown.\n\n\
         Every check also takes `id`, `title`, `timeout`, `until`, `waivable`, `advisory`, and as an invariant\n\
         `on_violation` and `every`; see [the runbook format](runbook-format.md).\n\n",
    );
    for family in FAMILIES {
        page.push_str(&format!("**{}**\n\n| check | a pass shows |\n|---|---|\n", family.title));
        for kind in family.kinds {
            page.push_str(&format!("| [`{0}`](#{0}) | {1} |\n", kind.name, kind.summary));
        }
        page.push('\n');
    }
    for kind in FAMILIES.iter().flat_map(|family| family.kinds) {
        page.push_str(&check(kind).replace("\n## ", "\n### ").replacen("# ", "## ", 1));
        page.push('\n');
    }
    page
}
