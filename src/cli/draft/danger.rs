//! What a command or a statement of a guide destroys: asked of `lint` itself, so that a draft and the linter agree; and which
//! guards fit.

use crate::problem::Problem;
use crate::runbook::load;
use crate::runbook::source::Source;

use super::lines::Kind;
use super::yaml;

/// What a text destroys, in the linter's words; empty when nothing.
pub(super) fn destroys(text: &str, kind: Kind) -> Vec<String> {
    let work = match kind {
        Kind::Shell => format!("    run: {}", yaml::text(text, 4)),
        Kind::Sql => format!(
            "    sql:\n      target: t\n      statements:\n        - {}",
            yaml::text(&text.replace("${", "$${"), 8)
        ),
    };
    let head = "holdpoint: 1\nname: x\ntargets: { t: { postgres: service=x } }\nsteps:\n  - id: x\n    timeout: 1h\n";
    let source = Source::new("guide", format!("{head}{work}\n"));
    let document = match load::parse(source, &[]) {
        Ok(document) => document,
        Err(_) => return Vec::new(),
    };
    let found = match document.bind_for_lint() {
        Ok(runbook) => crate::lint::lint(&document, &runbook, &crate::lint::facts),
        Err(_) => return Vec::new(),
    };
    let mut what: Vec<String> = found.iter().filter(|problem| undeclared(problem)).map(named).collect();
    what.dedup();
    what
}

/// What cannot be read (HP063) keeps a draft from being run by itself: whoever fills it in writes it so that it can be.
fn undeclared(problem: &Problem) -> bool {
    problem.code == "HP053"
}

/// The command in a message: what stands between its first backticks.
fn named(problem: &Problem) -> String {
    problem.message.split('`').nth(1).unwrap_or(&problem.message).to_owned()
}

/// What is known of a thing that goes, from the command that destroys it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// A PostgreSQL cluster or database.
    Postgres,
    /// Containers or their volumes.
    Container,
    /// A device or a file system.
    Device,
    /// Rows or tables.
    Rows,
    /// Files.
    Files,
}

impl Thing {
    /// By the destructive command.
    pub(super) fn of(command: &str) -> Thing {
        let has = |words: &[&str]| words.iter().any(|word| command.contains(word));
        if has(&["pg_drop", "purge postgresql", "dropdb", "DROP DATABASE", "initdb", "pg_resetwal"]) {
            Thing::Postgres
        } else if has(&["docker", "podman", "kubectl"]) {
            Thing::Container
        } else if has(&["mkfs", "wipefs", "blkdiscard", "lvremove", "vgremove", "zfs", "zpool", "dd"]) {
            Thing::Device
        } else if has(&["DELETE", "TRUNCATE", "DROP "]) {
            Thing::Rows
        } else {
            Thing::Files
        }
    }

    /// Guards that fit, as lines of a list of checks.
    pub(super) fn guards(self) -> &'static [&'static str] {
        match self {
            Thing::Postgres => &[
                "- rows_match: { recorded: before, target: new, at_least: true }     # or data_matches, row by row",
                "- backup_fresh: { path: /srv/dumps, max_age: 24h, contains_database: synapse }",
                "- pg_accepts_connections: { target: new }",
            ],
            Thing::Container => &[
                "- container_data_persistent: { container: app-db-1, target: old }",
                "- container_orphan_volumes: {}",
                "- backup_fresh: { path: /srv/dumps, max_age: 24h }",
            ],
            Thing::Device => &[
                "- mounted: { path: /srv/old, mounted: false }",
                "- backup_copied: { path: /srv/dumps, copy: /mnt/dumps }",
            ],
            Thing::Rows => &[
                "- backup_fresh: { path: /srv/dumps, max_age: 24h }",
                "- pg_query: { target: old, sql: select count(*) from …, at_most: 100 }",
            ],
            Thing::Files => &[
                "- file: { path: /srv/new/copy, at_least: 1MB }",
                "- backup_fresh: { path: /srv/dumps, max_age: 24h }",
            ],
        }
    }
}

/// The cluster that a command names: `9.6/main` of `pg_dropcluster --stop 9.6 main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// `9.6/main`
    pub name: String,
    /// The one that an upgrade makes of it, where the command says so.
    pub becomes: Option<String>,
}

/// What `program` (`pg_dropcluster`, `pg_upgradecluster`) works on.
pub(super) fn cluster(script: &str, program: &str) -> Option<Cluster> {
    let words: Vec<&str> = script.split_whitespace().collect();
    let at = words.iter().position(|word| word.rsplit('/').next() == Some(program))?;
    let version = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let mut rest = words[at + 1..].iter().copied();
    let mut next = None;
    while let Some(word) = rest.next() {
        match word {
            "-v" | "--version" => next = rest.next().filter(|word| version(word)),
            "-m" | "--method" => drop(rest.next()),
            word if version(word) => {
                let name = rest.next()?.trim_end_matches([';', '&', '|']);
                let becomes = next.map(|next| format!("{next}/{name}"));
                return Some(Cluster { name: format!("{word}/{name}"), becomes });
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_linter() {
        assert_eq!(destroys("sudo pg_dropcluster 9.6 main", Kind::Shell), ["pg_dropcluster"]);
        assert_eq!(destroys("echo hello\nls -l", Kind::Shell), Vec::<String>::new());
        assert_eq!(
            destroys("sudo apt-get purge -y postgresql-9.6", Kind::Shell),
            ["apt-get purge postgresql-9.6"]
        );
        assert_eq!(destroys("apt-get purge nano\n# purge postgresql-9.6", Kind::Shell), Vec::<String>::new());
        assert_eq!(destroys("drop database synapse", Kind::Sql), ["DROP DATABASE"]);
        assert_eq!(destroys("select '${x}'", Kind::Sql), Vec::<String>::new());
    }

    #[test]
    fn every_guard_that_is_offered_can_be_used() {
        use Thing::{Container, Device, Files, Postgres, Rows};
        for thing in [Postgres, Container, Device, Rows, Files] {
            let guards: String =
                thing.guards().iter().map(|guard| format!("      {}\n", guard.replace('…', "t"))).collect();
            let text = format!(
                "holdpoint: 1\nname: x\ntargets: {{ old: {{ postgres: service=a }}, new: {{ postgres: service=b }} }}\nsteps:\n  \
                 - {{ id: r, record: {{ target: old, as: before }} }}\n  - id: a\n    run: [x]\n    preconditions:\n{guards}"
            );
            let (_, problems) = crate::cli::book::judge(&Source::new("x", text));
            let errors: Vec<_> =
                problems.iter().filter(|p| p.severity == crate::problem::Severity::Error).collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
    }

    #[test]
    fn finds_the_cluster() {
        let found = |script: &str, program: &str| {
            cluster(script, program).map(|found| (found.name, found.becomes.unwrap_or_default()))
        };
        let of = |name: &str, becomes: &str| Some((name.to_owned(), becomes.to_owned()));
        assert_eq!(found("sudo pg_dropcluster 9.6 main --stop", "pg_dropcluster"), of("9.6/main", ""));
        assert_eq!(found("pg_dropcluster --stop 9.6 main", "pg_dropcluster"), of("9.6/main", ""));
        assert_eq!(found("pg_upgradecluster -v 11 9.6 main", "pg_upgradecluster"), of("9.6/main", "11/main"));
        assert_eq!(found("apt-get upgrade", "pg_dropcluster"), None);
    }
}
