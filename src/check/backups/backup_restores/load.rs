//! Puts a backup into the throw-away server, each format in its own way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::count::{self, Tables};
use super::scratch::{ROLE, Scratch};
use super::{Candidate, Trouble};
use crate::check::Context;
use crate::check::backups::backup_fresh::candidates::Kind;
use crate::check::backups::backup_fresh::judge::word;
use crate::check::backups::tools;
use crate::world::pg::identifier;

/// How much larger the restored database may be than the backup.
pub(super) fn growth(kind: &Kind) -> u64 {
    match kind {
        Kind::Base(_) => 1,
        // Plain text lacks the indexes; an archive is packed besides.
        Kind::Plain { .. } => 3,
        _ => 8,
    }
}

/// Restores and counts; how it was done.
pub(super) async fn restore(
    backup: &Candidate,
    scratch: &Scratch,
    database: Option<&str>,
    cx: &Context,
) -> Result<(Tables, String), Trouble> {
    let major = match &backup.kind {
        Kind::Archive(header) | Kind::Directory(header) => header.server.as_deref().and_then(major),
        Kind::Base(major) => Some(*major),
        Kind::Plain { .. } => None,
        Kind::Broken(why) => return Err(Trouble::Fails(why.clone())),
        other => {
            let what = word(other);
            return Err(Trouble::Unknown(format!("it is {what}, which this check cannot restore")));
        }
    };
    let bin = bin(major, matches!(backup.kind, Kind::Base(_)), cx).await.map_err(Trouble::Unknown)?;
    let write = |name: &str, text: &str| {
        let path = scratch.path(name);
        std::fs::write(&path, text).map_err(|error| Trouble::Unknown(format!("{path}: {error}")))
    };
    if let Kind::Base(_) = backup.kind {
        copy(backup, scratch, cx).await?;
    } else {
        scratch.new_cluster(&bin, cx).await.map_err(Trouble::Unknown)?;
    }
    write("hba.conf", "local all all trust\n")?;
    write("ident.conf", "")?;
    readable(scratch, cx).await?;
    let mut server = scratch.server(&bin, cx);
    let work = work(backup, scratch, database, cx);
    let outcome = tokio::select! {
        ended = &mut server => {
            let why = ended.map_or_else(|why| why, |seen| tools::complaint(&seen));
            let base = matches!(backup.kind, Kind::Base(_));
            let why = format!("the throw-away server ended: {why}");
            // Of a base backup it is the backup that does not come up.
            return Err(if base { Trouble::Fails(why) } else { Trouble::Unknown(why) });
        }
        done = work => done,
    };
    // While the server is still ours: it takes its shared memory along.
    tokio::select! {
        _ = &mut server => {}
        () = scratch.stop(&bin, cx) => {}
    }
    outcome
}

fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The folder of the programs: of the same major version, else of the newest, which a dump can go to as well.
async fn bin(major: Option<u32>, only: bool, cx: &Context) -> Result<PathBuf, String> {
    let exact = match major {
        Some(major) => tools::find(cx, "postgres", Some(major)).await,
        None => Err("no version is named".to_owned()),
    };
    let found = match exact {
        Ok(found) => found,
        Err(why) if only => return Err(why),
        Err(_) => tools::find(cx, "postgres", None).await?,
    };
    Ok(found.parent().unwrap_or(Path::new("/")).to_owned())
}

/// What root has written must be readable for the server's user.
async fn readable(scratch: &Scratch, cx: &Context) -> Result<(), Trouble> {
    let Some(user) = scratch.user() else { return Ok(()) };
    let (hba, ident) = (scratch.path("hba.conf"), scratch.path("ident.conf"));
    own(cx, user, &["--", &hba, &ident]).await
}

async fn own(cx: &Context, user: &str, arguments: &[&str]) -> Result<(), Trouble> {
    let argv: Vec<&str> = ["chown", user].into_iter().chain(arguments.iter().copied()).collect();
    let seen = tools::run(cx, &argv, 4096).await.map_err(Trouble::Unknown)?;
    match seen.status {
        Some(0) => Ok(()),
        _ => Err(Trouble::Unknown(format!("chown failed: {}", tools::complaint(&seen)))),
    }
}

