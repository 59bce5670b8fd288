//! Indexes that may go or not, queues behind a lock, transactions that stay, limits of roles.

mod index;
mod sessions;
mod timeouts;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Cluster, Major, Registry, eventually, must};

pub fn register(r: &mut Registry) {
    index::register(r);
    sessions::register(r);
    timeouts::register(r);
}

/// A streaming standby of a cluster of PostgreSQL 15.
pub(super) fn standby(primary: &Cluster) -> Cluster {
    let standby = Cluster::create(Major::V15, "");
    let settings = std::fs::read_to_string(standby.data().join("postgresql.conf")).unwrap();
    must(Command::new("rm").arg("-rf").arg(standby.data()));
    let from = primary.conninfo("postgres");
    must(
        Major::V15.command("pg_basebackup").args(["-d", &from, "-R", "-c", "fast", "-D"]).arg(standby.data()),
    );
    standby.configure(&settings);
    standby.restart();
    eventually(Duration::from_secs(20), "the standby streams", || {
        primary.psql("select count(*) from pg_stat_replication where state = 'streaming'") != "0"
    });
    standby
}

/// Waits until a standby has replayed all that there is.
fn caught_up(primary: &Cluster) {
    let now = primary.psql("select pg_current_wal_lsn()");
    eventually(Duration::from_secs(20), "the standby has caught up", || {
        primary.psql(&format!("select count(*) from pg_stat_replication where replay_lsn >= '{now}'")) != "0"
    });
}

/// A session that stays.
struct Client(Child);

impl Client {
    /// As a role, under an application name.
    fn open(cluster: &Cluster, role: &str, application: &str) -> Client {
        let conninfo = cluster.conninfo("postgres").replace("user=postgres", &format!("user={role}"));
        let child = Command::new("/usr/bin/psql")
            .args(["-XAtq", "-d", &format!("{conninfo} application_name={application}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Client(child)
    }

    /// Sends statements and does not wait for them.
    fn send(&mut self, sql: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};").unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a query has this answer.
fn until(cluster: &Cluster, sql: &str, answer: &str) {
    eventually(Duration::from_secs(20), sql, || cluster.psql(sql) == answer);
}
