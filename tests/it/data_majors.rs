//! Every fault of content and catalogue between servers of different major versions: one comparison a pair, in both
//! directions, finds all of them and nothing else.

use holdpoint::check::Verdict;
use serde_json::json;

use super::data::{check, context, told};
use crate::harness::{Cluster, Major, Need, Registry};

pub fn register(r: &mut Registry) {
    const NEEDS: &[Need] = &[Need::Pg13, Need::Pg14, Need::Pg15, Need::Pg16, Need::Pg17, Need::Pg18];
    r.add("data::all_faults_between_all_majors", NEEDS, all_majors);
}

/// What is done to one side, what is said about it then, and what when that side is the source: empty for the same table,
/// `-` for nothing.
const FAULTS: &[(&str, &str, &str)] = &[
    ("delete from missing_row where id = 77", "299 rows in broken.public.missing_row", ""),
    (
        "update changed_byte set raw = set_byte(raw, 15, 1) where id = 9; \
         update changed_byte set v = overlay(v placing 'Z' from 5) where id = 10",
        "other contents in broken.public.changed_byte",
        "",
    ),
    (
        "update changed_toast set body = overlay(body placing 'Z' from 6000) where id = 'm7'",
        "other contents in broken.public.changed_toast",
        "",
    ),
    (
        "update swapped_values s set v = o.v from swapped_values o where (s.id, o.id) in ((101, 102), (102, 101)); \
         update swapped_values s set ok = o.ok from swapped_values o where (s.id, o.id) in ((1, 2), (2, 1)); \
         update swapped_values s set n = o.n from swapped_values o where (s.id, o.id) in ((7, 8), (8, 7))",
        "other contents in broken.public.swapped_values",
        "",
    ),
    (
        "update swapped_flags s set ok = o.ok from swapped_flags o where (s.id, o.id) in ((3, 4), (4, 3))",
        "other contents in broken.public.swapped_flags",
        "",
    ),
    ("insert into duplicated (select * from duplicated limit 1)", "301 rows in broken.public.duplicated", ""),
    ("update null_for_empty set v = null where id = 4", "other contents in broken.public.null_for_empty", ""),
    (
        "update last_bit set score = score * (1 + 2.3e-16::float8) where id = 200",
        "other contents in broken.public.last_bit",
        "",
    ),
    (
        "update numeric_scale set price = 1.0 where id = 4",
        "other contents in broken.public.numeric_scale",
        "",
    ),
    (
        "update microsecond set at = at + interval '1 microsecond' where id = 30",
        "other contents in broken.public.microsecond",
        "",
    ),
    (
        "update infinite_day set day = 'infinity' where id = 1",
        "other contents in broken.public.infinite_day",
        "",
    ),
    (
        "delete from row_replaced where user_id = '@u5'; insert into row_replaced values ('@u5', '!other')",
        "other contents in broken.public.row_replaced",
        "",
    ),
    (
        "alter table columns_swapped rename joined to tmp; alter table columns_swapped rename left_at to joined; \
         alter table columns_swapped rename tmp to left_at",
        "other contents in broken.public.columns_swapped",
        "",
    ),
    // What a hash of 32 bits that folds the halves together takes for the same.
    ("update upper_half set n = 4294967296 where id = 1", "other contents in broken.public.upper_half", ""),
    (
        "update blanks set free = ('f4' || '  ')::bpchar where id = 4",
        "other contents in broken.public.blanks",
        "",
    ),
    (
        "drop table missing_table",
        "no table broken.public.missing_table",
        "an extra table broken.public.missing_table",
    ),
    (
        "create table extra_table (id int)",
        "an extra table broken.public.extra_table",
        "no table broken.public.extra_table",
    ),
    (
        "select setval('sequence_behind', 499)",
        "sequence broken.public.sequence_behind is behind, at 499",
        "-",
    ),
    (
        "drop sequence sequence_missing",
        "no sequence broken.public.sequence_missing",
        "sequence broken.public.sequence_missing",
    ),
    ("drop index index_missing_v", "no index public.index_missing_v", "index public.index_missing_v"),
    (
        "set allow_system_table_mods = on; update pg_index set indisvalid = false where indexrelid = 'index_invalid_v'::regclass",
        "index public.index_invalid_v",
        // Better than it was is no fault.
        "-",
    ),
    (
        "alter table narrowed alter n type integer",
        "column n of broken.public.narrowed: type integer",
        "column n of broken.public.narrowed: type bigint",
    ),
];

