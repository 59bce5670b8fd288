//! Is the user or the group there, with the numbers, the home, the shell and the groups that it should have?

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::{self, Entry};
use crate::check::findings::Findings;
use crate::check::params::{Count, Flag};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Is the user or the group there, as it should be?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The name of a user. Either this or `group` is needed.
    #[serde(default)]
    user: Option<String>,
    /// The name of a group.
    #[serde(default)]
    group: Option<String>,
    /// `true` (the default): it must be there. `false`: it must not.
    #[serde(default)]
    exists: Option<Flag>,
    /// The number of the user.
    #[serde(default)]
    uid: Option<Count>,
    /// The number of the group; with `user`, of the user's first group.
    #[serde(default)]
    gid: Option<Count>,
    /// The user's home directory, as it stands in the entry.
    #[serde(default)]
    home: Option<String>,
    /// The user's shell.
    #[serde(default)]
    shell: Option<String>,
    /// Groups that the user must belong to.
    #[serde(default)]
    groups: Vec<String>,
    /// `true`: no password lets the user in, or the account has expired. `false`: a password does. Needs root.
    #[serde(default)]
    locked: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "account",
    summary: "a user or group exists with the numbers, home, shell and groups it should have, or does not exist",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(Account),
    build,
};

const DOCS: &str = r"
Shows that a user or a group is there, as it should be. Files that come from another machine belong to numbers, not to names: where
`postgres` has another number than before, its cluster belongs to somebody else.

**How it is measured.** The system's name service is asked (`getent`), so users of a directory (LDAP, sssd) are found, too. `groups`:
the groups that a login would get (`id -G`). `locked`: the entry in `shadow`.

**Passes** when it is there and everything that is given agrees. With `exists: false`, when it is not there, and all names come from
files on this machine.

**Fails** when it is not there, or something differs. With `exists: false`, when it is there.

**Unknown** when the name service does not answer; when nothing was found and `/etc/nsswitch.conf` also names a directory: it says
the same when it is down; when `locked` is asked for and the entry may not be seen, or there is none.

**Traps.** A locked password does not keep out a key of ssh or `su` as root. A process that runs keeps the groups that it was
started with: restart it after a change. The directory's entries may be cached (sssd, nscd) and older than they look.

