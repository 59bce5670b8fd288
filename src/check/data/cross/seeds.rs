//! The numbers that values and rows are hashed with, here and in SQL.
//!
//! Invariants: the seeds come from the column's name, so that values swapped between columns show; NULL is a value of
//! its own; the last step mixes, so that values swapped between rows change the sum; all bits count.

use sha2::{Digest as _, Sha256};

use super::hash;
use crate::world::sqlite::Cell;

/// The numbers that a column's values are hashed with; they come from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    pub(super) value: i64,
    pub(super) high: i64,
    pub(super) null: i64,
}

impl Seeds {
    /// Those of a column.
    pub fn of(column: &str) -> Self {
        let number = |what: &str| {
            let digest = Sha256::new().chain_update(what).chain_update([0]).chain_update(column).finalize();
            let mut first = [0; 8];
            first.copy_from_slice(&digest[..8]);
            i64::from_be_bytes(first)
        };
        Seeds { value: number("value"), high: number("high"), null: number("null") }
    }

    /// Hash of NULL.
    pub fn null(self) -> i64 {
        self.null
    }

    /// Hash of a whole number: all 64 bits count, which `hashint8extended` alone folds to 32.
    pub(super) fn integer(self, n: i64) -> i64 {
        let low = hash::int8(n, self.value);
        if i32::try_from(n).is_ok() { low } else { low ^ hash::int8(n >> 32, self.high) }
    }

    /// Hash of a float. The server's own does not know the sign of zero.
    pub(super) fn float(self, n: f64) -> i64 {
        match n == 0.0 {
            true if n.is_sign_negative() => hash::bytes(b"-0", self.value),
            true => hash::bytes(b"0", self.value),
            false => hash::float8(n, self.value),
        }
    }

    /// Hash of a text.
    pub(super) fn text(self, bytes: &[u8]) -> i64 {
        hash::bytes(bytes, self.value)
    }

    /// Hash of bytes.
    pub(super) fn blob(self, bytes: &[u8]) -> i64 {
        hash::one(hash::bytes(bytes, self.value))
    }

    /// Hash of a value as it is stored, whatever the other side's type may be.
    pub fn plain(self, cell: Cell<'_>) -> i64 {
        match cell {
            Cell::Null => self.null,
            Cell::Integer(n) => self.integer(n),
            Cell::Real(n) => self.float(n),
            Cell::Text(bytes) => self.text(bytes),
            Cell::Blob(bytes) => self.blob(bytes),
        }
    }
}

/// Seed of the last step.
const ROW: i64 = 0x486f_6c64_706f_696e;

/// The hash of a row from the hashes of its values, combined by exclusive or. Mixing keeps values that were swapped
/// between rows from cancelling out in the sum.
pub fn row(values: i64) -> i64 {
    hash::one(hash::bytes(&values.to_be_bytes(), ROW))
}

/// The same in SQL; `None` when there is no value.
pub fn row_sql(terms: &[String]) -> Option<String> {
    (!terms.is_empty())
        .then(|| format!("hash_array_extended(array[int8send({})], {})", terms.join(" # "), constant(ROW)))
}

/// A number as SQL.
pub(super) fn constant(number: i64) -> String {
    format!("'{number}'::int8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bits_of_a_number_count() {
        let seeds = Seeds::of("c");
        for (a, b) in [(1, 1 << 32), (-1, 0xffff_ffff), (i64::MIN, 0x7fff_ffff), (5 << 32, 5)] {
            assert_ne!(seeds.integer(a), seeds.integer(b), "{a} {b}");
        }
        assert_ne!(seeds.float(0.0), seeds.float(-0.0));
        assert_ne!(row(1), row(1 << 32));
    }
}
