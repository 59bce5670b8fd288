//! A primary and a standby that streams from it over a slot, both called `beta`.

use std::process::Command;
use std::time::Duration;

use holdpoint::check::Context;
use holdpoint::runbook::Target;

use super::super::context;
pub use crate::harness::standby_of;
use crate::harness::{Cluster, Major, eventually, must};

pub struct Pair {
    pub standby: Cluster,
    pub primary: Cluster,
}

impl Pair {
    /// Both run and stream; `conf` is for both.
    pub fn start(major: Major, conf: &str) -> Pair {
        let primary = Cluster::with(major, &format!("wal_level = replica\n{conf}"));
        let host = primary.socket_dir().display().to_string();
        let standby = standby_of(&primary, &host, &[], major, "beta");
        let pair = Pair { standby, primary };
        pair.until_primary(
            "select count(*) = 1 from pg_stat_replication where state = 'streaming' and replay_lsn = sent_lsn",
        );
        pair
    }

    /// `primary` and `standby`.
    pub fn context(&self) -> Context {
        context([("primary", self.primary.target("postgres")), ("standby", self.standby.target("postgres"))])
    }

    pub fn until_primary(&self, sql: &str) {
        eventually(Duration::from_secs(20), sql, || self.primary.psql(sql) == "t");
    }

    pub fn until_standby(&self, sql: &str) {
        let asked = || {
            let mut psql = Command::new("/usr/bin/psql");
            psql.args(["-XAtqd", &self.standby.conninfo("postgres"), "-c", sql]);
            psql.output().is_ok_and(|output| output.stdout == b"t\n")
        };
        eventually(Duration::from_secs(20), sql, asked);
    }

    /// Cuts the link: the standby runs on, and looks for its primary where nobody is.
    pub fn cut(&self) {
        self.standby.psql("alter system set primary_conninfo = 'host=127.0.0.1 port=1 connect_timeout=1'");
        self.standby.reload();
        self.until_standby("select count(*) = 0 from pg_stat_wal_receiver");
        self.until_primary("select count(*) = 0 from pg_stat_replication");
    }
}

/// A role that may prove what the server is, and see nothing else.
pub fn looker(cluster: &Cluster) {
    cluster.psql("create role looker login; grant pg_read_all_settings to looker");
}

/// A target for that role.
pub fn as_looker(cluster: &Cluster) -> Target {
    let conninfo = cluster.conninfo("postgres").replace("user=postgres", "user=looker");
    Target { postgres: Some(conninfo), ..Target::default() }
}

/// Sends a signal to a process of a test's own server.
pub fn signal(name: &str, pid: &str) {
    must(Command::new("/bin/kill").args([&format!("-{name}"), pid]));
}
