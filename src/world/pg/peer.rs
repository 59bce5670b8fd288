//! Sockets opened in another user's name. Debian lets the role `postgres` in only when the operating system's user
//! `postgres` knocks (peer authentication); an operator who is root may do so, as with `sudo -u postgres psql`.

use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use tokio::net::UnixStream;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Login name.
    pub(super) name: String,
    uid: u32,
    gid: u32,
    /// Home directory.
    pub(super) home: PathBuf,
}

fn accounts() -> Vec<Account> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(account).collect()
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = PathBuf::from(fields.nth(1)?);
    Some(Account { name, uid, gid, home })
}

/// The account with a user id.
pub(super) fn account_of(uid: u32) -> Option<Account> {
    accounts().into_iter().find(|account| account.uid == uid)
}

/// The account of a name, if we are root and may act for it, and it is another one than ours.
pub(super) fn may_act_for(name: &str) -> Option<Account> {
    rustix::process::geteuid().is_root().then(accounts)?.into_iter().find(|a| a.name == name && a.uid != 0)
}

/// Connects a socket as `account`. Only one short-lived thread takes its identity; the process keeps its own.
pub(super) async fn connect_as(account: &Account, directory: &Path, port: u16) -> Result<UnixStream, String> {
    let path = directory.join(format!(".s.PGSQL.{port}"));
    let account = account.clone();
    let (give, take) = tokio::sync::oneshot::channel();
    // A thread of our own, not of the pool: it must end, and not serve anybody else afterwards.
    std::thread::Builder::new()
        .name("peer".to_owned())
        .spawn(move || {
            let open = || -> std::io::Result<std::os::unix::net::UnixStream> {
                let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
                rustix::thread::set_thread_groups(&[gid])?;
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                rustix::thread::set_thread_res_uid(uid, uid, uid)?;
                let stream = std::os::unix::net::UnixStream::connect(&path)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            };
            let _ = give.send(open().map_err(|error| error.to_string()));
        })
        .map_err(|error| error.to_string())?;
    let stream = take.await.map_err(|_| "the helper thread ended early".to_owned())??;
    UnixStream::from_std(stream).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_passwd_lines() {
        let root = account("root:x:0:0:root:/root:/bin/bash").unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.home.as_path()), ("root", 0, Path::new("/root")));
        assert_eq!(account("nonsense"), None);
        assert!(may_act_for("root").is_none());
        assert!(may_act_for("no such user").is_none());
    }
}
