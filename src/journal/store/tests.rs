use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::journal::file::Journal;
use crate::journal::record::Event;
use crate::journal::runs::RunState;
use crate::journal::verify::samples;

fn store() -> (tempfile::TempDir, Store) {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::at(&tmp.path().join("store")).unwrap();
    (tmp, store)
}

fn begin(store: &Store, name: &str) -> (RunDir, Journal) {
    let dir = store.create_run("demo", b"x", &samples::at(0), Some(&RunId::from(name))).unwrap();
    let (journal, _) = Journal::create(&dir, "alice@db1", samples::at(0), samples::opened(&dir.run)).unwrap();
    (dir, journal)
}

#[test]
fn the_place_is_chosen_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let at = |name: &str| tmp.path().join(name);
    let choose = |flag: Option<&str>, env: Option<&str>, system: &str| {
        Store::choose(flag, env, &at(system), Some(at("state")), None).map(|store| store.root().to_owned())
    };
    let text = |name| at(name).to_str().unwrap().to_owned();
    assert_eq!(choose(Some(&text("flag")), Some(&text("env")), "system").unwrap(), at("flag"));
    assert_eq!(choose(None, Some(&text("env")), "system").unwrap(), at("env"));
    disk::create_dir(&at("system")).unwrap();
    assert_eq!(choose(None, None, "system").unwrap(), at("system"));
    fs::write(at("blocked"), "").unwrap();
    assert_eq!(choose(None, Some(""), "blocked/system").is_ok(), !geteuid().is_root());
    let nowhere = Store::choose(None, None, &at("blocked/system"), None, None);
    assert!(nowhere.is_err());
    assert!(matches!(Store::at(&at("a/b/c")), Err(StoreError::Io { what: "made", .. })));
}

#[test]
fn postgres_comes_later_and_no_password_is_repeated() {
    for url in ["postgres://me:s3cret@db9/holdpoint?password=s3cret", "postgresql://db9/holdpoint"] {
        let error = Store::locate(Some(url), None).unwrap_err().to_string();
        assert!(
            error.contains("later version") && error.contains("db9") && !error.contains("s3cret"),
            "{error}"
        );
    }
}

#[test]
fn unsafe_places_are_refused_and_left_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let open = tmp.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let why = |path: &Path| Store::at(path).unwrap_err().to_string();
    assert!(why(&open).contains("everybody may write"), "{}", why(&open));
    assert_eq!(fs::metadata(&open).unwrap().mode() & 0o7777, 0o1777);
    let link = tmp.path().join("link");
    symlink(tmp.path(), &link).unwrap();
    assert!(why(&link).contains("link"));
    fs::write(tmp.path().join("file"), "").unwrap();
    assert!(why(&tmp.path().join("file")).contains("not a folder"));
    let planted = tmp.path().join("planted");
    disk::create_dir(&planted).unwrap();
    symlink("/tmp", planted.join("runs")).unwrap();
    assert!(why(&planted).contains("link"));
}

#[test]
fn a_run_gets_a_private_folder_with_everything_in_it() {
    let (_tmp, store) = store();
    let dir = store.create_run("Postgres ../Upgrade", b"runbook", &samples::at(0), None).unwrap();
    let name = dir.run.as_str();
    assert!(name.starts_with("postgres-..-upgrade-20260301-") && name.len() == 33, "{name}");
    assert_eq!(fs::read(dir.runbook()).unwrap(), b"runbook");
    for folder in [&dir.path, &dir.leases(), &dir.steps(), &dir.records()] {
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o7777, disk::DIR_MODE, "{folder:?}");
    }
    assert_eq!(fs::metadata(dir.runbook()).unwrap().mode() & 0o7777, disk::FILE_MODE);
    assert!(Reserve::at(dir.reserve()).whole());
    let again = store.create_run("x", b"", &samples::at(0), Some(&dir.run));
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    let evil = store.create_run("x", b"", &samples::at(0), Some(&RunId::from("../x")));
    assert!(evil.is_err());
}

#[test]
fn runs_are_listed_with_their_state_and_damaged_ones_too() {
    let (_tmp, store) = store();
    assert!(matches!(store.find(None), Err(StoreError::NoUnfinished { .. })));
    begin(&store, "demo-1");
    assert_eq!(store.find(None).unwrap().run.as_str(), "demo-1");
    let (dir, _) = begin(&store, "demo-2");
    let mut lines = samples::events();
    lines[0].2 = samples::opened(&dir.run);
    lines.push(("bob@db1", 2, Event::Completed { steps: 2 }));
    // A long note, so that the lines at the end stand in several parts.
    lines.push(("bob@db1", 0, Event::Note { text: "n".repeat(100_000) }));
    fs::write(dir.journal(), samples::bytes(&samples::link(&dir.run, lines))).unwrap();
    let (dir, mut journal) = begin(&store, "other-3");
    journal.append("bob@db1", None, samples::at(1), vec![Event::Note { text: "hello".into() }]).unwrap();
    assert_eq!(journal.dir(), &dir);
    let (dir, _) = begin(&store, "other-4");
    fs::write(dir.journal(), "{}\n").unwrap();
    store.create_run("x", b"", &samples::at(0), Some(&RunId::from("new"))).unwrap();
    let runs = store.runs().unwrap();
    let state = |name: &str| runs.iter().find(|run| run.dir.run.as_str() == name).unwrap().state.clone();
    assert_eq!(runs.len(), 5);
    assert_eq!(state("demo-1"), RunState::Unfinished);
    assert_eq!(state("demo-2"), RunState::Completed);
    assert_eq!(state("other-3"), RunState::Unfinished);
    assert!(matches!(state("other-4"), RunState::Damaged(_)));
    assert_eq!(state("new"), RunState::NeverBegun);
    assert_eq!(store.find(Some("demo-2")).unwrap().run.as_str(), "demo-2");
    assert_eq!(store.find(Some("n")).unwrap().run.as_str(), "new");
    assert!(matches!(store.find(Some("demo")), Err(StoreError::Ambiguous { runs, .. }) if runs.len() == 2));
    let error = store.find(Some("demp-1")).unwrap_err().to_string();
    assert!(error.contains("did you mean `demo-1`"), "{error}");
    assert!(matches!(store.find(None), Err(StoreError::Several { runs }) if runs.len() == 3));
}
