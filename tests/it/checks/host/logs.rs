//! Logs of real servers: clean ones, with a crash, with a damaged page, in all three forms; and logs that prove nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{is, verdict};
use super::ask;
use crate::harness::{Cluster, Major, Need, Registry, eventually, must};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "log_clean", Pass, &[Need::Pg15], || {
        let cluster = Cluster::with(Major::V15, "log_statement = all");
        says(&cluster, "before");
        let refused = cluster.conninfo("postgres").replace("user=postgres", "user=nobody-of-this-name");
        let refused = Command::new("psql").args(["-XAtqc", "select 1", "-d", &refused]).output().unwrap();
        assert!(!refused.status.success());
        // The words of a statement are nobody's message.
        cluster.psql("select 'invalid page', 'found xmin'");
        let marked = log(&cluster.log(), json!({ "after": "hp before" }));
        // A day of quiet before.
        let log_file = cluster.socket_dir().join("older.log");
        let text = std::fs::read_to_string(cluster.log()).unwrap();
        std::fs::write(&log_file, format!("{}{text}", line("-2 days", "PANIC:  long ago"))).unwrap();
        // Rotated: the newest file does not reach back, the one before does.
        let rotated = cluster.socket_dir().join("rotated.log");
        std::fs::write(rotated.with_extension("log.1"), line("-2 days", "PANIC:  long ago")).unwrap();
        must(Command::new("touch").args(["-d", "-1 hour"]).arg(rotated.with_extension("log.1")));
        std::fs::write(rotated.with_extension("log.2.gz"), "packed").unwrap();
        must(Command::new("touch").args(["-d", "-2 days"]).arg(rotated.with_extension("log.2.gz")));
        std::fs::write(&rotated, &text).unwrap();
        let pattern = format!("{}*", rotated.display());
        vec![
            marked,
            log(&log_file, json!({})),
            log(&log_file, json!({ "within": "1d", "also": ["nothing of the kind"] })),
            ask("log_clean", json!({ "path": pattern })),
            log(&log_file, json!({ "also": ["invalid page"], "except": ["select 'invalid page'"] })),
            log(&log_file, json!({ "patterns": ["ERROR:  *disk"] })),
        ]
    });
    verdict(r, "log_clean", Fail, &[Need::Pg15], || {
        let conf = "logging_collector = on\nlog_destination = 'stderr,csvlog,jsonlog'\nlog_directory = 'hplog'\n\
                    log_filename = 'pg.log'\n";
        let cluster = Cluster::with(Major::V15, conf);
        let forms = ["pg.log", "pg.csv", "pg.json"].map(|name| cluster.data().join("hplog").join(name));
        cluster.psql("create table t as select generate_series(1, 1000) as n; checkpoint");
        says(&cluster, "before the damage");
        let file = cluster.data().join(cluster.psql("select pg_relation_filepath('t')"));
        cluster.stop();
        let mut pages = std::fs::read(&file).unwrap();
        pages[..32].fill(0xee);
        std::fs::write(&file, pages).unwrap();
        cluster.restart();
        let read = Command::new("psql")
            .args(["-XAtqc", "select count(*) from t", "-d", &cluster.conninfo("postgres")])
            .output()
            .unwrap();
        assert!(!read.status.success());
        let after = || json!({ "after": "hp before the damage" });
        eventually(Duration::from_secs(20), "the collector has written", || {
            forms
                .iter()
                .all(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("invalid page")))
        });
        let mut seen: Vec<Outcome> = forms.iter().map(|file| log(file, after())).collect();
        for one in &seen {
            is(one, Fail, "invalid page in block 0 of relation");
        }
        // A backend is killed, as by the kernel when memory is short.
        says(&cluster, "before the crash");
        let pid = cluster.psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
        must(Command::new("kill").args(["-9", &pid]));
        eventually(Duration::from_secs(20), "it is told", || {
            std::fs::read_to_string(&forms[0]).is_ok_and(|text| text.contains("terminated by signal 9"))
        });
        let crash = log(&forms[0], json!({ "after": "hp before the crash" }));
        is(&crash, Fail, "was terminated by signal 9");
        seen.push(crash);
        seen.push(log(&forms[0], json!({ "after": "hp before the crash", "patterns": ["signal 9"] })));
        seen
    });
    verdict(r, "log_clean", Unknown, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        says(&cluster, "last word");
        let short = log(&cluster.log(), json!({}));
        is(&short, Unknown, "the log reaches back to");
        let nothing = log(&cluster.log(), json!({ "after": "hp last word" }));
        is(&nothing, Unknown, "no line is from that time");
        let marker = log(&cluster.log(), json!({ "after": "hp never said" }));
        is(&marker, Unknown, "no line holds");
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            log(&file, json!({}))
        };
        let empty = of("empty", "");
        is(&empty, Unknown, "the log is empty");
        let stale = of("stale", &line("-3 days", "LOG:  the last"));
        is(&stale, Unknown, "no line is from that time: the newest is of");
        let bare = of("bare", "LOG:  no time\nLOG:  in any line\n");
        is(&bare, Unknown, "no line has a time that can be read");
        let old = line("-2 days", "LOG:  old");
        let other = of("language", &format!("{old}{}", line("-1 hour", "FEHLER:  ungültige Seite")));
        is(&other, Unknown, "another language");
        let back = format!("{old}{}{}", line("-1 hour", "LOG:  x"), line("-2 hours", "LOG:  y"));
        let back = of("back", &back);
        is(&back, Unknown, "the clock was set");
        let future = of("future", &format!("{old}{}", line("+1 hour", "LOG:  x")));
        is(&future, Unknown, "from the future");
        let between = format!("{old}cp: No space left on device\n{}", line("-1 hour", "LOG:  x"));
        let between = of("between", &between);
        is(&between, Unknown, "a bad line may be from that time");
        let foreign = of("foreign", &format!("{old}{}", line("-1 hour", "nothing of PostgreSQL")));
        is(&foreign, Unknown, "no line looks like one of PostgreSQL's");
        let gone = log(&dir.path().join("gone"), json!({}));
        vec![short, nothing, marker, empty, stale, bare, other, back, future, between, foreign, gone]
    });
}

fn log(file: &Path, mut params: Value) -> Outcome {
    params["path"] = json!(file);
    ask("log_clean", params)
}

/// Has the server write a line.
fn says(cluster: &Cluster, words: &str) {
    let words = words.replace('\'', "''");
    cluster.psql(&format!("do $$ begin raise log using message = 'hp {words}'; end $$"));
}

/// A line as PostgreSQL writes it, at a time that `date` understands.
fn line(when: &str, message: &str) -> String {
    let time = must(Command::new("date").args(["-u", "-d", when, "+%F %T.123 UTC"])).stdout;
    format!("{} [77] {message}\n", String::from_utf8_lossy(&time).trim_end())
}
