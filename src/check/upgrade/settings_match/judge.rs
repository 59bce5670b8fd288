//! Compares the settings of both sides: pure.

use super::ask::{Setting, Settings};
use super::value::{equal, secret, shown};
use crate::check::survey::Findings;

/// Settings that rightly differ between two servers, or that belong to a session.
const PLACES: [&str; 27] = [
    "application_name",
    "client_encoding",
    "cluster_name",
    "config_file",
    "data_directory",
    "event_source",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "log_directory",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "stats_temp_directory",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "unix_socket_directories",
];

/// Settings that have another name in newer versions.
const RENAMED: [(&str, &str); 2] =
    [("force_parallel_mode", "debug_parallel_query"), ("ssl_ecdh_curve", "ssl_groups")];

/// What to do about settings that newer versions do not have.
const GONE: [(&str, &str); 4] = [
    ("wal_keep_segments", "wal_keep_size takes its place, in MB"),
    ("vacuum_defer_cleanup_age", "hot_standby_feedback and slots take its place"),
    ("old_snapshot_threshold", "transaction_timeout is the nearest"),
    ("db_user_namespace", "nothing takes its place"),
];

/// How a difference that was declared is told.
pub fn excused(reason: &str) -> String {
    format!("excepted ({reason}): ")
}

/// Adds what differs to the findings; how many settings that somebody set are the same.
pub fn compare<'a>(
    was: &Settings,
    is: &Settings,
    (old, new): (u32, u32),
    excepted: impl Fn(&str) -> Option<&'a str>,
    findings: &mut Findings,
) -> u64 {
    let (mut same, mut places, mut defaults) = (0, Vec::new(), Vec::new());
    for (name, a) in was {
        let renamed =
            RENAMED.iter().find(|(from, to)| from == name && !is.contains_key(name) && is.contains_key(*to));
        let now = renamed.map_or(name.as_str(), |(_, to)| to);
        let Some(b) = is.get(now) else {
            if a.set && !PLACES.contains(&name.as_str()) {
                gone(name, a, new, &excepted, findings);
            }
            continue;
        };
        findings.looked += 1;
        let (Some(x), Some(y)) = (&a.value, &b.value) else {
            if !PLACES.contains(&name.as_str()) {
                let side = if a.value.is_none() { "source" } else { "target" };
                let what = format!(
                    "{name} cannot be seen: on the {side}, our own role, database or connection has another value"
                );
                match excepted(name) {
                    Some(reason) => findings.notes.push(format!("{}{what}", excused(reason))),
                    None => findings.unasked.push(what),
                }
            }
            continue;
        };
        if equal(now, (x, &a.unit), (y, &b.unit)) {
            same += u64::from(a.set);
            continue;
        }
        let (wanted, found) = (shown(name, x, &a.unit), shown(name, y, &b.unit));
        // The old server is often on hold while the new one is measured.
        let on_hold = name == "default_transaction_read_only" && x == "on";
        if on_hold || PLACES.contains(&name.as_str()) {
            places.push(name.as_str());
            continue;
        }
        let line = match (a.set, b.set) {
            (false, false) => {
                defaults.push(match secret(name) {
                    true => name.clone(),
                    false => format!("{name} (was {wanted}, is {found})"),
                });
                continue;
            }
            _ if secret(name) && !x.is_empty() && !y.is_empty() => {
                format!("{now} is another than in the source (values are not shown: they may hold secrets)")
            }
            (true, false) => format!("{now} is {found}, the default; wanted {wanted}"),
            (true, true) => format!("{now} is {found}; wanted {wanted}"),
            (false, true) => format!("{now} is {found}; wanted {wanted}, the default of the source"),
        };
        let line = if b.pending { format!("{line} (another value waits for a restart)") } else { line };
        match excepted(name).or_else(|| excepted(now)) {
            Some(reason) => findings.notes.push(format!("{}{line}", excused(reason))),
            None => findings.failed.push(line),
        }
    }
    let known = |name: &str| {
        was.contains_key(name) || RENAMED.iter().any(|(from, to)| *to == name && was.contains_key(*from))
    };
    let only: Vec<String> = is
        .iter()
        .filter(|(name, b)| b.set && !known(name) && !PLACES.contains(&name.as_str()))
        .map(|(name, b)| format!("{name} = {}", shown(name, b.value.as_deref().unwrap_or_default(), &b.unit)))
        .collect();
    for (what, list) in [
        ("set in the target, and unknown to the source".to_owned(), only),
        (format!("defaults that are others in {new} than in {old}"), defaults),
        ("rightly different, and not judged".to_owned(), places.into_iter().map(str::to_owned).collect()),
    ] {
        if !list.is_empty() {
            findings.notes.push(format!("{what}: {}", list.join(", ")));
        }
    }
    same
}

