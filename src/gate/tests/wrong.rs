//! One thing wrong at a time.

use super::*;

pub(super) type Spoil = fn(&mut Facts);

/// One thing wrong at a time, and the subject of the blocker that says so.
pub(super) const WRONG: &[(&str, &str, Spoil)] = &[
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
