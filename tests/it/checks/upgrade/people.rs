//! Who is connected, and which cluster answers.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdpoint::check::{Context, Outcome, Verdict, data};
use holdpoint::runbook::Target;
use serde_json::json;

use super::super::{context, is, look, verdict};
use super::{gone, limited};
use crate::data::One;
use crate::harness::{Cluster, Major, Need, Registry, block_on, eventually};

pub fn register(r: &mut Registry) {
    clients(r);
    same(r);
}

/// An application that is connected, until it is dropped.
struct App(Child);

impl App {
    fn connect(cluster: &Cluster, database: &str, name: &str) -> App {
        let conninfo = format!("{} application_name={name}", cluster.conninfo(database));
        let child = Command::new("psql")
            .args(["-Xq", "-d", &conninfo, "-c", "select pg_sleep(600)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sql = format!(
            "select count(*) from pg_stat_activity where application_name = '{name}' and state = 'active'"
        );
        eventually(Duration::from_secs(10), "the application is connected", || cluster.psql(&sql) == "1");
        App(child)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures until it says so: a client that has left is seen for a moment longer.
fn settled(cx: &Context, params: serde_json::Value, words: &str) -> Outcome {
    let mut seen = None;
    eventually(Duration::from_secs(20), words, || {
        let outcome = seen.insert(look(cx, "no_clients", params.clone()));
        outcome.observed.contains(words)
    });
    seen.unwrap()
}

fn clients(r: &mut Registry) {
    let check = "no_clients";
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = Cluster::start(major);
            cluster.psql("create database app");
            let cx = context([("db", cluster.target("postgres"))]);
            let quiet = settled(&cx, json!({ "target": "db" }), "nobody is connected");
            let _app = App::connect(&cluster, "postgres", "monitoring");
            let allowed = json!({ "target": "db", "allow": ["monitoring"] });
            let allowed = settled(&cx, allowed, "nobody is connected");
            let elsewhere = look(&cx, check, json!({ "target": "db", "databases": ["app"] }));
            cluster.psql("alter database app set default_transaction_read_only = on");
            let held =
                look(&cx, check, json!({ "target": "db", "databases": ["app"], "writes_refused": true }));
            is(&held, Verdict::Pass, "new sessions cannot write");
            vec![quiet, allowed, elsewhere, held]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg15], move || {
        let cluster = Cluster::with(Major::V15, "max_prepared_transactions = 2");
        cluster.psql("create database app");
        let cx = context([("db", cluster.target("postgres"))]);
        let app = App::connect(&cluster, "app", "synapse");
        let words = "postgres (synapse, local) in app, active, for ";
        let one = settled(&cx, json!({ "target": "db" }), words);
        let second = App::connect(&cluster, "postgres", "bridge");
        let two = settled(&cx, json!({ "target": "db" }), "2 sessions: ");
        drop((app, second));
        // The server notices only when it wants to send something.
        let others =
            "from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
        cluster.psql(&format!("select pg_terminate_backend(pid) {others}"));
        eventually(Duration::from_secs(10), "they are gone", || {
            cluster.psql(&format!("select count(*) {others}")) == "0"
        });
        let writes =
            look(&cx, check, json!({ "target": "db", "databases": ["app"], "writes_refused": true }));
        is(&writes, Verdict::Fail, "a new session in database app could write");
        cluster.psql("alter database app set default_transaction_read_only = on; create role free login");
        cluster.psql("alter role free set default_transaction_read_only = off");
        let role = look(&cx, check, json!({ "target": "db", "databases": ["app"], "writes_refused": true }));
        is(&role, Verdict::Fail, "new sessions of free in database app could write");
        cluster.psql("begin; create table t(); prepare transaction 'half'");
        let words = "prepared transaction half in postgres";
        let prepared = settled(&cx, json!({ "target": "db" }), words);
        vec![one, two, writes, role, prepared]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", limited(&cluster, "postgres")), ("gone", gone())]);
        let _app = App::connect(&cluster, "postgres", "synapse");
        let hidden = look(&cx, check, json!({ "target": "db" }));
        is(&hidden, Verdict::Unknown, "the role needs pg_monitor");
        let nowhere = look(&cx, check, json!({ "target": "db", "databases": ["nowhere"] }));
        is(&nowhere, Verdict::Unknown, "there is no database nowhere");
        vec![hidden, nowhere, look(&cx, check, json!({ "target": "gone" }))]
    });
}

fn same(r: &mut Registry) {
    let check = "same_cluster";
    let recorded = json!({ "target": "db", "recorded": "before" });
    let of = |cluster: &Cluster| {
        cluster.psql("create table t as select 1 as one");
        let target = Target {
            data_directory: Some(cluster.data().display().to_string()),
            ..cluster.target("postgres")
        };
        let cx = context([("db", target.clone())]);
        let manifest = block_on(data::record("db", &target, &cx)).unwrap();
        let identifier = cluster.psql("select system_identifier from pg_control_system()");
        (Context { records: Arc::new(One(manifest)), ..cx }, identifier)
    };
    let it = recorded.clone();
    verdict(r, check, Verdict::Pass, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        let (cx, identifier) = of(&cluster);
        let by_record = look(&cx, check, it.clone());
        is(&by_record, Verdict::Pass, "system identifier");
        cluster.stop();
        // Stopped, its files tell.
        vec![
            by_record,
            look(&cx, check, it),
            look(&cx, check, json!({ "target": "db", "system_identifier": identifier })),
        ]
    });
    let it = recorded.clone();
    verdict(r, check, Verdict::Fail, &[Need::Pg15], move || {
        let (old, fresh) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
        let (cx, _) = of(&old);
        let targets = [("db", fresh.target("postgres")), ("old", old.target("postgres"))];
        let cx = Context { records: cx.records, ..context(targets) };
        let other = look(&cx, check, it);
        is(&other, Verdict::Fail, "another cluster: PostgreSQL 15 at");
        assert!(other.details[0].starts_with("the cluster that answers was made on 20"), "{other:#?}");
        vec![other, look(&cx, check, json!({ "target": "db", "source": "old" }))]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", cluster.target("postgres")), ("gone", gone())]);
        let never = look(&cx, check, recorded);
        is(&never, Verdict::Unknown, "no manifest `before`");
        vec![never, look(&cx, check, json!({ "target": "gone", "source": "db" }))]
    });
}