/// A cluster with `same`, which has something of everything, and `broken`, which is still whole. `order` is a way to
/// put rows.
fn cluster(major: Major, order: &str) -> Cluster {
    let cluster = Cluster::start(major);
    cluster.psql("create database same; ");
    cluster.psql("create database broken");
    cluster.psql_in("same", &include_str!("data.sql").replace("ORDER", order));
    cluster.psql_in(
        "same",
        &include_str!("data_types.sql").replace(
            "create type mood",
            "create schema types; set search_path = types, public; create type mood",
        ),
    );
    cluster.psql_in("broken", &include_str!("data_majors.sql").replace("ORDER", order));
    cluster
}

fn all_majors() {
    let start = |wanted: &'static [(Major, &'static str)]| -> Vec<(Major, Cluster)> {
        let started =
            wanted.iter().map(|(major, order)| std::thread::spawn(move || (*major, cluster(*major, order))));
        started.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    };
    let old = start(&[
        (Major::V13, ""),
        (Major::V14, "order by g desc"),
        (Major::V15, "order by md5(g::text)"),
        (Major::V18, "order by g % 7"),
    ]);
    let new = start(&[
        (Major::V16, "order by g % 10"),
        (Major::V17, ""),
        (Major::V18, "order by md5(g::text || 'x')"),
    ]);
    let both = json!({ "source": "old", "target": "new", "databases": ["same", "broken"] });
    let broken = json!({ "source": "old", "target": "new", "databases": ["broken"] });
    // Never to an older major: its extensions are older, which is a finding of its own.
    let pairs = || {
        let all = old.iter().flat_map(|o| new.iter().map(move |n| (o, n)));
        all.filter(|((from, _), (to, _))| *from != Major::V18 || *to == Major::V18)
    };
    for ((from, old), (to, new)) in pairs() {
        let cx = context(&[("old", old.target("same")), ("new", new.target("same"))]);
        for kind in ["data_matches", "rows_match"] {
            let seen = check(&cx, kind, both.clone());
            assert_eq!(seen.verdict(), Verdict::Pass, "false alarm from {from:?} to {to:?}: {}", told(&seen));
        }
    }
    for (_, new) in &new {
        new.psql_in("broken", &FAULTS.iter().map(|(sql, _, _)| *sql).collect::<Vec<_>>().join("; "));
    }
    let mut wrong = Vec::new();
    for ((from, old), (to, new)) in pairs() {
        for (way, was, is) in [("forth", old, new), ("back", new, old)] {
            let cx = context(&[("old", was.target("same")), ("new", is.target("same"))]);
            let seen = check(&cx, "data_matches", broken.clone());
            let text = told(&seen);
            let mut say = |what: &str| wrong.push(format!("{from:?} to {to:?}, {way}: {what}\n{text}"));
            if seen.verdict() != Verdict::Fail || text.contains("intact") {
                say("not what was broken, and only that");
            }
            for (_, forth, back) in FAULTS {
                let words = match (way, *back) {
                    ("forth", _) => *forth,
                    (_, "-") => continue,
                    // The same table, whatever is said about it.
                    (_, "") => forth.split("broken.").nth(1).unwrap(),
                    (_, back) => back,
                };
                if !text.contains(words) {
                    say(words);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.first().unwrap());
}
