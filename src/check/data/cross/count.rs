//! What reading a table gave.

use std::collections::BTreeMap;

use super::form::Misfit;

/// What reading a table on one side gave.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Its rows, without those that were left out as declared.
    pub rows: u64,
    /// The sum of the hashes of its rows; `None` when they were only counted.
    pub digest: Option<i128>,
    /// Why its contents cannot be compared, though both sides have them: a record that does not say enough.
    pub open: Option<String>,
    /// Lowest and highest value of columns that feed on a sequence, by their place in the plan's `fed`.
    pub bounds: BTreeMap<usize, (i64, i64)>,
    /// Values without a counterpart, by column and reason: how many, and where the first one is.
    pub misfits: BTreeMap<(usize, Misfit), (u64, String)>,
    /// Values that were compared after something that was declared, by column.
    pub bent: BTreeMap<usize, (u64, String)>,
    /// Rows that were left out as declared.
    pub left_out: u64,
}

impl Count {
    /// Takes a value into the bounds of a column.
    pub fn bound(&mut self, column: usize, value: i64) {
        let bounds = self.bounds.entry(column).or_insert((value, value));
        *bounds = (bounds.0.min(value), bounds.1.max(value));
    }
}
