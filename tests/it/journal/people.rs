//! Two people, one run.

use holdpoint::journal::record::LeaseHow;
use holdpoint::journal::{AppendError, Journal, Lease, RunDir, Seat};
use rustix::process::{Pid, Signal, kill_process};

use super::actor::Actor;
use super::{assert_whole, began, begin, claim, note, now};
use crate::harness::{Need, Registry};

pub fn register(r: &mut Registry) {
    r.add("journal::of_many_who_take_the_lease_at_once_one_wins", &[], race);
    r.add("journal::a_paused_driver_wakes_up_fenced", &[], paused);
    r.add("journal::a_killed_driver_is_proved_dead", &[], killed);
    r.add("journal::a_stranger_is_refused_and_leaves_no_mess", &[Need::Root], stranger);
    r.add("journal::many_writers_make_one_chain", &[], writers);
}

fn race() {
    let tmp = tempfile::tempdir().unwrap();
    let mut people: Vec<Actor> = (0..3).map(|_| Actor::new()).collect();
    for round in 0..50 {
        let dir = begin(tmp.path(), &format!("demo-{round}"));
        let open = format!("open {}", dir.path.display());
        assert!(people.iter_mut().all(|actor| actor.ask(&open) == "ok 1"));
        let how = if round % 2 == 0 { "take start alice@db1" } else { "take resume alice@db1" };
        people.iter_mut().for_each(|actor| actor.send(how));
        let answers: Vec<String> = people.iter_mut().map(Actor::answer).collect();
        let winners: Vec<usize> = (0..answers.len()).filter(|n| answers[*n] == "ok 1").collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let pid = format!("pid {} ", people[winners[0]].process.id());
        for (n, answer) in answers.iter().enumerate().filter(|(n, _)| *n != winners[0]) {
            assert!(answer.starts_with("err Busy: alice@db1 holds") && answer.contains(&pid), "{answer}");
            assert!(people[n].ask("began").starts_with("err NeedsLease"));
        }
        assert!(people[winners[0]].ask("began").starts_with("ok"));
        assert_eq!(assert_whole(&dir, false).lines, 3);
    }
}

fn paused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let mut alice = Actor::new();
    alice.ask(&format!("open {}", dir.path.display()));
    assert_eq!(alice.ask("take start alice@db1"), "ok 1");
    assert_eq!(alice.ask("began"), "ok 3");
    let pid = Pid::from_child(&alice.process);
    kill_process(pid, Signal::STOP).unwrap();

    let (mut bob, _) = Journal::open(&dir).unwrap();
    let seat = Seat::here().unwrap();
    let taken = |journal: &mut Journal, how| Lease::take(journal, &seat, claim("bob@db1", how), now());
    let error = taken(&mut bob, LeaseHow::TakeOver).unwrap_err().to_string();
    assert!(error.contains("alice@db1 holds the run"), "a paused driver is not gone: {error}");
    bob.append(
        "alice@db1",
        None,
        now(),
        vec![holdpoint::journal::Event::Offered { to: None, note: "go".into(), signature: None }],
    )
    .unwrap();
    let (lease, _) = taken(&mut bob, LeaseHow::Accept).unwrap();
    bob.append("bob@db1", Some(lease.epoch()), now(), began()).unwrap();

    kill_process(pid, Signal::CONT).unwrap();
    for late in ["ended", "began"] {
        let answer = alice.ask(late);
        assert!(answer.starts_with("err Fenced: bob@db1 has held the run since epoch 2"), "{answer}");
    }
    assert_eq!(assert_whole(&dir, false).lines, 6, "nothing of the stale driver is on record");
}

fn killed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let mut alice = Actor::new();
    alice.ask(&format!("open {}", dir.path.display()));
    assert_eq!(alice.ask("take start alice@db1"), "ok 1");
    let pid = alice.process.id();
    drop(alice);
    let (mut journal, _) = Journal::open(&dir).unwrap();
    let seat = Seat::here().unwrap();
    let error = Lease::take(&mut journal, &seat, claim("bob@db1", LeaseHow::Resume), now()).unwrap_err();
    assert!(error.to_string().contains("alice@db1 held the run last"), "{error}");
    let (lease, appended) =
        Lease::take(&mut journal, &seat, claim("bob@db1", LeaseHow::TakeOver), now()).unwrap();
    let text = format!("{:?}", appended.own);
    assert!(text.contains(&format!("there is no process {pid} any more")), "{text}");
    assert_eq!(lease.epoch().number(), 2);
    let stale = journal.append("x@y", None, now(), began());
    assert!(matches!(stale, Err(AppendError::NeedsLease)));
}

fn stranger() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let tmp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let store = tmp.path().join("store");
    let mut nobody = Actor::under(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    let new = format!("new {} demo-2", store.display());
    let answer = nobody.ask(&new);
    assert!(answer.starts_with("err Unsafe: ") && answer.contains("(owner 0, group 0)"), "{answer}");
    chown(&store, Some(12_345), Some(65_534)).unwrap();
    let answer = nobody.ask(&new);
    assert!(answer.starts_with("err Unsafe: ") && answer.contains("belongs to user 12345"), "{answer}");
    // Let in by the group, but not into root's run.
    chown(&store, Some(0), Some(65_534)).unwrap();
    chown(store.join("runs"), Some(0), Some(65_534)).unwrap();
    let answer = nobody.ask(&format!("open {}", dir.path.display()));
    assert!(answer.starts_with("err ") && answer.contains("not allowed for this user"), "{answer}");
    // A member of the group makes runs that the others can drive.
    assert_eq!(nobody.ask(&new), "ok");
    let theirs = RunDir::at(&store.join("runs/demo-2")).unwrap();
    assert_eq!(Journal::open(&theirs).unwrap().1.len(), 1);
}

fn writers() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let (mut driver, _) = Journal::open(&dir).unwrap();
    let seat = Seat::here().unwrap();
    let (lease, _) = Lease::take(&mut driver, &seat, claim("alice@db1", LeaseHow::Start), now()).unwrap();
    let mut others: Vec<Actor> = (0..3).map(|_| Actor::new()).collect();
    for other in &mut others {
        other.ask(&format!("open {}", dir.path.display()));
        other.send("flood 40");
    }
    let mut foreign = 0;
    for _ in 0..40 {
        foreign += driver.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap().foreign.len();
    }
    for other in &mut others {
        assert!((0..41).map(|_| other.answer()).all(|answer| answer.starts_with("ok") || answer == "done"));
    }
    foreign += driver.append("alice@db1", Some(lease.epoch()), now(), note("end")).unwrap().foreign.len();
    assert_eq!(foreign, 3 * 40 * 3, "every line of the others was handed over once");
    assert_eq!(assert_whole(&dir, false).lines, 2 + 41 + 360);
}
