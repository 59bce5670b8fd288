//! The proof that one target holds what another held: rows, contents and catalogue, measured on both sides at the same
//! time, or on one side against a recorded manifest.
//!
//! Invariants: counts are exact and come from the tables themselves, never from an index or an estimate; what could not
//! be read makes the verdict unknown; nothing compared with nothing is unknown; a target is no copy of itself.

pub mod compare;
pub mod cross;
mod data_matches;
mod differ;
pub mod manifest;
pub mod pg;
mod progress;
mod rows_match;
mod side;
mod sqlite;
pub mod verdict;

pub use data_matches::DataMatches;
pub use rows_match::RowsMatch;

use manifest::{Level, Manifest};

use super::{Context, DataProof, ProofSource};
use crate::base::Span;
use crate::check::registry::Family;
use crate::runbook::Target;

/// The family's checks.
pub static FAMILY: Family =
    Family { name: "data", title: "Data", kinds: &[&data_matches::DATA_MATCHES, &rows_match::ROWS_MATCH] };

/// A data check reads everything: it may take long, and says how far it is.
const TIMEOUT: Span = Span::secs(86_400);

/// Measures what a target holds, for a `record` step.
pub async fn record(target_name: &str, target: &Target, cx: &Context) -> Result<Manifest, String> {
    let ask = side::Ask {
        purpose: "record",
        level: Level::Contents,
        databases: Vec::new(),
        tables: Vec::new(),
        except: Vec::new(),
        cross: cx.targets.values().any(|other| other.postgres.is_some() != target.postgres.is_some()),
    };
    let side = side::of(target_name, target, &ask, cx, &progress::Tally::new(cx)).await?;
    Ok(side.manifest)
}

/// Counts the rows of some tables of a target, exactly. No database means all of them, and no table all of them.
pub async fn counts(
    purpose: &'static str,
    target_name: &str,
    databases: &[String],
    tables: &[String],
    cx: &Context,
) -> Result<Manifest, String> {
    let (databases, tables) = (databases.to_vec(), tables.to_vec());
    let ask = side::Ask { purpose, level: Level::Rows, databases, tables, except: Vec::new(), cross: false };
    let side = side::of(target_name, cx.target(target_name)?, &ask, cx, &progress::Tally::new(cx)).await?;
    Ok(side.manifest)
}

/// Where the data comes from: exactly one of a target and a record.
pub fn source(source: Option<&String>, recorded: Option<&String>) -> Result<ProofSource, String> {
    match (source, recorded) {
        (Some(name), None) => Ok(ProofSource::Target(name.clone())),
        (None, Some(name)) => Ok(ProofSource::Recorded(name.clone())),
        (None, None) => {
            Err("`source` (a target) or `recorded` (the name of a record) must say what to compare with"
                .into())
        }
        (Some(_), Some(_)) => Err("`source` and `recorded` cannot both be given".into()),
    }
}

/// A table may differ only for a reason that people can read.
fn excepted(except: &[compare::Except]) -> Result<(), String> {
    if let Some(e) = except.iter().find(|e| e.table.trim().is_empty() || e.reason.trim().is_empty()) {
        return Err(format!("`except` of table `{}` needs a table and a reason", e.table));
    }
    except.iter().try_for_each(compare::Except::sensible)
}

fn proof(
    of: Result<ProofSource, String>,
    target: &str,
    databases: &[String],
    tables: &[String],
) -> Option<DataProof> {
    let (databases, tables) = (databases.to_vec(), tables.to_vec());
    of.ok().map(|of| DataProof { of, held_by: target.to_owned(), databases, tables })
}

/// The targets of a comparison.
pub fn targets(source: Option<&String>, target: &str) -> Vec<String> {
    source.cloned().into_iter().chain([target.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runbook::CheckSpec;

    fn build(kind: &str, params: serde_json::Value) -> Result<Box<dyn crate::check::Check>, String> {
        let spec: CheckSpec = serde_json::from_value(json!({ kind: params })).map_err(|e| e.to_string())?;
        crate::check::registry::build(&spec)
    }

    #[test]
    fn says_what_it_proves_and_refuses_what_it_cannot_compare() {
        for kind in ["data_matches", "rows_match"] {
            let live = build(kind, json!({ "source": "old", "target": "new" })).unwrap();
            assert_eq!(live.targets(), ["old", "new"]);
            let held_by = "new".to_owned();
            let proof = |of| DataProof { of, held_by: held_by.clone(), databases: vec![], tables: vec![] };
            assert_eq!(live.proves(), Some(proof(ProofSource::Target("old".into()))));
            let recorded = build(kind, json!({ "recorded": "before", "target": "new" })).unwrap();
            assert_eq!((recorded.targets(), recorded.recorded()), (vec![held_by.clone()], Some("before")));
            assert_eq!(recorded.proves(), Some(proof(ProofSource::Recorded("before".into()))));
            assert!(build(kind, json!({ "target": "new" })).unwrap_err().contains("`source`"));
            assert!(build(kind, json!({ "source": "a", "recorded": "b", "target": "new" })).is_err());
            assert!(
                build(kind, json!({ "source": "a", "target": "new", "tolerance": 5 }))
                    .unwrap_err()
                    .contains("tolerance")
            );
        }
        for kind in ["data_matches", "rows_match"] {
            let except = json!({ "source": "a", "target": "b", "except": [{ "table": "t", "reason": " " }] });
            assert!(build(kind, except).unwrap_err().contains("and a reason"));
        }
        for (except, words) in [
            (
                json!({ "table": "t", "reason": "r", "rows": true, "columns": ["c"] }),
                "`rows` leaves no contents",
            ),
            (
                json!({ "table": "t", "reason": "r", "nul": "remove", "columns": ["c"] }),
                "about the whole table",
            ),
            (json!({ "table": "t", "reason": "r", "nul": "ignore" }), "drop_rows"),
        ] {
            let wrong = build("data_matches", json!({ "source": "a", "target": "b", "except": [except] }));
            assert!(wrong.unwrap_err().contains(words), "{words}");
        }
        let nothing = json!({ "source": "a", "target": "b", "sequences": { "s": [] } });
        assert!(build("data_matches", nothing).unwrap_err().contains("names no column"));
    }
}
