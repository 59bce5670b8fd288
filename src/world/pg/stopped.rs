//! A cluster that does not run, measured from its files: what it is, and whether anything still uses it.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::settings::Surroundings;
use crate::runbook::Target;
use crate::world::host;
use crate::world::identity::PostgresIdentity;
use crate::world::process::is_probe;

/// Layouts of pg_control whose first fields are the same: PostgreSQL 11 to 18.
const KNOWN_LAYOUTS: std::ops::RangeInclusive<u32> = 1100..=1800;

/// What a stopped cluster is. The data directory is named with its links resolved. `port` is what its configuration
/// says, 0 when it says nothing. An error when a server runs on it, or when the files are not those of a cluster.
pub fn identity_from_files(data_directory: &Path, port: u16) -> Result<PostgresIdentity, String> {
    let shown = data_directory.display();
    let directory =
        std::fs::canonicalize(data_directory).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if let Some(pid) = postmaster(&directory)? {
        return Err(format!("a server (pid {pid}) runs on {shown}, but it could not be asked what it is"));
    }
    let major = major(&directory)?;
    let path = directory.join("global/pg_control");
    let mut bytes = [0_u8; 64];
    std::fs::File::open(&path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let layout = u32_at(&bytes, 8);
    if !KNOWN_LAYOUTS.contains(&layout) {
        return Err(format!(
            "{} has layout {layout}, which is not known; start the server to measure it",
            path.display()
        ));
    }
    let shut_down_as_standby = u32_at(&bytes, 16) == 2;
    let standby = ["standby.signal", "recovery.signal", "recovery.conf"];
    Ok(PostgresIdentity {
        system_identifier: u64::from_le_bytes(first_eight(&bytes)).to_string(),
        data_directory: directory.display().to_string(),
        port,
        server_start: String::new(),
        timeline: u32_at(&bytes, 48),
        in_recovery: shut_down_as_standby || standby.iter().any(|file| directory.join(file).exists()),
        version: major,
        host: host::machine_id(),
    })
}

/// Where a cluster of this machine has its configuration and its files, as far as the target's words say: the places
/// that Debian gives it, and the data directory named. None for a server that is only an address.
pub fn places(target: &Target) -> Vec<PathBuf> {
    let cluster = target.cluster.iter().flat_map(|name| {
        [Surroundings::of_process().clusters.join(name), Path::new("/var/lib/postgresql").join(name)]
    });
    cluster.chain(target.data_directory.as_ref().map(PathBuf::from)).collect()
}

/// `PG_VERSION` as `server_version_num` without the minor version: 13 is 130000.
fn major(directory: &Path) -> Result<u32, String> {
    let path = directory.join("PG_VERSION");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    text.trim()
        .parse::<u32>()
        .ok()
        .filter(|major| (10..1000).contains(major))
        .map(|major| major * 10_000)
        .ok_or_else(|| format!("{} does not name a version that is known", path.display()))
}

fn u32_at(bytes: &[u8; 64], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(bytes.get(at..at + 4).unwrap_or(&[0; 4]));
    u32::from_le_bytes(four)
}

fn first_eight(bytes: &[u8; 64]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes.get(..8).unwrap_or(&[0; 8]));
    eight
}

/// The process that serves a data directory, by its postmaster.pid; `None` when the file is absent or stale.
pub fn postmaster(data_directory: &Path) -> Result<Option<u32>, String> {
    let path = data_directory.join("postmaster.pid");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    // A negative number is a single-user backend.
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i64>().ok()).map(i64::unsigned_abs);
    let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0) else {
        return Err(format!("{} does not begin with a process id", path.display()));
    };
    // A number can be taken by another process after a crash, and a server in a container has another number there:
    // what counts is who works in the directory, whatever it is called in his name space.
    if let Some(pid) = processes()?.into_iter().find(|pid| works_in(*pid, data_directory) == Some(true)) {
        return Ok(Some(pid));
    }
    let unsure = Path::new(&format!("/proc/{pid}")).exists() && works_in(pid, data_directory).is_none();
    Ok(unsure.then_some(pid))
}

