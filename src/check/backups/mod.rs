//! Backups: fresh, whole, restorable, of this very cluster, and in a second place.

mod backup_fresh;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "backups", title: "Backups", kinds: &[&backup_fresh::KIND] };
