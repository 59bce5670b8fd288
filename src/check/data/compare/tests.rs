use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::base::Moment;
use crate::check::data::manifest::{Column, Object, Relation, RelationKind, Role, Sequence, VERSION};
use crate::world::identity::PostgresIdentity;

fn table(rows: u64, digest: &str) -> Relation {
    let column = Column {
        type_: "bigint".into(),
        not_null: true,
        generated: String::new(),
        default: String::new(),
        expression: None,
        collation: None,
    };
    Relation {
        kind: RelationKind::Table,
        rows: Some(rows),
        digest: Some(digest.into()),
        bytes: 0,
        columns: BTreeMap::from([("id".to_owned(), column)]),
        key: vec!["id".into()],
        only_where: None,
        core: BTreeMap::new(),
        definition: BTreeMap::new(),
    }
}

fn manifest(major: u32, tables: &[(&str, Relation)]) -> Manifest {
    let relations = tables.iter().map(|(name, r)| ((*name).to_owned(), r.clone())).collect();
    Manifest {
        manifest: VERSION,
        target: "t".into(),
        at: Moment { wall: Timestamp::UNIX_EPOCH, boot_ms: 0 },
        identity: Identity::Postgres(PostgresIdentity {
            system_identifier: major.to_string(),
            data_directory: "/d".into(),
            port: 5432,
            server_start: String::new(),
            timeline: 1,
            in_recovery: false,
            version: major * 10_000,
            host: String::new(),
        }),
        engine: String::new(),
        level: Level::Contents,
        databases: BTreeMap::from([("db".to_owned(), Database { relations, ..Database::default() })]),
        roles: Some(BTreeMap::new()),
        notes: Vec::new(),
    }
}

fn full() -> Rules {
    Rules { contents: true, ..Rules::default() }
}

fn lines(was: &Manifest, is: &Manifest, rules: &Rules) -> Vec<String> {
    compare(was, is, rules).unwrap().findings.iter().map(Finding::line).collect()
}

fn db(manifest: &mut Manifest) -> &mut Database {
    manifest.databases.get_mut("db").unwrap()
}

#[test]
fn the_worst_comes_first() {
    let was = manifest(
        15,
        &[("public.a", table(5, "x")), ("public.b", table(1_000_000, "y")), ("public.c", table(7, "z"))],
    );
    let is = manifest(
        15,
        &[("public.a", table(5, "other")), ("public.b", table(0, "y")), ("public.d", table(1, "w"))],
    );
    assert_eq!(
        lines(&was, &is, &full()),
        [
            "0 rows in db.public.b; wanted 1,000,000 rows",
            "no table db.public.c; wanted a table with 7 rows",
            "other contents in db.public.a (5 rows); wanted the same contents",
            "an extra table db.public.d with 1 row; wanted no table",
        ]
    );
}

#[test]
fn nothing_compared_with_nothing_is_no_match() {
    let none = manifest(15, &[]);
    assert!(compare(&none, &none, &full()).unwrap_err().contains("no table"));
    let empty = manifest(15, &[("public.a", table(0, "x"))]);
    assert!(compare(&empty, &empty, &full()).unwrap_err().contains("nothing was compared"));
    let some = manifest(15, &[("public.a", table(3, "x"))]);
    assert_eq!(lines(&none, &some, &full()).len(), 1, "but an extra table is a difference");
    let floor = Rules { at_least: true, ..Rules::default() };
    assert!(compare(&empty, &some, &floor).is_err(), "a floor of nothing holds always");
    let all = Rules {
        except: vec![Except { table: "a".into(), reason: "r".into(), ..Except::default() }],
        ..full()
    };
    assert!(compare(&some, &some, &all).is_err(), "everything excepted");
    let wrong = Rules { tables: vec!["b".into()], ..full() };
    assert!(compare(&some, &some, &wrong).is_err());
}

#[test]
fn what_was_not_measured_is_not_compared() {
    let full_one = manifest(15, &[("public.a", table(3, "x"))]);
    let mut counted = full_one.clone();
    counted.level = Level::Rows;
    assert!(compare(&counted, &full_one, &full()).unwrap_err().contains("only the rows"));
    let mut hole = full_one.clone();
    if let Some(relation) = db(&mut hole).relations.get_mut("public.a") {
        relation.rows = None;
    }
    assert!(compare(&full_one, &hole, &full()).unwrap_err().contains("not counted"));
}

#[test]
fn the_wording_of_another_major_version_is_no_difference() {
    let object = |core: &str, definition: &str| Object {
        core: core.into(),
        definition: Some(definition.into()),
        sound: true,
        ..Object::default()
    };
    let mut was = manifest(13, &[("public.a", table(3, "x"))]);
    let mut is = manifest(15, &[("public.a", table(3, "x"))]);
    db(&mut was).objects.insert("index public.i".into(), object("btree", "date_part('day', t)"));
    db(&mut is).objects.insert("index public.i".into(), object("btree", "EXTRACT(day FROM t)"));
    assert_eq!(lines(&was, &is, &full()), [""; 0]);
    is.identity = was.identity.clone();
    assert_eq!(lines(&was, &is, &full()).len(), 1, "within one major version it is");
    db(&mut is)
        .objects
        .insert("index public.i".into(), Object { sound: false, ..object("btree", "date_part('day', t)") });
    assert!(lines(&was, &is, &full())[0].contains("not valid"));
    assert_eq!(lines(&is, &was, &full()), [""; 0], "what did not work before may work now");
}

#[test]
fn sequences_extensions_and_roles() {
    let mut was = manifest(13, &[("public.a", table(3, "x"))]);
    let mut is = was.clone();
    let sequence = |last_value| Sequence { last_value, is_called: true, increment: 1, cycles: false };
    db(&mut was).sequences.insert("public.s".into(), sequence(10));
    db(&mut is).sequences.insert("public.s".into(), sequence(12));
    let extension = |v: &str| Object { version: Some(v.into()), sound: true, ..Object::default() };
    db(&mut was).objects.insert("extension pg_trgm".into(), extension("1.9"));
    db(&mut is).objects.insert("extension pg_trgm".into(), extension("1.10"));
    let role =
        |attributes: &str| Role { attributes: attributes.into(), password: Some(true), member_of: vec![] };
    was.roles = Some(BTreeMap::from([("app".to_owned(), role("login"))]));
    is.roles = Some(BTreeMap::from([("app".to_owned(), role("login")), ("more".to_owned(), role(""))]));
    assert_eq!(lines(&was, &is, &full()), [""; 0]);
    assert_eq!(
        lines(&is, &was, &full()),
        [
            "sequence db.public.s is behind, at 10; wanted 12 or further",
            "extension pg_trgm in database db has version 1.9; wanted version 1.10 or newer",
            "no role more; wanted a role with no attributes",
        ]
    );
}

#[test]
fn views_may_be_refreshed_at_another_time() {
    let view = |rows, digest: &str| Relation { kind: RelationKind::MaterializedView, ..table(rows, digest) };
    let was = manifest(15, &[("public.a", table(3, "x")), ("public.m", view(5, "x"))]);
    let later = manifest(15, &[("public.a", table(3, "x")), ("public.m", view(6, "y"))]);
    let seen = compare(&was, &later, &full()).unwrap();
    assert!(seen.findings.is_empty() && seen.notes[0].contains("derived"), "{seen:?}");
    let emptied = manifest(15, &[("public.a", table(3, "x")), ("public.m", view(0, "0"))]);
    assert_eq!(lines(&was, &emptied, &full()).len(), 1);
}
