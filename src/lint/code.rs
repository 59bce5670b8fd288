//! What would not run as it reads: values that become code (in the text of `bash -c`, in an SQL statement), and spaces
//! that are none.

use super::Places;
use crate::problem::Problem;
use crate::runbook::subst::{Piece, pieces, place};
use crate::runbook::tree::Node;

const SHELLS: [&str; 6] = ["bash", "sh", "dash", "zsh", "ksh", "su"];

/// Adds what breaks the rules, for one step. Looks at the text as written: values are not in it yet.
pub(super) fn judge(at: usize, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let Some(step) = places.doc.step(at) else { return };
    for path in ["run", "rehearse", "rollback.run"] {
        argv(step.at(path), places, problems);
        let run = step.at(path);
        run.into_iter()
            .chain(run.map(Node::items).unwrap_or_default())
            .for_each(|node| spaces(node, places, problems));
    }
    for path in ["sql.statements", "rollback.sql.statements"] {
        for statement in step.at(path).map(Node::items).unwrap_or_default() {
            sql(statement, places, problems);
        }
    }
}

fn argv(run: Option<&Node>, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let items = run.map(Node::items).unwrap_or_default();
    let texts: Vec<&str> = items.iter().filter_map(Node::text).collect();
    let shell = texts.iter().position(|text| SHELLS.contains(&text.rsplit('/').next().unwrap_or_default()));
    let Some(shell) = shell else { return };
    let takes_code = |text: &&str| text.starts_with('-') && !text.starts_with("--") && text.contains('c');
    let Some(flag) = texts.iter().skip(shell + 1).position(takes_code) else { return };
    let Some(code) = items.get(shell + 1 + flag + 1) else { return };
    if let Some((name, range)) = first_name(code, places) {
        problems.push(
            Problem::error(
                "HP052",
                format!("the value of `{name}` would become part of a shell script"),
                range,
            )
            .help("write the script as a text under `run`: there it is an environment variable"),
        );
    }
}

fn sql(statement: &Node, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let Some((name, range)) = first_name(statement, places) else { return };
    let message = format!("the value of `{name}` becomes part of an SQL text");
    if places.doc.names().captured.contains_key(&name) {
        let help = "a command's output cannot be trusted with that; read it in SQL instead";
        problems.push(Problem::error("HP052", message, range).help(help));
    } else {
        problems.push(
            Problem::warning("HP062", message, range).help("make sure that no value can end the statement"),
        );
    }
}

/// Spaces that a shell does not take for spaces, and that nobody can tell from them.
fn spaces(node: &Node, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let odd = |c: char| {
        matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
    };
    let Some(c) = node.text().and_then(|text| text.chars().find(|c| odd(*c))) else { return };
    let range = place(&places.doc.source().text, node.range(), c.encode_utf8(&mut [0; 4]), 0);
    let message = format!("this space is none to a shell (U+{:04X})", c as u32);
    problems.push(
        Problem::error("HP056", message, range).help("type an ordinary space; the text was pasted, perhaps"),
    );
}

fn first_name(node: &Node, places: &Places<'_>) -> Option<(String, std::ops::Range<usize>)> {
    let name = pieces(node.text()?).into_iter().find_map(|piece| match piece {
        Piece::Name(name) => Some(name.to_owned()),
        _ => None,
    })?;
    let range = place(&places.doc.source().text, node.range(), &format!("${{{name}}}"), 0);
    Some((name, range))
}
