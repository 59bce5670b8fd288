//! What a permit, and a token made of it, stands for.

use super::*;

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
