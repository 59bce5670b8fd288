//! Who approved, and who waived.

use super::*;

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
