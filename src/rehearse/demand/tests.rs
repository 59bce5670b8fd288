//! One field changed at a time: each is a mismatch of its own, and none is missed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::receipt::{self, open, seal};
use super::*;
use crate::base::Digest;

fn identity(major: u32, directory: &str) -> Value {
    json!({
        "kind": "postgres", "system_identifier": "7", "data_directory": directory, "port": 5432,
        "server_start": "noon", "timeline": 1, "in_recovery": false, "version": major * 10_000 + 3, "host": "m",
    })
}

fn receipt() -> Value {
    json!({
        "name": "up", "runbook": Digest::of(b"book"),
        "called": [{ "step": "copy", "path": "copy.sh", "digest": Digest::of(b"copy") }],
        "engine": "0.1.3", "environment": "staging",
        "variables": { "names": ["place"], "digest": Digest::of(b"values") },
        "targets": [
            { "name": "old", "before": identity(13, "/old"), "pinned": identity(13, "/old") },
            { "name": "new", "before": null, "pinned": identity(15, "/new") },
        ],
        "facts": {}, "host": "ci",
        "steps": [
            { "id": "copy", "rehearsed": "whole", "took_ms": 5 },
            { "id": "tell", "rehearsed": "not", "how": "a person's work", "took_ms": null },
        ],
        "guards": [{ "step": "copy", "checks": ["copy.pre.a"] }],
        "compared": [], "proofs": 1, "weaknesses": [],
        "began": "2026-11-30T10:00:00Z", "ended": "2026-11-30T10:05:00Z", "took_ms": 300_000,
        "by": "ci@host", "run": "up-1", "head": Digest::of(b"head"),
        "falsified": { "all": true }, "whole": false, "not_whole": ["tell: a person's work"],
    })
}

fn demand() -> Demand {
    Demand {
        environment: "staging".into(),
        max_age: Span::secs(7 * 86_400),
        signed: true,
        not_rehearsed: vec!["tell".into()],
        falsified: true,
    }
}

fn wanted() -> Wanted {
    let known = |value| Ok(serde_json::from_value(value).unwrap());
    Wanted {
        name: "up".into(),
        runbook: Digest::of(b"book"),
        called: vec![Script {
            step: "copy".into(),
            path: "copy.sh".into(),
            digest: Some(Digest::of(b"copy")),
        }],
        engine: "0.1.9".into(),
        steps: vec!["copy".into(), "tell".into()],
        targets: BTreeMap::from([
            ("old".to_owned(), known(identity(13, "/elsewhere"))),
            ("new".to_owned(), Err("it is not there".to_owned())),
        ]),
        made: BTreeSet::new(),
        variables: vec!["place".into()],
        now: "2026-12-01T10:00:00Z".parse().unwrap(),
    }
}

fn subjects(receipt: Value, wanted: &Wanted, signer: &Result<String, String>) -> Vec<String> {
    let receipt: Receipt = serde_json::from_value(receipt).unwrap();
    let all = judge(&demand(), wanted, &receipt, signer);
    assert!(
        all.iter().all(|b| !b.observed.is_empty() && !b.expected.is_empty() && !b.next.is_empty()),
        "{all:?}"
    );
    all.into_iter().map(|b| b.subject.trim_start_matches("receipt: ").to_owned()).collect()
}

