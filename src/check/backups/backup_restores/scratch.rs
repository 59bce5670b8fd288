//! A directory and a server of our own, for one restore. Invariant: when this goes, the server and its files are gone.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::check::Context;
use crate::check::backups::tools;
use crate::runbook::Target;
use crate::world::pg::{self, Options, Session};
use crate::world::process::{Probe, Probed};

/// The superuser there: a name that no dump creates.
pub(super) const ROLE: &str = "holdpoint_restore";
/// The superuser of a base backup: initdb's usual one.
const THEIRS: &str = "postgres";

/// Longest that the server may take until it lets us in: a base backup has to recover first.
const STARTING: Duration = Duration::from_secs(3600);

/// The directory; removed when dropped.
pub(super) struct Scratch {
    dir: PathBuf,
    user: Option<String>,
    theirs: bool,
}

impl Scratch {
    /// Makes it below `parent`, for `user` alone. `theirs`: for a cluster that was there before, with its own roles.
    pub async fn make(
        parent: &Path,
        user: Option<String>,
        theirs: bool,
        cx: &Context,
    ) -> Result<Scratch, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdpoint-restore-{}-{nth}", std::process::id());
        let scratch = Scratch { dir: parent.join(name), user, theirs };
        let path = scratch.dir.display().to_string();
        let made = scratch.run(cx, &["mkdir", "-m", "0700", "--", &path]).await?;
        match made.status {
            Some(0) => Ok(scratch),
            _ => {
                let why = format!("{path} cannot be made: {}", tools::complaint(&made));
                // Not ours: whatever is there stays.
                std::mem::forget(scratch);
                Err(why)
            }
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Who works there.
    pub fn user(&self) -> Option<&String> {
        self.user.as_ref()
    }

    /// Runs a program there, as the user that the server runs as.
    pub async fn run(&self, cx: &Context, argv: &[&str]) -> Result<Probed, String> {
        cx.world.processes.probe(&self.probe(argv)).await
    }

    fn probe(&self, argv: &[&str]) -> Probe {
        Probe {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: Default::default(),
            cwd: None,
            user: self.user.clone(),
            timeout: Duration::from_secs(86_400),
            keep: 1 << 16,
        }
    }

    /// A new, empty cluster in `data`.
    pub async fn new_cluster(&self, bin: &Path, cx: &Context) -> Result<(), String> {
        let initdb = bin.join("initdb").display().to_string();
        let data = self.path("data");
        let argv =
            [&initdb, "-D", &data, "-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];
        let made = self.run(cx, &argv).await?;
        match made.status {
            Some(0) => Ok(()),
            _ => Err(format!("initdb failed: {}", tools::complaint(&made))),
        }
    }

    /// The server on `data`: runs until the future is dropped. Nobody but us can reach it.
    pub fn server<'a>(
        &self,
        bin: &Path,
        cx: &'a Context,
    ) -> Pin<Box<dyn Future<Output = Result<Probed, String>> + Send + 'a>> {
        let postgres = bin.join("postgres").display().to_string();
        let hba = self.path("hba.conf");
        let ident = self.path("ident.conf");
        let (data, sockets) = (self.path("data"), self.dir.display().to_string());
        let settings = [
            "listen_addresses=".to_owned(),
            "port=5432".to_owned(),
            format!("unix_socket_directories={sockets}"),
            "unix_socket_permissions=0700".to_owned(),
            format!("hba_file={hba}"),
            format!("ident_file={ident}"),
            format!("data_directory={data}"),
            "external_pid_file=".to_owned(),
            "ssl=off".to_owned(),
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            "shared_preload_libraries=".to_owned(),
            "archive_mode=off".to_owned(),
            "max_wal_senders=0".to_owned(),
            "wal_level=minimal".to_owned(),
            "max_connections=10".to_owned(),
            "max_prepared_transactions=100".to_owned(),
            "primary_conninfo=".to_owned(),
            "restore_command=".to_owned(),
            "recovery_target_action=promote".to_owned(),
            "huge_pages=off".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "autovacuum=off".to_owned(),
        ];
        let mut argv = vec![postgres.as_str(), "-D", data.as_str()];
        argv.extend(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
        let probe = self.probe(&argv);
        Box::pin(async move { cx.world.processes.probe(&probe).await })
    }

    /// A session there; waits until the server lets us in.
    pub async fn session(&self, database: &str) -> Result<Session, String> {
        let began = tokio::time::Instant::now();
        let target = Target {
            postgres: Some(format!(
                "host={} port=5432 user={} dbname='{}' sslmode=disable",
                self.dir.display(),
                if self.theirs { THEIRS } else { ROLE },
                database.replace('\\', "\\\\").replace('\'', "\\'")
            )),
            ..Target::default()
        };
        let options = Options {
            application_name: "holdpoint backup_restores".to_owned(),
            statement_timeout: Duration::from_secs(86_400),
            read_only: false,
            ..Options::default()
        };
        loop {
            match pg::connect(&target, &options).await {
                Ok(session) => return Ok(session),
                Err(error) if began.elapsed() > STARTING => return Err(error.message),
                Err(error) => match error.kind {
                    pg::ConnectTrouble::Refused | pg::ConnectTrouble::NotServing => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    _ => return Err(error.message),
                },
            }
        }
    }

    /// Ends the server in its own way, so that its shared memory goes, too.
    pub async fn stop(&self, bin: &Path, cx: &Context) {
        let pg_ctl = bin.join("pg_ctl").display().to_string();
        let data = self.path("data");
        let _ = self.run(cx, &[&pg_ctl, "stop", "-D", &data, "-m", "immediate", "-w", "-t", "20"]).await;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A server that was killed a moment ago may still be writing its last file.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.dir).is_ok() || !self.dir.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
