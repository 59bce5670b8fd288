//! Transaction identifiers: their age, when they run out, and what holds them back.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "horizon", title: "Transaction horizon", kinds: &[] };
