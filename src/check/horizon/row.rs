//! Values of a row, in order. NULL and what cannot be read are `None`, never zero.

use crate::base::text::thousands;
use crate::world::pg::Row;

/// The values of a row, one after the other.
pub(super) struct Values(std::vec::IntoIter<Option<String>>);

impl Values {
    pub(super) fn of(row: Row) -> Self {
        Values(row.into_iter())
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    pub(super) fn yes(&mut self) -> bool {
        self.text().as_deref() == Some("t")
    }

    pub(super) fn number(&mut self) -> Option<f64> {
        self.text()?.parse::<f64>().ok().filter(|number| number.is_finite())
    }

    /// A whole number that is not negative; an age is never below zero.
    pub(super) fn count(&mut self) -> Option<u64> {
        self.text()?.parse::<i64>().ok().map(|number| number.max(0).unsigned_abs())
    }
}

/// Identifiers for people: `1.20 G`, `300 M`, `45,678`.
pub(super) fn ids(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.2} G", n as f64 / 1e9),
        10_000_000.. => format!("{:.0} M", n as f64 / 1e6),
        _ => thousands(n),
    }
}