/// A setting that somebody set, and that the target does not have.
fn gone<'a>(
    name: &str,
    a: &Setting,
    new: u32,
    excepted: &impl Fn(&str) -> Option<&'a str>,
    findings: &mut Findings,
) {
    findings.looked += 1;
    let value = shown(name, a.value.as_deref().unwrap_or_default(), &a.unit);
    // Versions drop settings of their own; those of an extension are away because it is not loaded.
    if name.contains('.') {
        let line =
            format!("{name} is not there, and was set in the source: is the library that brings it loaded?");
        return match excepted(name) {
            Some(reason) => findings.notes.push(format!("{}{line}", excused(reason))),
            None => findings.failed.push(line),
        };
    }
    let instead = GONE
        .iter()
        .find(|(gone, _)| *gone == name)
        .map(|(_, words)| format!("; {words}"))
        .unwrap_or_default();
    let reason = excepted(name).map(excused).unwrap_or_default();
    findings.notes.push(format!("{reason}{name} was {value}, and {new} has no such setting{instead}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[(&str, &str, bool)]) -> Settings {
        all.iter()
            .map(|&(name, value, set)| {
                let value = (value != "?").then(|| value.to_owned());
                let setting =
                    Setting { value, default: String::new(), unit: String::new(), set, pending: false };
                (name.to_owned(), setting)
            })
            .collect()
    }

    fn compared(was: &[(&str, &str, bool)], is: &[(&str, &str, bool)]) -> (Findings, u64) {
        let mut findings = Findings::default();
        let excepted = |name: &str| (name == "work_mem").then_some("tuned");
        let same = compare(&of(was), &of(is), (13, 18), excepted, &mut findings);
        (findings, same)
    }

    #[test]
    fn what_somebody_set_must_be_the_same_and_defaults_are_told() {
        let (found, same) = compared(
            &[
                ("a", "1", true),
                ("b", "1", true),
                ("c", "1", false),
                ("d", "1", false),
                ("e", "1", true),
                ("port", "1", true),
            ],
            &[
                ("a", "2", false),
                ("b", "2", true),
                ("c", "2", true),
                ("d", "2", false),
                ("e", "1", false),
                ("port", "2", true),
            ],
        );
        assert_eq!(
            found.failed,
            [
                "a is 2, the default; wanted 1",
                "b is 2; wanted 1",
                "c is 2; wanted 1, the default of the source"
            ]
        );
        assert_eq!(
            found.notes,
            [
                "defaults that are others in 18 than in 13: d (was 1, is 2)",
                "rightly different, and not judged: port"
            ]
        );
        assert_eq!((same, found.looked), (1, 6));
        let (found, _) = compared(&[("work_mem", "1", true)], &[("work_mem", "2", true)]);
        assert_eq!(
            (found.failed.len(), &found.notes[..]),
            (0, &["excepted (tuned): work_mem is 2; wanted 1".to_owned()][..])
        );
    }

    #[test]
    fn what_is_not_there_any_more_is_told_and_an_extension_is_missed() {
        let (found, _) = compared(
            &[("wal_keep_segments", "32", true), ("pg_stat_statements.max", "9", true), ("old", "1", false)],
            &[("io_method", "sync", true), ("plain", "1", false)],
        );
        assert_eq!(found.failed.len(), 1);
        assert!(found.failed[0].starts_with("pg_stat_statements.max is not there"), "{found:?}");
        assert!(found.notes[0].contains("18 has no such setting; wal_keep_size"), "{found:?}");
        assert_eq!(found.notes[1], "set in the target, and unknown to the source: io_method = sync");
        let (found, same) =
            compared(&[("force_parallel_mode", "on", true)], &[("debug_parallel_query", "on", true)]);
        assert_eq!((found.failed.len(), found.notes.len(), same), (0, 0, 1));
    }

    #[test]
    fn a_hold_on_the_source_is_no_loss_and_one_on_the_target_is_found() {
        let held = |on: &'static str| [("default_transaction_read_only", on, on == "on")];
        let (found, _) = compared(&held("on"), &held("off"));
        assert_eq!((found.failed.len(), found.notes.len()), (0, 1));
        let (found, _) = compared(&held("off"), &held("on"));
        assert_eq!(found.failed.len(), 1);
    }

    #[test]
    fn what_our_session_hides_is_not_known_and_no_secret_is_told() {
        let (found, _) = compared(&[("timezone", "?", false)], &[("timezone", "UTC", true)]);
        assert_eq!((found.unasked.len(), found.failed.len()), (1, 0));
        let (found, _) = compared(
            &[("archive_command", "hush", true), ("restore_command", "hush", true)],
            &[("archive_command", "hash", true), ("restore_command", "", false)],
        );
        assert_eq!(found.failed.len(), 2);
        assert!(
            !format!("{found:?}").contains("hush") && !format!("{found:?}").contains("hash"),
            "{found:?}"
        );
    }
}
