use super::*;
use crate::base::RunId;
use crate::journal::store::Store;
use crate::journal::verify::samples;

struct Case {
    _tmp: tempfile::TempDir,
    dir: RunDir,
    seat: Seat,
}

impl Case {
    /// A run of this machine that nobody holds.
    fn new() -> Case {
        let tmp = tempfile::tempdir().unwrap();
        let store = Store::at(&tmp.path().join("store")).unwrap();
        let dir = store.create_run("demo", b"x", &samples::at(0), Some(&RunId::from("demo-1"))).unwrap();
        let mut seat = Seat::here().unwrap();
        let mut opened = samples::opened(&dir.run);
        if let Event::Opened { machine, .. } = &mut opened {
            seat.machine.clone_from(machine);
        }
        Journal::create(&dir, "alice@db1", samples::at(0), opened).unwrap();
        Case { _tmp: tmp, dir, seat }
    }

    fn open(&self) -> Journal {
        Journal::open(&self.dir).unwrap().0
    }

    fn take(&self, journal: &mut Journal, who: &str, how: LeaseHow) -> Result<(Lease, Appended), LeaseError> {
        let reason = (how == LeaseHow::TakeOver).then(|| "pager".to_owned());
        let claim = Claim { operator: who.into(), how, reason, acknowledged: vec![], signature: None };
        Lease::take(journal, &self.seat, claim, samples::at(5))
    }
}

fn note() -> Vec<Event> {
    vec![Event::Note { text: "n".into() }]
}

fn began() -> Vec<Event> {
    vec![Event::Began { step: "s".into(), attempt: 1, permit: None }]
}

#[test]
fn one_drives_and_the_other_is_told_who() {
    let case = Case::new();
    let (mut a, mut b) = (case.open(), case.open());
    let (lease, appended) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    assert_eq!((lease.epoch().number(), appended.own[0].epoch), (1, 1));
    a.append("alice@db1", Some(lease.epoch()), samples::at(6), began()).unwrap();
    for how in [LeaseHow::Resume, LeaseHow::TakeOver, LeaseHow::Accept, LeaseHow::Start] {
        match case.take(&mut b, "alice@db1", how) {
            Err(LeaseError::Busy { operator, pid, host, .. }) => {
                assert_eq!((operator.as_str(), host.as_str(), pid), ("alice@db1", "db1", std::process::id()));
            }
            other => panic!("{how:?}: {other:?}"),
        }
    }
    assert!(matches!(b.append("bob@db1", None, samples::at(7), began()), Err(AppendError::NeedsLease)));
    b.append("bob@db1", None, samples::at(7), note()).unwrap();
    let seen = a.append("alice@db1", Some(lease.epoch()), samples::at(8), began()).unwrap();
    assert!(matches!(seen.foreign[..], [Line { event: Event::Note { .. }, .. }]), "{seen:?}");
    lease.release(&mut a, samples::at(9), "quit").unwrap();
    assert!(matches!(case.take(&mut b, "bob@db1", LeaseHow::Resume), Err(LeaseError::NotYours { .. })));
    assert!(matches!(case.take(&mut b, "bob@db1", LeaseHow::Accept), Err(LeaseError::NotOffered { .. })));
    let (lease, _) = case.take(&mut b, "alice@db1", LeaseHow::Resume).unwrap();
    assert_eq!(lease.epoch().number(), 2);
}

