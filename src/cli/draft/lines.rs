//! The commands of a code block: prompts taken off, what was only printed left out, and a command that destroys taken apart
//! from those around it where that does not change what they mean.

/// What a block is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shell.
    Shell,
    /// SQL.
    Sql,
}

/// The commands of a block, and what the guide shows as their output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commands {
    /// What they are written in.
    pub kind: Kind,
    /// The text to run.
    pub text: String,
    /// What they printed for the guide's author.
    pub output: String,
}

/// Reads a block. `None` for what is no commands: a configuration file, an output, another language.
pub(super) fn commands(language: &str, text: &str) -> Option<Commands> {
    let language = language.split([' ', ',', '{']).next().unwrap_or_default().to_lowercase();
    let session = ["console", "shell-session", "shellsession", "terminal"].contains(&language.as_str());
    let kind = match language.as_str() {
        "sql" | "postgresql" | "pgsql" | "psql" => Kind::Sql,
        "sh" | "bash" | "shell" | "zsh" | "ksh" | "dash" => Kind::Shell,
        _ if session => Kind::Shell,
        "" if like_commands(text) => Kind::Shell,
        _ => return None,
    };
    let mut found = Commands { kind, text: String::new(), output: String::new() };
    let prompted = text.lines().any(|line| prompt(line, session).is_some());
    if !prompted {
        // A session without a prompt: nobody can tell command and output apart, so all of it is looked at.
        found.text = ended(text);
        return found.text.trim().is_empty().then_some(()).map_or(Some(found), |()| None);
    }
    let (mut open, mut sql) = (false, false);
    for line in text.lines() {
        let rest = prompt(line, session);
        let more = line.strip_prefix("> ").filter(|_| open);
        match rest.or(more).or(open.then_some(line)) {
            Some(command) => {
                sql |= line.contains("=# ") || line.contains("=> ");
                found.text.push_str(command);
                found.text.push('\n');
                open = command.trim_end().ends_with('\\');
            }
            None => {
                found.output.push_str(line);
                found.output.push('\n');
            }
        }
    }
    if sql {
        found.kind = Kind::Sql;
    }
    Some(found).filter(|found| !found.text.trim().is_empty())
}

fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// What follows a prompt: `$ `, `% `, `user@host:~$ `, in a session `# ` and `postgres=# ` too.
fn prompt(line: &str, session: bool) -> Option<&str> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("$ ") {
        return Some(rest);
    }
    if let Some(rest) = line.strip_prefix("# ").filter(|_| session) {
        return Some(rest);
    }
    // `user@host:~$ `, `root@host# `, `[root@host ~]# `.
    let (at, mark) = ["$ ", "# "].iter().filter_map(|mark| Some((line.find(mark)?, *mark))).min()?;
    let before = &line[..at];
    let host = before.trim_start_matches('[').split([':', ' ', ']']).next().unwrap_or_default();
    let named = host.split_once('@').is_some_and(|(user, host)| {
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        word(user) && word(host)
    });
    let database = before
        .strip_suffix('=')
        .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    (named || (database && mark == "# ")).then(|| &line[at + mark.len()..])
}

/// A block that does not say what it is: commands, unless it looks like a configuration or an output. In doubt commands:
/// a clean-up that is taken for prose would be lost.
fn like_commands(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.iter().any(|line| prompt(line, true).is_some() && !line.starts_with("# ")) {
        return true;
    }
    let setting = |line: &&&str| {
        line.starts_with(['[', '{', '<', '}', '"', '|', '+'])
            || line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
            || line.split_once(": ").is_some_and(|(name, _)| !name.contains([' ', '"', '\'']))
            || line.ends_with(':')
    };
    let words = |line: &&&str| line.starts_with(|c: char| c.is_ascii_lowercase() || "/.#$(".contains(c));
    let settings = lines.iter().filter(setting).count();
    !lines.is_empty() && settings * 2 < lines.len() && lines.iter().any(|line| words(&line))
}

/// Pieces of a script, each with what it destroys. Taken apart only where every line stands for itself: a `cd`, a variable,
/// a loop, a heredoc or an open quote keeps the script whole.
pub(super) fn apart(
    text: &str,
    kind: Kind,
    destroys: &dyn Fn(&str, Kind) -> Vec<String>,
) -> Vec<(String, Vec<String>)> {
    let whole = destroys(text, kind);
    let lines = if kind == Kind::Shell { logical(text) } else { None };
    let Some(lines) = lines.filter(|lines| !whole.is_empty() && lines.len() > 1) else {
        return vec![(text.to_owned(), whole)];
    };
    let mut pieces: Vec<(String, Vec<String>)> = Vec::new();
    let mut seen = false;
    for line in lines {
        let what = destroys(&line, kind);
        seen |= !what.is_empty();
        match pieces.last_mut() {
            Some((before, harmless)) if harmless.is_empty() && what.is_empty() => before.push_str(&line),
            _ => pieces.push((line, what)),
        }
    }
    if seen { pieces } else { vec![(text.to_owned(), whole)] }
}

