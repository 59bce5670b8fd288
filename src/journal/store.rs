//! The folder in which runs live. Operators of one machine share it through its group; nobody else can read it. A folder
//! that somebody else could tamper with is refused in words.
//!
//! ```text
//! STORE/runs/RUN/runbook.yaml    the runbook as it was
//! STORE/runs/RUN/journal.jsonl   the truth
//! STORE/runs/RUN/reserve         space for the last events
//! STORE/runs/RUN/leases/         one lock file for each driver
//! STORE/runs/RUN/steps/          the output of commands
//! STORE/runs/RUN/records/        recorded manifests
//! ```

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::disk;
use super::reserve::Reserve;
use crate::base::{Moment, RunId};

/// Where the store is when nobody says otherwise and it can be written.
pub const SYSTEM: &str = "/var/lib/holdpoint";

/// Why there is no store, or no such run.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not built yet.
    #[error(
        "`{url}`: a store in PostgreSQL comes in a later version; \
         give a folder with `--store`, on a disk that the operators share"
    )]
    Postgres {
        /// What was given, without a password.
        url: String,
    },
    /// No place for it.
    #[error(
        "there is no place for a store: {SYSTEM} cannot be written, and HOME is not set. give one with `--store`"
    )]
    Nowhere,
    /// Somebody could tamper with it.
    #[error("the store {path} is not used: {why}")]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong and how to mend it.
        why: String,
    },
    /// It cannot be used.
    #[error("the store {path} cannot be {what}: {why}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// `made`, `read`, `written`.
        what: &'static str,
        /// What the system said.
        why: String,
    },
    /// Its disk is full.
    #[error(
        "no space left on {mount} for a new run ({why}); nothing was started. free some space there and try again"
    )]
    NoSpace {
        /// Where.
        mount: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The id is taken.
    #[error("run {run} exists already")]
    Exists {
        /// The run.
        run: RunId,
    },
    /// No run is called so.
    #[error("no run in {store} begins with `{prefix}`{}", nearest(.near))]
    NoSuchRun {
        /// What was asked for.
        prefix: String,
        /// The store.
        store: PathBuf,
        /// The nearest name.
        near: Option<String>,
    },
    /// Several runs are called so.
    #[error("`{prefix}` may be any of: {}. give more of the name", .runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The runs.
        runs: Vec<String>,
    },
    /// Nothing to go on with.
    #[error("no unfinished run in {store}; `holdpoint runs` lists all")]
    NoUnfinished {
        /// The store.
        store: PathBuf,
    },
    /// Several to choose from.
    #[error("several runs are unfinished: {}. name one", .runs.join(", "))]
    Several {
        /// The runs.
        runs: Vec<String>,
    },
}

fn nearest(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// A store that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    /// The folder.
    pub path: PathBuf,
    /// The run: the folder's name.
    pub run: RunId,
}

impl RunDir {
    /// The run that lives in a folder, by the folder's name.
    pub fn at(path: &Path) -> Option<RunDir> {
        Some(RunDir { run: RunId::from(path.file_name()?.to_str()?), path: path.to_owned() })
    }

    /// `journal.jsonl`.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// `runbook.yaml`.
    pub fn runbook(&self) -> PathBuf {
        self.path.join("runbook.yaml")
    }

    /// `reserve`.
    pub fn reserve(&self) -> PathBuf {
        self.path.join("reserve")
    }

    /// `leases/`.
    pub fn leases(&self) -> PathBuf {
        self.path.join("leases")
    }

    /// `steps/`.
    pub fn steps(&self) -> PathBuf {
        self.path.join("steps")
    }

    /// `records/`.
    pub fn records(&self) -> PathBuf {
        self.path.join("records")
    }
}

impl Store {
    /// Finds the store, and makes it when it is not there: `--store`, else HOLDPOINT_STORE (`env`), else
    /// [`SYSTEM`] when it can be written, else the user's state directory.
    pub fn locate(flag: Option<&str>, env: Option<&str>) -> Result<Store, StoreError> {
        let home = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self::choose(flag, env, Path::new(SYSTEM), home("XDG_STATE_HOME"), home("HOME"))
    }

