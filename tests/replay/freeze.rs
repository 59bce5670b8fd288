//! matrix.org, May 2017: a clock, a route, a broken replica, and a service that was not started again.

#[path = "freeze/scene.rs"]
mod scene;

use std::time::Duration;

use crate::harness::{Need, Registry, eventually, open_points};
use crate::page::Page;
use scene::Host;

pub fn register(r: &mut Registry) {
    let needs =
        [Need::Root, Need::Debian, Need::Pg15, Need::PgCommon, Need::Mount, Need::Python, Need::Faketime];
    // They wait more than they work: two hosts at a time take no longer than one.
    r.add("freeze::the_night_with_and_without_the_runbook", &needs, || side_by_side([the_night, control]));
    r.add("freeze::the_full_disk_and_a_rehearsal", &needs, || side_by_side([the_week_after, rehearsed]));
}

fn side_by_side(both: [fn(); 2]) {
    std::thread::scope(|scope| {
        let running = both.map(|one| scope.spawn(one));
        running
            .into_iter()
            .for_each(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}

fn page() -> Page {
    Page::named("incidents/2017-05-matrix-org")
}

/// As it was then.
fn control() {
    let host = Host::new();
    host.breaks();
    // The route is gone, and nothing looks broken: the kernel has an answer, and the tunnel was restarted.
    let way = host.sh("ip route get 10.9.0.2");
    assert!(way.contains("via 192.0.2.1 "), "{way}");
    host.sh("site/restart-tunnel");
    assert!(!host.works("timeout 2 bash -c 'exec 3<>/dev/tcp/10.9.0.2/22'"));
    // The route is set by hand. A message from the other side arrives, and everybody goes to bed.
    host.sh("ip route add 10.9.0.0/16 via 192.0.2.254");
    host.irc_says("good night");
    host.sh("python3 site.py say 'is anybody there?'");
    // The other direction: it was taken, a later one from there has arrived, and it is nowhere.
    host.irc_says("still awake?");
    host.irc_says("gone");
    assert!(!host.works("grep 'is anybody there' irc"));
    assert_eq!(host.sh("probes/backlog"), "irc 2");
    // Lag, as monitoring asks for it: no row is no lag, once the primary has given the connection up.
    host.until(
        "the replica is missed",
        "! runuser -u postgres -- psql -XAtqc 'select 1 from pg_stat_replication' | grep 1",
    );
    assert_eq!(host.sql("select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0) from pg_stat_replication"), "0");
    host.fills_the_disk();
    // Root's part is still free: a check that counts it sees a tenth of the disk.
    assert!(host.number("stat --file-system --format '%f * 100 / %b' /var/lib/postgresql/wal") >= 9);
    assert!(host.number("stat --file-system --format '%a * 100 / %b' /var/lib/postgresql/wal") <= 1);
    // Room is made, and PostgreSQL started. The application looks well, reads, and refuses what users write.
    host.make_room();
    host.sh("site/start-db");
    host.sh("python3 site.py get /health");
    assert!(host.sh("python3 site.py get /messages").contains("irc: good night"));
    let before = host.sql("select count(*) from messages");
    let refused = host.debian.command("python3").args(["/srv/site.py", "say", "lost"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("503 not sent"), "{refused:?}");
    assert_eq!(host.sql("select count(*) from messages"), before, "what they wrote is nowhere");
    host.sh("site/restart-app; python3 site.py say 'the third hour'");
}

fn the_night() {
    let host = Host::new();
    // On any day of the weeks before, with everything up.
    let before = host.holdpoint("ann", &host.words("check", &[])).exits(1);
    let before = before.says("ip is not on /srv/daemon/bin").says("max_slot_wal_keep_size is -1");
    page().shows("before", &before.output, &[]);

    // 22:30. The clock is nine minutes behind; what is asked to set it only steers it.
    host.sh("echo -540 >clock");
    host.starts("ann", "production");
    let clock = host
        .holdpoint("ann", &["resume"])
        .exits(1)
        .says("s behind 192.0.2.1:")
        .says("wanted at most 500ms off");
    page().shows("clock", &clock.output, &[]);
    let done = ["resume", "--decide", "clock=done", "--reason", "ntpd is running"];
    host.holdpoint("ann", &done).exits(3).says("cannot be declared done").says("s behind 192.0.2.1:");
    host.program("step-clock", "echo +0 >/srv/clock");

    // Before anything is renewed: the hook would not find its program. The routes are still there.
    let hook = host.holdpoint("ann", &["resume"]).exits(3).says("ip is not on /srv/daemon/bin");
    page().shows("hook", &hook.output, &[]);
    assert!(host.sh("ip route get 10.9.0.2").contains("via 192.0.2.254 "));

    // Nobody acts on it, and the lease ends.
    host.breaks();
    host.holdpoint("ann", &["resume"]).exits(3).says("ip is not on /srv/daemon/bin");
    host.sh("sed -i 's,^ip,/sbin/ip,' site/hook; ln -s /sbin/ip daemon/bin/ip");
    // A renewal is no new lease: the hook does not run, and the default gateway answers for the route.
    let route = host.holdpoint("ann", &["resume"]).exits(1).says("to 10.9.0.2 by eth0, through 192.0.2.1,");
    page().shows("route", &route.output, &[]);
    assert!(!host.works("test -e tunnel.log"), "nobody restarts a tunnel without a route");
    host.program("renew", "exec /srv/site/dhclient");

    // The network is back. The replica is not, and writes go on.
    host.program("start-replica", "true");
    let writes = host.writes();
    let replica = host.holdpoint("ann", &["resume"]).exits(1).says("slot replica1 holds the log");
    let replica = replica.says("standby replica1 is missing").says("slot replica1 is inactive");
    page().shows("replica", &replica.output, &[]);
    assert!(!host.works("test -e tunnel.log"), "the tunnel needed nothing");
    drop(writes);

    // Ann has been up for a day: Bob goes on.
    host.holdpoint("ann", &["handoff", "--note", "The replica is not back.", "--to", "bob"]).exits(0);
    let points = open_points(&host.holdpoint("bob", &["accept", "--json"]).exits(4).output);
    let mut accept = vec!["accept"];
    accept.extend(points.iter().flat_map(|id| ["--acknowledge", id.as_str()]));
    host.holdpoint("bob", &accept).exits(0).says("is yours");
    host.program("start-replica", "ip netns exec far pg_ctlcluster 15 replica start");

    // The replica catches up, the slot gets its limit, the disk stands still; the application is only started, not
    // restarted, so that it still waits for the bridge's answer from before the break.
    host.program("restart-app", "exec /srv/site/start-app");
    let one_way =
        host.holdpoint("bob", &["resume"]).exits(1).says("there (1 of 2): sent, and not received within");
    let one_way = one_way.says("back: all received");
    page().shows("one-way", &one_way.output, &[]);
    host.sh("site/restart-app-truly");

    // It works, and nobody would wake up if it did not.
    let silent = host.holdpoint("bob", &["resume"]).exits(3).says("the page was not acknowledged within");
    page().shows("page", &silent.output, &[]);
    let around = ["resume", "--decide", "watch=done", "--reason", "they have been told"];
    host.holdpoint("bob", &around).exits(3);
    host.with_somebody_awake(|| host.holdpoint("bob", &["resume"])).exits(0);
    let run = host.run();
    host.holdpoint("carl", &["verify", &run]).exits(0);
    host.holdpoint("carl", &["log", &run])
        .exits(0)
        .says("The replica is not back.")
        .says("the run is complete");
    assert!(host.works("grep 'in flight' irc"), "what was under way has arrived");
}

fn the_week_after() {
    let host = Host::new();
    host.breaks();
    host.sh("ip route add 10.9.0.0/16 via 192.0.2.254");
    host.fills_the_disk();
    host.program("step-clock", "true");
    host.program("renew", "exec /srv/site/dhclient");
    host.sh("sed -i 's,^ip,/sbin/ip,' site/hook; ln -s /sbin/ip daemon/bin/ip");

    // 04:45. No room is no reason to look into pg_wal.
    let room = {
        host.starts("bob", "production");
        let held = host.holdpoint("bob", &["resume"]).exits(3);
        held.says("the server has 8MiB left for its write-ahead log").says("nothing in pg_wal may be deleted")
    };
    page().shows("room", &room.output, &[]);
    host.holdpoint("bob", &["resume", "--decide", "database=done", "--reason", "it is an emergency"])
        .exits(3);
    host.make_room();

    // The database is up again; the application, which is not, says that it is well.
    host.program("restart-app", "exec /srv/site/start-app");
    let older =
        host.holdpoint("bob", &["resume"]).exits(1).says("the application was started after its database");
    page().shows("older", &older.output, &[]);
    assert!(host.works("python3 site.py get /health") && !host.works("python3 site.py say refused"));
    let done = ["resume", "--decide", "app=done", "--reason", "it says OK"];
    host.holdpoint("bob", &done).exits(3).says("cannot be declared done");
    host.sh("site/restart-app-truly");
    host.with_somebody_awake(|| host.holdpoint("bob", &["resume"])).exits(0);
    host.sh("python3 site.py say 'taken again'");
    host.holdpoint("carl", &["verify", &host.run()]).exits(0);
    assert_eq!(host.sql("select wal_status from pg_replication_slots"), "reserved");
}

fn rehearsed() {
    let host = Host::new();
    // What staging needs of the file: its mark, and production's name, since the primary's address is the same everywhere.
    host.sh(
        "touch /etc/this-is-staging; sed -i 's/# hosts: .db1./hosts: [db1]/' runbooks/host-recovery.yaml",
    );
    host.program("step-clock", "true");
    host.program("renew", "exec /srv/site/dhclient");
    host.sh("sed -i 's,^ip,/sbin/ip,' site/hook; ln -s /sbin/ip daemon/bin/ip");
    // The pager of staging is answered by a script, in the name of somebody else.
    host.program(
        "page",
        "export HOLDPOINT_PAGE_CODE; setsid --fork bash -c '
           until holdpoint --store /srv/store --operator robot ack \"$HOLDPOINT_PAGE_CODE\"; do sleep 0.1; done' </dev/null >/dev/null 2>&1",
    );
    host.program("call", "exec /srv/site/page");
    let words = host.words("rehearse", &["--env", "staging", "--receipt", "/srv/receipt.json"]);
    host.holdpoint("ci", &words).exits(0);
    eventually(Duration::from_secs(60), "the receipt", || host.works("test -s receipt.json"));
}
