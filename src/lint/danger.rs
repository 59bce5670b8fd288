//! Commands and statements that destroy, in steps that do not say so. It knows the usual ones and reads scripts word by
//! word; it is a net, not a proof.

use super::Places;
use crate::problem::Problem;
use crate::runbook::model::Run;
use crate::runbook::{Step, Work};

/// How certain it is that data goes.
enum Danger {
    /// A database, cluster, volume or file system goes.
    Certain(String),
    /// Perhaps nothing that matters.
    Possible(String),
}

/// Adds destruction that is not declared.
pub(super) fn judge(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    if let Some(found) = step.work().filter(|_| step.destroys.is_none()) {
        let help = "say what goes with `destroys`, so that it is guarded";
        judge_work(found, &format!("`{}`", step.id), help, || places.key(at, found.word()), problems);
    }
    let rollback = step.rollback.as_ref().filter(|rollback| rollback.destroys.is_none());
    if let Some(found) = rollback.and_then(|rollback| rollback.work()) {
        let help = "say what goes with `destroys` in the rollback, so that it is guarded";
        let range = || places.key(at, &format!("rollback.{}", found.word()));
        judge_work(found, &format!("the rollback of `{}`", step.id), help, range, problems);
    }
}

fn judge_work(
    found: Work<'_>,
    whose: &str,
    help: &str,
    range: impl Fn() -> std::ops::Range<usize>,
    problems: &mut Vec<Problem>,
) {
    match work(found) {
        Some(Danger::Certain(what)) => {
            let message = format!("`{what}` destroys, and {whose} does not say so");
            problems.push(Problem::error("HP053", message, range()).help(help));
        }
        Some(Danger::Possible(what)) => {
            let message = format!("`{what}` may destroy, and {whose} does not say so");
            problems.push(Problem::warning("HP053", message, range()).help(help));
        }
        None => {}
    }
}

fn work(work: Work<'_>) -> Option<Danger> {
    match work {
        Work::Run(Run::Argv(argv)) => {
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            command(&words)
        }
        Work::Run(Run::Script(script)) => self::script(script),
        Work::Sql(sql) => worst(sql.statements.iter().filter_map(|statement| self::sql(statement))),
        _ => None,
    }
}

/// The first that is certain, else the first.
fn worst(mut all: impl Iterator<Item = Danger>) -> Option<Danger> {
    let first = all.next()?;
    if matches!(first, Danger::Certain(_)) {
        return Some(first);
    }
    all.find(|danger| matches!(danger, Danger::Certain(_))).or(Some(first))
}

/// The most dangerous command of a script. Comments and quoted heredocs are not understood in full; ends of commands
/// are.
fn script(text: &str) -> Option<Danger> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    let parts = lines.flat_map(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        line.split([';', '|', '&', '(', ')', '`'])
    });
    worst(parts.filter_map(|part| {
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        command(&words)
    }))
}

fn command(words: &[&str]) -> Option<Danger> {
    const BEFORE: [&str; 14] = [
        "sudo", "env", "exec", "nohup", "nice", "ionice", "time", "command", "then", "do", "else", "!", "{",
        "if",
    ];
    let skip = words
        .iter()
        .take_while(|word| BEFORE.contains(word) || word.starts_with('-') || word.contains('='))
        .count();
    let (program, rest) = words.get(skip..)?.split_first()?;
    let program = program.rsplit('/').next().unwrap_or_default();
    let has = |wanted: &[&str]| wanted.iter().all(|word| rest.contains(word));
    let flag = |short: char, long: &str| {
        rest.iter().any(|word| {
            *word == long || (word.starts_with('-') && !word.starts_with("--") && word.contains(short))
        })
    };
    let named = |text: &str| text.to_owned();
    match program {
        "pg_dropcluster" | "dropdb" | "wipefs" | "blkdiscard" | "lvremove" | "vgremove" | "shred" => {
            Some(Danger::Certain(named(program)))
        }
        program if program == "mkfs" || program.starts_with("mkfs.") => Some(Danger::Certain(named(program))),
        "zfs" | "zpool" if has(&["destroy"]) => Some(Danger::Certain(format!("{program} destroy"))),
        "docker" | "podman" if has(&["volume"]) && (has(&["rm"]) || has(&["prune"])) => {
            Some(Danger::Certain(format!("{program} volume")))
        }
        "docker" | "podman" | "docker-compose" if has(&["down"]) && flag('v', "--volumes") => {
            Some(Danger::Certain(format!("{program} down -v")))
        }
        "docker" | "podman" if has(&["prune"]) => Some(Danger::Possible(format!("{program} prune"))),
        "rm" if flag('r', "--recursive") || flag('R', "--recursive") => {
            Some(Danger::Possible(named("rm -r")))
        }
        "find" if has(&["-delete"]) => Some(Danger::Possible(named("find -delete"))),
        "dd" if rest.iter().any(|word| word.starts_with("of=/dev/") && *word != "of=/dev/null") => {
            Some(Danger::Certain(named("dd")))
        }
        "psql" | "sqlite3" | "mysql" => sql(&rest.join(" ")),
        _ => None,
    }
}

fn sql(text: &str) -> Option<Danger> {
    let upper = text.to_uppercase();
    let words: Vec<&str> =
        upper.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    for pair in words.windows(2) {
        match pair {
            ["DROP", what @ ("DATABASE" | "TABLESPACE")] => {
                return Some(Danger::Certain(format!("DROP {what}")));
            }
            ["DROP", what @ ("TABLE" | "SCHEMA" | "INDEX" | "COLUMN" | "OWNED" | "MATERIALIZED")] => {
                return Some(Danger::Possible(format!("DROP {what}")));
            }
            ["TRUNCATE", _] => return Some(Danger::Possible("TRUNCATE".to_owned())),
            ["DELETE", "FROM"] if !words.contains(&"WHERE") => {
                return Some(Danger::Possible("DELETE without WHERE".to_owned()));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(danger: Option<Danger>) -> String {
        match danger {
            Some(Danger::Certain(what)) => format!("! {what}"),
            Some(Danger::Possible(what)) => format!("? {what}"),
            None => String::new(),
        }
    }

    #[test]
    fn knows_the_usual_ones() {
        for (line, found) in [
            ("pg_dropcluster 13 main --stop", "! pg_dropcluster"),
            ("sudo -n /usr/bin/pg_dropcluster 13 main", "! pg_dropcluster"),
            ("PGPORT=5433 dropdb synapse", "! dropdb"),
            ("# pg_dropcluster 13 main", ""),
            ("echo pg_dropcluster", ""),
            ("set -x; if true; then rm -fr /srv/x; fi", "? rm -r"),
            ("rm -f one", ""),
            ("rm -r /srv/x\npg_dropcluster 13 main", "! pg_dropcluster"),
            ("docker volume rm pg", "! docker volume"),
            ("docker compose down -v", "! docker down -v"),
            ("docker compose down", ""),
            ("dd if=/dev/zero of=/dev/sdb", "! dd"),
            ("dd if=/dev/sdb of=/dev/null", ""),
            ("psql -c 'drop database synapse'", "! DROP DATABASE"),
            ("psql -c 'select 1'", ""),
        ] {
            assert_eq!(word(script(line)), found, "{line}");
        }
        assert_eq!(word(sql("DELETE FROM t")), "? DELETE without WHERE");
        assert_eq!(word(sql("DELETE FROM t WHERE a = 1")), "");
        assert_eq!(word(sql("ALTER TABLE t DROP COLUMN c")), "? DROP COLUMN");
        assert_eq!(word(sql("SELECT dropped FROM t")), "");
    }
}