/// Copies a base backup, made ready to be started by itself.
async fn copy(backup: &Candidate, scratch: &Scratch, cx: &Context) -> Result<(), Trouble> {
    let tablespaces = cx.world.files.list(&backup.path.join("pg_tblspc")).await.unwrap_or_default();
    if !tablespaces.is_empty() {
        let why = "it has tablespaces, and its links to them lead to the live ones";
        return Err(Trouble::Unknown(why.to_owned()));
    }
    let (from, data) = (backup.path.display().to_string(), scratch.path("data"));
    let seen = tools::run(cx, &["cp", "-a", "--", &from, &data], 8192).await.map_err(Trouble::Unknown)?;
    if seen.status != Some(0) {
        return Err(Trouble::Unknown(format!("copying failed: {}", tools::complaint(&seen))));
    }
    for signal in ["standby.signal", "recovery.signal", "postmaster.pid"] {
        let _ = std::fs::remove_file(Path::new(&data).join(signal));
    }
    let conf = Path::new(&data).join("postgresql.conf");
    // Debian keeps the configuration elsewhere; whatever is there may name places of the live server.
    std::fs::write(&conf, "").map_err(|error| Trouble::Unknown(format!("{}: {error}", conf.display())))?;
    let auto = Path::new(&data).join("postgresql.auto.conf");
    std::fs::write(&auto, "").map_err(|error| Trouble::Unknown(format!("{}: {error}", auto.display())))?;
    match scratch.user() {
        Some(user) => own(cx, user, &["-R", "--", &data]).await,
        None => Ok(()),
    }
}

async fn work(
    backup: &Candidate,
    scratch: &Scratch,
    database: Option<&str>,
    cx: &Context,
) -> Result<(Tables, String), Trouble> {
    let path = backup.path.display().to_string();
    match &backup.kind {
        Kind::Archive(_) | Kind::Directory(_) => {
            fresh_database(scratch).await?;
            let pg_restore = tools::find(cx, "pg_restore", None).await.map_err(Trouble::Unknown)?;
            let pg_restore = pg_restore.display().to_string();
            let (host, role) = (scratch.path(""), ROLE);
            let argv = [
                &pg_restore,
                "--exit-on-error",
                "--single-transaction",
                "--no-owner",
                "--no-privileges",
                "-h",
                host.trim_end_matches('/'),
                "-p",
                "5432",
                "-U",
                role,
                "-d",
                "restored",
                "--",
                &path,
            ];
            loaded("pg_restore", &tools::run(cx, &argv, 8192).await.map_err(Trouble::Unknown)?)?;
            let tables = one_database(scratch, database).await?;
            Ok((
                tables,
                "restored by pg_restore in one transaction: every constraint and index was built".to_owned(),
            ))
        }
        Kind::Plain { cluster } => {
            fresh_database(scratch).await?;
            if !cluster {
                make_roles(&backup.path, scratch, cx).await?;
            }
            let psql = tools::find(cx, "psql", None).await.map_err(Trouble::Unknown)?.display().to_string();
            let host = scratch.path("");
            let mut argv = vec![
                psql.as_str(),
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                host.trim_end_matches('/'),
                "-p",
                "5432",
                "-U",
                ROLE,
                "-d",
                "restored",
                "-o",
                "/dev/null",
            ];
            if !cluster {
                argv.push("--single-transaction");
            }
            argv.extend(["-f", path.as_str()]);
            loaded("psql", &tools::run(cx, &argv, 8192).await.map_err(Trouble::Unknown)?)?;
            let tables = if *cluster {
                every_database(scratch).await?
            } else {
                one_database(scratch, database).await?
            };
            Ok((tables, "restored by psql, which stops at the first error".to_owned()))
        }
        _ => {
            let tables = every_database(scratch).await?;
            Ok((tables, "started from the base backup, and recovered to a consistent state".to_owned()))
        }
    }
}

async fn fresh_database(scratch: &Scratch) -> Result<(), Trouble> {
    let session = scratch.session("template1").await.map_err(Trouble::Unknown)?;
    let made = session.execute("create database restored template template0").await;
    made.map(drop).map_err(|error| Trouble::Unknown(error.to_string()))
}

