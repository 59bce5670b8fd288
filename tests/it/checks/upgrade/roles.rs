//! Roles and rights across versions, with real dumps; extensions and the libraries behind them.

use std::path::Path;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::{gone, limited};
use crate::harness::{Cluster, Major, Need, Registry, must};

const ROLES: &str = "create role owner_ login password 'secret' connection limit 7 createdb; \
    create role reader_ nologin; create role \"Odd Name\" login noinherit valid until '2030-01-01'; \
    grant reader_ to \"Odd Name\" with admin option; grant pg_monitor to reader_; \
    alter role owner_ set statement_timeout = '5min'; alter role owner_ set app.key = 'hush'; \
    create database app owner owner_; alter role reader_ in database app set work_mem = '8MB'; \
    alter database app set timezone = 'UTC'; alter database app connection limit 50; revoke connect on database app from public; \
    grant connect on database app to reader_";

const RIGHTS: &str = "create schema hist authorization owner_; create table t(id int, secret text); alter table t owner to owner_; \
    grant select (id) on t to reader_; grant insert on t to reader_ with grant option; \
    create function f(int) returns int language sql as 'select 1'; revoke execute on function f(int) from public; \
    grant execute on function f(int) to reader_; create sequence s; grant usage on sequence s to reader_; \
    create type mood as enum ('a'); alter type mood owner to owner_; \
    alter default privileges for role owner_ in schema hist grant select on tables to reader_; \
    grant execute on function pg_catalog.pg_ls_waldir() to reader_; grant create on schema hist to reader_";

pub fn register(r: &mut Registry) {
    roles(r);
    extensions(r);
}

fn with_roles(major: Major) -> Cluster {
    let cluster = Cluster::start(major);
    for statement in ROLES.split(';') {
        cluster.psql(statement);
    }
    cluster.psql_in("app", RIGHTS);
    cluster
}

/// Everything, by the newer version's own pg_dumpall.
fn copied(old: &Cluster, bin: &Path, major: Major) -> Cluster {
    let new = Cluster::start(major);
    let file = new.socket_dir().join("all.sql");
    let mut dump = std::process::Command::new(bin.join("pg_dumpall"));
    must(dump.args(["-d", &old.conninfo("postgres"), "-f"]).arg(&file));
    // psql goes on after "role postgres already exists", as it does for everybody.
    let mut load = std::process::Command::new("psql");
    must(load.args(["-Xq", "-d", &new.conninfo("postgres"), "-f"]).arg(&file));
    new
}

fn compare(old: &Cluster, new: &Cluster, more: Value) -> Outcome {
    let cx = context([("old", old.target("postgres")), ("new", new.target("postgres"))]);
    let mut params = json!({ "source": "old", "target": "new" });
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    look(&cx, "roles_match", params)
}

fn roles(r: &mut Registry) {
    verdict(r, "roles_match", Verdict::Pass, &[Need::Pg13, Need::Pg15, Need::PgWheel], || {
        let old = with_roles(Major::V13);
        let new = copied(&old, &Major::V15.bin(), Major::V15);
        let across = compare(&old, &new, json!({ "passwords": true }));
        is(&across, Verdict::Pass, "roles, memberships, settings");
        // Another owner of the same rows of the catalogue: 16 knows more about memberships than 13.
        let old = with_roles(Major::Wheel16);
        old.psql("create role picky; grant reader_ to picky with inherit false");
        let new = copied(&old, &Major::Wheel18.bin(), Major::Wheel18);
        vec![across, compare(&old, &new, json!({}))]
    });
    verdict(r, "roles_match", Verdict::Fail, &[Need::Pg13, Need::Pg15, Need::PgWheel], || {
        let old = with_roles(Major::V13);
        let bare = Cluster::start(Major::V15);
        let nothing = compare(&old, &bare, json!({}));
        is(&nothing, Verdict::Fail, "database app is not there");
        assert!(
            nothing.details.iter().any(|line| line.starts_with("role owner_ is not there")),
            "{nothing:#?}"
        );
        let new = copied(&old, &Major::V15.bin(), Major::V15);
        new.psql(
            "alter role owner_ password null; alter role reader_ superuser; revoke reader_ from \"Odd Name\"",
        );
        new.psql("alter role owner_ set app.key = 'other'; alter role owner_ set work_mem = '1MB'");
        new.psql_in("app", "alter table t owner to postgres; revoke select (id) on t from reader_; \
            grant execute on function f(int) to public; revoke create on schema public from public; \
            revoke execute on function pg_ls_waldir() from reader_; alter default privileges for role owner_ in schema hist revoke select on tables from reader_");
        let all = compare(&old, &new, json!({}));
        let lines = all.details.join("\n");
        for line in [
            "role owner_ lacks: a password",
            "role reader_ has more: superuser",
            "role Odd Name lacks: member of reader_ with admin option",
            "settings of role owner_ has app.key, work_mem=1MB; wanted app.key",
            "table app.public.t has owner postgres; wanted owner owner_",
            "column app.public.t.id is not there (reader_: select)",
            "function app.public.f(integer) has more: public: execute",
            "schema app.public lacks: public: create",
            "function app.pg_catalog.pg_ls_waldir()",
            "default privileges of owner_ for tables in app.hist is not there",
        ] {
            assert!(lines.contains(line), "{line}: {all:#?}");
        }
        assert!(!format!("{all:?}").contains("hush") && !format!("{all:?}").contains("secret'"), "{all:#?}");
        let old = with_roles(Major::Wheel16);
        old.psql("create role picky; grant reader_ to picky with inherit false");
        let new = copied(&old, &Major::Wheel18.bin(), Major::Wheel18);
        new.psql("grant reader_ to picky with inherit true");
        let options = compare(&old, &new, json!({}));
        is(
            &options,
            Verdict::Fail,
            "role picky has member of reader_; wanted member of reader_ without inherit",
        );
        vec![nothing, all, options]
    });
    verdict(r, "roles_match", Verdict::Unknown, &[Need::Pg15], || {
        let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
        old.psql("create database locked allow_connections false");
        new.psql("create database locked");
        let locked = compare(&old, &new, json!({}));
        is(&locked, Verdict::Unknown, "database locked cannot be entered");
        old.psql("drop database locked");
        let cx = context([
            ("old", limited(&old, "postgres")),
            ("new", limited(&new, "postgres")),
            ("gone", gone()),
        ]);
        let hidden = look(&cx, "roles_match", json!({ "source": "old", "target": "new", "passwords": true }));
        is(&hidden, Verdict::Unknown, "only superusers can");
        let enough = look(&cx, "roles_match", json!({ "source": "old", "target": "new" }));
        assert_eq!(enough.verdict, Verdict::Pass, "{enough:#?}");
        vec![locked, hidden, look(&cx, "roles_match", json!({ "source": "old", "target": "gone" }))]
    });
}

