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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::check::registry;
    use crate::runbook::CheckSpec;

    #[test]
    fn what_a_backup_check_vouches_for_may_not_go() {
        let keeps = |spec: serde_json::Value| {
            let spec: CheckSpec = serde_json::from_value(spec).unwrap();
            registry::build(&spec).unwrap().keeps()
        };
        assert_eq!(keeps(json!({ "backup_fresh": { "path": "/b", "max_age": "1d" } })), ["/b"]);
        assert_eq!(keeps(json!({ "backup_copied": { "path": "/b", "copy": "/c" } })), ["/b", "/c"]);
        assert_eq!(keeps(json!({ "backup_of_cluster": { "path": "/b", "target": "old" } })), ["/b"]);
        assert_eq!(keeps(json!({ "backup_restores": { "path": "/b" } })), ["/b"]);
        let restic =
            |at: &str| json!({ "restic_backup": { "repository": at, "password": "x", "max_age": "1d" } });
        assert_eq!(keeps(restic("/srv/restic")), ["/srv/restic"]);
        assert!(keeps(restic("sftp:b@h:/srv/restic")).is_empty());
    }
}
