use serde_json::json;

use super::primary::{Sender, View};
use super::*;
use crate::check::Verdict;

fn check(params: Value) -> ReplicationStreaming {
    serde_json::from_value(params).unwrap()
}

fn row() -> Sender {
    Sender {
        name: "beta".to_owned(),
        state: Some("streaming".to_owned()),
        sync_state: Some("async".to_owned()),
        lag: Some(0),
        replay_lag: None,
        reply_age: Some(0.4),
        address: None,
    }
}

fn judged(check: &ReplicationStreaming, rows: Vec<Sender>) -> Outcome {
    let view = View { system_identifier: "7".to_owned(), in_recovery: false, rows };
    let (mut findings, mut facts) = (Findings::default(), Vec::new());
    primary::judge(check, &view, &mut findings, &mut facts);
    findings.outcome("streams", "wanted")
}

#[test]
fn null_is_not_zero_and_no_row_is_no_standby() {
    let check = check(json!({ "primary": "p", "standbys": ["beta"] }));
    let verdict = |row: Sender| judged(&check, vec![row]).verdict;
    assert_eq!(verdict(row()), Verdict::Pass, "replay_lag is NULL when idle");
    assert_eq!(judged(&check, vec![]).verdict, Verdict::Fail);
    assert_eq!(verdict(Sender { state: None, ..row() }), Verdict::Unknown);
    assert_eq!(verdict(Sender { lag: None, ..row() }), Verdict::Unknown);
    assert_eq!(verdict(Sender { reply_age: None, ..row() }), Verdict::Unknown);
    assert_eq!(verdict(Sender { reply_age: Some(-540.0), ..row() }), Verdict::Unknown, "clocks differ");
    assert_eq!(verdict(Sender { reply_age: Some(61.0), ..row() }), Verdict::Fail);
    assert_eq!(verdict(Sender { lag: Some(65 << 20), ..row() }), Verdict::Fail);
    assert_eq!(verdict(Sender { lag: Some(9), replay_lag: Some(61.0), ..row() }), Verdict::Fail);
    assert_eq!(verdict(Sender { lag: Some(0), replay_lag: Some(61.0), ..row() }), Verdict::Pass);
    assert_eq!(verdict(Sender { state: Some("catchup".to_owned()), ..row() }), Verdict::Fail);
    let two = judged(&check, vec![row(), Sender { state: Some("catchup".to_owned()), ..row() }]);
    assert_eq!(two.verdict, Verdict::Fail, "all of one name must hold");
}

#[test]
fn synchronous_standbys_are_counted() {
    let check = check(json!({ "primary": "p", "standbys": ["beta"], "synchronous": "1" }));
    assert_eq!(judged(&check, vec![row()]).verdict, Verdict::Fail);
    let quorum = Sender { sync_state: Some("quorum".to_owned()), ..row() };
    assert_eq!(judged(&check, vec![quorum]).verdict, Verdict::Pass);
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    let refused = |params: Value| build(params.as_object().cloned().unwrap()).err();
    let with = |key: &str, value: Value| {
        let mut params = json!({ "primary": "p", "standbys": ["beta"] });
        params[key] = value;
        refused(params)
    };
    assert_eq!(refused(json!({ "primary": "p", "standbys": ["beta"] })), None);
    assert!(refused(json!({ "primary": "p" })).is_some());
    for (key, value, words) in [
        ("standbys", json!([]), "name every standby"),
        ("standbys", json!(["a", "a"]), "twice"),
        ("standbys", json!([" "]), "empty name"),
        ("max_lag", json!("0B"), "zero"),
        ("max_delay", json!("0s"), "zero"),
        ("synchronous", json!(0), "leave it out"),
        ("synchronous", json!(2), "names only 1"),
    ] {
        let why = with(key, value).unwrap_or_default();
        assert!(why.contains(words), "{key}: {why}");
    }
}

#[test]
fn a_name_is_known_only_where_it_is_shown_unchanged() {
    let name = standby::name_in;
    let both = "user=r host='/tmp/a b' application_name=beta fallback_application_name=walreceiver";
    assert_eq!(name(both).as_deref(), Some("beta"));
    assert_eq!(name("user=r fallback_application_name='node 2'").as_deref(), Some("node 2"));
    assert_eq!(name("user=r"), None);
    assert_eq!(name("application_name=über"), None, "its sender replaces what is not ASCII");
    assert_eq!(name(&format!("application_name={}", "x".repeat(64))), None, "and cuts what is too long");
}

#[test]
fn a_standby_of_a_standby_is_not_taken_for_one_of_the_primary() {
    let check = check(json!({ "primary": "p", "standbys": ["beta"] }));
    let upstream = View { system_identifier: "7".to_owned(), in_recovery: false, rows: vec![row()] };
    let receives_as = |name: Option<&str>| {
        let receiver = standby::Receiver {
            status: Some("streaming".to_owned()),
            message_age: Some(0.1),
            name: name.map(str::to_owned),
            ..standby::Receiver::default()
        };
        let view = standby::View {
            system_identifier: "7".to_owned(),
            in_recovery: true,
            receiver: Some(receiver),
            ..standby::View::default()
        };
        let mut findings = Findings::default();
        standby::judge(&check, "new", &view, Some(&upstream), &mut findings);
        findings.outcome("streams", "wanted")
    };
    assert_eq!(receives_as(Some("beta")).verdict, Verdict::Pass);
    assert_eq!(receives_as(None).verdict, Verdict::Pass, "a name that is not shown tells nothing");
    let behind = receives_as(Some("gamma"));
    assert_eq!(behind.verdict, Verdict::Fail);
    assert!(behind.observed.contains("p has no connection called gamma"), "{behind:?}");
}
