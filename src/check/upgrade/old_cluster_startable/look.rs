//! What there is of a cluster, and whether it could start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::Context;
use crate::check::upgrade::place::{debian_programs, first_line, postmaster, run};
use crate::check::upgrade::survey::Findings;

/// Walking through all files of a large cluster takes its time.
const WALK: Duration = Duration::from_secs(90);

/// A look at a cluster.
pub struct Look<'a> {
    data: PathBuf,
    bin: Option<PathBuf>,
    cx: &'a Context,
    /// What was found.
    pub findings: Findings,
    /// What to say when all is well.
    pub words: String,
}

impl<'a> Look<'a> {
    /// At this data directory, with the programs of this directory.
    pub fn new(data: PathBuf, bin: Option<PathBuf>, cx: &'a Context) -> Self {
        Look { data, bin, cx, findings: Findings::default(), words: String::new() }
    }

    fn fails(&mut self, what: impl Into<String>) {
        self.findings.failed.push(what.into());
    }

    fn unknown(&mut self, why: impl Into<String>) {
        self.findings.unasked.push(why.into());
    }

    /// Is it there? An error is kept as unknown.
    async fn there(&mut self, path: &Path) -> Option<bool> {
        match self.cx.world.files.stat(path).await {
            Ok(stat) => Some(stat.is_some()),
            Err(why) => {
                self.unknown(why);
                None
            }
        }
    }

