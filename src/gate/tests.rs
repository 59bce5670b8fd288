//! The gate against an oracle that was written apart from it, and against every single thing that can be wrong.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::check::{Outcome, Verdict};
use crate::gate::approvals::{Authorship, Given, Proven, Says};
use crate::gate::clock::Term;
use crate::journal::record::{BlastItem, Gone};
use crate::journal::scripts::{Found, Scripts};
use crate::journal::second::{Content, Person};
use crate::world::identity::{FileIdentity, PostgresIdentity};

/// Everything that a request borrows.
#[derive(Debug, Clone)]
struct Facts {
    runbook: Digest,
    runbook_now: Digest,
    scripts: Scripts,
    scripts_now: Found,
    step: Step,
    undo: bool,
    guards: Vec<Guard>,
    evidence: BTreeMap<CheckId, Evidence>,
    epoch_began: Moment,
    pins: BTreeMap<String, Identity>,
    proved: BTreeMap<String, (Identity, Moment)>,
    needs: Vec<String>,
    unfinished: Vec<(StepId, String)>,
    blast: Blast,
    confirmed: Option<Confirmation>,
    proofs: Option<Vec<CheckId>>,
    vars: BTreeMap<String, String>,
    approvals: Approvals,
    waivers: Vec<Waived>,
    windows: Vec<Result<Window, String>>,
    boot: String,
    newest: Timestamp,
    now: Moment,
}

fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap(),
        boot_ms: 1_000_000 + ms,
    }
}

fn server(name: &str) -> PostgresIdentity {
    PostgresIdentity {
        system_identifier: name.to_owned(),
        data_directory: format!("/srv/{name}"),
        port: 1,
        server_start: "2026-01-01".to_owned(),
        timeline: 1,
        in_recovery: false,
        version: 150_000,
        host: "m".to_owned(),
    }
}

fn pg(name: &str) -> Identity {
    Identity::Postgres(server(name))
}

/// A step that destroys, or one whose undoing does.
fn step(destroys: serde_json::Value, undo: bool) -> Step {
    let mut step = serde_json::json!({ "id": "drop", "run": ["true"] });
    if undo {
        step["rollback"] = serde_json::json!({ "run": ["true"], "destroys": destroys });
    } else {
        step["destroys"] = destroys;
    }
    serde_json::from_value(step).unwrap()
}

const NOW: u64 = 200_000;

/// All is well, and a permit is due.
fn facts() -> Facts {
    facts_of(false)
}

fn facts_of(undo: bool) -> Facts {
    let mut facts = unapproved(undo);
    let content = facts.ask(content);
    facts.approvals.given.push(approval("bob@h", Some(content)));
    facts
}

