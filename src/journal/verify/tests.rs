use super::samples::{bytes, events, lease, lines, link, opened, run};
use super::*;
use crate::journal::record::LeaseHow;

fn first_problem(text: &[u8]) -> String {
    let report = verify(text, &run());
    report.problems.first().map(ToString::to_string).unwrap_or_default()
}

/// True when somebody who holds the head of the whole journal sees that `text` is not it.
fn noticed(text: &[u8], head: &Digest) -> bool {
    let report = verify(text, &run());
    !report.whole()
        || report.torn.is_some()
        || verify_against_head(&report, head.as_str()) != Ok(HeadMatch::Last)
}

#[test]
fn a_whole_journal_is_whole() {
    let text = bytes(&lines());
    let report = verify(&text, &run());
    assert_eq!(report.problems, vec![]);
    assert!(report.whole() && report.torn.is_none());
    assert_eq!(report.lines, events().len() as u64);
    let head = report.head.clone().unwrap();
    assert_eq!(verify_against_head(&report, head.as_str()), Ok(HeadMatch::Last));
    assert_eq!(verify_against_head(&report, head.short()), Ok(HeadMatch::Last));
    assert!(verify_against_head(&report, "abc").is_err());
}

/// Every byte in turn: changed, removed, doubled, and another put before it. The last line needs the head; all others do not.
#[test]
fn no_single_byte_can_be_changed_removed_or_inserted() {
    let all = events();
    let text = bytes(&link(&run(), [0, 1, 3, 8, 9, 11].map(|n| all[n].clone()).into()));
    let head = verify(&text, &run()).head.unwrap();
    let last_line = text[..text.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for at in 0..text.len() {
        let mut changes = Vec::new();
        for with in [text[at] ^ 1, 0, b'\n', b' '] {
            let mut changed = text.clone();
            changed[at] = with;
            changes.push(changed);
            let mut inserted = text.clone();
            inserted.insert(at, with);
            changes.push(inserted);
        }
        let mut removed = text.clone();
        removed.remove(at);
        changes.push(removed);
        for changed in changes.into_iter().filter(|changed| *changed != text) {
            assert!(noticed(&changed, &head), "byte {at} of {:?}", String::from_utf8_lossy(&changed));
            if at < last_line {
                let report = verify(&changed, &run());
                assert!(!report.whole(), "byte {at} needs no head to be found");
            }
        }
    }
}

#[test]
fn a_cut_at_every_byte_is_a_legal_prefix_that_reports_its_tear() {
    let text = bytes(&lines());
    let head = verify(&text, &run()).head.unwrap();
    for at in 1..text.len() {
        let report = verify(&text[..at], &run());
        let complete = text[..at].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(report.lines, complete);
        assert_eq!(report.torn.is_some(), text[at - 1] != b'\n');
        assert_eq!(report.whole(), complete > 0, "{:?}", report.problems);
        assert!(verify_against_head(&report, head.as_str()).is_err());
    }
}

#[test]
fn zeros_after_a_loss_of_power_are_torn_and_a_lost_sector_is_damage() {
    let whole = bytes(&lines());
    assert_ne!(whole.len() % 512, 0);
    let to_sector = 512 - whole.len() % 512;
    for rest in [&b""[..], b"...}\n", b"\0\0\0"] {
        let mut text = whole.clone();
        text.resize(whole.len() + to_sector, 0);
        text.extend_from_slice(rest);
        let report = verify(&text, &run());
        assert!(report.whole(), "{:?}", report.problems);
        assert_eq!(report.torn.map(|torn| torn.byte), Some(whole.len() as u64));
    }
    let mut text = whole.clone();
    text[512..1024].fill(0);
    assert!(!verify(&text, &run()).whole());
}

#[test]
fn reordered_repeated_spliced_and_missing_lines() {
    let all = lines();
    let text = |order: &[usize]| bytes(&order.iter().map(|n| all[*n].clone()).collect::<Vec<_>>());
    assert!(first_problem(&text(&[0, 1, 3, 2, 4])).contains("line 3"));
    assert!(first_problem(&text(&[0, 1, 2, 2, 3])).contains("repeated"));
    assert!(first_problem(&text(&[0, 1, 3, 4])).contains("missing"));
    assert!(first_problem(&text(&[1, 2, 3])).contains("beginning is missing"));
    let mut other = events();
    other[3].2 = Event::Note { text: "another".into() };
    let other = link(&run(), other);
    let spliced: Vec<_> = all[..5].iter().chain(&other[5..]).cloned().collect();
    assert!(first_problem(&bytes(&spliced)).starts_with("line 6"), "{}", first_problem(&bytes(&spliced)));
    let twice = [bytes(&all), bytes(&all)].concat();
    assert!(first_problem(&twice).contains("another journal"));
    assert!(first_problem(b"").contains("no complete line"));
}

#[test]
fn a_journal_under_another_name_is_foreign() {
    let report = verify(&bytes(&lines()), &RunId::from("demo-20260301-zzzz"));
    assert!(report.problems[0].what.contains("journal of run demo-20260301-ab12"), "{:?}", report.problems);
}

#[test]
fn epochs_only_go_up_one_by_one() {
    let note = |epoch| ("x@y", epoch, Event::Note { text: "n".into() });
    let began = |epoch| ("x@y", epoch, Event::Began { step: "s".into(), attempt: 1, permit: None });
    let start = |epoch| ("x@y", epoch, lease("x@y", LeaseHow::Start));
    let open = || ("x@y", 0, opened(&run()));
    for (what, events, legal) in [
        ("a note before any lease", vec![open(), note(0)], true),
        ("a lease", vec![open(), start(1), began(1)], true),
        ("a lease that skips", vec![open(), start(2)], false),
        ("a lease that repeats", vec![open(), start(1), start(1)], false),
        ("an effect without a lease", vec![open(), start(1), began(0)], false),
        ("a stale driver", vec![open(), start(1), start(2), began(1)], false),
        ("a driver from the future", vec![open(), start(1), began(2)], false),
        ("a note by anyone", vec![open(), start(1), note(0)], true),
    ] {
        let report = verify(&bytes(&link(&run(), events)), &run());
        assert_eq!(report.whole(), legal, "{what}: {:?}", report.problems);
    }
}

#[test]
fn one_edit_is_one_problem() {
    let text = String::from_utf8(bytes(&lines())).unwrap();
    let report = verify(text.replace("\"status\":0", "\"status\":7").as_bytes(), &run());
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(report.problems[0].line, 6);
}

#[test]
fn a_long_journal_is_read_by_several_cores_in_the_same_order() {
    let mut all = vec![("x@y", 0, opened(&run()))];
    all.extend((0..5000).map(|n| ("x@y", 0, Event::Note { text: format!("note {n}") })));
    let text = String::from_utf8(bytes(&link(&run(), all))).unwrap();
    let report = verify(text.as_bytes(), &run());
    assert!(report.whole() && report.lines == 5001, "{:?}", report.problems);
    let edited = text.replace("note 3210\"", "note 3211\"").replace("note 42\"", "note 43\"");
    let report = verify(edited.as_bytes(), &run());
    assert_eq!(report.problems.iter().map(|damage| damage.line).collect::<Vec<_>>(), [45, 3213]);
    let doubled: Vec<&[u8]> = text.as_bytes().split(|b| *b == b'\n').collect();
    assert_eq!(spread(&doubled, <[u8]>::len), doubled.iter().map(|line| line.len()).collect::<Vec<_>>());
}
