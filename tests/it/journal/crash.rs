//! Kills and tears: whatever was acknowledged is there, and what is there is a legal prefix.

use std::fs;
use std::time::Duration;

use holdpoint::journal::record::LeaseHow;
use holdpoint::journal::{AppendError, Journal, Lease, OpenError, RunDir, Seat};

use super::actor::Actor;
use super::{assert_whole, began, begin, claim, ended, note, now};
use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    r.add("journal::a_hundred_kills_lose_nothing_acknowledged", &[], kills);
    r.add("journal::a_kill_at_every_system_call_leaves_a_legal_journal", &[], sweep);
    r.add("journal::a_tear_at_every_byte_is_mended_and_kept", &[], tears);
    r.add("journal::a_moved_replaced_or_cut_journal_stops_the_driver", &[], moved);
}

fn kills() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let (mut acknowledged, mut mended) = (1, 0);
    for round in 0..100u64 {
        let mut actor = Actor::new();
        actor.ask(&format!("open {}", dir.path.display()));
        actor.send("flood 100000");
        // In every other round the kill comes after the first acknowledged append, however slow the disk is.
        if round % 2 == 0
            && let Some(seq) = actor.answer().strip_prefix("ok ")
        {
            acknowledged = seq.parse().unwrap();
        }
        // Spread over the first milliseconds of work, in steps that share no factor with a flush's length.
        std::thread::sleep(Duration::from_micros(300 + round * 7_919 % 4_001));
        actor.process.kill().unwrap();
        while let Some(seq) = actor.answer().strip_prefix("ok ").and_then(|seq| seq.parse::<u64>().ok()) {
            acknowledged = seq;
        }
        let (journal, lines) = Journal::open(&dir).unwrap();
        assert!(lines.len() as u64 >= acknowledged, "{} lines, {acknowledged} acknowledged", lines.len());
        mended += journal.mended().len();
        assert_eq!(assert_whole(&dir, false).lines, lines.len() as u64);
    }
    assert!(acknowledged >= 150, "the children hardly wrote: {acknowledged}");
    println!("journal::kills: {acknowledged} lines acknowledged in 100 rounds, {mended} tears mended");
}

/// One short life of a run, killed at the n-th call of each kind that changes a disk, by strace.
fn sweep() {
    let tmp = tempfile::tempdir().unwrap();
    let mut killed = 0;
    for call in
        ["write", "fdatasync", "fsync", "rename", "mkdir", "ftruncate", "fallocate", "openat", "flock"]
    {
        for nth in 1.. {
            let store = tmp.path().join(format!("{call}-{nth}"));
            let when = format!("inject={call}:signal=KILL:when={nth}");
            // Only calls on files of the store count: -P would miss the folders, so answers go to a pipe that is a write, too.
            let mut actor = Actor::under(&[
                "strace",
                "-qqq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
                &when,
            ]);
            let dir = store.join("runs/demo-1");
            let commands = [format!("new {} demo-1", store.display()), "take start alice@db1".into()];
            let rest = ["began", "ended", "note x", "release"].map(str::to_owned);
            let answers: Vec<String> = commands.iter().chain(&rest).map(|c| actor.ask(c)).collect();
            actor.finish();
            let acknowledged = answers.iter().filter(|a| a.starts_with("ok")).count() as u64;
            let whole = acknowledged == 6;
            killed += u32::from(!whole);
            assert!(answers.iter().all(|a| a.is_empty() || a.starts_with("ok")), "{call} {nth}: {answers:?}");
            legal_after(&RunDir::at(&dir).unwrap(), acknowledged, &format!("{call} {nth}"));
            if whole {
                break;
            }
        }
    }
    assert!(killed > 30, "only {killed} kills happened");
    println!("journal::sweep: {killed} kills");
}

fn legal_after(dir: &RunDir, acknowledged: u64, when: &str) {
    let (mut journal, lines) = match Journal::open(dir) {
        Ok(opened) => opened,
        // Killed before the first event was acknowledged: the run never began.
        Err(OpenError::Missing { .. } | OpenError::Empty { .. }) if acknowledged == 0 => return,
        Err(error) => panic!("{when}: {error}"),
    };
    assert!(lines.len() as u64 >= acknowledged, "{when}: {} lines, {acknowledged} acknowledged", lines.len());
    let seat = Seat::here().unwrap();
    let (lease, _) = Lease::take(&mut journal, &seat, claim("alice@db1", LeaseHow::Resume), now())
        .unwrap_or_else(|error| panic!("{when}: {error}"));
    journal
        .append("alice@db1", Some(lease.epoch()), now(), began())
        .unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_whole(dir, false);
}

