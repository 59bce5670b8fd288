//! Users and groups by the name service of the system (`getent`), which also knows those of a directory. It says "none" in
//! the same way when the directory is down: so what is absent is proved only where no directory is asked.

use std::path::Path;
use std::time::Duration;

use crate::check::Context;
use crate::world::process::Probe;

/// Sources of names that are files on this machine: they cannot be down.
const LOCAL: [&str; 5] = ["files", "systemd", "altfiles", "extrausers", "db"];

/// What the name service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The fields of the entry.
    Found(Vec<String>),
    /// There is none, in words, and that is certain.
    Absent(String),
    /// None was found, which may mean that a directory is down.
    Unsure(String),
}

/// Runs a command of the name service: its exit status, what it printed, what it complained of.
pub(super) async fn run(argv: &[&str], cx: &Context) -> Result<(Option<i32>, String, String), String> {
    let probe = Probe {
        argv: argv.iter().copied().map(str::to_owned).collect(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: Duration::from_secs(10),
        keep: 1 << 20,
    };
    let done = cx.world.processes.probe(&probe).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match done.timed_out {
        true => Err(format!("`{}` gave no answer in time; is a directory service down?", argv.join(" "))),
        false => Ok((done.status, text(&done.stdout), text(&done.stderr))),
    }
}

/// Looks a name up in `passwd`, `group` or `shadow`.
pub async fn look_up(database: &str, name: &str, cx: &Context) -> Result<Entry, String> {
    let (status, said, complaint) = run(&["getent", "--", database, name], cx).await?;
    match status {
        Some(0) => {
            let first = said.lines().next().unwrap_or_default();
            let fields: Vec<String> = first.split(':').map(str::to_owned).collect();
            if fields.len() < 3 {
                return Err(format!("the answer of getent for {name} cannot be read"));
            }
            Ok(Entry::Found(fields))
        }
        // Its word for "no such key".
        Some(2) => absent(database, name, cx).await,
        status => {
            let status = status.map_or_else(|| "by a signal".to_owned(), |status| format!("with {status}"));
            Err(format!("getent could not look up {name}: it ended {status} {complaint}")
                .trim_end()
                .to_owned())
        }
    }
}

async fn absent(database: &str, name: &str, cx: &Context) -> Result<Entry, String> {
    let kind = if database == "group" { "group" } else { "user" };
    let path = Path::new("/etc/nsswitch.conf");
    let text = match cx.world.files.stat(path).await? {
        Some(_) => String::from_utf8_lossy(&cx.world.files.read(path, 1 << 20).await?).into_owned(),
        None => String::new(),
    };
    let other: Vec<String> =
        sources(&text, database).into_iter().filter(|s| !LOCAL.contains(&s.as_str())).collect();
    Ok(match other.as_slice() {
        [] => Entry::Absent(format!("no {kind} is called {name}")),
        other => Entry::Unsure(format!(
            "no {kind} {name} was found, but {} may be down: it says the same then",
            other.join(", ")
        )),
    })
}

/// Where names of a database come from, as nsswitch.conf says; `files` when it says nothing.
fn sources(text: &str, database: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| line.split_once(':')).rfind(|(key, _)| key.trim() == database);
    let Some((_, list)) = found else { return vec!["files".to_owned()] };
    // What to do on an answer stands in brackets: [NOTFOUND=return].
    let mut plain = String::new();
    let mut inside = false;
    for c in list.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_names() {
        let text = "# passwd: ldap\npasswd:  files  [!NOTFOUND=return] sss # more\ngroup:files systemd\n";
        assert_eq!(sources(text, "passwd"), ["files", "sss"]);
        assert_eq!(sources(text, "group"), ["files", "systemd"]);
        assert_eq!(sources(text, "shadow"), ["files"]);
    }
}
