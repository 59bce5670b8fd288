//! What tells staging from production, and what does not.

use std::collections::BTreeSet;

use super::*;
use crate::world::identity::{FileIdentity, PostgresIdentity};

fn server(id: &str, directory: &str, start: &str, host: &str) -> Identity {
    Identity::Postgres(PostgresIdentity {
        system_identifier: id.into(),
        data_directory: directory.into(),
        port: 5432,
        server_start: start.into(),
        timeline: 1,
        in_recovery: false,
        version: 150_018,
        host: host.into(),
    })
}

fn side(address: Option<&str>, local: bool, identity: Option<Identity>) -> Side {
    Side {
        target: "old".into(),
        address: address.map(|address| [address.to_owned()].into()),
        local,
        identity: identity.ok_or_else(|| "gone".to_owned()),
    }
}

fn place(environment: &str, here: bool, side: Side, paths: &[&str]) -> Place {
    let paths = paths.iter().map(PathBuf::from).collect();
    Place { environment: environment.into(), here, targets: vec![side], paths, containers: BTreeSet::new() }
}

fn stopped(apart: &Apart) -> String {
    apart.blockers.iter().map(|b| b.observed.clone()).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_tells_two_targets_apart() {
    let a = || server("1", "/a", "noon", "m");
    for (name, mine, theirs, here, words) in [
        (
            "two servers",
            side(Some("s1"), true, Some(a())),
            side(Some("s2"), true, Some(server("2", "/b", "one", "m"))),
            true,
            "",
        ),
        (
            "one server",
            side(Some("s1"), true, Some(a())),
            side(Some("s2"), true, Some(a())),
            true,
            "it is `old` of `production`",
        ),
        (
            "one server, by socket and by network",
            side(Some("s1"), true, Some(a())),
            side(Some("t"), false, Some(server("1", "/a", "noon", "10.0.0.1"))),
            true,
            "it is `old`",
        ),
        (
            "a clone in the same directory elsewhere",
            side(Some("s1"), true, Some(a())),
            side(Some("t"), false, Some(server("1", "/a", "one", "10.0.0.1"))),
            true,
            "",
        ),
        (
            "a clone that is stopped",
            side(Some("s1"), true, Some(server("1", "/a", "", "m"))),
            side(Some("t"), false, Some(server("1", "/a", "one", "10.0.0.1"))),
            true,
            "it is `old`",
        ),
        (
            "not measured, other address",
            side(Some("s1"), true, Some(a())),
            side(Some("t"), false, None),
            true,
            "",
        ),
        (
            "not measured, same address",
            side(Some("t"), false, None),
            side(Some("t"), false, Some(a())),
            true,
            "its address is that of",
        ),
        (
            "the same socket of another machine",
            side(Some("s"), true, Some(a())),
            side(Some("s"), true, None),
            false,
            "",
        ),
        (
            "the same name of the network",
            side(Some("t"), false, None),
            side(Some("t"), false, None),
            false,
            "its address is that of",
        ),
        (
            "an address that is not known",
            side(Some("s"), false, Some(a())),
            side(None, false, None),
            true,
            "cannot be compared",
        ),
    ] {
        let staging = place("staging", true, mine, &[]);
        let apart = judge(&staging, &[place("production", here, theirs, &[])], Vec::new(), 0);
        let all = stopped(&apart);
        assert!(all.contains(words) && all.is_empty() == words.is_empty(), "{name}: {all}");
        assert_eq!(apart.compared.len(), 1);
        assert!(apart.weaknesses.iter().any(|w| w.contains("proof")), "{name}");
    }
}

#[test]
fn a_proof_of_its_own_stands_for_an_address_that_is_not_known_and_for_nothing_else() {
    let staging = || place("staging", true, side(Some("s"), false, None), &[]);
    let unknown = place("production", true, side(None, false, None), &[]);
    let apart = judge(&staging(), std::slice::from_ref(&unknown), Vec::new(), 1);
    assert!(apart.blockers.is_empty() && apart.weaknesses.len() == 1, "{apart:?}");
    let same = place("production", true, side(Some("s"), false, None), &[]);
    assert_eq!(judge(&staging(), &[same], Vec::new(), 1).blockers.len(), 1);
    assert_eq!(judge(&staging(), &[], Vec::new(), 0).blockers.len(), 1, "nothing tells them apart");
    assert!(judge(&staging(), &[], Vec::new(), 1).blockers.is_empty());
}

#[tokio::test]
async fn files_and_pins_are_looked_at_twice() {
    let file =
        |inode| Identity::Sqlite(FileIdentity { path: "/x.db".into(), device: 1, inode, host: "m".into() });
    let pinned = || vec![Protected { what: "old, pinned by run r".into(), identity: file(7) }];
    let staging = place("staging", true, side(Some("s"), true, Some(file(7))), &["/srv"]);
    let production = place("production", true, side(Some("p"), true, None), &["/srv/data"]);
    let all = stopped(&judge(&staging, std::slice::from_ref(&production), pinned(), 0));
    assert!(all.contains("pinned by run r") && all.contains("/srv is, or holds, /srv/data"), "{all}");

    let staging = place("staging", true, side(Some("s"), true, Some(file(8))), &["/tmp/x"]);
    let apart = judge(&staging, &[production], pinned(), 0);
    assert!(apart.blockers.is_empty());
    let at = crate::base::Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: 0 };
    let item = |name: &str| crate::journal::record::BlastItem {
        kind: "file".into(),
        name: name.into(),
        bytes: None,
        rows: None,
    };
    let blast =
        |identity, items| Blast { items, identity, serving: vec![], unmeasured: vec![], gone: vec![], at };
    let question = Question::Begin { step: "a".into() };
    assert!(apart.look(&question, &blast(Some(file(8)), vec![item("/tmp/x")])).await.is_ok());
    assert!(
        apart.look(&question, &blast(Some(file(7)), vec![])).await.unwrap_err().contains("pinned by run r")
    );
    assert!(apart.look(&question, &blast(None, vec![item("/srv/data/a")])).await.is_err());
}