#[test]
fn one_field_at_a_time() {
    let signed = Ok("carol".to_owned());
    assert!(subjects(receipt(), &wanted(), &signed).is_empty());
    for (path, value, subject) in [
        ("/name", json!("down"), "runbook"),
        ("/runbook", json!(Digest::of(b"other")), "runbook"),
        ("/called/0/digest", json!(Digest::of(b"other")), "scripts"),
        ("/called/0/digest", Value::Null, "scripts"),
        ("/called/0/path", json!("other.sh"), "scripts"),
        ("/engine", json!("0.2.0"), "engine"),
        ("/engine", json!("1.1.3"), "engine"),
        ("/environment", json!("testing"), "environment"),
        ("/variables/names", json!(["place", "more"]), "variables"),
        ("/targets/0/before/version", json!(140_003), "target old"),
        ("/targets/0/before", Value::Null, ""),
        ("/targets/0/name", json!("oldest"), "target old"),
        ("/steps/0/rehearsed", json!("shortened"), "step copy"),
        ("/steps/0/rehearsed", json!("not"), "step copy"),
        ("/steps/0/rehearsed", json!("as good as"), "step copy"),
        ("/steps/0/id", json!("copies"), "step copy"),
        ("/steps/1/id", json!("tells"), "step tell"),
        ("/ended", json!("2026-11-20T10:05:00Z"), "age"),
        ("/ended", json!("2026-12-02T10:05:00Z"), "age"),
        ("/falsified", Value::Null, "falsified"),
        ("/falsified/all", json!(false), "falsified"),
        ("/falsified/all", json!("true"), "falsified"),
    ] {
        let mut changed = receipt();
        *changed.pointer_mut(path).unwrap() = value;
        let found = subjects(changed, &wanted(), &signed);
        assert!(found.iter().all(|found| found == subject), "{path}: {found:?}");
        assert_eq!(found.is_empty(), subject.is_empty(), "{path}");
    }
    assert_eq!(subjects(receipt(), &wanted(), &Err("it is not signed".into())), ["signature"]);
}

#[test]
fn all_at_once_and_what_is_not_known_does_not_match() {
    let mut other = receipt();
    other["engine"] = json!("9.9.9");
    other["environment"] = json!("mars");
    other["called"] = json!([]);
    other["targets"] = json!([]);
    let found = subjects(other, &wanted(), &Err("nobody".into()));
    assert_eq!(found, ["scripts", "engine", "environment", "target new", "target old", "signature"]);

    let mut gone = wanted();
    gone.targets.insert("old".into(), Err("refused".into()));
    assert_eq!(subjects(receipt(), &gone, &Ok(String::new())), ["target old"]);
    gone.made.insert("old".into());
    assert!(
        subjects(receipt(), &gone, &Ok(String::new())).is_empty(),
        "what a step makes need not be there yet"
    );
    let mut there = wanted();
    there.targets.insert("new".into(), Ok(serde_json::from_value(identity(17, "/n")).unwrap()));
    assert_eq!(subjects(receipt(), &there, &Ok(String::new())), ["target new"]);
    let mut unread = (receipt(), wanted());
    unread.0["called"][0]["digest"] = Value::Null;
    unread.1.called[0].digest = None;
    assert_eq!(subjects(unread.0, &unread.1, &Ok(String::new())), ["scripts"], "two unknowns are not equal");
}

#[test]
fn a_file_that_was_altered_is_no_receipt() {
    let made: Receipt = serde_json::from_value(receipt()).unwrap();
    let (text, digest) = seal(&made, None).unwrap();
    let sealed = open(text.as_bytes()).unwrap();
    assert_eq!((&sealed.receipt, &sealed.digest), (&made, &digest));
    assert!(sealed.key().is_err() && sealed.signature.is_none());
    // Another order of keys and other blanks say the same.
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(open(value.to_string().as_bytes()).unwrap().digest, digest);

    let altered = [
        text.replace("\"staging\"", "\"production\""),
        text.replace("\"whole\": false", "\"whole\": true"),
        text.replace("\"proofs\": 1", "\"proofs\": 1, \"extra\": 2"),
        text.replace("\"proofs\": 1", "\"proofs\": 2, \"proofs\": 1"),
        text.replace("holdpoint_receipt\": 1", "holdpoint_receipt\": 2"),
        text.replace("holdpoint_receipt\": 1", "holdpoint_receipt\": null"),
        text.get(..text.len() / 2).unwrap().to_owned(),
        "[]".to_owned(),
        String::new(),
    ];
    for (nth, text) in altered.iter().enumerate() {
        assert!(open(text.as_bytes()).is_err(), "{nth}");
    }
    assert_eq!(
        receipt::canonical(&json!({ "b": [1, { "d": 1, "c": "\u{e9}" }], "a": null })),
        "{\"a\":null,\"b\":[1,{\"c\":\"\u{e9}\",\"d\":1}]}".as_bytes()
    );
}