    fn choose(
        flag: Option<&str>,
        env: Option<&str>,
        system: &Path,
        state: Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> Result<Store, StoreError> {
        if let Some(given) = flag.or(env).filter(|given| !given.is_empty()) {
            if given.starts_with("postgres://") || given.starts_with("postgresql://") {
                let host = given.rsplit('@').next().unwrap_or_default();
                let host = host.split(['?', '#']).next().unwrap_or_default();
                let host =
                    host.strip_prefix("postgresql://").or(host.strip_prefix("postgres://")).unwrap_or(host);
                return Err(StoreError::Postgres { url: format!("postgres://{host}") });
            }
            return Self::at(Path::new(given));
        }
        let writable = access(system, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        if writable || (!system.exists() && geteuid().is_root()) {
            return Self::at(system);
        }
        let base = state.or_else(|| home.map(|home| home.join(".local/state"))).ok_or(StoreError::Nowhere)?;
        let failed =
            |error: io::Error| StoreError::Io { path: base.clone(), what: "made", why: disk::words(&error) };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&base).map_err(failed)?;
        Self::at(&base.join("holdpoint"))
    }

    /// The store in a folder, which is made when only its last part is missing.
    pub fn at(path: &Path) -> Result<Store, StoreError> {
        let path = std::path::absolute(path).map_err(|error| StoreError::Io {
            path: path.to_owned(),
            what: "read",
            why: disk::words(&error),
        })?;
        let runs = path.join("runs");
        for dir in [&path, &runs] {
            match fs::symlink_metadata(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir)?,
                Err(error) => {
                    return Err(StoreError::Io { path: dir.clone(), what: "read", why: disk::words(&error) });
                }
                Ok(_) => {}
            }
            trusted(dir)?;
        }
        Ok(Store { root: path })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds the runs.
    pub(super) fn runs_dir(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Held from the look for an unfinished run until the new one is open: of two people who start the same work at once,
    /// the second sees the first.
    pub fn exclusive(&self) -> Result<fs::File, StoreError> {
        let path = self.root.join("starting.lock");
        let failed = |why: String| StoreError::Io { path: path.clone(), what: "locked", why };
        let file = match disk::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk::options().read(true).append(true).open(&path)
            }
            other => other,
        };
        let file = file.map_err(|error| self.failed(&path, &error))?;
        disk::lock(&file, true, disk::LOCK_LIMIT).map_err(|error| match error {
            disk::LockError::Failed(error) => failed(disk::words(&error)),
            disk::LockError::Busy => {
                let who = disk::lock_holder(&file).unwrap_or_else(|| "an unknown process".into());
                failed(format!("{who} has held it for {} seconds", disk::LOCK_LIMIT.as_secs()))
            }
        })?;
        Ok(file)
    }

    /// Makes the folder of a new run, with its runbook and its reserve, all of it on disk. The run begins when its journal
    /// is created in it. Its id is the runbook's name, the day, and four characters; `hint` asks for a certain id.
    pub fn create_run(
        &self,
        name: &str,
        runbook: &[u8],
        at: &Moment,
        hint: Option<&RunId>,
    ) -> Result<RunDir, StoreError> {
        let day = at.wall.strftime("%Y%m%d");
        for _ in 0..64 {
            let run = match hint {
                Some(run) => run.clone(),
                None => RunId(format!("{}-{day}-{}", tame(name), self.four_characters()?)),
            };
            if tame(run.as_str()) != run.as_str() {
                let why = format!("`{run}` cannot be a run's name: only a-z, 0-9, `.`, `_` and `-`");
                return Err(StoreError::Io { path: self.runs_dir(), what: "written", why });
            }
            let dir = RunDir { path: self.runs_dir().join(run.as_str()), run };
            match disk::create_dir(&dir.path) {
                Ok(()) => {
                    return furnish(&dir, runbook).map(|()| dir.clone()).map_err(|error| {
                        let _ = fs::remove_dir_all(&dir.path);
                        self.failed(&dir.path, &error)
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && hint.is_none() => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::Exists { run: dir.run });
                }
                Err(error) => return Err(self.failed(&dir.path, &error)),
            }
        }
        let why = "no free name was found in 64 attempts".to_owned();
        Err(StoreError::Io { path: self.runs_dir(), what: "written", why })
    }

    fn failed(&self, path: &Path, error: &io::Error) -> StoreError {
        match disk::no_room(error) {
            true => StoreError::NoSpace { mount: disk::mount_point(&self.root), why: disk::words(error) },
            false => StoreError::Io { path: path.to_owned(), what: "written", why: disk::words(error) },
        }
    }

    fn four_characters(&self) -> Result<String, StoreError> {
        // No 0, o, 1, l, i: ids are read aloud on the phone.
        const LETTERS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
        let mut random = [0; 4];
        let source = Path::new("/dev/urandom");
        fs::File::open(source).and_then(|mut file| file.read_exact(&mut random)).map_err(|error| {
            StoreError::Io { path: source.into(), what: "read", why: disk::words(&error) }
        })?;
        Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect())
    }

