//! Rows of tables against the fewest that they may have.

use crate::base::text::{count, thousands};
use crate::check::Outcome;
use crate::check::params::Percent;

/// One table, judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Floor {
    /// Its name, with its database.
    pub name: String,
    /// Its rows; `None` when it is not there.
    pub rows: Option<u64>,
    /// The fewest that it may have.
    pub least: u64,
}

impl Floor {
    fn holds(&self) -> bool {
        self.rows.is_some_and(|rows| rows >= self.least)
    }

    fn words(&self) -> String {
        match self.rows {
            None => format!("there is no table {}", self.name),
            Some(rows) => format!("{} in {}", count(rows, "row", "rows"), self.name),
        }
    }
}

/// So many of `rows` are a share of them.
pub(super) fn share_of(rows: u64, share: Percent) -> u64 {
    if share.0 >= 100.0 { rows } else { (rows as f64 * share.0 / 100.0 - 1e-6).ceil().max(1.0) as u64 }
}

/// Judges all of them.
pub(super) fn judge(floors: &[Floor], wanted: String) -> Outcome {
    let (good, bad): (Vec<_>, Vec<_>) = floors.iter().partition(|floor| floor.holds());
    let rows: u64 = floors.iter().filter_map(|floor| floor.rows).sum();
    let outcome = match bad.as_slice() {
        [] => Outcome::pass(
            format!("{} in {}", count(rows, "row", "rows"), count(good.len() as u64, "table", "tables")),
            wanted,
        ),
        [worst, more @ ..] => {
            let also = match more.len() {
                0 => String::new(),
                n => format!(", and {n} more too small"),
            };
            Outcome::fail(
                format!("{}, at least {} wanted{also}", worst.words(), thousands(worst.least)),
                wanted,
            )
            .help("stop what writes to it, and find out which data this is")
        }
    };
    let lines = bad.iter().take(20).map(|f| format!("{}, at least {} wanted", f.words(), thousands(f.least)));
    let mut outcome = outcome.fact("rows", rows).fact("tables_too_small", bad.len() as u64);
    outcome.details.extend(lines);
    if bad.len() > 20 {
        outcome = outcome.detail(format!("and {} more", bad.len() - 20));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_never_nothing() {
        for (rows, share, least) in
            [(1000, 99.9, 999), (1001, 99.9, 1000), (1, 99.9, 1), (10, 50.0, 5), (7, 100.0, 7), (3, 0.1, 1)]
        {
            assert_eq!(share_of(rows, Percent(share)), least, "{share} % of {rows}");
        }
    }
}
