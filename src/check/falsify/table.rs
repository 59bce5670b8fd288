//! Which parameters of which check can be pushed out of reach, and whether the check has to fail then.

use serde_json::{Map, Value, json};

/// The parameters of a check.
pub type Params = Map<String, Value>;

/// How a parameter is pushed.
#[derive(Clone, Copy)]
pub enum Push {
    /// A floor, to more than there can be.
    Up,
    /// A ceiling, to less than there can be.
    Down,
    /// Something wanted, to something that is not there.
    Other(fn() -> Value),
    /// A list of what is wanted, with one more that is not there.
    More(&'static str),
    /// A state that is wanted, true by default, turned round. Other demands are left out where they do not fit.
    State,
    /// A choice that is not made by default, turned round.
    Flip,
    /// Whole parameters made from those given.
    Whole(fn(&Params) -> Vec<Params>),
}

/// A rule for one parameter.
#[derive(Clone, Copy)]
pub struct Rule {
    /// How.
    pub push: Push,
    /// The check has to fail: a pass is a finding. Else it depends on what staging holds.
    pub sure: bool,
    /// Also where the parameter is not given, because it has a default.
    pub implied: bool,
}

const fn sure(push: Push) -> Rule {
    Rule { push, sure: true, implied: false }
}

const fn perhaps(push: Push) -> Rule {
    Rule { push, sure: false, implied: false }
}

const fn implied(rule: Rule) -> Rule {
    Rule { implied: true, ..rule }
}

const NOWHERE: Push = Push::Other(|| json!("holdpoint-falsified"));
const UNUSED: Push = Push::Other(|| json!("192.0.2.1"));

/// Parameters that mean the same wherever they are.
const ANYWHERE: &[(&str, Rule)] = &[
    ("at_least", sure(Push::Up)),
    ("inodes_at_least", sure(Push::Up)),
    ("min_size", sure(Push::Up)),
    ("mtu_at_least", sure(Push::Up)),
    ("left", sure(Push::Up)),
    ("up_for", sure(Push::Up)),
    ("keep_free", perhaps(Push::Up)),
    ("max_age", sure(Push::Down)),
    ("at_most", perhaps(Push::Down)),
    ("within", perhaps(Push::Down)),
    ("max_lag", perhaps(Push::Down)),
    ("max_delay", perhaps(Push::Down)),
    ("max_silence", perhaps(Push::Down)),
    ("max_wait", perhaps(Push::Down)),
    ("max_waiting", perhaps(Push::Down)),
    ("equals", sure(NOWHERE)),
    ("matches", sure(NOWHERE)),
    ("contains", sure(NOWHERE)),
];

/// What is particular to a check. `None`: not to be pushed, because it would prove nothing or do something.
const PARTICULAR: &[(&str, &str, Option<Rule>)] = &[
    // A flag, where others have a threshold of this name.
    ("rows_match", "at_least", None),
    ("backup_fresh", "read", None),
    ("backup_restores", "tables", Some(implied(sure(Push::Up)))),
    ("barman_backup", "max_age", Some(sure(Push::Down))),
    ("check_report", "max_age", Some(implied(sure(Push::Down)))),
    ("capacity_for_copy", "wal_room", Some(implied(sure(Push::Up)))),
    ("capacity_parity", "times", Some(implied(sure(Push::Up)))),
    ("space_reserve", "at_least", Some(implied(sure(Push::Up)))),
    ("disk_time_to_full", "headroom", Some(implied(sure(Push::Up)))),
    ("disk_time_to_full", "at_least", Some(perhaps(Push::Up))),
    ("wal_time_to_full", "headroom", Some(implied(sure(Push::Up)))),
    ("wal_time_to_full", "at_least", Some(perhaps(Push::Up))),
    ("container_ports", "at_most", Some(implied(perhaps(Push::Down)))),
    ("container_runtime", "within", Some(implied(perhaps(Push::Down)))),
    ("container_data_persistent", "holds", Some(implied(perhaps(NOWHERE)))),
    ("replication_slots", "slots", Some(implied(sure(Push::More("holdpoint_falsified"))))),
    ("replication_streaming", "standbys", Some(sure(Push::More("holdpoint_falsified")))),
    ("slot_cap", "at_most", Some(implied(perhaps(Push::Down)))),
    ("standby_stable", "at_least", Some(implied(sure(Push::Up)))),
    ("wal_archiving", "max_wait", Some(implied(perhaps(Push::Down)))),
    ("wal_size", "at_most", Some(implied(perhaps(Push::Down)))),
    ("connections_free", "at_least", Some(implied(sure(Push::Up)))),
    ("sequence_headroom", "at_most", Some(implied(perhaps(Push::Down)))),
    ("server_role", "role", Some(sure(Push::Whole(other_role)))),
    // What is smaller is not looked at: more of it proves nothing.
    ("vacuum_recent", "min_size", None),
    ("vacuum_recent", "within", Some(implied(perhaps(Push::Down)))),
    ("autovacuum_progress", "stuck_for", Some(implied(perhaps(Push::Down)))),
    ("horizon_holders", "max_age", Some(implied(perhaps(Push::Down)))),
    ("xid_age", "at_most", Some(implied(perhaps(Push::Down)))),
    ("xid_time_to_stop", "at_least", Some(implied(perhaps(Push::Up)))),
    ("checksums_clean", "min_stats_age", None),
    ("client_timeouts", "statement_timeout", Some(implied(perhaps(Push::Down)))),
    ("client_timeouts", "lock_timeout", Some(implied(perhaps(Push::Down)))),
    ("no_blocked_sessions", "at_most", None),
    ("no_blocked_sessions", "longer_than", Some(implied(perhaps(Push::Down)))),
    ("no_long_transactions", "at_most", Some(implied(perhaps(Push::Down)))),
    ("index_drop_safe", "min_stats_age", None),
    ("plan_without_index", "max_cost_ratio", Some(implied(perhaps(Push::Down)))),
    ("index_drop_safe", "max_cost_ratio", Some(implied(perhaps(Push::Down)))),
    ("account", "exists", Some(implied(sure(Push::State)))),
    ("clock_offset", "at_most", Some(implied(perhaps(Push::Down)))),
    ("clock_steady", "at_most", Some(implied(perhaps(Push::Down)))),
    ("clock_steady", "within", None),
    ("file", "exists", Some(implied(sure(Push::State)))),
    ("file", "newer_than", Some(sure(Push::Down))),
    ("file", "sha256", Some(sure(Push::Other(|| json!("0".repeat(64)))))),
    ("hook_environment", "commands", Some(sure(Push::More("holdpoint-falsified")))),
    ("kernel_parameter", "value", Some(sure(Push::Other(|| json!("-987654321"))))),
    ("kernel_parameter", "at_most", Some(sure(Push::Down))),
    ("log_clean", "within", None),
    ("log_clean", "also", Some(implied(perhaps(Push::More("*"))))),
    // Below a mount point nothing is mounted either.
    ("mounted", "mounted", Some(implied(perhaps(Push::State)))),
    ("mounted", "type", Some(sure(NOWHERE))),
    ("package_installed", "installed", Some(implied(sure(Push::State)))),
    ("package_installed", "exactly", Some(sure(Push::Other(|| json!("0~holdpoint"))))),
    ("package_installed", "at_least", Some(sure(Push::Other(|| json!("999999999:1"))))),
    ("package_installed", "at_most", Some(sure(Push::Other(|| json!("0~~"))))),
    ("process_running", "running", Some(implied(sure(Push::State)))),
    ("service_running", "running", Some(implied(sure(Push::State)))),
    ("dhcp_lease", "left", Some(implied(perhaps(Push::Up)))),
    ("dns_resolves", "addresses", Some(implied(sure(Push::More("192.0.2.1"))))),
    ("http_answers", "status", Some(implied(sure(Push::Other(|| json!(599)))))),
    ("interface", "addresses", Some(implied(sure(Push::More("192.0.2.1"))))),
    ("port_listening", "listening", Some(implied(sure(Push::State)))),
    ("route_to", "gateway", Some(implied(perhaps(UNUSED)))),
    ("tcp_open", "open", Some(implied(sure(Push::State)))),
    ("tls_certificate", "left", Some(implied(sure(Push::Up)))),
    ("change_window", "hours", Some(sure(Push::Whole(other_hours)))),
    ("change_window", "left", None),
    ("heartbeat_fresh", "interval", Some(sure(Push::Down))),
    // It would send a page, or messages.
    ("page_acknowledged", "max_age", None),
    ("page_acknowledged", "within", None),
    ("round_trip", "within", None),
    ("synapse_appservice_ping", "within", None),
    ("observed", "at_most", Some(sure(Push::Down))),
    ("rows_at_least", "recorded", Some(sure(Push::Whole(many_rows)))),
    ("rows_at_least", "at_least", Some(sure(Push::Up))),
    ("same_cluster", "target", Some(sure(Push::Whole(another_cluster)))),
    ("pg_query", "rows", Some(sure(Push::Up))),
    ("pg_query", "at_most", Some(sure(Push::Down))),
    ("pg_accepts_connections", "standby", Some(implied(sure(Push::Flip)))),
    ("extensions_available", "installed", None),
    ("command", "stdout", Some(sure(Push::Other(|| json!({ "equals": "holdpoint-falsified" }))))),
];

/// The rule for a parameter of a check, if it has one.
pub fn rule(kind: &str, key: &str) -> Option<Rule> {
    if let Some((_, _, rule)) = PARTICULAR.iter().find(|(k, name, _)| *k == kind && *name == key) {
        return *rule;
    }
    ANYWHERE.iter().find(|(name, _)| *name == key).map(|(_, rule)| *rule)
}

fn with(params: &Map<String, Value>, key: &str, value: Value) -> Map<String, Value> {
    let mut params = params.clone();
    params.insert(key.to_owned(), value);
    params
}

fn other_role(params: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let other =
        if params.get("role").and_then(Value::as_str) == Some("primary") { "standby" } else { "primary" };
    let bare =
        params.iter().filter(|(key, _)| *key == "target").map(|(k, v)| (k.clone(), v.clone())).collect();
    vec![with(&bare, "role", json!(other))]
}

/// Two windows that cannot both be open.
fn other_hours(params: &Map<String, Value>) -> Vec<Map<String, Value>> {
    ["03:00-03:01", "15:00-15:01"]
        .map(|hours| with(&with(params, "hours", json!(hours)), "left", json!("1ms")))
        .to_vec()
}

fn many_rows(params: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut params = params.clone();
    params.remove("recorded");
    params.remove("share");
    vec![with(&params, "at_least", json!(super::push::MANY))]
}

fn another_cluster(params: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let bare =
        params.iter().filter(|(key, _)| *key == "target").map(|(k, v)| (k.clone(), v.clone())).collect();
    vec![with(&bare, "system_identifier", json!("1"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::registry;

    #[test]
    fn every_rule_is_about_a_parameter_that_there_is() {
        for (kind, key, _) in PARTICULAR {
            let found = registry::find(kind).unwrap_or_else(|| panic!("no check `{kind}`"));
            let schema = (found.schema)().to_value();
            assert!(schema["properties"].get(key).is_some(), "`{kind}` has no `{key}`");
        }
        let twice = |at: usize, (kind, key, _): &(&str, &str, Option<Rule>)| {
            PARTICULAR[..at].iter().any(|(k, name, _)| k == kind && name == key)
        };
        assert_eq!(PARTICULAR.iter().enumerate().find(|(at, rule)| twice(*at, rule)).map(|(_, r)| r.1), None);
        for (key, _) in ANYWHERE {
            let has = |kind: &crate::check::registry::CheckKind| {
                (kind.schema)().to_value()["properties"].get(key).is_some()
            };
            assert!(registry::all().any(has), "nothing has `{key}`");
        }
    }
}
