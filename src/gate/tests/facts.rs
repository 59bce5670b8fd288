//! A request for which a permit is due.

use super::*;

/// Everything that a request borrows.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) runbook: Digest,
    pub(super) runbook_now: Digest,
    pub(super) scripts: Scripts,
    pub(super) scripts_now: Found,
    pub(super) step: Step,
    pub(super) undo: bool,
    pub(super) guards: Vec<Guard>,
    pub(super) evidence: BTreeMap<CheckId, Evidence>,
    pub(super) epoch_began: Moment,
    pub(super) pins: BTreeMap<String, Identity>,
    pub(super) proved: BTreeMap<String, (Identity, Moment)>,
    pub(super) needs: Vec<String>,
    pub(super) unfinished: Vec<(StepId, String)>,
    pub(super) blast: Blast,
    pub(super) confirmed: Option<Confirmation>,
    pub(super) proofs: Option<Vec<CheckId>>,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) approvals: Approvals,
    pub(super) waivers: Vec<Waived>,
    pub(super) windows: Vec<Result<Window, String>>,
    pub(super) boot: String,
    pub(super) newest: Timestamp,
    pub(super) now: Moment,
}

pub(super) fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap(),
        boot_ms: 1_000_000 + ms,
    }
}

pub(super) fn server(name: &str) -> PostgresIdentity {
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

pub(super) fn pg(name: &str) -> Identity {
    Identity::Postgres(server(name))
}

/// A step that destroys, or one whose undoing does.
pub(super) fn step(destroys: serde_json::Value, undo: bool) -> Step {
    let mut step = serde_json::json!({ "id": "drop", "run": ["true"] });
    if undo {
        step["rollback"] = serde_json::json!({ "run": ["true"], "destroys": destroys });
    } else {
        step["destroys"] = destroys;
    }
    serde_json::from_value(step).unwrap()
}

pub(super) const NOW: u64 = 200_000;

/// All is well, and a permit is due.
pub(super) fn facts() -> Facts {
    facts_of(false)
}

pub(super) fn facts_of(undo: bool) -> Facts {
    let mut facts = unapproved(undo);
    let content = facts.ask(content);
    facts.approvals.given.push(approval("bob@h", Some(content)));
    facts
}

pub(super) fn always() -> Window {
    window(&["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "00:00-24:00")
}

pub(super) fn window(days: &[&str], hours: &str) -> Window {
    let written = serde_json::json!({ "days": days, "hours": hours, "timezone": "UTC" });
    Window::read(&serde_json::from_value(written).unwrap()).unwrap()
}

/// Approved half a minute ago, for an hour.
pub(super) fn approval(by: &str, content: Option<Content>) -> Given {
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

pub(super) fn waiver(check: &str, by: &str) -> Waived {
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

pub(super) fn unapproved(undo: bool) -> Facts {
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
    pub(super) fn ask<T>(&self, decide: impl FnOnce(&Request<'_>) -> T) -> T {
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

    pub(super) fn given(&mut self) -> &mut Given {
        self.approvals.given.last_mut().unwrap()
    }

    pub(super) fn approved(&mut self, change: impl FnOnce(&mut Content)) {
        match &mut self.given().says {
            Says::Approves { content: Some(content), .. } => change(content),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn term(&mut self) -> &mut Term {
        match &mut self.given().says {
            Says::Approves { term, .. } => term,
            other => panic!("{other:?}"),
        }
    }

    /// The backup failed, may be waived, and bob waived it.
    pub(super) fn waive(&mut self) -> &mut Waived {
        self.seen("drop.pre.backup").outcome.verdict = Verdict::Fail;
        self.guards[1].waivable = true;
        self.waivers = vec![waiver("drop.pre.backup", "bob@h")];
        self.waivers.last_mut().unwrap()
    }

    pub(super) fn seen(&mut self, id: &str) -> &mut Evidence {
        self.evidence.get_mut(&CheckId::from(id)).unwrap()
    }

    pub(super) fn proved(&mut self, name: &str, change: impl FnOnce(&mut PostgresIdentity)) {
        let mut identity = server(name);
        change(&mut identity);
        self.proved.get_mut(name).unwrap().0 = Identity::Postgres(identity);
    }
}

pub(super) fn gone(name: &str) -> Gone {
    Gone { name: name.to_owned(), why: "there is no such thing".to_owned() }
}
