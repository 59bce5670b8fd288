//! Versions of collations, and the order behind them.

use std::path::Path;
use std::process::Command;

use holdpoint::check::{Outcome, Verdict};
use serde_json::json;

use super::super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, must};

const KIND: &str = "collations_unchanged";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[Need::Pg13, Need::Pg15, Need::Pg17, Need::Pg18], || {
        let majors = [Major::V13, Major::V15, Major::V17, Major::V18];
        majors.into_iter().map(unchanged).chain([on_a_standby()]).collect()
    });
    verdict(r, KIND, Verdict::Fail, &[Need::Pg15], changed);
    verdict(r, KIND, Verdict::Unknown, &[Need::Pg15], unversioned);
    let reordered = "check::indexes_intact::fail_when_the_order_changed_under_the_same_version";
    r.add(reordered, &[Need::Pg15, Need::Locales], reordered_under_the_same_version);
    let upgraded = "check::collations_unchanged::fail_after_pg_upgrade_to_another_icu";
    r.add(upgraded, &[Need::Pg13, Need::Pg15, Need::Locales], upgraded_to_another_icu);
}

fn unchanged(major: Major) -> Outcome {
    let cluster = Cluster::start(major);
    cluster.psql(
        "create table t (id int primary key, plain text unique, icu text collate \"en-x-icu\" unique); \
         create table p (k text collate \"de-x-icu\") partition by range (k)",
    );
    let cx = context([("db", cluster.target("postgres"))]);
    let seen = look(&cx, KIND, json!({ "target": "db" }));
    is(&seen, Verdict::Pass, "nothing is sorted by a collation whose version changed: ");
    assert!(seen.facts.contains_key("icu"), "{seen:#?}");
    assert!(!seen.details.iter().any(|line| line.contains("pg_upgrade")), "{seen:#?}");
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

/// Builds the locale en_US in a directory of its own; with `changed`, one that sorts by code point under the same name.
fn build_locale(dir: &Path, changed: bool) {
    let source = std::fs::read_to_string("/usr/share/i18n/locales/en_US").unwrap();
    let other = source.replace("copy \"iso14651_t1\"", "copy \"POSIX\"");
    assert_ne!(source, other, "the source of the locale has another form");
    let input = dir.join("source");
    std::fs::write(&input, if changed { other } else { source }).unwrap();
    let mut localedef = Command::new("localedef");
    must(localedef.args(["-c", "-f", "UTF-8", "-i"]).arg(&input).arg(dir.join("en_US.UTF-8")));
}

/// A directory with that locale, and the word that makes a program look there.
fn own_locales() -> (Sandbox, String) {
    let locales = Sandbox::new();
    must(Command::new("chmod").arg("755").arg(locales.path()));
    build_locale(locales.path(), false);
    let path = format!("LOCPATH={}", locales.path().display());
    (locales, path)
}

/// Another order under the same name and the same version, as after a locale was rebuilt: only the index itself shows it.
fn reordered_under_the_same_version() {
    let (locales, path) = own_locales();
    let around = ["env", path.as_str(), "LC_ALL=en_US.UTF-8"];
    let cluster = Cluster::create_around(&around, Major::V15, "", &["--locale=en_US.UTF-8"]);
    cluster.restart();
    cluster.psql(
        "create extension amcheck; create table t (id int primary key, k text); \
         insert into t select g, (array['a','B','c-d','cd','c e','Z'])[1 + g % 6] || (g % 977) \
         from generate_series(1, 20000) g; create index t_k on t (k)",
    );
    let version = "select datcollversion = pg_database_collation_actual_version(oid) from pg_database \
                   where datname = 'postgres'";
    let cx = context([("db", cluster.target("postgres"))]);
    let order = || look(&cx, "indexes_intact", json!({ "target": "db", "tables": ["t"] }));
    let versions = || look(&cx, KIND, json!({ "target": "db" }));
    is(&order(), Verdict::Pass, "no damage found");
    let before = cluster.psql("select count(*) from t where k = 'c-d5'");

    cluster.stop();
    build_locale(locales.path(), true);
    cluster.restart();
    assert_eq!(cluster.psql(version), "t", "the version is the same");
    let by_index = "set enable_seqscan = off; select count(*) from t where k = 'c-d5'";
    assert_ne!(cluster.psql(by_index), before, "and the index does not find what is there");
    let seen = order();
    is(&seen, Verdict::Fail, "public.t_k on t in database postgres: ERROR: item order invariant violated");
    // Versions are all that the other check sees, and it says so.
    let equal = versions();
    is(&equal, Verdict::Pass, "nothing is sorted by a collation whose version changed");
    let warned = |line: &String| line.contains("does not prove an equal order: `indexes_intact` decides");
    assert!(equal.details.iter().any(warned), "{equal:#?}");
    cluster.psql("reindex index t_k");
    is(&order(), Verdict::Pass, "no damage found");
    // The other way round: another version is no damage, and only that is what each of the two says.
    cluster.psql("update pg_database set datcollversion = '2.24' where datname = 'postgres'");
    is(&versions(), Verdict::Fail, "libc collation default (en_US.UTF-8) was 2.24 and is ");
    is(&order(), Verdict::Pass, "no damage found");
}

/// PostgreSQL 13 with its ICU 67 becomes 15 with 72: the index files travel, and so does the version of a collation that
/// somebody made. Those of the system's own collations and of the default are of the day of the upgrade: what was sorted
/// by them before goes unseen, which the check's page says.
fn upgraded_to_another_icu() {
    let (locales, path) = own_locales();
    let around = ["env", path.as_str(), "LC_ALL=en_US.UTF-8"];
    let make = |major| Cluster::create_around(&around, major, "", &["--locale=en_US.UTF-8"]);
    let old = make(Major::V13);
    old.restart();
    old.psql(
        "create collation german (provider = icu, locale = 'de'); \
         create table t (id int primary key, made text collate german, own text collate \"en-x-icu\", plain text); \
         insert into t select g, md5(g::text), md5(g::text), md5(g::text) from generate_series(1, 2000) g; \
         create index t_made on t (made); create index t_own on t (own); create index t_plain on t (plain)",
    );
    let versions =
        "select collname, collversion from pg_collation where collname in ('german', 'en-x-icu') order by 1";
    let was = old.psql(versions);
    let was = was.lines().last().unwrap().strip_prefix("german|").unwrap().to_owned();
    let ask = |cluster: &Cluster| {
        look(&context([("db", cluster.target("postgres"))]), KIND, json!({ "target": "db" }))
    };
    is(
        &ask(&old),
        Verdict::Unknown,
        "libc collation default (en_US.UTF-8): the server knows no version of it",
    );
    old.stop();
    let new = make(Major::V15);
    let mut upgrade = Major::V15.command("pg_upgrade");
    upgrade.env("LD_LIBRARY_PATH", Major::V13.libraries().unwrap());
    upgrade.env("LOCPATH", locales.path()).env("LC_ALL", "en_US.UTF-8");
    upgrade.current_dir(new.socket_dir()).args(["-U", "postgres", "-b"]).arg(Major::V13.bin());
    upgrade.arg("-B").arg(Major::V15.bin()).arg("-d").arg(old.data()).arg("-D").arg(new.data());
    must(&mut upgrade);
    new.restart();
    let seen = ask(&new);
    let words = format!("database postgres: ICU collation public.german was {was} and is ");
    is(&seen, Verdict::Fail, &words);
    assert!(seen.observed.ends_with("sorted by it: public.t_made"), "{seen:#?}");
    // Rebuilt and refreshed, that one is right; the others say "equal", of an order that nobody recorded.
    new.psql("reindex index t_made; alter collation german refresh version");
    let rest = ask(&new);
    is(&rest, Verdict::Pass, "nothing is sorted by a collation whose version changed");
    let told =
        |outcome: &Outcome| outcome.details.iter().any(|line| line.contains("brought here from 14 or older"));
    assert!(told(&seen) && told(&rest), "{} {rest:#?}", new.psql("select oid, datname from pg_database"));
}