    /// Why events in this place may be lost although the system said that they are on disk; `None` on an ordinary
    /// local file system.
    pub fn durability_warning(&self) -> Option<String> {
        let kind = rustix::fs::statfs(&self.root).ok()?.f_type as u64 & 0xffff_ffff;
        let (name, what) = match kind {
            0x0102_1994 => ("tmpfs", "is memory: a restart of the machine loses every run"),
            0x8584_58f6 => ("ramfs", "is memory: a restart of the machine loses every run"),
            0x794c_7630 => ("overlay", "is the inside of a container: it goes when the container goes"),
            0x6969 => ("NFS", "is a network file system: locks and flushed writes depend on the server"),
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => {
                ("SMB", "is a network file system: locks and flushed writes depend on the server")
            }
            0x0102_1997 => ("9p", "is shared with another machine: locks and flushed writes depend on it"),
            0x6573_5546 => ("FUSE", "is a file system in a program: locks and flushed writes depend on it"),
            _ => return None,
        };
        Some(format!(
            "the store {} is on {name}, which {what}. use a folder on a local disk",
            self.root.display()
        ))
    }
}

/// A name that is safe as part of a file name.
fn tame(name: &str) -> String {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let name: String =
        name.to_ascii_lowercase().chars().map(|c| if ok(c) { c } else { '-' }).take(80).collect();
    let name = name.trim_matches(['.', '-']).to_owned();
    if name.is_empty() { "run".to_owned() } else { name }
}

fn furnish(dir: &RunDir, runbook: &[u8]) -> io::Result<()> {
    for folder in [dir.leases(), dir.steps(), dir.records()] {
        disk::create_dir(&folder)?;
        disk::sync_dir(&folder)?;
    }
    disk::write_new(&dir.runbook(), runbook)?;
    Reserve::at(dir.reserve()).restore()?;
    disk::sync_dir(&dir.path)?;
    dir.path.parent().map_or(Ok(()), disk::sync_dir)
}

fn make(dir: &Path) -> Result<(), StoreError> {
    let made = disk::create_dir(dir).and_then(|()| dir.parent().map_or(Ok(()), disk::sync_dir));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "the folder that it should be in is not there; make that first".to_owned();
            Err(StoreError::Io { path: dir.to_owned(), what: "made", why })
        }
        Err(error) => Err(StoreError::Io { path: dir.to_owned(), what: "made", why: disk::words(&error) }),
        Ok(()) => Ok(()),
    }
}

/// Refuses a folder with which others than its owner and group could tamper. It is never changed for the better: somebody
/// may want it as it is.
fn trusted(dir: &Path) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::Unsafe { path: dir.to_owned(), why });
    let meta = fs::symlink_metadata(dir).map_err(|error| StoreError::Io {
        path: dir.to_owned(),
        what: "read",
        why: disk::words(&error),
    })?;
    let me = geteuid().as_raw();
    if meta.is_symlink() {
        return refuse("it is a link, which can be pointed elsewhere; name the folder itself".into());
    }
    if !meta.is_dir() {
        return refuse("it is not a folder".into());
    }
    if meta.mode() & 0o002 != 0 {
        return refuse(format!("everybody may write to it; `chmod o-rwx {}`", dir.display()));
    }
    if me != 0 && meta.uid() != me && meta.uid() != 0 {
        return refuse(format!("it belongs to user {}, neither to you nor to root", meta.uid()));
    }
    let may = access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    // What is on a disk that turned read-only can still be looked at; whoever writes is told so.
    let readable = || access(dir, Access::READ_OK | Access::EXEC_OK).is_ok();
    if may.is_err() && !(may == Err(rustix::io::Errno::ROFS) && readable()) {
        return refuse(format!(
            "this user may not write to it (owner {}, group {}); join its group, or give another one with `--store`",
            meta.uid(),
            meta.gid()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
