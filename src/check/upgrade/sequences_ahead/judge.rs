//! Whether a sequence is behind: pure.

use crate::check::sequences::Standing;
use crate::check::survey::{Findings, cell};
use crate::world::pg::literal;

/// A sequence and a column that it feeds.
#[derive(Debug, Clone)]
pub struct Fed {
    database: String,
    sequence: String,
    step: String,
    cycles: String,
    table: String,
    column: String,
    /// A table of this server, and a column of numbers.
    comparable: bool,
    /// The value goes into the column as it is.
    plain: bool,
    type_: String,
}

/// A pair, and what was read: the column's extreme value (`None` when the table is empty) and the sequence.
#[derive(Debug)]
pub struct Sight {
    /// The pair.
    pub fed: Fed,
    /// `None` when the two cannot be compared.
    pub values: Option<(Option<String>, Standing)>,
}

impl Fed {
    /// From a row of the catalogue.
    pub fn read(database: &str, row: &[Option<String>]) -> Fed {
        let text = |column| cell(row, column).to_owned();
        Fed {
            database: database.to_owned(),
            sequence: text(0),
            step: text(1),
            cycles: text(2),
            table: text(3),
            column: text(4),
            comparable: cell(row, 5) == "t",
            plain: cell(row, 6) == "t",
            type_: text(7),
        }
    }

    /// `app.public.t_id_seq`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.database, self.sequence)
    }

    /// Reads both in one statement; `None` when the two cannot be compared.
    pub fn query(&self) -> Option<String> {
        let extreme = if self.step.starts_with('-') { "min" } else { "max" };
        (self.comparable && self.plain).then(|| {
            format!(
                "select (select {extreme}({})::numeric from {}), last_value, is_called, {}, {} from {}",
                self.column,
                self.table,
                literal(&self.step),
                literal(&self.cycles),
                self.sequence
            )
        })
    }
}

impl Sight {
    /// The column holds a value.
    pub fn filled(&self) -> bool {
        matches!(&self.values, Some((Some(_), _)))
    }
}

/// The whole part of a number: a sequence gives no fractions, so 12.5 stands in the way of 12 and not of 13.
fn whole(text: &str) -> Option<i128> {
    text.split_once('.').map_or(text, |(whole, _)| whole).parse().ok()
}

/// Sorts what was read into what fails, what is not known, and what is only told.
pub fn sort<'a>(
    sights: Vec<Sight>,
    excepted: impl Fn(&str, &str) -> Option<&'a str>,
    findings: &mut Findings,
) {
    for Sight { fed, values } in sights {
        let column = format!("{}.{}", fed.table, fed.column);
        let (failed, found) = match &values {
            None if !fed.comparable => (
                false,
                format!(
                    "sequence {} feeds {column} of type {}: the two cannot be compared",
                    fed.name(),
                    fed.type_
                ),
            ),
            None => (
                false,
                format!(
                    "sequence {} feeds {column} through an expression: the two cannot be compared",
                    fed.name()
                ),
            ),
            Some((_, standing)) if standing.cycles => {
                findings
                    .notes
                    .push(format!("sequence {} starts again at its end and was not judged", fed.name()));
                continue;
            }
            Some((None, _)) => continue,
            Some((Some(held), standing)) => match whole(held) {
                Some(value) if standing.beyond(value) => continue,
                Some(_) => (
                    true,
                    format!(
                        "sequence {} gives {} next, and {column} has {held} already",
                        fed.name(),
                        standing.next()
                    ),
                ),
                None => (false, format!("{column} holds {held}, which sequence {} cannot reach", fed.name())),
            },
        };
        match excepted(&fed.database, &fed.sequence) {
            Some(reason) => findings.notes.push(format!("excepted ({reason}): {found}")),
            None if failed => findings.failed.push(found),
            None => findings.unasked.push(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_may_hold_fractions_and_what_is_no_number() {
        assert_eq!(
            (whole("12"), whole("12.5"), whole("-3"), whole("12.00")),
            (Some(12), Some(12), Some(-3), Some(12))
        );
        assert_eq!(whole("NaN"), None);
    }

    #[test]
    fn what_cannot_be_compared_is_not_known_unless_excepted() {
        let fed = |plain: &str| {
            let row: Vec<Option<String>> = ["public.s", "1", "f", "public.t", "code", "t", plain, "integer"]
                .iter()
                .map(|v| Some((*v).to_owned()))
                .collect();
            Fed::read("app", &row)
        };
        assert!(fed("t").query().is_some_and(|sql| sql.contains("max(code)")));
        let mut findings = Findings::default();
        sort(vec![Sight { fed: fed("f"), values: None }], |_, _| None, &mut findings);
        assert_eq!((findings.unasked.len(), findings.failed.len()), (1, 0));
        let mut findings = Findings::default();
        sort(vec![Sight { fed: fed("f"), values: None }], |_, _| Some("old"), &mut findings);
        assert_eq!((findings.unasked.len(), findings.notes.len()), (0, 1));
    }
}