#[test]
fn an_accepted_offer_fences_the_old_driver_while_it_lives() {
    let case = Case::new();
    let (mut a, mut b) = (case.open(), case.open());
    let (old, _) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    let offer = |to: Option<&str>| {
        vec![Event::Offered { to: to.map(str::to_owned), note: "over to you".into(), signature: None }]
    };
    a.append("alice@db1", None, samples::at(6), offer(Some("carol"))).unwrap();
    assert!(matches!(case.take(&mut b, "bob@db1", LeaseHow::Accept), Err(LeaseError::OfferedTo { .. })));
    a.append("alice@db1", None, samples::at(6), offer(Some("bob"))).unwrap();
    let (new, _) = case.take(&mut b, "bob@db1", LeaseHow::Accept).unwrap();
    match a.append("alice@db1", Some(old.epoch()), samples::at(7), began()) {
        Err(AppendError::Fenced { holder, newest: 2, mine: 1 }) => assert_eq!(holder, "bob@db1"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(a.poll().unwrap().last().unwrap().event, Event::Lease { .. }), "it was not lost");
    b.append("bob@db1", Some(new.epoch()), samples::at(8), began()).unwrap();
    // The offer was for that lease only.
    drop(old);
    assert!(matches!(case.take(&mut a, "carol@db1", LeaseHow::Accept), Err(LeaseError::Busy { .. })));
}

#[test]
fn a_holder_that_is_gone_is_proved_gone() {
    let mut case = Case::new();
    let mut a = case.open();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let me = (case.seat.pid, case.seat.pid_start);
    (case.seat.pid, case.seat.pid_start) = (child.id(), 1);
    child.wait().unwrap();
    let (lease, _) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    (case.seat.pid, case.seat.pid_start) = me;
    assert!(
        matches!(case.take(&mut a, "bob@db1", LeaseHow::TakeOver), Err(LeaseError::Busy { .. })),
        "the lock is held"
    );
    drop(lease);
    let claim = Claim {
        operator: "bob@db1".into(),
        how: LeaseHow::TakeOver,
        reason: Some(" ".into()),
        acknowledged: vec![],
        signature: None,
    };
    assert!(matches!(
        Lease::take(&mut a, &case.seat, claim, samples::at(1)),
        Err(LeaseError::NoReason { .. })
    ));
    let (_lease, appended) = case.take(&mut a, "bob@db1", LeaseHow::TakeOver).unwrap();
    match &appended.own[0].event {
        Event::Lease { reason: Some(reason), .. } => {
            assert!(reason.starts_with("pager (alice@db1 is gone: "), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_lock_files_the_process_itself_decides() {
    let mut case = Case::new();
    let (mut a, mut b) = (case.open(), case.open());
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let me = case.seat.clone();
    let start = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start = start.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    (case.seat.pid, case.seat.pid_start) = (child.id(), start);
    let (lease, _) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    case.seat = me;
    std::fs::remove_dir_all(case.dir.leases()).unwrap();
    assert!(matches!(case.take(&mut b, "alice@db1", LeaseHow::Resume), Err(LeaseError::Busy { .. })));
    drop(lease);
    assert!(
        matches!(case.take(&mut b, "alice@db1", LeaseHow::Resume), Err(LeaseError::Busy { .. })),
        "it lives"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let (lease, _) = case.take(&mut b, "alice@db1", LeaseHow::Resume).unwrap();
    assert_eq!(lease.epoch().number(), 2);
}

#[test]
fn another_machine_and_a_copied_folder_are_refused() {
    let mut case = Case::new();
    let mut a = case.open();
    let (lease, _) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    lease.release(&mut a, samples::at(6), "quit").unwrap();
    let copy = case.dir.path.with_file_name("copy");
    std::fs::rename(&case.dir.path, &copy).unwrap();
    let status = std::process::Command::new("cp").arg("-a").arg(&copy).arg(&case.dir.path).status().unwrap();
    assert!(status.success());
    let mut a = case.open();
    assert!(matches!(case.take(&mut a, "alice@db1", LeaseHow::Resume), Err(LeaseError::Copied { .. })));
    let (lease, _) = case.take(&mut a, "alice@db1", LeaseHow::TakeOver).unwrap();
    lease.release(&mut a, samples::at(6), "quit").unwrap();
    case.seat.machine = "another".into();
    for how in [LeaseHow::Resume, LeaseHow::TakeOver] {
        assert!(matches!(case.take(&mut a, "alice@db1", how), Err(LeaseError::OtherMachine { .. })));
    }
}

#[test]
fn a_lease_that_was_released_or_superseded_writes_nothing() {
    let case = Case::new();
    let mut a = case.open();
    let (lease, _) = case.take(&mut a, "alice@db1", LeaseHow::Start).unwrap();
    let epoch = lease.epoch();
    lease.release(&mut a, samples::at(6), "held").unwrap();
    assert!(matches!(
        a.append("alice@db1", Some(epoch), samples::at(7), began()),
        Err(AppendError::Fenced { .. })
    ));
    assert!(super::driver(&case.dir).is_none());
    let (_lease, _) = case.take(&mut a, "alice@db1", LeaseHow::Resume).unwrap();
    assert_eq!(super::driver(&case.dir).as_deref(), Some("alice@db1"));
}