/// Lines with their continuations; `None` when they hang together.
fn logical(text: &str) -> Option<Vec<String>> {
    const TOGETHER: [&str; 18] = [
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
        "function", "cd", "export", "set", "source", "pushd",
    ];
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        let assigned = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let alone = !(TOGETHER.contains(&first)
            || line.contains("<<")
            || first.starts_with(['{', '}', '(', ')'])
            || line.trim_end().ends_with(['{', '(', '|', '&'])
            || (assigned && line.split_whitespace().count() == 1)
            || line.matches('\'').count() % 2 == 1
            || line.matches('"').count() % 2 == 1);
        if !alone {
            return None;
        }
        match lines.last_mut().filter(|_| open) {
            Some(before) => before.push_str(&format!("{line}\n")),
            None if line.trim().is_empty() => continue,
            None => lines.push(format!("{line}\n")),
        }
        open = line.ends_with('\\');
    }
    // A comment belongs to the command that follows it.
    let mut joined: Vec<String> = Vec::new();
    let mut comment = String::new();
    for line in lines {
        if line.trim_start().starts_with('#') {
            comment.push_str(&line);
        } else {
            joined.push(std::mem::take(&mut comment) + &line);
        }
    }
    joined.extend((!comment.is_empty()).then_some(comment));
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(language: &str, text: &str) -> Option<(String, String)> {
        commands(language, text).map(|found| (found.text, found.output))
    }

    #[test]
    fn prompts_go_and_output_is_kept_apart() {
        let of = |language, text| run(language, text).map(|(text, _)| text);
        assert_eq!(of("sh", "ls -l\ndf -h\n").as_deref(), Some("ls -l\ndf -h\n"));
        assert_eq!(of("sh", "# a comment\nls\n").as_deref(), Some("# a comment\nls\n"));
        assert_eq!(
            run("console", "$ df -h \\\n  /srv\nFilesystem  Size\n# apt update\nHit:1\n"),
            Some(("df -h \\\n  /srv\napt update\n".to_owned(), "Filesystem  Size\nHit:1\n".to_owned()))
        );
        assert_eq!(of("", "root@chat:~# apt update\n").as_deref(), Some("apt update\n"));
        assert_eq!(of("", "[root@chat ~]# apt update\n").as_deref(), Some("apt update\n"));
        let sql = commands("", "postgres=# drop database a;\n").unwrap();
        assert_eq!((sql.kind, sql.text.as_str()), (Kind::Sql, "drop database a;\n"));
        assert_eq!(of("", "pg_dropcluster 9.6 main\n").as_deref(), Some("pg_dropcluster 9.6 main\n"));
        for (language, text) in [
            ("yaml", "a: b\n"),
            ("", "[client]\nport = 5432\n"),
            ("", "server_name: example.org\nreport_stats: false\n"),
            ("json", "{}"),
            ("sh", "\n\n"),
            ("text", "rm -r /srv\n"),
        ] {
            assert_eq!(of(language, text), None, "{text}");
        }
    }

    #[test]
    fn what_destroys_stands_alone() {
        let danger = |text: &str, _: Kind| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("drop")).map(|_| "drop".to_owned()).collect()
        };
        let of = |text: &str| -> Vec<(String, bool)> {
            apart(text, Kind::Shell, &danger)
                .into_iter()
                .map(|(text, what)| (text, !what.is_empty()))
                .collect()
        };
        let pieces = of("one\ntwo\n# mind this\ndrop it \\\n  now\nthree\n");
        let wanted = [("one\ntwo\n", false), ("# mind this\ndrop it \\\n  now\n", true), ("three\n", false)];
        assert_eq!(pieces, wanted.map(|(text, what)| (text.to_owned(), what)));
        for whole in [
            "cd /srv\ndrop it\n",
            "for x in a b\ndo\ndrop it\ndone\n",
            "X=1\ndrop it\n",
            "cat <<E\nE\ndrop it\n",
        ] {
            assert_eq!(of(whole), [(whole.to_owned(), true)], "{whole}");
        }
        assert_eq!(of("one\ntwo\n"), [("one\ntwo\n".to_owned(), false)]);
    }
}