    /// Looks at everything, so that all that is in the way is known at once.
    pub async fn all(&mut self) {
        let shown = self.data.display().to_string();
        match self.there(&self.data.clone()).await {
            Some(true) => {}
            Some(false) => return self.fails(format!("there is no {shown}")),
            None => return,
        }
        let major = match self.cx.world.files.read(&self.data.join("PG_VERSION"), 64).await {
            Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Err(why) => {
                return match self.there(&self.data.join("PG_VERSION")).await {
                    Some(false) => self.fails(format!(
                        "{shown} is no data directory: it has no PG_VERSION (is its file system mounted?)"
                    )),
                    _ => self.unknown(why),
                };
            }
        };
        if major.is_empty() || !major.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return self.fails(format!("PG_VERSION in {shown} names no version"));
        }
        self.directories().await;
        self.links().await;
        self.control(&major).await;
        self.words = format!("PostgreSQL {major} in {shown}{}", self.words);
    }

    async fn directories(&mut self) {
        match self.cx.world.files.space(&self.data).await {
            Ok(space) if space.read_only => {
                self.fails(format!("{} is mounted read-only", space.path.display()))
            }
            Ok(_) => {}
            Err(why) => self.unknown(why),
        }
        for part in ["pg_wal", "base", "base/1", "pg_xact", "global"] {
            let path = self.data.join(part);
            if self.there(&path).await == Some(false) {
                self.fails(format!("{} is not there", path.display()));
            }
        }
        match self.cx.world.files.list(&self.data.join("pg_tblspc")).await {
            Ok(entries) => {
                for link in entries {
                    if self.there(&link.path).await == Some(false) {
                        self.fails(format!("the tablespace behind {} is not there", link.path.display()));
                    }
                }
            }
            Err(why) => self.unknown(why),
        }
    }

    /// Data files with a second name: those of a cluster that was upgraded with `--link`.
    async fn links(&mut self) {
        let mut argv: Vec<String> = vec!["find".into(), "-L".into()];
        argv.extend(["base", "global", "pg_tblspc"].map(|part| self.data.join(part).display().to_string()));
        argv.extend(["-type", "f", "-links", "+1", "-print", "-quit"].map(str::to_owned));
        match run(argv, (None, None), WALK, self.cx).await {
            Err(why) => self.unknown(format!("hard links could not be looked for: {why}")),
            Ok(ran) => {
                let first =
                    String::from_utf8_lossy(&ran.stdout).lines().next().unwrap_or_default().to_owned();
                if !first.is_empty() {
                    self.fails(format!("its files are shared by hard links, as {first}: a server on the other side changes them"));
                } else if ran.status != Some(0)
                    && !String::from_utf8_lossy(&ran.stderr).contains("No such file")
                {
                    self.unknown(format!("hard links could not be looked for: {}", first_line(&ran)));
                }
            }
        }
    }

    async fn control(&mut self, major: &str) {
        let control = self.data.join("global/pg_control");
        let renamed = self.there(&self.data.join("global/pg_control.old")).await == Some(true);
        match self.there(&control).await {
            Some(true) => {}
            Some(false) if renamed => {
                return self.fails("pg_upgrade renamed pg_control to pg_control.old (--link or --swap): the files belong to the new cluster");
            }
            Some(false) => return self.fails(format!("{} is not there", control.display())),
            None => return,
        }
        let running = match postmaster(&self.data).await {
            Ok(running) => running,
            Err(why) => return self.unknown(why),
        };
        let Some(bin) = self.programs(major, running).await else { return };
        let argv = vec![bin.join("pg_controldata").display().to_string(), self.data.display().to_string()];
        let ran = match run(argv, (None, None), Duration::from_secs(20), self.cx).await {
            Ok(ran) => ran,
            Err(why) => return self.unknown(format!("pg_controldata: {why}")),
        };
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        if said.contains("CRC checksum does not match")
            || String::from_utf8_lossy(&ran.stderr).contains("CRC checksum does not match")
        {
            return self.fails(format!("{} is damaged: its checksum does not match", control.display()));
        }
        let state = said.lines().find_map(|line| line.strip_prefix("Database cluster state:")).map(str::trim);
        match (state, running) {
            (None, _) => {
                self.unknown(format!("pg_controldata does not tell the state: {}", first_line(&ran)))
            }
            (Some(_), Some(pid)) => self.words = format!(" runs (pid {pid})"),
            (Some(state @ ("shut down" | "shut down in recovery")), None) => {
                self.words = format!(" is complete, {state}")
            }
            (Some(state), None) => self
                .fails(format!("it was not shut down cleanly: its state is \"{state}\", and no server runs")),
        }
    }

    /// The directory of its programs, when those are there and of its version.
    async fn programs(&mut self, major: &str, running: Option<u32>) -> Option<PathBuf> {
        let given = self.bin.clone();
        let known = match (&given, running) {
            (Some(bin), _) => bin.clone(),
            (None, Some(pid)) => self.of_process(pid).await.unwrap_or_else(|| debian_programs(major)),
            (None, None) => debian_programs(major),
        };
        let program = known.join("postgres");
        match self.there(&program).await? {
            true => {}
            false if given.is_some() => {
                self.fails(format!(
                    "the programs of PostgreSQL {major} are not there: no {}",
                    program.display()
                ));
                return None;
            }
            // Debian's place for this version is one guess; where Debian's places are at all, it is the right one.
            false if self.there(Path::new("/usr/share/postgresql-common")).await == Some(true) => {
                self.fails(format!(
                    "the programs of PostgreSQL {major} are not there: no {} (`bin` says so when they are elsewhere)",
                    program.display()
                ));
                return None;
            }
            false => {
                self.unknown(format!(
                    "where the programs of PostgreSQL {major} are is not known; say it in `bin`"
                ));
                return None;
            }
        }
        let argv = vec![program.display().to_string(), "--version".to_owned()];
        match run(argv, (None, None), Duration::from_secs(20), self.cx).await {
            Err(why) => self.unknown(why),
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                let number = said.split_once("(PostgreSQL) ").map_or("", |(_, rest)| rest);
                let found = number.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                if ran.status == Some(0) && found == major {
                    return Some(known);
                }
                if found.is_empty() {
                    self.fails(format!("{} does not run: {}", program.display(), first_line(&ran)));
                } else {
                    self.fails(format!(
                        "{} is of version {found}, and the cluster of {major}",
                        program.display()
                    ));
                }
            }
        }
        None
    }

    async fn of_process(&self, pid: u32) -> Option<PathBuf> {
        let exe = self.cx.world.files.read_link(Path::new(&format!("/proc/{pid}/exe"))).await.ok()??;
        exe.parent().map(Path::to_owned)
    }
}
