//! Keeps the arrows of `docs/architecture.md` true: which layer may use which, and which third-party crate lives where.
//! Reads the sources as text, so that it sees what a compiler of one configuration would not.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A layer beside the arrow.
struct Beside {
    layer: String,
    uses: Vec<String>,
    users: Vec<String>,
}

/// What the page allows.
struct Page {
    /// Each layer may use those before it.
    arrow: Vec<String>,
    beside: Vec<Beside>,
    /// Crates that only these files (by the beginning of their path below `src/`) may name.
    owners: Vec<(String, Vec<String>)>,
}

impl Page {
    fn read() -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
        let text = std::fs::read_to_string(path).unwrap();
        let arrow = text.lines().find(|line| line.starts_with("base → ")).expect("the arrow");
        let rows = |title: &str| -> Vec<Vec<Vec<String>>> {
            let table = text.lines().skip_while(|line| !line.starts_with(title)).skip(2);
            let rows = table.take_while(|line| line.starts_with("| `"));
            let cell = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
        };
        let beside = rows("| beside |").into_iter().map(|row| Beside {
            layer: row[0][0].clone(),
            uses: row[1].clone(),
            users: row[2].clone(),
        });
        let owners = rows("| crate |").into_iter().map(|row| (row[0][0].clone(), row[1].clone()));
        let page = Page {
            arrow: arrow.split(" → ").map(str::to_owned).collect(),
            beside: beside.collect(),
            owners: owners.collect(),
        };
        assert_eq!((page.arrow.len(), page.beside.len()), (13, 2), "the page is read");
        assert!(page.owners.len() > 10 && page.owners.iter().all(|(_, places)| !places.is_empty()));
        page
    }
}

#[test]
fn every_layer_uses_only_those_before_it() {
    let page = Page::read();
    let mut wrong = Vec::new();
    let mut edges = BTreeSet::new();
    for (path, text) in sources() {
        let Some(from) = layer(&path) else { continue };
        for to in used(&text) {
            edges.insert((from.clone(), to.clone()));
            if from != to && !page.allowed(&from, &to) {
                wrong.push(format!("src/{}: `{from}` may not use `{to}`", path.display()));
            }
        }
    }
    assert!(edges.contains(&("world".to_owned(), "base".to_owned())), "the parser finds edges: {edges:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_is_a_layer_and_every_layer_is_there() {
    let found: BTreeSet<String> = sources().iter().filter_map(|(path, _)| layer(path)).collect();
    let page = Page::read();
    let known: BTreeSet<String> =
        page.arrow.into_iter().chain(page.beside.into_iter().map(|b| b.layer)).collect();
    assert_eq!(found, known);
}

#[test]
fn every_third_party_crate_stays_in_its_folder() {
    let page = Page::read();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let shown = path.display().to_string();
        for (name, owners) in &page.owners {
            if names_crate(&text, name) {
                seen.insert(name.as_str());
                if !owners.iter().any(|owner| shown.starts_with(owner)) {
                    wrong.push(format!("src/{shown}: only {} may name `{name}`", owners.join(" and ")));
                }
            }
        }
    }
    assert!(seen.contains("tokio_postgres"), "the parser finds crates: {seen:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_parser_sees_what_it_must() {
    let text = "use crate::base::Span;\nuse crate::{gate, world::pg::{self, connect}};\n// crate::cli\n\
                fn f() { crate::engine::go(\"crate::ui\"); }\npub(in crate::report) fn g() {}\n";
    assert_eq!(
        used(text).into_iter().collect::<Vec<_>>(),
        ["base", "engine", "gate", "report", "ui", "world"]
    );
    let page = Page::read();
    for (from, to, may) in [
        ("check", "world", true),
        ("world", "check", false),
        ("engine", "demo", false),
        ("cli", "demo", true),
        ("engine", "supervise", true),
        ("supervise", "engine", false),
        ("world", "supervise", false),
        ("nonsense", "base", false),
    ] {
        assert_eq!(page.allowed(from, to), may, "{from} to {to}");
    }
    assert!(
        names_crate("use console::Term;", "console") && names_crate("x = console::Term::new()", "console")
    );
    assert!(names_crate("pub use clap;", "clap") && !names_crate("use clap_complete::X;", "clap"));
    assert!(!names_crate("use super::console::Term; my_console::x()", "console"));
}

impl Page {
    fn allowed(&self, from: &str, to: &str) -> bool {
        if let Some(beside) = self.beside.iter().find(|beside| beside.layer == from) {
            return beside.uses.iter().any(|layer| layer == to);
        }
        if let Some(beside) = self.beside.iter().find(|beside| beside.layer == to) {
            return beside.users.iter().any(|layer| layer == from);
        }
        let at = |name: &str| self.arrow.iter().position(|layer| layer == name);
        matches!((at(from), at(to)), (Some(from), Some(to)) if to < from)
    }
}

/// The layer of a file: its folder, or its own name. `lib.rs` and `main.rs` belong to none.
fn layer(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&name)).then(|| name.to_owned())
}

/// All sources below `src/`, comments cut off.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = without_comments(&std::fs::read_to_string(&path).unwrap());
                found.push((path.strip_prefix(&root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources are found");
    found
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The first names after `crate::`, in paths and in groups.
fn used(text: &str) -> BTreeSet<String> {
    let text = without_comments(text);
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate") {
        let before = text[..at].chars().next_back();
        let after = text[at + "crate".len()..].trim_start();
        let Some(after) = after.strip_prefix("::").filter(|_| !before.is_some_and(is_word)) else { continue };
        match after.trim_start().strip_prefix('{') {
            None => found.extend(word(after.trim_start())),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && is_word(c) => {
                            found.extend(word(&group[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// Does a path begin with this crate's name?
fn names_crate(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let begins = !before.ends_with("::") && !before.chars().next_back().is_some_and(is_word);
        let used =
            before.trim_end().ends_with("use") && (after.starts_with(';') || after.starts_with(" as "));
        begins && (after.starts_with("::") || used)
    })
}
