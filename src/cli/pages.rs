//! A check's page, made from the same source as its schema: `holdpoint checks NAME` and `docs/checks.md`; and the index of
//! the codes' pages, `docs/lint.md`.

use serde_json::Value;

use crate::base::Span;
use crate::check::falsify;
use crate::check::measure::DEFAULT_TIMEOUT;
use crate::check::registry::{CheckKind, FAMILIES};
use crate::lint::codes;

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
         Every check also takes `id`, `title`, `timeout`, `waivable`, `advisory`, as a postcondition `until` and\n\
         `wait_up_to`, and as an invariant `on_violation` and `every`; see [the runbook format](runbook-format.md).\n\n",
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

/// All codes with their pages, in Markdown: `docs/lint.md`.
pub fn lint_index() -> String {
    let mut page = String::from(
        "# What `lint` finds\n\nMade from the same source as `holdpoint lint --explain CODE`; a test keeps it up to date, and holds \
         every example to what it\nsays. A code keeps its meaning for ever.\n\n\
         `holdpoint lint FILE…` reads files and measures nothing. Errors keep a run from starting; warnings do not. Exit \
         status 2 when\nthere is an error, else 0. `--format` says for whom it prints:\n\n\
         | format | for |\n|---|---|\n| `text` | people |\n| `json` | programs: a list of findings with file, line and column |\n\
         | `github` | a job of GitHub Actions: annotations at the lines |\n\
         | `sarif` | SARIF 2.1.0, for code scanning; with fingerprints that stay when lines move |\n\n\
         Examples leave out what every runbook has: `holdpoint`, `name`, and the targets `old` and `new`.\n\n\
         | code | | what is wrong |\n|---|---|---|\n",
    );
    for (code, meaning) in codes::CODES {
        let kind = if codes::is_warning(code) { "warning" } else { "error" };
        page.push_str(&format!("| [{code}](lint/{code}.md) | {kind} | {meaning} |\n"));
    }
    page.push_str(
        "\nHP053, HP071 and HP073 are warnings where it is not certain. Not shown by an example, and why:\n\n",
    );
    for (code, why) in crate::lint::pages::UNSHOWN {
        page.push_str(&format!("- {code}: {why}\n"));
    }
    page
}
