//! Synapse's tables, made here as Synapse makes them, in PostgreSQL and SQLite; and its ping, with a small web server that
//! answers as Synapse does (no Synapse runs here).

use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use crate::checks::people::web::{Answer, Asked, Web};
use crate::checks::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox};

pub fn register(r: &mut Registry) {
    updates(r);
    floors(r);
    pings(r);
}

/// The tables, with names and types as in Synapse's own schema.
const TABLES: &str = "create table schema_version (lock char(1) not null default 'X' unique, version integer not null, upgraded bool not null); \
     create table schema_compat_version (lock char(1) not null default 'X' unique, compat_version integer not null); \
     create table background_updates (update_name text not null, progress_json text not null, depends_on text, ordering int not null default 0)";

struct File {
    _here: Sandbox,
    db: rusqlite::Connection,
    cx: Context,
}

impl File {
    fn new(sql: &str) -> File {
        let here = Sandbox::new();
        let path = here.join("homeserver.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        let cx = context([("db", Target { sqlite: Some(path.display().to_string()), ..Target::default() })]);
        File { _here: here, db, cx }
    }
}

fn server(major: Major) -> (Cluster, Context) {
    let cluster = Cluster::start(major);
    // As with a schema of its own, which the role finds by its search_path.
    cluster.psql("create schema synapse; alter role postgres set search_path = synapse");
    let cx = context([("db", cluster.target("postgres"))]);
    (cluster, cx)
}

fn left(cx: &Context, mut params: Value) -> Outcome {
    params["target"] = json!("db");
    look(cx, "synapse_background_updates", params)
}

fn updates(r: &mut Registry) {
    verdict(r, "synapse_background_updates", Verdict::Pass, &[Need::Pg13], || {
        let (cluster, cx) = server(Major::V13);
        cluster.psql(&format!("{TABLES}; insert into schema_version values ('X', 94, true)"));
        let server = left(&cx, json!({ "schema_version": 94 }));
        is(&server, Verdict::Pass, "none left, schema version 94");
        assert_eq!(server.seen.len(), 1);
        let file = File::new(&format!("{TABLES}; insert into schema_version values ('X', 88, 1)"));
        vec![server, left(&file.cx, json!({}))]
    });
    verdict(r, "synapse_background_updates", Verdict::Fail, &[Need::Pg18], || {
        let waiting = "insert into background_updates values ('event_search_postgres', '{}', null, 1), ('populate_x', '{}', 'event_search_postgres', 2)";
        let (cluster, cx) = server(Major::V18);
        cluster.psql(&format!("{TABLES}; insert into schema_version values ('X', 94, true); {waiting}"));
        let server = left(&cx, json!({}));
        is(&server, Verdict::Fail, "2 background updates left, such as event_search_postgres");
        assert!(server.details.contains(&"populate_x, after event_search_postgres".to_owned()), "{server:?}");
        let file = File::new(&format!("{TABLES}; insert into schema_version values ('X', 88, 1); {waiting}"));
        let full = left(&file.cx, json!({}));
        // Empty, and the new Synapse has never started.
        file.db.execute_batch("delete from background_updates").unwrap();
        let early = left(&file.cx, json!({ "schema_version": 94 }));
        is(&early, Verdict::Fail, "has not started");
        vec![server, full, early]
    });
    verdict(r, "synapse_background_updates", Verdict::Unknown, &[Need::Pg15], || {
        let (cluster, cx) = server(Major::V15);
        let other = left(&cx, json!({}));
        is(&other, Verdict::Unknown, "42P01");
        cluster.psql(TABLES);
        let fresh = left(&cx, json!({}));
        is(&fresh, Verdict::Unknown, "schema_version has no row");
        cluster.stop();
        let gone = left(&cx, json!({}));
        let file = left(&File::new("create table t (a)").cx, json!({}));
        is(&file, Verdict::Unknown, "no such table");
        vec![other, fresh, gone, file]
    });
}

fn back(cx: &Context, to: Value) -> Outcome {
    look(cx, "synapse_schema_floor", json!({ "target": "db", "going_back_to": to }))
}

fn floors(r: &mut Registry) {
    verdict(r, "synapse_schema_floor", Verdict::Pass, &[Need::Pg15], || {
        let (cluster, cx) = server(Major::V15);
        cluster.psql(&format!("{TABLES}; insert into schema_version values ('X', 94, true); insert into schema_compat_version values ('X', 84)"));
        let server = back(&cx, json!("1.110.0"));
        is(
            &server,
            Verdict::Pass,
            "the database asks for schema version 84 (it has 94); Synapse 1.110.0: it has 85",
        );
        // A database from before the newer table, in a file.
        let old = File::new(
            "create table schema_version (version integer, upgraded bool); insert into schema_version values (59, 1)",
        );
        let file = back(&old.cx, json!("1.36.0"));
        is(&file, Verdict::Pass, "from before Synapse 1.37.0");
        vec![server, back(&cx, json!(84)), file]
    });
    let tables = format!(
        "{TABLES}; insert into schema_version values ('X', 94, 1); insert into schema_compat_version values ('X', 84)"
    );
    let same = tables.clone();
    verdict(r, "synapse_schema_floor", Verdict::Fail, &[], move || {
        let file = File::new(&tables);
        let seen = back(&file.cx, json!("1.98.0"));
        is(&seen, Verdict::Fail, "Synapse 1.98.0: it has 83");
        assert!(seen.help.as_ref().unwrap().contains("backup"), "{seen:?}");
        vec![seen, back(&file.cx, json!("83")), back(&file.cx, json!("v1.20.0"))]
    });
    verdict(r, "synapse_schema_floor", Verdict::Unknown, &[Need::Pg15], move || {
        let file = File::new(&same);
        let between = back(&file.cx, json!("1.99.0"));
        is(&between, Verdict::Unknown, "it has 83 to 84");
        file.db.execute_batch("delete from schema_version").unwrap();
        let empty = back(&file.cx, json!("1.110.0"));
        let (cluster, cx) = server(Major::V15);
        let other = back(&cx, json!("1.110.0"));
        is(&other, Verdict::Unknown, "42P01");
        cluster.stop();
        vec![between, empty, other, back(&cx, json!("1.110.0"))]
    });
}

/// Answers as Synapse does: the token names the bridge, whose state the test chooses.
fn homeserver(state: &'static str) -> Web {
    Web::serve(move |asked: &Asked| {
        let error = |status: u16, code: &str, error: &str| Answer {
            status,
            body: json!({ "errcode": code, "error": error }).to_string(),
        };
        if asked.method != "POST" || asked.path != "/_matrix/client/v1/appservice/my%20irc/ping" {
            return error(404, "M_UNRECOGNIZED", "Unrecognized request");
        }
        if asked.header("authorization") != "Bearer xyzzy-plugh-42" {
            return error(401, "M_UNKNOWN_TOKEN", "Unrecognised access token");
        }
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert!(body["transaction_id"].as_str().unwrap().starts_with("holdpoint-"));
        match state {
            "well" => Answer::ok("{\"duration_ms\": 123}"),
            "down" => error(502, "M_CONNECTION_FAILED", "ConnectionRefusedError: refused"),
            "slow" => error(504, "M_CONNECTION_TIMEOUT", "Timeout waiting for response"),
            "wrong" => Answer {
                status: 502,
                body: json!({ "errcode": "M_BAD_STATUS", "error": "HTTP 403 no", "status": 403 }).to_string(),
            },
            "no url" => error(400, "M_URL_NOT_SET", "The application service does not have a URL set"),
            _ => Answer { status: 502, body: "<html>nginx</html>".to_owned() },
        }
    })
}

fn ping(url: &str, token: &str) -> Outcome {
    let params = json!({ "url": url, "appservice": "my irc", "token": token, "within": "5s" });
    look(&context([]), "synapse_appservice_ping", params)
}

fn pings(r: &mut Registry) {
    verdict(r, "synapse_appservice_ping", Verdict::Pass, &[], || {
        let seen = ping(&homeserver("well").url("/"), "xyzzy-plugh-42");
        is(&seen, Verdict::Pass, "it answered the homeserver after 123ms");
        vec![seen]
    });
    verdict(r, "synapse_appservice_ping", Verdict::Fail, &[], || {
        let all = [
            ("down", "cannot reach it"),
            ("slow", "in time"),
            ("wrong", "with status 403"),
            ("no url", "no `url`"),
        ];
        let each = all.map(|(state, words)| {
            let seen = ping(&homeserver(state).url(""), "xyzzy-plugh-42");
            is(&seen, Verdict::Fail, words);
            seen
        });
        each.into()
    });
    verdict(r, "synapse_appservice_ping", Verdict::Unknown, &[], || {
        let web = homeserver("well");
        let token = ping(&web.url(""), "wrong-token");
        is(&token, Verdict::Unknown, "401 M_UNKNOWN_TOKEN");
        assert!(!format!("{token:?}").contains("wrong-token"), "{token:?}");
        let place = ping(&web.url("/elsewhere"), "xyzzy-plugh-42");
        is(&place, Verdict::Unknown, "404 M_UNRECOGNIZED");
        let proxy = ping(&homeserver("proxy").url(""), "xyzzy-plugh-42");
        is(&proxy, Verdict::Unknown, "status 502");
        let nobody = ping("http://127.0.0.1:1", "xyzzy-plugh-42");
        is(&nobody, Verdict::Unknown, "refused");
        vec![token, place, proxy, nobody]
    });
}
