//! Running the programs that read backups: found among the installed PostgreSQL versions first (the newest reads the
//! archives of all before it), then in PATH.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::text::neutral;
use crate::check::Context;
use crate::world::process::{PATH, Probe, Probed};

/// Where distributions keep each major version's programs, with the folder for programs inside.
const VERSIONED: [(&str, &str, &str); 2] = [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin")];
/// The check's own time limit ends a tool; this is only a backstop.
const BACKSTOP: Duration = Duration::from_secs(86_400);

/// A PostgreSQL program: of exactly the major version `only` when given, else the newest there is.
pub(in crate::check::backups) async fn find(
    cx: &Context,
    program: &str,
    only: Option<u32>,
) -> Result<PathBuf, String> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, folder) in VERSIONED {
        for entry in cx.world.files.list(Path::new(parent)).await.unwrap_or_default() {
            let name = entry.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(major) = name.strip_prefix(prefix).and_then(|major| major.parse::<u32>().ok()) {
                found.push((major, entry.path.join(folder).join(program)));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    for (major, path) in found {
        if only.is_none_or(|only| only == major) && is_there(cx, &path).await {
            return Ok(path);
        }
    }
    if let Some(major) = only {
        return Err(format!("{program} of PostgreSQL {major} is not installed"));
    }
    for dir in PATH.split(':') {
        let path = Path::new(dir).join(program);
        if is_there(cx, &path).await {
            return Ok(path);
        }
    }
    Err(format!("{program} is not installed; it comes with PostgreSQL's client programs"))
}

async fn is_there(cx: &Context, path: &Path) -> bool {
    matches!(cx.world.files.stat(path).await, Ok(Some(stat)) if stat.kind == "file" && stat.mode & 0o111 != 0)
}

/// Runs a program for at most a day; the check's own limit is shorter.
pub(in crate::check::backups) async fn run(
    cx: &Context,
    argv: &[&str],
    keep: usize,
) -> Result<Probed, String> {
    let probe = Probe {
        argv: argv.iter().map(|&item| item.to_owned()).collect(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: BACKSTOP,
        keep,
    };
    cx.world.processes.probe(&probe).await
}

/// The last lines that a program printed on standard error, as one short line.
pub(in crate::check::backups) fn complaint(seen: &Probed) -> String {
    let text = String::from_utf8_lossy(&seen.stderr).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown: String = neutral(&lines[..lines.len().min(2)].join("; ")).chars().take(300).collect();
    match (shown.is_empty(), seen.status, seen.signal) {
        (false, ..) => shown,
        (true, Some(status), _) => format!("exit status {status}"),
        (true, None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}
