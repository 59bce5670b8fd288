//! Journals that must always be read the same way: the corpus in `tests/fixtures/journals`.

use std::fs;
use std::path::{Path, PathBuf};

use holdpoint::journal::{Journal, OpenError, RunDir, read, verify};

use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    r.add("journal::golden_v1_is_read_and_verified", &[], v1);
    r.add("journal::golden_damage_is_named_with_its_line", &[], damaged);
    r.add("journal::golden_v1_can_be_checked_with_the_shell_lines_of_the_manual", &[], by_hand);
    r.add("journal::golden_newer_journals_are_shown_and_not_driven", &[], newer);
}

const RUN: &str = "demo-20260301-ab12";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals").join(name)
}

/// A copy of a fixture in a folder with the run's name.
fn copy(name: &str) -> (tempfile::TempDir, RunDir) {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::at(&tmp.path().join(RUN)).unwrap();
    fs::create_dir(&dir.path).unwrap();
    fs::copy(fixture(name), dir.journal()).unwrap();
    (tmp, dir)
}

fn v1() {
    // Written by the first version, and by the first with second persons.
    let mut kinds = corpus("v1", 33);
    kinds.extend(corpus("v1-second", 11));
    let missing: Vec<_> =
        holdpoint::journal::kind::KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "the corpus lacks {missing:?}");
}

/// Reads one of the corpus; the kinds of its events.
fn corpus(name: &str, count: usize) -> std::collections::BTreeSet<String> {
    let text = format!("{name}.jsonl");
    let (_tmp, dir) = copy(&text);
    let head = fs::read_to_string(fixture(&format!("{name}.head"))).unwrap();
    let reading = read::read(&dir).unwrap();
    assert!(reading.report.whole(), "{:?}", reading.report.problems);
    assert_eq!(verify::verify_against_head(&reading.report, &head), Ok(verify::HeadMatch::Last));
    assert_eq!(reading.report.lines, count as u64, "{name}");
    assert!(reading.entries.iter().all(|entry| matches!(entry, read::Entry::Known(_))));
    let (journal, lines) = Journal::open(&dir).unwrap();
    assert_eq!((lines.len(), journal.head().as_str()), (count, head.trim()));
    let kinds: std::collections::BTreeSet<String> = lines
        .iter()
        .map(|line| serde_json::to_value(&line.event).unwrap()["what"].as_str().unwrap().to_owned())
        .collect();
    // Written again, the bytes are the same: nothing of the format has moved.
    for (line, text) in lines.iter().zip(fs::read_to_string(fixture(&text)).unwrap().lines()) {
        assert_eq!(holdpoint::journal::chain::encode(line).unwrap(), text);
    }
    kinds
}

fn by_hand() {
    let manual =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/journal-format.md")).unwrap();
    for kind in holdpoint::journal::kind::KINDS {
        assert!(manual.contains(&format!("| `{kind}` |")), "the manual lacks `{kind}`");
    }
    let blocks = manual.split("\n\n").map(|block| block.replace("\n    ", "\n"));
    let script = blocks.filter(|block| block.contains("while IFS= read")).last().unwrap();
    for (name, said) in [("v1.jsonl", ""), ("tampered.jsonl", "line 6 does not follow line 5\n")] {
        let (_tmp, dir) = copy(name);
        let shell =
            std::process::Command::new("sh").arg("-c").arg(&script).current_dir(&dir.path).output().unwrap();
        let head = fs::read_to_string(fixture("v1.head")).unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{said}head: {head}"), "{name}");
    }
}

fn damaged() {
    for (name, line, words) in [
        ("tampered.jsonl", 6, "line 5: that line was changed"),
        ("reordered.jsonl", 4, "lines are missing before it"),
        ("spliced.jsonl", 8, "its `prev` is not the hash of line 7"),
        ("foreign.jsonl", 1, "this is the journal of run other-20260301-zz99"),
        ("stale-driver.jsonl", 34, "it carries epoch 1 while"),
    ] {
        let (_tmp, dir) = copy(name);
        let before = fs::read(dir.journal()).unwrap();
        match Journal::open(&dir) {
            Err(OpenError::Damaged { damage, .. }) => {
                assert_eq!(damage.line, line, "{name}: {damage}");
                assert!(damage.what.contains(words), "{name}: {damage}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(!read::read(&dir).unwrap().report.whole(), "{name}");
        assert_eq!(fs::read(dir.journal()).unwrap(), before, "{name} is evidence and stays as it is");
    }
    let (_tmp, dir) = copy("torn.jsonl");
    let report = read::read(&dir).unwrap().report;
    assert!(report.whole() && report.torn.is_some(), "{report:?}");
    let (journal, lines) = Journal::open(&dir).unwrap();
    assert_eq!((lines.len(), journal.mended().len()), (32, 1));
    let head = fs::read_to_string(fixture("v1.head")).unwrap();
    let error = verify::verify_against_head(&report, &head).unwrap_err();
    assert!(error.contains("its tail was cut"), "{error}");
}

fn newer() {
    for (name, line, words) in [
        ("newer-format.jsonl", 1, "use Holdpoint 9.0.0 or newer"),
        ("newer-event.jsonl", 34, "records `teleported`"),
    ] {
        let (_tmp, dir) = copy(name);
        match Journal::open(&dir) {
            Err(OpenError::Newer { line: at, why, .. }) => {
                assert_eq!(at, line, "{name}: {why}");
                assert!(why.contains(words), "{name}: {why}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let reading = read::read(&dir).unwrap();
        let raw = reading.entries.iter().filter(|entry| matches!(entry, read::Entry::Raw { .. })).count();
        assert_eq!(raw, 1, "{name}: everything else can be shown");
    }
}