fn always() -> Window {
    window(&["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "00:00-24:00")
}

fn window(days: &[&str], hours: &str) -> Window {
    let written = serde_json::json!({ "days": days, "hours": hours, "timezone": "UTC" });
    Window::read(&serde_json::from_value(written).unwrap()).unwrap()
}

/// Approved half a minute ago, for an hour.
fn approval(by: &str, content: Option<Content>) -> Given {
    let content = content.map(Box::new);
    let at = moment(NOW - 30_000);
    let until = Timestamp::from_millisecond(at.wall.as_millisecond() + 3_600_000).unwrap();
    let term = Term { at, boot: "b".to_owned(), until };
    Given {
        by: by.to_owned(),
        person: Person::named(by),
        proven: Proven::Claimed,
        says: Says::Approves { content, term, used: None },
    }
}

fn waiver(check: &str, by: &str) -> Waived {
    let at = moment(NOW - 30_000);
    let until = Timestamp::from_millisecond(at.wall.as_millisecond() + 3_600_000).unwrap();
    Waived {
        check: check.into(),
        by: by.to_owned(),
        person: Person::named(by),
        proven: Proven::Claimed,
        reason: "because".to_owned(),
        verdict: Verdict::Fail,
        term: Term { at, boot: "b".to_owned(), until },
        guards: true,
        waivable: true,
    }
}

fn unapproved(undo: bool) -> Facts {
    let at = moment(NOW - 1_000);
    let evidence = |id: &str, outcome: Outcome| Evidence {
        check: id.into(),
        kind: "k".to_owned(),
        title: "t".to_owned(),
        outcome,
        at,
        took_ms: 1,
    };
    let same = Outcome::pass("same", "same").on("old", pg("old")).on("new", pg("new"));
    let all =
        [evidence("copy.post.same", same), evidence("drop.pre.backup", Outcome::pass("fresh", "fresh"))];
    let guard = |id: &str, targets: &[&str], keeps: &[&str]| Guard {
        id: id.into(),
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        keeps: keeps.iter().map(|k| (*k).to_owned()).collect(),
        waivable: false,
    };
    let item = |kind: &str, name: &str, rows| BlastItem {
        kind: kind.to_owned(),
        name: name.to_owned(),
        bytes: Some(100),
        rows,
    };
    let blast = Blast {
        items: vec![item("data directory", "/srv/old", None), item("database", "synapse", Some(10))],
        identity: Some(pg("old")),
        serving: Vec::new(),
        unmeasured: Vec::new(),
        gone: Vec::new(),
        at,
    };
    Facts {
        runbook: "digest".into(),
        runbook_now: "digest".into(),
        scripts: Scripts {
            folder: "/srv".to_owned(),
            files: BTreeMap::from([("drop.sh".to_owned(), "d".into())]),
        },
        scripts_now: BTreeMap::from([("drop.sh".to_owned(), Some("d".into()))]),
        step: step(
            serde_json::json!({ "what": "cluster 13/main", "target": "old", "survives_in": "new" }),
            undo,
        ),
        undo,
        guards: vec![
            guard("copy.post.same", &["old", "new"], &[]),
            guard("drop.pre.backup", &[], &["/srv/dumps"]),
        ],
        evidence: all.into_iter().map(|e| (e.check.clone(), e)).collect(),
        epoch_began: moment(0),
        pins: BTreeMap::from([("old".to_owned(), pg("old")), ("new".to_owned(), pg("new"))]),
        proved: BTreeMap::from([("old".to_owned(), (pg("old"), at)), ("new".to_owned(), (pg("new"), at))]),
        needs: vec!["new".to_owned(), "old".to_owned()],
        unfinished: Vec::new(),
        confirmed: Some(Confirmation {
            step: "drop".into(),
            undo,
            text: "cluster 13/main".to_owned(),
            blast: blast.clone(),
            at: moment(NOW - 5_000),
        }),
        blast,
        proofs: Some(vec!["copy.post.same".into()]),
        vars: BTreeMap::from([("to".to_owned(), "15".to_owned())]),
        approvals: Approvals {
            wanted: 1,
            operator: Person::named("alice@h"),
            author: Authorship::Known(Person::named("Carol Example")),
            ..Approvals::default()
        },
        waivers: Vec::new(),
        windows: vec![Ok(always())],
        boot: "b".to_owned(),
        newest: moment(NOW - 1_000).wall,
        now: moment(NOW),
    }
}

impl Facts {
    fn ask<T>(&self, decide: impl FnOnce(&Request<'_>) -> T) -> T {
        let run = RunId::from("run");
        decide(&Request {
            run: &run,
            runbook: &self.runbook,
            runbook_now: &self.runbook_now,
            scripts: &self.scripts,
            scripts_now: &self.scripts_now,
            step: &self.step,
            undo: self.undo,
            guards: &self.guards,
            evidence: &self.evidence,
            epoch_began: &self.epoch_began,
            pins: &self.pins,
            proved: &self.proved,
            needs: &self.needs,
            unfinished: &self.unfinished,
            blast: &self.blast,
            machine: "m",
            vars: &self.vars,
            approvals: &self.approvals,
            waivers: &self.waivers,
            windows: &self.windows,
            boot: &self.boot,
            newest: self.newest,
            confirmed: self.confirmed.as_ref(),
            proof: self.proofs.as_deref().map_or(Proof::NotNeeded, Proof::Guards),
            now: &self.now,
            number: 1,
        })
    }

    fn given(&mut self) -> &mut Given {
        self.approvals.given.last_mut().unwrap()
    }

    fn approved(&mut self, change: impl FnOnce(&mut Content)) {
        match &mut self.given().says {
            Says::Approves { content: Some(content), .. } => change(content),
            other => panic!("{other:?}"),
        }
    }

    fn term(&mut self) -> &mut Term {
        match &mut self.given().says {
            Says::Approves { term, .. } => term,
            other => panic!("{other:?}"),
        }
    }

    /// The backup failed, may be waived, and bob waived it.
    fn waive(&mut self) -> &mut Waived {
        self.seen("drop.pre.backup").outcome.verdict = Verdict::Fail;
        self.guards[1].waivable = true;
        self.waivers = vec![waiver("drop.pre.backup", "bob@h")];
        self.waivers.last_mut().unwrap()
    }

    fn seen(&mut self, id: &str) -> &mut Evidence {
        self.evidence.get_mut(&CheckId::from(id)).unwrap()
    }

    fn proved(&mut self, name: &str, change: impl FnOnce(&mut PostgresIdentity)) {
        let mut identity = server(name);
        change(&mut identity);
        self.proved.get_mut(name).unwrap().0 = Identity::Postgres(identity);
    }
}

type Spoil = fn(&mut Facts);

/// One thing wrong at a time, and the subject of the blocker that says so.
const WRONG: &[(&str, &str, Spoil)] = &[
    ("runbook", "the runbook is another", |f| f.runbook_now = "other".into()),
    ("script", "a script is another", |f| drop(f.scripts_now.insert("drop.sh".to_owned(), Some("e".into())))),
    ("script", "a script cannot be read", |f| drop(f.scripts_now.insert("drop.sh".to_owned(), None))),
    ("script", "a script was not looked at", |f| f.scripts_now.clear()),
    ("guards", "nothing guards it", |f| {
        f.guards.clear();
        f.proofs = None;
    }),
    ("copy.post.same", "not measured", |f| {
        f.evidence.remove(&CheckId::from("copy.post.same"));
    }),
    ("copy.post.same", "failed", |f| f.seen("copy.post.same").outcome.verdict = Verdict::Fail),
    ("copy.post.same", "unknown", |f| f.seen("copy.post.same").outcome.verdict = Verdict::Unknown),
    ("drop.pre.backup", "unknown", |f| f.seen("drop.pre.backup").outcome.verdict = Verdict::Unknown),
    ("copy.post.same", "stale", |f| f.seen("copy.post.same").at = moment(NOW - 60_001)),
    ("copy.post.same", "of the time before the session", |f| f.epoch_began = moment(NOW - 500)),
    ("copy.post.same", "measured in the future", |f| f.seen("copy.post.same").at = moment(NOW + 1)),
    ("drop.pre.backup", "the clock jumped", |f| {
        f.now.wall = Timestamp::from_millisecond(f.now.wall.as_millisecond() + 540_000).unwrap();
    }),
    ("copy.post.same", "seen on another server", |f| {
        f.seen("copy.post.same").outcome.seen[1].identity = pg("else")
    }),
    ("copy.post.same", "seen before a restart", |f| {
        f.proved("new", |pg| pg.server_start = "later".to_owned())
    }),
    ("copy.post.same", "does not say where it was seen", |f| f.seen("copy.post.same").outcome.seen.clear()),
    ("copy.post.same", "one side is not said", |f| {
        f.seen("copy.post.same").outcome.seen.pop();
    }),
    ("identity", "not proved", |f| {
        f.proved.remove("old");
    }),
    ("identity", "never pinned", |f| {
        f.pins.remove("old");
    }),
    ("identity", "another system identifier", |f| {
        f.proved("old", |pg| pg.system_identifier = "x".to_owned())
    }),
    ("identity", "another data directory", |f| f.proved("old", |pg| pg.data_directory = "/srv/x".to_owned())),
    ("identity", "another timeline", |f| f.proved("old", |pg| pg.timeline = 2)),
    ("identity", "a standby", |f| f.proved("old", |pg| pg.in_recovery = true)),
    ("identity", "another host", |f| f.proved("old", |pg| pg.host = "x".to_owned())),
    ("identity", "another major version", |f| f.proved("old", |pg| pg.version = 160_000)),
    ("identity", "proved too long ago", |f| f.proved.get_mut("old").unwrap().1 = moment(NOW - 60_001)),
    ("identity", "what goes is what stays", |f| {
        f.pins.insert("new".to_owned(), pg("old"));
        f.proved.insert("new".to_owned(), (pg("old"), moment(NOW - 1_000)));
    }),
    ("copy", "nothing compares", |f| f.proofs = Some(Vec::new())),
    ("copy", "the proof guards nothing", |f| f.proofs = Some(vec!["other.post.same".into()])),
    ("survivors", "the copy lies in what goes", |f| {
        let mut inside = server("new");
        inside.data_directory = "/srv/old/new".to_owned();
        f.pins.insert("new".to_owned(), Identity::Postgres(inside.clone()));
        f.proved.insert("new".to_owned(), (Identity::Postgres(inside), moment(NOW - 1_000)));
        f.seen("copy.post.same").outcome.seen.pop();
        f.guards[0].targets.pop();
    }),
    ("survivors", "another target lies in what goes", |f| {
        let file =
            FileIdentity { path: "/srv/old/was.db".to_owned(), device: 1, inode: 1, host: "m".to_owned() };
        f.pins.insert("was".to_owned(), Identity::Sqlite(file));
    }),
    ("survivors", "the backups lie in what goes", |f| f.guards[1].keeps = vec!["/srv/old/dumps".to_owned()]),
    ("survivors", "it is a target, and not declared as one", |f| {
        f.step = step(serde_json::json!({ "what": "cluster 13/main", "paths": ["/srv/old"] }), f.undo);
        f.proofs = None;
    }),
    ("blast radius", "nothing would go", |f| f.blast.items.clear()),
    ("blast radius", "something was not measured", |f| f.blast.unmeasured.push("?".to_owned())),
    ("blast radius", "measured too long ago", |f| f.blast.at = moment(NOW - 60_001)),
    ("serving", "it is in use", |f| f.blast.serving.push("a session".to_owned())),
    ("confirmation", "nobody confirmed", |f| f.confirmed = None),
    ("confirmation", "another text", |f| f.confirmed.as_mut().unwrap().text = "cluster 15/main".to_owned()),
    ("confirmation", "another step", |f| f.confirmed.as_mut().unwrap().step = "other".into()),
    ("confirmation", "the other way", |f| {
        let confirmed = f.confirmed.as_mut().unwrap();
        confirmed.undo = !confirmed.undo;
    }),
    ("blast radius", "the other way destroys nothing", |f| f.undo = !f.undo),
    ("blast radius", "it was not there, and then it was", |f| {
        f.blast.items.clear();
        f.blast.identity = None;
        f.blast.gone = vec![gone("old")];
    }),
    ("identity", "what goes is there, and nobody knows what it is", |f| {
        f.blast.gone = vec![gone("/srv/else")];
        f.proved.remove("old");
    }),
    ("confirmation", "more rows", |f| f.blast.items[1].rows = Some(11)),
    ("confirmation", "rows that were not counted before", |f| {
        f.confirmed.as_mut().unwrap().blast.items[1].rows = None
    }),
    ("confirmation", "a new item", |f| {
        f.confirmed.as_mut().unwrap().blast.items.pop();
    }),
    ("confirmation", "much larger", |f| f.blast.items[0].bytes = Some(1 << 30)),
    ("confirmation", "another object was shown", |f| {
        f.confirmed.as_mut().unwrap().blast.identity = Some(pg("x"))
    }),
    ("approval", "nobody approved", |f| f.approvals.given.clear()),
    ("approval", "one person more is wanted", |f| f.approvals.wanted = 2),
    ("approval", "the operator approved", |f| f.given().person = Person::named("ALICE@elsewhere")),
    ("approval", "the operator's key approved", |f| {
        f.approvals.operator.key("SHA256:k");
        f.given().person.key("SHA256:k");
    }),
    ("approval", "the author approved", |f| f.given().person = Person::named("carol example@h")),
    ("approval", "nobody knows the author, and it is not signed", |f| {
        f.approvals.author = Authorship::Unknown("?".to_owned())
    }),
    ("approval", "it has to be signed", |f| f.approvals.signed = true),
    ("approval", "its signature is broken", |f| f.given().proven = Proven::Broken("?".to_owned())),
    ("approval", "for nothing on record", |f| {
        *f.given() = approval("bob@h", None);
    }),
    ("approval", "it was used", |f| {
        if let Says::Approves { used, .. } = &mut f.given().says {
            *used = Some(1);
        }
    }),
    ("approval", "it has expired", |f| f.term().until = moment(NOW).wall),
    ("approval", "it lasts for ever", |f| f.term().until = Timestamp::MAX),
    ("approval", "the clock jumped since", |f| f.term().at.boot_ms -= 900_000),
    ("approval", "the journal is ahead of the clock", |f| {
        f.newest = moment(NOW + 61_000).wall;
        f.windows.clear();
    }),
    ("approval", "of another run", |f| f.approved(|c| c.run = "other".into())),
    ("approval", "of another step", |f| f.approved(|c| c.step = "other".into())),
    ("approval", "of the other way", |f| f.approved(|c| c.undo = !c.undo)),
    ("approval", "of another text", |f| f.approved(|c| c.text.push('x'))),
    ("approval", "of another runbook", |f| f.approved(|c| c.runbook = "other".into())),
    ("approval", "of another script", |f| {
        f.approved(|c| drop(c.scripts.insert("drop.sh".into(), "e".into())))
    }),
    ("approval", "of no script", |f| f.approved(|c| c.scripts.clear())),
    ("approval", "with another variable", |f| {
        f.approved(|c| drop(c.vars.insert("to".to_owned(), "16".to_owned())))
    }),
    ("approval", "with a variable more", |f| {
        f.approved(|c| drop(c.vars.insert("more".to_owned(), "x".to_owned())))
    }),
    ("approval", "with a variable less", |f| f.approved(|c| c.vars.clear())),
    ("approval", "of another target", |f| {
        f.approved(|c| drop(c.targets.insert("old".to_owned(), pg("else"))))
    }),
    ("approval", "without a target", |f| f.approved(|c| drop(c.targets.remove("new")))),
    ("approval", "with a guard less", |f| f.approved(|c| drop(c.guards.pop()))),
    ("approval", "with a guard more", |f| f.approved(|c| c.guards.push("x.pre.y".into()))),
    ("approval", "of fewer things", |f| f.approved(|c| drop(c.blast.items.pop()))),
    ("approval", "of fewer rows", |f| f.approved(|c| c.blast.items[1].rows = Some(9))),
    ("approval", "of something smaller", |f| {
        f.blast.items[0].bytes = Some(1 << 30);
        f.confirmed.as_mut().unwrap().blast = f.blast.clone();
    }),
    ("approval", "of another object", |f| f.approved(|c| c.blast.identity = Some(pg("x")))),
    ("approval", "before a check was waived", |f| {
        f.waive();
    }),
    ("rejection", "somebody else says no", |f| {
        let says = Says::Rejects { reason: "not tonight".to_owned() };
        f.approvals.given.push(Given { says, ..approval("dave@h", None) });
    }),
    ("rejection", "somebody says no whose signature is broken", |f| {
        let (says, proven) = (Says::Rejects { reason: "no".to_owned() }, Proven::Broken("?".to_owned()));
        f.approvals.given.push(Given { says, proven, ..approval("dave@h", None) });
    }),
    ("change window", "it is not open", |f| {
        // Tuesday, 14 November 2023.
        f.windows.push(Ok(self::window(&["wed"], "09:00-15:00")));
    }),
    ("change window", "it cannot be read", |f| f.windows.push(Err("no such zone".to_owned()))),
    ("change window", "nobody knows what time it is", |f| f.newest = moment(NOW + 61_000).wall),
    ("drop.pre.backup", "waived, and the runbook does not allow it", |f| {
        f.waive();
        f.guards[1].waivable = false;
    }),
    ("drop.pre.backup", "waived by the operator", |f| f.waive().person = Person::named("Alice@x")),
    ("drop.pre.backup", "waived, and the waiver has expired", |f| {
        let over = moment(NOW).wall;
        f.waive().term.until = over;
    }),
    ("drop.pre.backup", "waived, and the clock jumped since", |f| f.waive().term.at.boot_ms -= 900_000),
    ("drop.pre.backup", "waived for a failure, and unknown now", |f| {
        f.waive();
        f.seen("drop.pre.backup").outcome.verdict = Verdict::Unknown;
    }),
    ("drop.pre.backup", "waived, and measured too long ago", |f| {
        f.waive();
        f.seen("drop.pre.backup").at = moment(NOW - 60_001);
    }),
    ("drop.pre.backup", "waived, and not measured", |f| {
        f.waive();
        f.evidence.remove(&CheckId::from("drop.pre.backup"));
    }),
    ("drop.pre.backup", "another check is waived", |f| f.waive().check = "drop.pre.other".into()),
    ("drop.pre.backup", "waived with a broken signature", |f| {
        f.waive().proven = Proven::Broken("?".to_owned())
    }),
    ("copy", "the proof of the copy is waived", |f| {
        f.seen("copy.post.same").outcome.verdict = Verdict::Fail;
        f.guards[0].waivable = true;
        f.waivers = vec![waiver("copy.post.same", "bob@h")];
    }),
    ("guards", "every guard is waived", |f| {
        f.waive();
        f.seen("copy.post.same").outcome.verdict = Verdict::Fail;
        f.guards[0].waivable = true;
        f.waivers.push(waiver("copy.post.same", "bob@h"));
    }),
    ("copy", "an earlier step is not done", |f| f.unfinished.push(("copy".into(), "failed".to_owned()))),
];

#[test]
fn an_expired_waiver_is_named_with_who_gave_it_and_until_when() {
    let mut facts = facts();
    let until = moment(NOW - 1_000).wall;
    facts.waive().term.until = until;
    let blockers = facts.ask(clear).unwrap_err();
    let backup = blockers.iter().find(|blocker| blocker.subject == "drop.pre.backup").expect("it is held");
    let said = format!("; the waiver of bob@h does not count: it has expired: it was given until {until:.0}");
    assert!(backup.observed.ends_with(&said), "{backup:?}");
}

#[test]
fn a_permit_says_who_approved_and_what_is_waived() {
    let mut facts = facts();
    assert_eq!(facts.ask(clear).unwrap().approvers(), ["bob@h"]);
    facts.waive();
    let content = facts.ask(content);
    facts.approvals.given = vec![approval("dave@h", Some(content))];
    let permit = facts.ask(clear).expect("a permit, with one guard waived");
    assert_eq!(permit.waived(), ["drop.pre.backup".into()]);
    assert_eq!(permit.guards().len(), 2, "it is measured all the same");
    // Less than approved is no drift.
    facts.blast.items.remove(0);
    facts.blast.items[0].rows = Some(9);
    assert!(facts.ask(clear).is_ok());
}

#[test]
fn one_person_counts_once_under_whatever_name() {
    let mut facts = facts();
    facts.approvals.wanted = 2;
    let content = facts.ask(content);
    let second = |facts: &mut Facts, given: Given| {
        facts.approvals.given.truncate(1);
        facts.approvals.given.push(given);
        facts.ask(clear).is_ok()
    };
    assert!(!second(&mut facts, approval("BOB@db2", Some(content.clone()))), "the same name");
    let mut key = approval("robert@h", Some(content.clone()));
    key.person.key("SHA256:k");
    assert!(second(&mut facts, key.clone()), "another person");
    facts.approvals.given[0].person.key("SHA256:k");
    assert!(!second(&mut facts, key), "the same key");
    assert!(second(&mut facts, approval("dave@h", Some(content))));
}

#[test]
fn a_rejection_stands_until_who_rejected_lifts_it() {
    let reject = |by: &str, proven: Proven| {
        let says = Says::Rejects { reason: "no".to_owned() };
        Given { says, proven, ..approval(by, None) }
    };
    let withdraw = |by: &str, proven: Proven| Given { says: Says::Withdraws, proven, ..approval(by, None) };
    let opens = |more: Vec<Given>| {
        let mut facts = facts();
        facts.approvals.given.extend(more);
        facts.ask(clear).is_ok()
    };
    let (claimed, signed) = (|| Proven::Claimed, || Proven::Signed);
    let content = facts().ask(content);
    assert!(!opens(vec![reject("bob@h", claimed())]), "bob changed his mind");
    assert!(!opens(vec![reject("dave@h", claimed()), approval("erin@h", Some(content.clone()))]));
    assert!(opens(vec![reject("dave@h", claimed()), withdraw("dave@db2", claimed())]));
    assert!(opens(vec![reject("dave@h", claimed()), approval("dave@h", Some(content.clone()))]));
    assert!(!opens(vec![reject("dave@h", claimed()), withdraw("erin@h", claimed())]), "by somebody else");
    assert!(!opens(vec![reject("dave@h", signed()), withdraw("dave@h", claimed())]), "a key lifts a key");
    assert!(opens(vec![reject("dave@h", signed()), withdraw("dave@h", signed())]));
    let broken = || Proven::Broken("?".to_owned());
    assert!(!opens(vec![reject("dave@h", claimed()), withdraw("dave@h", broken())]));
    assert!(!opens(vec![withdraw("bob@h", claimed())]), "an approval is taken back by anybody in its name");
}

#[test]
fn all_well_gives_a_permit_that_is_used_once() {
    let facts = facts();
    let permit = facts.ask(clear).expect("a permit");
    assert_eq!((permit.number(), permit.step().as_str(), permit.guards().len()), (1, "drop", 2));
    let cleared = Cleared::by(permit, &facts.step, &facts.now).expect("cleared");
    assert!(cleared.covers(&"run".into(), &facts.step, false));
    assert!(!cleared.covers(&"another".into(), &facts.step, false), "another run");
    assert!(!cleared.covers(&"run".into(), &facts.step, true), "not its undoing");
    assert!(cleared.in_time(&moment(NOW + 58_999)) && !cleared.in_time(&moment(NOW + 59_001)));
}

#[test]
fn each_single_wrong_thing_refuses_and_says_so() {
    let both = WRONG.iter().flat_map(|row| [(row, false), (row, true)]);
    for ((subject, what, spoil), undo) in both {
        let mut facts = facts_of(undo);
        spoil(&mut facts);
        let blockers = facts.ask(clear).expect_err(what);
        let subjects: Vec<&str> = blockers.iter().map(|b| b.subject.as_str()).collect();
        assert!(subjects.contains(subject), "{what}: {subjects:?}");
        let shown = facts.ask(survey);
        assert_eq!(shown.iter().any(|b| b.subject == *subject), *subject != rules::CONFIRMATION, "{what}");
    }
}

fn gone(name: &str) -> Gone {
    Gone { name: name.to_owned(), why: "there is no such thing".to_owned() }
}

#[test]
fn a_permit_for_the_work_and_one_for_the_undoing_are_two() {
    let run = RunId::from("run");
    let now = moment(NOW);
    let (work, undo) = (facts_of(false), facts_of(true));
    let permit = undo.ask(clear).expect("a permit");
    assert!(permit.undo());
    let cleared = Cleared::by(permit, &undo.step, &now).expect("cleared");
    assert!(cleared.undo() && cleared.permit().is_some());
    assert!(cleared.covers(&run, &undo.step, true));
    assert!(!cleared.covers(&run, &undo.step, false), "not the work");
    assert!(!cleared.covers(&"another".into(), &undo.step, true), "another run");
    assert!(!cleared.covers(&run, &work.step, true) && !cleared.covers(&run, &work.step, false));
    assert!(cleared.in_time(&moment(NOW + 58_999)) && !cleared.in_time(&moment(NOW + 59_001)));
    // Where both would destroy, nothing is undone: a permit clears one way, or none.
    let mut both = work.step.clone();
    both.rollback = undo.step.rollback.clone();
    assert!(Cleared::by(undo.ask(clear).unwrap(), &both, &now).is_none(), "nothing undoes a destruction");
    assert!(Cleared::by(work.ask(clear).unwrap(), &undo.step, &now).is_none(), "its work destroys nothing");
    let cleared = Cleared::by(work.ask(clear).unwrap(), &both, &now).unwrap();
    assert!(cleared.covers(&run, &both, false) && !cleared.covers(&run, &both, true));
    // Without a permit the undoing is not cleared, and the work is.
    assert!(Cleared::rollback(&undo.step).is_none() && Cleared::harmless(&undo.step).is_some());
    // A token for an undoing that destroyed nothing is none once it does.
    let mut plain = undo.step.clone();
    plain.rollback.as_mut().unwrap().destroys = None;
    let harmless = Cleared::rollback(&plain).unwrap();
    assert!(harmless.covers(&run, &plain, true) && !harmless.covers(&run, &undo.step, true));
}

#[test]
fn what_an_undoing_would_remove_may_be_gone_and_has_to_be_seen_gone() {
    let vanish = |undo: bool| {
        let mut facts = facts_of(undo);
        facts.blast = Blast { items: Vec::new(), identity: None, gone: vec![gone("old")], ..facts.blast };
        facts.confirmed.as_mut().unwrap().blast = facts.blast.clone();
        facts.proved.remove("old");
        facts.guards.remove(0);
        facts.proofs = None;
        let content = facts.ask(content);
        facts.approvals.given = vec![approval("bob@h", Some(content))];
        facts
    };
    assert!(vanish(true).ask(clear).is_ok(), "an undoing that was broken off goes on");
    assert!(vanish(false).ask(clear).is_err(), "a step destroys what is there");
    let mut unseen = vanish(true);
    unseen.blast.gone.clear();
    assert!(unseen.ask(clear).is_err(), "nothing found is not nothing there");
    let mut doubtful = vanish(true);
    doubtful.blast.unmeasured.push("?".to_owned());
    assert!(doubtful.ask(clear).is_err());
    let mut back = vanish(true);
    back.blast = facts_of(true).blast;
    back.proved.insert("old".to_owned(), (pg("old"), moment(NOW - 1_000)));
    assert!(back.ask(clear).is_err(), "it was shown as gone, and is there again");
}

/// The survivor answers as the very server that something goes of.
#[test]
fn an_index_may_go_of_the_server_that_stays_and_data_may_not() {
    for (part, opens) in [
        (serde_json::json!({ "indexes": ["public.a"] }), true),
        (serde_json::json!({ "tables": ["public.a"] }), false),
        (serde_json::json!({ "tables": ["public.a"], "indexes": ["public.b"] }), false),
        (serde_json::json!({ "database": "a" }), false),
        (serde_json::json!({ "database": "a", "indexes": ["public.a"] }), true),
    ] {
        let mut facts = facts();
        let mut destroys = part.clone();
        destroys["what"] = facts.step.destroys.as_ref().unwrap().what.clone().into();
        destroys["target"] = "old".into();
        facts.step = step(destroys, false);
        let same = |facts: &mut Facts| {
            facts.pins.insert("new".to_owned(), pg("old"));
            facts.proved.insert("new".to_owned(), (pg("old"), moment(NOW - 1_000)));
            for evidence in facts.evidence.values_mut() {
                for seen in &mut evidence.outcome.seen {
                    seen.identity = pg("old");
                }
            }
        };
        same(&mut facts);
        let content = facts.ask(content);
        facts.approvals.given = vec![approval("bob@h", Some(content))];
        let refused = facts.ask(clear).err().unwrap_or_default();
        let one =
            refused.iter().any(|b| b.title.contains("two objects") && b.next.contains("another server"));
        assert_eq!((refused.is_empty(), one), (opens, !opens), "{part}: {refused:?}");
    }
}

#[test]
fn only_an_index_can_be_made_again() {
    for (part, back) in [
        (serde_json::json!({ "what": "x", "target": "old", "indexes": ["public.a"] }), true),
        (
            serde_json::json!({ "what": "x", "target": "old", "indexes": ["public.a"], "paths": ["/a"] }),
            false,
        ),
        (
            serde_json::json!({ "what": "x", "target": "old", "tables": ["public.a"], "indexes": ["public.b"] }),
            false,
        ),
        (serde_json::json!({ "what": "x", "target": "old" }), false),
    ] {
        let mut dropping = step(part.clone(), false);
        dropping.rollback = serde_json::from_value(serde_json::json!({ "run": ["true"] })).unwrap();
        let cleared = Cleared::rollback(&dropping);
        assert_eq!(cleared.is_some(), back, "{part}");
        assert!(Cleared::harmless(&dropping).is_none(), "its work wants a permit all the same");
        assert!(cleared.is_none_or(|cleared| {
            cleared.covers(&"run".into(), &dropping, true) && !cleared.covers(&"run".into(), &dropping, false)
        }));
    }
}

#[test]
fn a_token_stands_for_nothing_else() {
    let facts = facts();
    let plain: Step = serde_json::from_value(serde_json::json!({
        "id": "drop", "run": ["true"], "rollback": { "run": ["true"] },
    }))
    .unwrap();
    let mut both = facts.step.clone();
    both.rollback = plain.rollback.clone();
    assert!(Cleared::harmless(&facts.step).is_none());
    assert!(Cleared::rollback(&both).is_none(), "nothing undoes a destruction");
    let run = RunId::from("run");
    let harmless = Cleared::harmless(&plain).unwrap();
    assert!(!harmless.covers(&run, &facts.step, false), "a step of the same name that destroys");
    let undo = Cleared::rollback(&plain).unwrap();
    assert!(undo.covers(&run, &plain, true) && !undo.covers(&run, &plain, false));
    let mut other = facts.step.clone();
    other.id = "other".to_owned();
    assert!(Cleared::by(facts.ask(clear).unwrap(), &other, &facts.now).is_none());
    assert!(Cleared::by(facts.ask(clear).unwrap(), &facts.step, &moment(NOW + 60_001)).is_none());
}

proptest! {
    /// Whatever is wrong, alone or together: a permit is made exactly when nothing is, and everything is said at once.
    #[test]
    fn a_permit_is_made_exactly_when_nothing_is_wrong(picked in prop::collection::btree_set(0..WRONG.len(), 0..5)) {
        let mut facts = facts();
        // Two that undo each other's ground say nothing about either.
        let removes = [
            "not measured",
            "nothing would go",
            "it was not there, and then it was",
            "the other way destroys nothing",
            "waived, and not measured",
        ];
        let structural = |n: &usize| matches!(WRONG[*n].0, "survivors" | "guards" | "copy" | "approval") || removes.contains(&WRONG[*n].1);
        let picked: Vec<usize> = picked.into_iter().filter(|n| !structural(n)).collect();
        let mut done = Vec::new();
        for n in picked {
            // Spoil what is still whole: a later one must not repair an earlier one.
            if done.iter().all(|m: &usize| WRONG[*m].0 != WRONG[n].0) {
                let before = facts.clone();
                (WRONG[n].2)(&mut facts);
                let kept = done.iter().all(|m| {
                    let subject = WRONG[*m].0;
                    facts.ask(clear).err().is_some_and(|b| b.iter().any(|b| b.subject == subject))
                });
                if kept { done.push(n) } else { facts = before }
            }
        }
        match facts.ask(clear) {
            Ok(_) => prop_assert!(done.is_empty(), "{done:?}"),
            Err(blockers) => {
                prop_assert!(!done.is_empty());
                for n in done {
                    prop_assert!(blockers.iter().any(|b| b.subject == WRONG[n].0), "{} is not said", WRONG[n].1);
                }
            }
        }
    }

    /// The oracle: in plain words what a permit needs, over numbers that vary freely.
    #[test]
    fn the_gate_agrees_with_an_oracle(
        verdicts in prop::collection::vec(0..3u8, 2), ages in prop::collection::vec(0..120_000u64, 4),
        epoch in 0..NOW, jump in prop::sample::select(vec![0i64, 0, 4_000, 6_000, -6_000]),
        now_rows in 0..20u64, shown_rows in 0..20u64, typed in 0..3u8, restart in any::<bool>(),
        second in (0..20u64, 100_000..400_000u64, 0..4usize, 0..4u8),
    ) {
        let mut facts = facts();
        let (approved_rows, until, who, waived) = second;
        facts.approved(|content| content.blast.items[1].rows = Some(approved_rows));
        facts.term().until = moment(until).wall;
        facts.given().person = Person::named(["bob", "dave", "Alice@x", "carol example"][who]);
        let waives = waived == 0;
        if waives {
            facts.guards[1].waivable = true;
            facts.waivers = vec![waiver("drop.pre.backup", "bob@h")];
            facts.approved(|content| content.waived = vec!["drop.pre.backup".into()]);
        }
        let verdict = |n: u8| [Verdict::Pass, Verdict::Fail, Verdict::Unknown][usize::from(n)];
        for (n, id) in ["copy.post.same", "drop.pre.backup"].into_iter().enumerate() {
            facts.seen(id).outcome.verdict = verdict(verdicts[n]);
            facts.seen(id).at = moment(NOW - ages[n]);
        }
        for proved in facts.proved.values_mut() {
            proved.1 = moment(NOW - ages[2]);
        }
        if restart {
            facts.proved("new", |pg| pg.server_start = "later".to_owned());
            facts.proved.get_mut("new").unwrap().1 = moment(NOW - ages[2]);
        }
        facts.blast.at = moment(NOW - ages[3]);
        facts.epoch_began = moment(epoch);
        facts.now.wall = Timestamp::from_millisecond(facts.now.wall.as_millisecond() + jump).unwrap();
        facts.blast.items[1].rows = Some(now_rows);
        facts.confirmed.as_mut().unwrap().blast.items[1].rows = Some(shown_rows);
        match typed {
            0 => {}
            1 => facts.confirmed.as_mut().unwrap().text.push(' '),
            _ => facts.confirmed = None,
        }
        let due = verdicts[0] == 0
            && (verdicts[1] == 0 || (waives && verdicts[1] == 1))
            && now_rows <= approved_rows
            && until > NOW
            && until as i64 > NOW as i64 + jump
            && who < 2
            && ages.iter().all(|age| *age <= 60_000 && NOW - age >= epoch)
            && jump.abs() <= 5_000
            && !restart
            && typed == 0
            && now_rows <= shown_rows;
        prop_assert_eq!(facts.ask(clear).is_ok(), due);
    }
}
