//! The environment of commands: explicit, so that it does not depend on one person's shell, and the accounts it names.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where commands are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A directory service that does not answer in this time is taken as broken.
const LOOKUP: Duration = Duration::from_secs(5);

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

impl Account {
    /// The user with this name, or with this number. An error is a sentence.
    pub fn named(user: &str) -> Result<Account, String> {
        if user.is_empty() || user.contains([':', '\n', '\0']) || user.starts_with('-') {
            return Err(format!("`{}` cannot be the name of a user", user.escape_default()));
        }
        let local = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        match local
            .lines()
            .filter_map(parse)
            .find(|account| account.name == user || account.uid.to_string() == user)
        {
            Some(account) => Ok(account),
            None => from_directory(user),
        }
    }

    /// The user that this process runs as.
    pub fn own() -> Result<Account, String> {
        Account::named(&rustix::process::geteuid().as_raw().to_string())
    }
}

/// The whole environment of a command: fixed search path, locale and time zone, its user's name and home, the run and
/// the step, and then what the runbook gives, which wins. `user` is [`super::Spec::user`].
pub fn clean(
    user: Option<&str>,
    run: &str,
    step: &str,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let account = match user {
        Some(user) => Account::named(user)?,
        None => Account::own()?,
    };
    let mut env: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("HOME", &account.home),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("HOLDPOINT_RUN", run),
        ("HOLDPOINT_STEP", step),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (name, value) in given {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("`{}` cannot be set in an environment", name.escape_default()));
        }
        env.insert(name.clone(), value.clone());
    }
    Ok(env)
}

fn parse(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
    Some(Account {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
    })
}

/// Users that are not in the local file: LDAP and the like.
fn from_directory(user: &str) -> Result<Account, String> {
    let unknown = || format!("this machine has no user `{user}`");
    let mut child = Command::new("getent")
        .args(["passwd", user])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| unknown())?;
    let deadline = Instant::now() + LOOKUP;
    let found = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "looking up the user `{user}` took longer than {} seconds",
                    LOOKUP.as_secs()
                ));
            }
        }
    };
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        let _ = out.take(64 << 10).read_to_string(&mut line);
    }
    line.lines().next().filter(|_| found).and_then(parse).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_explicit_and_the_runbook_has_the_last_word() {
        let given = BTreeMap::from([("TZ".to_owned(), "Europe/London".to_owned())]);
        let env = clean(None, "up-1", "copy", &given).unwrap();
        assert_eq!(
            env.keys().map(String::as_str).collect::<Vec<_>>(),
            ["HOLDPOINT_RUN", "HOLDPOINT_STEP", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER"]
        );
        assert_eq!(env["TZ"], "Europe/London");
        assert!(clean(None, "r", "s", &BTreeMap::from([("A=B".to_owned(), String::new())])).is_err());
    }

    #[test]
    fn accounts_by_name_and_number() {
        let root = Account::named("root").unwrap();
        assert_eq!((root.uid, root.gid, root.home.starts_with("/")), (0, 0, true));
        assert_eq!(Account::named("0").unwrap(), root);
        assert_eq!(Account::named("no-such-user").unwrap_err(), "this machine has no user `no-such-user`");
        assert!(Account::named("--help").is_err());
    }
}
