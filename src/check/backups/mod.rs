//! Backups: fresh, whole, restorable, of this very cluster, and in a second place.

mod backup_copied;
mod backup_fresh;
mod backup_of_cluster;
mod backup_restores;
mod barman_backup;
mod catalogue;
mod check_report;
mod pgbackrest_backup;
mod restic_backup;
mod tools;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "backups",
    title: "Backups",
    kinds: &[
        &backup_copied::KIND,
        &backup_fresh::KIND,
        &backup_of_cluster::KIND,
        &backup_restores::KIND,
        &barman_backup::KIND,
        &check_report::KIND,
        &pgbackrest_backup::KIND,
        &restic_backup::KIND,
    ],
};
