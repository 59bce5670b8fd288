//! Servers on other machines: two network name spaces with a wire between them, so that a server of the one is seen from
//! the other at an address that is not its own. And a standby that streams from a standby.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{context, is, look};
use super::pair::{Pair, standby_of};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, eventually, finish, must};

pub fn register(r: &mut Registry) {
    let needs = [Need::Root, Need::Pg15];
    r.add("checks::replication_between_machines_is_judged_by_what_can_be_seen", &needs, between_machines);
    r.add("check::replication_streaming::fail_behind_another_standby", &[Need::Pg15], cascade);
}

/// Runs in the first name space, and makes the second.
const WIRE: &str = r#"
exec 3<&0
ip link set lo up
unshare --net cat <&3 >/dev/null &
until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
ip link add d0 type veth peer name d0 netns $!
ip address add 10.7.0.1/24 dev d0
ip link set d0 up
nsenter --net=/proc/$!/ns/net sh -euc 'ip link set lo up; ip address add 10.7.0.2/24 dev d0; ip link set d0 up'
echo "$$ $!"
exec cat >/dev/null
"#;

/// Two machines: they end when this is dropped.
struct Wire {
    first: Child,
    net: [String; 2],
}

impl Wire {
    fn new() -> Wire {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "bash", "-euc", WIRE]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut first = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let net: Vec<String> =
            line.split_whitespace().map(|pid| format!("--net=/proc/{pid}/ns/net")).collect();
        Wire { first, net: net.try_into().expect("the wire did not come up") }
    }

    /// How a program is started on one of them.
    fn on(&self, machine: usize) -> [&str; 2] {
        ["nsenter", &self.net[machine]]
    }

    /// Measures there with the program, on the targets `one` and `two`: servers of the first and the second machine.
    fn look(&self, machine: usize, servers: [&Cluster; 2], checks: Value) -> Vec<Outcome> {
        let sandbox = Sandbox::new();
        let target = |n: usize| {
            let conninfo =
                format!("host=10.7.0.{} port={} user=postgres dbname=postgres", n + 1, servers[n].port());
            json!({ "postgres": conninfo })
        };
        let site = json!({
            "holdpoint": 1, "name": "far", "targets": { "one": target(0), "two": target(1) }, "checks": checks
        });
        sandbox.write("site.yaml", &site.to_string());
        let mut command = Command::new("nsenter");
        command.args([&self.net[machine], env!("CARGO_BIN_EXE_holdpoint"), "check", "site.yaml", "--json"]);
        let ran = finish(command.current_dir(sandbox.path()), Duration::from_secs(90));
        let answer: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let evidence = answer["evidence"].as_array().unwrap();
        evidence.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.first.stdin.take());
        let _ = self.first.wait();
    }
}

