//! Runs `pg_upgrade` so that nothing of it stays when it is cut off. The servers that it starts make sessions of their own:
//! the end of the command, or of ourselves, is not theirs. So a small watcher runs beside it, in a session of its own, too:
//! when the command is gone and we do not say that all is well, it stops those servers and removes the temporary directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::Context;
use crate::check::upgrade::place::{first_line, postmaster, run};
use crate::world::process::Probed;

/// Arguments: the directory, how many more belong to the watcher (programs and data, in pairs), those, the command.
/// Whoever renames the directory first has the say.
const SCRIPT: &str = r#"
dir=$1 n=$2
shift 2
setsid sh -c '
    main=$1 dir=$2 n=$3
    shift 3
    while kill -0 "$main"; do sleep 0.2; done
    sleep 1
    mv "$dir" "$dir.cut" || exit
    while [ "$n" -gt 0 ]; do
        if [ -e "$2/postmaster.pid" ]; then "$1/pg_ctl" stop -D "$2" -m fast -w -t 60; fi
        n=$((n - 2))
        shift 2
    done
    rm -rf --one-file-system -- "$dir.cut"
' watcher "$$" "$dir" "$n" "$@" </dev/null >/dev/null 2>&1 &
shift "$n"
exec "$@"
"#;

/// For everything that is over at once.
const SHORT: Duration = Duration::from_secs(20);

/// A command with a temporary directory, which is its working directory.
pub struct Watched<'a> {
    user: &'a str,
    dir: String,
    cx: &'a Context,
}

impl<'a> Watched<'a> {
    /// Makes the directory.
    pub async fn new(user: &'a str, cx: &'a Context) -> Result<Watched<'a>, String> {
        let argv = ["mktemp", "-d", "/tmp/hp-pg_upgrade-XXXXXXXX"].map(str::to_owned).to_vec();
        let made = run(argv, (Some(user), None), SHORT, cx).await?;
        let dir = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        if made.status != Some(0) || !dir.starts_with("/tmp/hp-pg_upgrade-") {
            return Err(format!("no temporary directory: {}", first_line(&made)));
        }
        Ok(Watched { user, dir, cx })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        Path::new(&self.dir)
    }

    /// Runs the command. `clusters` are programs and data of the servers that it may start; one that runs already is not
    /// ours to stop.
    pub async fn run(
        &self,
        command: Vec<String>,
        clusters: &[(&PathBuf, &PathBuf)],
        limit: Duration,
    ) -> Result<Probed, String> {
        let mut stoppable = Vec::new();
        for (bin, data) in clusters {
            if postmaster(data).await?.is_none() {
                stoppable.extend([bin.display().to_string(), data.display().to_string()]);
            }
        }
        let mut argv: Vec<String> =
            ["sh", "-c", SCRIPT, "pg_upgrade_check", &self.dir].map(str::to_owned).to_vec();
        argv.push(stoppable.len().to_string());
        argv.extend(stoppable);
        argv.extend(command);
        run(argv, (Some(self.user), Some(&self.dir)), limit, self.cx).await
    }

    /// The command has ended by itself, and its reports have been read.
    pub async fn done(self) -> Result<(), String> {
        let done = format!("{}.done", self.dir);
        let claim = ["mv", "--", &self.dir, &done].map(str::to_owned).to_vec();
        if run(claim, (Some(self.user), None), SHORT, self.cx).await?.status != Some(0) {
            return self.cut().await;
        }
        let remove = ["rm", "-rf", "--one-file-system", "--", &done].map(str::to_owned).to_vec();
        run(remove, (Some(self.user), None), SHORT, self.cx).await.map(drop)
    }

    /// The command was ended: waits until the watcher has cleaned up.
    pub async fn cut(self) -> Result<(), String> {
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let there = |path: String| async move { self.cx.world.files.stat(Path::new(&path)).await };
            if there(self.dir.clone()).await?.is_none() && there(format!("{}.cut", self.dir)).await?.is_none()
            {
                return Ok(());
            }
        }
        Err(format!("what pg_upgrade left behind in {} is still there", self.dir))
    }
}
