use holdpoint::check::{Outcome, Verdict};
use serde_json::json;

use super::super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};

const KIND: &str = "collations_unchanged";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[Need::Pg13, Need::Pg15, Need::Pg17, Need::Pg18], || {
        let majors = [Major::V13, Major::V15, Major::V17, Major::V18];
        majors.into_iter().map(unchanged).chain([on_a_standby()]).collect()
    });
    verdict(r, KIND, Verdict::Fail, &[Need::Pg15], changed);
    verdict(r, KIND, Verdict::Unknown, &[Need::Pg15], unversioned);
}

fn unchanged(major: Major) -> Outcome {
    let cluster = Cluster::start(major);
    cluster.psql(
        "create table t (id int primary key, plain text unique, icu text collate \"en-x-icu\" unique); \
         create table p (k text collate \"de-x-icu\") partition by range (k)",
    );
    let cx = context([("db", cluster.target("postgres"))]);
    let seen = look(&cx, KIND, json!({ "target": "db" }));
    is(&seen, Verdict::Pass, "nothing is sorted by a collation that changed: ");
    assert!(seen.facts.contains_key("icu"), "{seen:#?}");
    seen
}

fn on_a_standby() -> Outcome {
    let primary = Cluster::start(Major::V15);
    primary.psql("create table t (icu text collate \"en-x-icu\" unique)");
    let standby = super::super::locks::standby(&primary);
    let cx = context([("db", primary.target("postgres")), ("copy", standby.target("postgres"))]);
    let seen = look(&cx, KIND, json!({ "target": "db", "standby": "copy" }));
    assert_eq!(seen.seen.len(), 2, "{seen:#?}");
    // The checks of damage work there, too, without the primary.
    let twice = look(&cx, "no_duplicate_keys", json!({ "target": "copy" }));
    is(&twice, Verdict::Pass, "no key twice");
    seen
}

fn changed() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    let cx = context([("db", cluster.target("postgres"))]);
    // One that nothing is sorted by, then one that an index is sorted by, then the default of a database.
    cluster.psql("update pg_collation set collversion = '1' where collname = 'en-x-icu'");
    let measure = || look(&cx, KIND, json!({ "target": "db" }));
    is(&measure(), Verdict::Pass, "nothing is sorted by");
    cluster.psql("create table t (id int primary key, icu text collate \"en-x-icu\" unique)");
    let index = measure();
    is(&index, Verdict::Fail, "database postgres: ICU collation pg_catalog.en-x-icu was 1 and is ");
    assert!(index.observed.ends_with("sorted by it: public.t_icu_key"), "{index:#?}");
    cluster.psql("drop table t; create table p (k text collate \"en-x-icu\") partition by range (k)");
    let partitions = measure();
    is(&partitions, Verdict::Fail, "sorted by it: partitioned table public.p");
    cluster.psql("drop table p");
    cluster.psql("create database icu template template0 locale_provider icu icu_locale 'de'");
    cluster.psql("update pg_database set datcollversion = '2.24' where datname = 'icu'");
    let unused = measure();
    is(&unused, Verdict::Pass, "nothing is sorted by");
    assert!(unused.details.iter().any(|line| line.contains("was 2.24 and is")), "{unused:#?}");
    cluster.psql_in("icu", "create table t (k text); create index on t (lower(k))");
    let default = measure();
    is(&default, Verdict::Fail, "database icu: ICU collation default (de) was 2.24 and is");
    vec![index, partitions, default]
}

fn unversioned() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    let cx = context([("db", cluster.target("postgres"))]);
    let measure = || look(&cx, KIND, json!({ "target": "db" }));
    cluster.psql("create table t (icu text collate \"en-x-icu\" unique)");
    cluster.psql("update pg_collation set collversion = null where collname = 'en-x-icu'");
    let never = measure();
    is(&never, Verdict::Unknown, "no version was recorded when it was made; sorted by it: public.t_icu_key");
    cluster.psql("drop table t");
    cluster.psql("create database shut allow_connections false");
    let shut = measure();
    is(&shut, Verdict::Unknown, "database shut allows no connections");
    cluster.psql("drop database shut");
    let itself = json!({ "target": "db", "standby": "again" });
    let twice = context([("db", cluster.target("postgres")), ("again", cluster.target("postgres"))]);
    let itself = look(&twice, KIND, itself);
    is(&itself, Verdict::Unknown, "again is not a standby of db");
    cluster.stop();
    vec![never, shut, itself, measure()]
}