fn extensions(r: &mut Registry) {
    let check = "extensions_available";
    let start = |major| {
        let cluster = Cluster::start(major);
        cluster.psql("create database app");
        cluster
    };
    let see = |old: &Cluster, new: &Cluster, installed: bool| {
        let cx = context([("old", old.target("app")), ("new", new.target("app"))]);
        look(&cx, check, json!({ "source": "old", "target": "new", "installed": installed }))
    };
    verdict(r, check, Verdict::Pass, &[Need::Pg14, Need::Pg17], move || {
        let (old, new) = (start(Major::V14), start(Major::V17));
        old.psql_in("app", "create extension pg_trgm; create extension amcheck version '1.2'");
        let before = see(&old, &new, false);
        is(&before, Verdict::Pass, "3 extensions and 2 libraries, all there");
        new.psql_in("app", "create extension pg_trgm; create extension amcheck version '1.2'");
        let after = see(&old, &new, true);
        assert!(after.details.iter().any(|line| line.contains("ALTER EXTENSION UPDATE")), "{after:#?}");
        vec![before, after]
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg14, Need::Pg17, Need::PgWheel], move || {
        let (old, bare, older) = (start(Major::V17), start(Major::Wheel18), start(Major::V14));
        old.psql_in("app", "create extension pg_trgm; create extension amcheck");
        let absent = see(&old, &bare, false);
        is(&absent, Verdict::Fail, "extension amcheck (database app) is not available");
        assert!(
            absent.details.iter().any(|line| line == "library $libdir/pg_trgm is not there as a file"),
            "{absent:#?}"
        );
        let version = see(&old, &older, false);
        is(&version, Verdict::Fail, "extension amcheck is available in version 1.3, and the source has 1.4");
        let not_yet = see(&old, &older, true);
        is(&not_yet, Verdict::Fail, "is not installed in database app");
        older.psql("drop database app");
        let cx = context([("old", old.target("app")), ("new", older.target("postgres"))]);
        let gone = look(&cx, check, json!({ "source": "old", "target": "new", "installed": true }));
        is(&gone, Verdict::Fail, "database app is not in new");
        vec![absent, version, not_yet, gone]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg17], move || {
        let (old, new) = (start(Major::V17), start(Major::V17));
        old.psql_in("app", "create extension pg_trgm");
        let cx = context([("old", old.target("app")), ("new", limited(&new, "app")), ("gone", gone())]);
        let files = look(&cx, check, json!({ "source": "old", "target": "new" }));
        is(&files, Verdict::Unknown, "library files may not be looked at");
        let without = look(&cx, check, json!({ "source": "old", "target": "new", "libraries": false }));
        assert_eq!(without.verdict, Verdict::Pass, "{without:#?}");
        vec![files, look(&cx, check, json!({ "source": "old", "target": "gone" }))]
    });
}