```yaml
preconditions:
  - account: { user: postgres, uid: 104, home: /var/lib/postgresql, groups: [ssl-cert] }
  - account: { id: no-old-role, user: synapse-old, exists: false }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: Account = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.user.is_some() == check.group.is_some() {
        return Err("say one of `user` and `group`".to_owned());
    }
    for name in check.user.iter().chain(&check.group).chain(&check.groups) {
        // getent would take it for a number.
        if name.trim().is_empty() || name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("`{name}` is no name; give the number as `uid` or `gid`"));
        }
        if name.contains(':') || name.starts_with('-') {
            return Err(format!("`{name}` cannot be the name of an account"));
        }
    }
    let of_user = check.uid.is_some()
        || check.home.is_some()
        || check.shell.is_some()
        || !check.groups.is_empty()
        || check.locked.is_some();
    if check.group.is_some() && of_user {
        return Err("a group has no `uid`, `home`, `shell`, `groups` or `locked`".to_owned());
    }
    if !check.wanted() && (of_user || check.gid.is_some()) {
        return Err("`exists: false` stands alone with the name".to_owned());
    }
    Ok(Box::new(check))
}

/// Days since 1970, as shadow counts.
fn today(cx: &Context) -> i64 {
    cx.world.clock.now().wall.as_second().div_euclid(86_400)
}

/// Whether an entry of shadow lets nobody in by password, and why.
fn locked(fields: &[String], today: i64) -> (bool, &'static str) {
    let expired = fields.get(7).and_then(|day| day.parse::<i64>().ok()).is_some_and(|day| day <= today);
    match fields.get(1).map(String::as_str) {
        _ if expired => (true, "the account has expired"),
        Some("") => (false, "it needs no password"),
        Some(hash) if hash.starts_with('!') => (true, "its password is locked"),
        Some(hash) if hash.starts_with('*') => (true, "it has no password that could be typed"),
        _ => (false, "it has a password"),
    }
}

impl Account {
    fn wanted(&self) -> bool {
        self.exists.is_none_or(|flag| flag.0)
    }

    fn name(&self) -> (&'static str, &'static str, &str) {
        match (&self.user, &self.group) {
            (Some(user), _) => ("passwd", "user", user),
            (None, group) => ("group", "group", group.as_deref().unwrap_or_default()),
        }
    }

    fn expected(&self) -> String {
        let (_, kind, name) = self.name();
        if !self.wanted() {
            return format!("no {kind} {name}");
        }
        let mut parts = vec![format!("the {kind} {name}")];
        parts.extend(self.uid.map(|uid| format!("uid {}", uid.0)));
        parts.extend(self.gid.map(|gid| format!("gid {}", gid.0)));
        parts.extend(self.home.as_ref().map(|home| format!("home {home}")));
        parts.extend(self.shell.as_ref().map(|shell| format!("shell {shell}")));
        parts.extend((!self.groups.is_empty()).then(|| format!("in {}", self.groups.join(", "))));
        parts.extend(
            self.locked.map(|flag| if flag.0 { "locked".to_owned() } else { "not locked".to_owned() }),
        );
        parts.join(", ")
    }

    /// The groups that a login would get.
    async fn groups(&self, user: &str, findings: &mut Findings, cx: &Context) {
        let help = "see what `id` says of the user";
        let own = match names::run(&["id", "-G", "--", user], cx).await {
            Ok((Some(0), said, _)) => said.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            Ok((_, _, complaint)) => {
                return findings.unknown(format!("its groups cannot be told: {complaint}"), help);
            }
            Err(why) => return findings.unknown(format!("its groups cannot be told: {why}"), help),
        };
        for group in &self.groups {
            match names::look_up("group", group, cx).await {
                Ok(Entry::Found(fields)) if fields.get(2).is_some_and(|gid| own.contains(gid)) => {}
                Ok(Entry::Found(_)) => findings.fail(
                    format!("{user} is not in the group {group}"),
                    format!("add it (`adduser {user} {group}`), and restart what runs as {user}"),
                ),
                Ok(Entry::Absent(why)) => findings.fail(why, "make the group, or correct `groups`"),
                Ok(Entry::Unsure(why)) | Err(why) => findings.unknown(why, help),
            }
        }
    }

    async fn locked(&self, user: &str, wanted: bool, findings: &mut Findings, cx: &Context) {
        let help = "look as root; of a user from a directory, ask the directory";
        // To those who may not read the file, systemd's source of names answers with an entry of its own making.
        if let Err(why) = cx.world.files.read_range(Path::new("/etc/shadow"), 0, 0).await {
            return findings.unknown(why, help);
        }
        match names::look_up("shadow", user, cx).await {
            Ok(Entry::Found(fields)) => match locked(&fields, today(cx)) {
                (is, why) if is != wanted => findings.fail(why, format!("see `passwd --status {user}`")),
                (_, why) => findings.note(why),
            },
            // It says the same to those who may not see it.
            Ok(Entry::Absent(_) | Entry::Unsure(_)) => {
                findings.unknown(format!("the entry of {user} in shadow cannot be seen"), help);
            }
            Err(why) => findings.unknown(why, help),
        }
    }

    async fn compare(&self, fields: &[String], cx: &Context) -> Outcome {
        let field = |n: usize| fields.get(n).map(String::as_str).unwrap_or_default();
        let (_, kind, name) = self.name();
        let mut findings = Findings::default();
        let gid = if self.user.is_some() { field(3) } else { field(2) };
        let wanted = [
            ("uid", self.uid.map(|uid| uid.0.to_string()), field(2)),
            ("gid", self.gid.map(|gid| gid.0.to_string()), gid),
            ("home", self.home.clone(), field(5)),
            ("shell", self.shell.clone(), field(6)),
        ];
        for (what, wanted, seen) in wanted {
            if wanted.as_ref().is_some_and(|wanted| wanted != seen) {
                findings.fail(
                    format!("{name} has {what} {}", if seen.is_empty() { "(none)" } else { seen }),
                    "find out who made it, before anything is changed: its files belong to its number",
                );
            }
        }
        if let Some(user) = &self.user {
            if !self.groups.is_empty() {
                self.groups(user, &mut findings, cx).await;
            }
            if let Some(wanted) = self.locked {
                self.locked(user, wanted.0, &mut findings, cx).await;
            }
        }
        let seen = match kind {
            "user" => format!("{name}: uid {}, gid {gid}, home {}, shell {}", field(2), field(5), field(6)),
            _ => format!("{name}: gid {gid}"),
        };
        if !findings.clean() {
            findings.note(seen.clone());
        }
        findings.outcome(seen, self.expected())
    }
}

#[async_trait]
impl Check for Account {
    async fn measure(&self, cx: &Context) -> Outcome {
        let (database, kind, name) = self.name();
        let expected = self.expected();
        match names::look_up(database, name, cx).await {
            Ok(Entry::Found(_)) if !self.wanted() => {
                Outcome::fail(format!("the {kind} {name} is there"), expected).help(format!(
                    "find out what still belongs to it (`find / -{kind} {name}`) before it goes"
                ))
            }
            Ok(Entry::Found(fields)) => self.compare(&fields, cx).await,
            Ok(Entry::Absent(why)) => {
                Outcome::judge(!self.wanted(), why, expected).help("make it, or correct the name")
            }
            Ok(Entry::Unsure(why)) => Outcome::unknown(why, expected)
                .help("see whether the directory answers (`getent passwd` of somebody it knows)"),
            Err(why) => {
                Outcome::unknown(why, expected).help(format!("see what `getent {database} {name}` says"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contradictions_are_found_before_measuring() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({})).contains("one of"));
        assert!(refused(json!({ "user": "a", "group": "b" })).contains("one of"));
        assert!(refused(json!({ "user": "1000" })).contains("no name"));
        assert!(refused(json!({ "user": "a", "groups": ["4"] })).contains("no name"));
        assert!(refused(json!({ "group": "a", "uid": 4 })).contains("a group has no"));
        assert!(refused(json!({ "user": "a", "exists": false, "gid": 4 })).contains("alone"));
        assert_eq!(refused(json!({ "user": "a", "exists": "false" })), "");
    }

    #[test]
    fn what_locks_an_account() {
        let is = |line: &str| {
            let fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            locked(&fields, 20_000).0
        };
        assert!(is("a:!$y$x:19000:0:99999:7:::"));
        assert!(is("a:*:19000:0:99999:7:::"));
        assert!(is("a:$y$x:19000:0:99999:7::20000:"), "expired today");
        assert!(!is("a:$y$x:19000:0:99999:7::20001:"));
        assert!(!is("a::19000:0:99999:7:::"), "no password is needed");
    }
}