fn tears() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let (mut journal, _) = Journal::open(&dir).unwrap();
    journal.append("bob@db1", None, now(), [note("one"), note("two"), note("three")].concat()).unwrap();
    let whole = fs::read(dir.journal()).unwrap();
    drop(journal);
    let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    for cut in 1..whole.len() {
        if cut > 20 && cut < first - 20 {
            continue;
        }
        fs::write(dir.journal(), &whole[..cut]).unwrap();
        if cut < first {
            assert!(matches!(Journal::open(&dir), Err(OpenError::Empty { .. })), "cut at {cut}");
            continue;
        }
        let (mut journal, lines) =
            Journal::open(&dir).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let complete = whole[..cut].iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines.len(), complete, "cut at {cut}");
        let keeps = whole[..cut].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        match journal.mended() {
            [] => assert_eq!(keeps, cut),
            [mended] => {
                assert_eq!((mended.byte, mended.bytes), (keeps as u64, (cut - keeps) as u64));
                assert_eq!(fs::read(&mended.kept).unwrap(), &whole[keeps..cut]);
                fs::remove_file(&mended.kept).unwrap();
            }
            more => panic!("{more:?}"),
        }
        journal.append("bob@db1", None, now(), note("after")).unwrap();
        assert_eq!(assert_whole(&dir, false).lines, complete as u64 + 1);
    }
    // Another process dies in its append while this one has the journal open.
    fs::write(dir.journal(), &whole).unwrap();
    let (mut journal, _) = Journal::open(&dir).unwrap();
    fs::OpenOptions::new()
        .append(true)
        .open(dir.journal())
        .and_then(|mut f| std::io::Write::write_all(&mut f, b"{\"seq\":5,"))
        .unwrap();
    journal.append("bob@db1", None, now(), note("after")).unwrap();
    assert_eq!(journal.mended()[0].bytes, 9);
    assert_whole(&dir, false);
}

fn moved() {
    let tmp = tempfile::tempdir().unwrap();
    let seat = Seat::here().unwrap();
    let driver = |name: &str| {
        let dir = begin(tmp.path(), name);
        let (mut journal, _) = Journal::open(&dir).unwrap();
        let (lease, _) =
            Lease::take(&mut journal, &seat, claim("alice@db1", LeaseHow::Start), now()).unwrap();
        (dir, journal, lease)
    };
    let other = |dir: &RunDir| dir.path.with_file_name(format!("{}-other", dir.run));

    let (dir, mut journal, lease) = driver("demo-removed");
    fs::remove_file(dir.journal()).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(&error, AppendError::Moved { how, .. } if how == "nothing is there"), "{error}");
    assert!(!dir.journal().exists(), "it is not made again");

    let (dir, mut journal, lease) = driver("demo-moved");
    fs::rename(&dir.path, other(&dir)).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(error, AppendError::Moved { .. }), "{error}");
    fs::rename(other(&dir), &dir.path).unwrap();
    journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap();

    let (dir, mut journal, lease) = driver("demo-replaced");
    let text = fs::read(dir.journal()).unwrap();
    fs::rename(dir.journal(), dir.path.join("kept")).unwrap();
    fs::write(dir.journal(), &text).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(&error, AppendError::Moved { how, .. } if how.contains("another file")), "{error}");
    assert_eq!(fs::read(dir.journal()).unwrap(), text);
    fs::remove_file(dir.journal()).unwrap();
    std::os::unix::fs::symlink("kept", dir.journal()).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(&error, AppendError::Moved { how, .. } if how.contains("link")), "{error}");
    assert!(matches!(Journal::open(&dir), Err(OpenError::NotPlain { .. })));

    let (dir, mut journal, lease) = driver("demo-cut");
    fs::OpenOptions::new().write(true).open(dir.journal()).unwrap().set_len(300).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(error, AppendError::Damaged { .. }), "{error}");
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), ended()).unwrap_err();
    assert!(matches!(error, AppendError::Closed { .. }), "{error}");
    assert_eq!(fs::metadata(dir.journal()).unwrap().len(), 300, "left as evidence");

    let (dir, mut journal, lease) = driver("demo-edited");
    let forged =
        fs::read_to_string(dir.journal()).unwrap().lines().next().unwrap().replace("\"seq\":1", "\"seq\":3");
    let mut text = fs::read(dir.journal()).unwrap();
    text.extend_from_slice(forged.as_bytes());
    text.push(b'\n');
    fs::write(dir.journal(), &text).unwrap();
    let error = journal.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap_err();
    assert!(matches!(&error, AppendError::Damaged { damage, .. } if damage.line == 3), "{error}");
}
