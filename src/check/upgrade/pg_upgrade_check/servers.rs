//! What `pg_upgrade` may leave behind when it is cut off: a server that it started (it makes a session of its own, so that
//! the end of the command is not its end), and the temporary directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::check::Context;
use crate::check::upgrade::place::{postmaster, run};

/// How long a server may take to come up after the command that started it is gone.
const COMING_UP: Duration = Duration::from_secs(2);

/// Stops the servers that were not there before, and removes the directory; also when it is dropped.
pub struct Stray {
    work: Option<Work>,
}

struct Work {
    servers: Vec<(PathBuf, PathBuf)>,
    user: String,
    dir: String,
    cx: Context,
}

impl Stray {
    /// Remembers which of the data directories no server serves now.
    pub async fn watch(all: &[(&PathBuf, &PathBuf)], user: &str, dir: &str, cx: &Context) -> Stray {
        let mut servers = Vec::new();
        for (bin, data) in all {
            // One that may run is not ours to stop.
            if matches!(postmaster(data).await, Ok(None)) {
                servers.push(((*bin).clone(), (*data).clone()));
            }
        }
        Stray { work: Some(Work { servers, user: user.to_owned(), dir: dir.to_owned(), cx: cx.clone() }) }
    }

    /// Once the command has ended by itself.
    pub async fn settle(&mut self) {
        if let Some(work) = self.work.take() {
            work.end().await;
        }
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(COMING_UP).await;
                work.end().await;
            });
        }
    }
}

impl Work {
    async fn end(self) {
        let text = |path: &Path| path.display().to_string();
        for (bin, data) in &self.servers {
            if !matches!(postmaster(data).await, Ok(None)) {
                let argv = vec![text(&bin.join("pg_ctl")), "stop".into(), "-D".into(), text(data), "-m".into(), "fast".into()];
                // Best effort: nobody waits for an answer any more.
                let _ = run(argv, (Some(&self.user), Some(&self.dir)), Duration::from_secs(60), &self.cx).await;
            }
        }
        let argv = vec!["rm".into(), "-rf".into(), "--one-file-system".into(), "--".into(), self.dir.clone()];
        let _ = run(argv, (Some(&self.user), None), Duration::from_secs(20), &self.cx).await;
    }
}
