//! PostgreSQL: one server reached in two ways is one server, and another major version was not rehearsed.

use crate::harness::{Cluster, Major, Need, Registry};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("rehearse::servers", &[Need::Pg15, Need::Pg13], servers);
}

const BOOK: &str = r#"
holdpoint: 1
name: mark
vars: { conn: { help: how to connect } }
targets: { db: { postgres: "${conn}" } }
environments:
  staging: { vars: { conn: "STAGING" } }
  production:
    protected: true
    vars: { conn: "PRODUCTION" }
    rehearsal: { environment: staging, max_age: 1d }
steps:
  - id: mark
    sql: { target: db, statements: ["create table marked (a int)"] }
    postconditions: [{ pg_query: { target: db, sql: "select relname from pg_class where relname = 'marked'", rows: 1 } }]
"#;

fn servers() {
    let play = Play::new();
    let (staging, production) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let old = Cluster::start(Major::V13);
    let book = |there: &str| {
        let text = BOOK.replace("STAGING", &staging.conninfo("postgres"));
        play.book(&text.replace("PRODUCTION", there));
    };
    let started = "run book.yaml --env production --confirm environment=production";

    // By the network it is called otherwise, and answers from another address.
    book(&staging.conninfo_tcp("postgres"));
    play.ran("ci", "rehearse book.yaml --env staging").exits(3).says("it is `db` of `production`");
    assert_eq!(staging.psql("select count(*) from pg_class where relname = 'marked'"), "0");

    book(&production.conninfo_tcp("postgres"));
    play.ran("ci", "rehearse book.yaml --env staging --receipt r.json").exits(0);
    let receipt = std::fs::read_to_string(play.path("r.json")).unwrap();
    assert!(receipt.contains("identities: two objects"), "{receipt}");
    play.ran("olga", started).exits(0).says("rehearsed in staging at");
    assert_eq!(production.psql("select count(*) from pg_class where relname = 'marked'"), "1");

    // What production is now comes from outside the file: the same runbook, another server.
    let ran =
        play.with("olga", started, &["--var", &format!("conn={}", old.conninfo_tcp("postgres"))]).exits(3);
    ran.says("seen    PostgreSQL 15").says("wanted  PostgreSQL 13").says("1 thing stands in the way");
    assert_eq!(old.psql("select count(*) from pg_class where relname = 'marked'"), "0");
}