/// Is it the working directory of a process? `None` when we may not look.
pub(super) fn works_in(pid: u32, directory: &Path) -> Option<bool> {
    let (cwd, there) =
        (std::fs::metadata(format!("/proc/{pid}/cwd")).ok()?, std::fs::metadata(directory).ok()?);
    Some((cwd.dev(), cwd.ino()) == (there.dev(), there.ino()))
}

fn processes() -> Result<Vec<u32>, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc cannot be read: {error}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Who uses files below some directories.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// One line each: `postgres (pid 4711) has files open below /data`.
    pub found: Vec<String>,
    /// Processes whose files we may not see.
    pub hidden: usize,
}

/// Looks through /proc for processes with a file open, or their working directory, below one of `directories` (given
/// with links resolved). Our own process and its probes do not count.
pub fn users_of(directories: &[PathBuf]) -> Result<Users, String> {
    let mut users = Users::default();
    let below = |path: &Path| directories.iter().find(|dir| path.starts_with(dir));
    for pid in processes()?.into_iter().filter(|pid| *pid != std::process::id()) {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let links = match std::fs::read_dir(process.join("fd")) {
            Ok(links) => links,
            Err(error) => {
                users.hidden += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        let open = links.flatten().map(|link| link.path()).chain([process.join("cwd")]);
        let used = open
            .filter_map(|link| std::fs::read_link(link).ok())
            .find_map(|path| below(&path).cloned())
            .or_else(|| directories.iter().find(|dir| works_in(pid, dir) == Some(true)).cloned());
        // Gone by now, or a guard of ours that reads there just now: neither uses it afterwards.
        if let Some(directory) = used.filter(|_| process.exists() && !is_probe(pid)) {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            users.found.push(format!(
                "{} (pid {pid}) has files open below {}",
                name.trim(),
                directory.display()
            ));
        }
    }
    users.found.sort();
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_who_has_files_open() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        assert_eq!(users_of(std::slice::from_ref(&real)).unwrap().found, Vec::<String>::new());
        let mut sleeper = std::process::Command::new("sleep").arg("30").current_dir(&real).spawn().unwrap();
        let found = users_of(std::slice::from_ref(&real)).unwrap().found;
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(found, [format!("sleep (pid {}) has files open below {}", sleeper.id(), real.display())]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_guard_that_reads_there_just_now_does_not_count() {
        use crate::world::process::{LocalProcesses, Probe, Processes as _};
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        let started = real.join("started");
        let probe = Probe {
            argv: ["sh", "-c", "touch started; sleep 30"].map(str::to_owned).to_vec(),
            env: Default::default(),
            cwd: Some(real.display().to_string()),
            user: None,
            timeout: std::time::Duration::from_secs(20),
            keep: 0,
        };
        let probing = tokio::spawn(async move { LocalProcesses.probe(&probe).await });
        while !started.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(users_of(std::slice::from_ref(&real)).unwrap().found, Vec::<String>::new());
        probing.abort();
    }

    #[test]
    fn a_stale_pid_file_is_not_a_server() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(postmaster(dir.path()), Ok(None));
        let write = |text: &str| std::fs::write(dir.path().join("postmaster.pid"), text).unwrap();
        write("999999999\n");
        assert_eq!(postmaster(dir.path()), Ok(None));
        write("1\n/other\n");
        let may_look = std::fs::metadata("/proc/1/cwd").is_ok();
        assert_eq!(
            postmaster(dir.path()),
            Ok((!may_look).then_some(1)),
            "pid 1 works elsewhere, if we can tell"
        );
        write("nonsense\n");
        assert!(postmaster(dir.path()).is_err());
    }

    #[test]
    fn files_that_are_no_cluster_have_no_identity() {
        let dir = tempfile::tempdir().unwrap();
        assert!(identity_from_files(dir.path(), 0).unwrap_err().contains("PG_VERSION"));
        std::fs::write(dir.path().join("PG_VERSION"), "13\n").unwrap();
        assert!(identity_from_files(dir.path(), 0).unwrap_err().contains("pg_control"));
        std::fs::create_dir(dir.path().join("global")).unwrap();
        std::fs::write(dir.path().join("global/pg_control"), [0; 64]).unwrap();
        assert!(identity_from_files(dir.path(), 0).unwrap_err().contains("layout 0"));
    }
}