/// The primary runs on the first machine, its standby on the second.
fn between_machines() {
    let wire = Wire::new();
    let conf = "listen_addresses = '*'\nmax_slot_wal_keep_size = 1GB\nwal_receiver_status_interval = 1s\n\
                archive_mode = on\narchive_command = 'cp %p ../%f'\n";
    let primary = Cluster::create_around(&wire.on(0), Major::V15, conf, &[]);
    primary.hba("local all all trust\nlocal replication all trust\nhost all all 10.7.0.0/24 trust\nhost replication all 10.7.0.0/24 trust\n");
    primary.restart();
    let standby = standby_of(&primary, "10.7.0.1", &wire.on(1), Major::V15, "beta");
    let until = |sql: &str| eventually(Duration::from_secs(30), sql, || primary.psql(sql) == "t");
    until("select count(*) = 1 from pg_stat_replication where state = 'streaming' and replay_lsn = sent_lsn");
    primary.psql("create table w (n int); select pg_switch_wal()");
    until("select archived_count > 0 from pg_stat_archiver");
    let servers = [&primary, &standby];
    let by_share = json!([
        { "slot_cap": { "target": "one" } },
        { "replication_slots": { "target": "one", "slots": ["beta"] } },
        { "wal_time_to_full": { "target": "one" } },
    ]);
    let by_sql = json!([
        { "replication_streaming": { "primary": "one", "standbys": ["beta"], "standby_targets": ["two"] } },
        { "standby_stable": { "target": "two", "at_least": "1ms" } },
        { "slot_cap": { "target": "one", "at_most": "1GiB" } },
        { "replication_slots": { "target": "one", "slots": ["beta"], "max_retained": "1GiB" } },
        { "wal_size": { "target": "one" } },
        { "wal_archiving": { "target": "one" } },
        { "restart_pending": { "target": "one" } },
    ]);
    // Beside the standby: the primary's file systems do not show, and what needs them says so. Nothing passes for it.
    let unseen = wire.look(1, servers, by_share.clone());
    for outcome in &unseen[..2] {
        is(
            outcome,
            Verdict::Unknown,
            "the server runs on another machine, whose file systems do not show here",
        );
        assert!(outcome.help.as_deref().unwrap().contains("as a size"), "{outcome:#?}");
    }
    is(&unseen[2], Verdict::Unknown, "one is on another machine");
    // What the server itself tells is enough for the rest, from either machine.
    for machine in [0, 1] {
        let seen = wire.look(machine, servers, by_sql.clone());
        for outcome in &seen {
            is(outcome, Verdict::Pass, "");
        }
        let remark = "its program was not looked at: the server is on another machine";
        assert_eq!(seen[6].details.iter().any(|line| line == remark), machine == 1, "{:#?}", seen[6]);
    }
    // Beside the primary its file systems do show.
    let shown = wire.look(0, servers, by_share);
    for outcome in &shown[..2] {
        is(outcome, Verdict::Pass, "");
        assert!(outcome.details.iter().any(|line| line.starts_with("the WAL's file system")), "{outcome:#?}");
    }
    // The wire is cut: both ends still believe in the link for a while.
    must(Command::new("nsenter").args([&wire.net[1], "ip", "link", "set", "d0", "down"]));
    until("select clock_timestamp() - reply_time > interval '6 s' from pg_stat_replication");
    let params =
        json!({ "primary": "one", "standbys": ["beta"], "standby_targets": ["two"], "max_silence": "5s" });
    let cut = wire.look(
        0,
        servers,
        json!([{ "replication_streaming": params }, { "standby_stable": { "target": "two" } }]),
    );
    is(&cut[0], Verdict::Fail, "beta has not replied for");
    assert!(cut[0].details.iter().any(|line| line.starts_with("two: ")), "{:#?}", cut[0]);
    is(&cut[1], Verdict::Unknown, "two: ");
}

/// `gamma` streams from `beta`, which streams from the primary.
fn cascade() {
    let pair = Pair::start(Major::V15, "");
    let host = pair.standby.socket_dir().display().to_string();
    let gamma = standby_of(&pair.standby, &host, &[], Major::V15, "gamma");
    pair.until_standby(
        "select count(*) = 1 from pg_stat_replication where state = 'streaming' and replay_lsn = sent_lsn",
    );
    let cx = context([
        ("primary", pair.primary.target("postgres")),
        ("middle", pair.standby.target("postgres")),
        ("last", gamma.target("postgres")),
    ]);
    let ask = |params: Value| look(&cx, "replication_streaming", params);
    let missing = ask(json!({ "primary": "primary", "standbys": ["gamma"] }));
    is(&missing, Verdict::Fail, "primary: standby gamma is missing (connected: beta)");
    assert!(missing.help.as_deref().unwrap().contains("`cascade: true`"), "{missing:#?}");
    // All that is named streams; but the target is not the standby that it was taken for.
    let other = ask(json!({ "primary": "primary", "standbys": ["beta"], "standby_targets": ["last"] }));
    is(&other, Verdict::Fail, "and primary has no connection called gamma: it is lost, or another server");
    let unsaid = ask(json!({ "primary": "middle", "standbys": ["gamma"] }));
    is(&unsaid, Verdict::Fail, "middle is a standby itself");
    let upside_down = ask(json!({ "primary": "primary", "standbys": ["beta"], "cascade": true }));
    is(&upside_down, Verdict::Fail, "primary is not in recovery: it is a primary itself");
    let said =
        json!({ "primary": "middle", "standbys": ["gamma"], "standby_targets": ["last"], "cascade": true });
    let well = ask(said.clone());
    is(&well, Verdict::Pass, "1 standby streams of middle");
    is(&look(&cx, "standby_stable", json!({ "target": "last", "at_least": "1ms" })), Verdict::Pass, "");
    // The middle has lost its link; what is behind it has all that the middle has, and still streams.
    pair.cut();
    assert_eq!(pair.standby.psql("select state from pg_stat_replication"), "streaming");
    is(&ask(said), Verdict::Fail, "middle has no WAL receiver: it is not connected to any primary");
    gamma.stop();
}