/// A dump of one database; its tables are filed under the name that they are compared by.
async fn one_database(scratch: &Scratch, name: Option<&str>) -> Result<Tables, Trouble> {
    let session = scratch.session("restored").await.map_err(Trouble::Unknown)?;
    count::of_database(&session, name.unwrap_or("restored"))
        .await
        .map_err(|error| Trouble::Fails(error.to_string()))
}

async fn every_database(scratch: &Scratch) -> Result<Tables, Trouble> {
    let session = scratch.session("template1").await.map_err(Trouble::Unknown)?;
    let databases = session.databases().await.map_err(|error| Trouble::Fails(error.to_string()))?;
    let mut tables = Tables::default();
    for database in databases.into_iter().filter(|database| database.allows_connections) {
        let session = scratch.session(&database.name).await.map_err(Trouble::Unknown)?;
        let counted = count::of_database(&session, &database.name).await;
        tables.add(counted.map_err(|error| Trouble::Fails(format!("database {}: {error}", database.name)))?);
    }
    Ok(tables)
}

/// What the loading program's end means.
fn loaded(program: &str, seen: &crate::world::process::Probed) -> Result<(), Trouble> {
    if seen.status == Some(0) {
        return Ok(());
    }
    let said = tools::complaint(seen);
    let not_here = [
        "extension control file",
        "is not available",
        "unsupported version",
        "could not access file",
        "No space left",
    ];
    let why = format!("{program}: {said}");
    Err(if seen.status.is_none() || not_here.iter().any(|words| said.contains(words)) {
        Trouble::Unknown(why)
    } else {
        Trouble::Fails(why)
    })
}

/// Makes the roles that a dump of one database names but does not hold.
async fn make_roles(path: &Path, scratch: &Scratch, cx: &Context) -> Result<(), Trouble> {
    const PIECE: usize = 4 << 20;
    let (mut at, mut rest, mut roles) = (0_u64, Vec::new(), BTreeSet::new());
    loop {
        let piece = cx.world.files.read_range(path, at, PIECE).await.map_err(Trouble::Unknown)?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        rest.extend_from_slice(&piece);
        let end = rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in rest.get(..end).unwrap_or_default().split(|b| *b == b'\n') {
            roles.extend(role(&String::from_utf8_lossy(line)));
        }
        rest.drain(..end);
        // A row of gigabytes names no role.
        if rest.len() > 16 << 20 {
            rest.clear();
        }
    }
    let session = scratch.session("template1").await.map_err(Trouble::Unknown)?;
    for role in roles {
        let made = session.execute(&format!("create role {}", identifier(&role))).await;
        if let Err(error) = made
            && error.sqlstate.as_deref() != Some("42710")
        {
            return Err(Trouble::Unknown(error.to_string()));
        }
    }
    Ok(())
}

/// The role that a line of a dump gives something to.
fn role(line: &str) -> Option<String> {
    let rest = if line.starts_with("ALTER ") {
        line.rsplit_once(" OWNER TO ")?.1
    } else if line.starts_with("GRANT ") {
        line.rsplit_once(" TO ")?.1
    } else if line.starts_with("REVOKE ") {
        line.rsplit_once(" FROM ")?.1
    } else {
        return None;
    };
    let name = rest.trim_end().strip_suffix(';')?.trim_end_matches(" WITH GRANT OPTION");
    let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_owned(),
    };
    (!name.is_empty() && !name.starts_with("pg_") && name != "PUBLIC" && !name.contains(' ')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_from_what_a_dump_says() {
        assert_eq!(role("ALTER TABLE public.t OWNER TO synapse;").as_deref(), Some("synapse"));
        assert_eq!(role("ALTER TABLE public.t OWNER TO \"a \"\"b\";"), None, "spaces are rare, and refused");
        assert_eq!(role("ALTER TABLE t OWNER TO \"x-y\";").as_deref(), Some("x-y"));
        assert_eq!(role("GRANT SELECT ON TABLE public.t TO reader;").as_deref(), Some("reader"));
        assert_eq!(role("REVOKE ALL ON SCHEMA public FROM PUBLIC;"), None);
        assert_eq!(role("GRANT x TO pg_monitor;"), None);
        assert_eq!(role("a row that says OWNER TO nobody;"), None);
        assert_eq!((major("15.18 (Debian 15.18-0+deb12u1)"), major("x")), (Some(15), None));
    }
}
