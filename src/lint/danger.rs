//! What was read in a step, judged: destruction that is not declared, what cannot be read, statuses that lie, and what the
//! runbook calls harmless.

use super::Places;
use super::read::{Finding, Kind};
use super::works::{Around, Read, Text, even, of_step};
use crate::problem::Problem;
use crate::runbook::Step;
use crate::runbook::model::{Destroys, Harmless};
use crate::runbook::tree::Node;

/// Adds what is wrong with what runs in a step.
pub(super) fn judge(
    at: usize,
    step: &Step,
    places: &Places<'_>,
    around: &Around<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(node) = places.doc.step(at) else { return };
    let none: &[Harmless] = &[];
    let undo = step.rollback.as_ref();
    let mut work = Judged::new(&step.harmless, step.destroys.as_ref());
    let mut back =
        Judged::new(undo.map_or(none, |undo| &undo.harmless), undo.and_then(|undo| undo.destroys.as_ref()));
    for text in of_step(node) {
        let read = around.read(&text);
        if read.found.is_empty() {
            continue;
        }
        let whose = match (text.check, text.undo) {
            (true, _) => format!("a check of `{}`", step.id),
            (false, true) => format!("the rollback of `{}`", step.id),
            (false, false) => format!("`{}`", step.id),
        };
        let judged = if text.undo { &mut back } else { &mut work };
        for finding in &read.found {
            judged.one(finding, &read, &text, &whose, places, problems);
        }
    }
    work.left(node.get("harmless"), problems);
    back.left(node.at("rollback.harmless"), problems);
}

/// One step's work or undoing.
struct Judged<'a> {
    harmless: &'a [Harmless],
    used: Vec<bool>,
    destroys: Option<&'a Destroys>,
    /// Something else was found that nobody called harmless.
    others: bool,
}

impl<'a> Judged<'a> {
    fn new(harmless: &'a [Harmless], destroys: Option<&'a Destroys>) -> Self {
        Judged { harmless, used: vec![false; harmless.len()], destroys, others: false }
    }

    /// What goes is declared. Dropping an index needs no proof of a copy and is never a finding, so that who declares
    /// indexes alone has declared nothing of what is found. Who declares containers alone has declared their removal, and
    /// not that of volumes.
    fn declared(&self, finding: &Finding) -> bool {
        let found = matches!(finding.kind, Kind::Destroys { .. });
        match self.destroys {
            Some(goes) if goes.only_indexes() => !found,
            Some(goes) if goes.only_containers() => finding.removes_containers(),
            goes => goes.is_some(),
        }
    }

    fn one(
        &mut self,
        finding: &Finding,
        read: &Read,
        text: &Text<'_>,
        whose: &str,
        places: &Places<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let source = &places.doc.source().text;
        let range = || read.place(source, text.node, finding);
        let certain = match finding.kind {
            Kind::Lies(code) => {
                if !text.check {
                    problems.push(
                        Problem::warning(code, via(finding, finding.what.clone()), range())
                            .help(advice(code)),
                    );
                }
                return;
            }
            // A check has no `destroys`, and many read what comes out of pipes and programs.
            Kind::Unreadable if text.check => return,
            Kind::Unreadable => false,
            Kind::Destroys { certain } => certain,
        };
        // `affects` rolls back what takes more rows than are meant.
        if text.bounded && finding.what.ends_with("without WHERE") {
            return;
        }
        let called = read.text(finding);
        let named = self.harmless.iter().position(|one| even(&one.text) == called && !text.check);
        if let Some(nth) = named {
            self.used[nth] = true;
            if certain {
                let message = format!("{} is never harmless", quoted(&finding.what));
                problems.push(
                    Problem::error("HP069", via(finding, message), range())
                        .help("say what goes with `destroys`, so that it is guarded"),
                );
            }
            return;
        }
        self.others |= !text.check;
        if !text.check && self.declared(finding) {
            return;
        }
        let help = match text.check {
            true => "a check must not change anything: look at what is there instead".to_owned(),
            false if text.undo => {
                "say what goes with `destroys` in the rollback, so that it is guarded".to_owned()
            }
            false => "say what goes with `destroys`, so that it is guarded".to_owned(),
        };
        problems.push(match finding.kind {
            Kind::Unreadable => {
                let message =
                    format!("{}, so it counts as destruction, and {whose} declares none", finding.what);
                Problem::error("HP063", via(finding, message), range())
                    .help(format!("write it so that it can be read, or {help}"))
            }
            _ => {
                let message = format!("{} destroys, and {whose} does not say so", quoted(&finding.what));
                Problem::error("HP053", via(finding, message), range()).help(help)
            }
        });
    }

    /// What is called harmless and was not found.
    fn left(&self, list: Option<&Node>, problems: &mut Vec<Problem>) {
        for (nth, one) in self.harmless.iter().enumerate().filter(|(nth, _)| !self.used[*nth]) {
            let Some(node) = list.and_then(|list| list.items().get(nth)) else { continue };
            let range = node.get("text").map_or(node.range(), Node::range);
            let message = format!(
                "`{}` is called harmless, and nothing of that text was found to destroy",
                even(&one.text)
            );
            let help = match self.others {
                false => "leave it out: nothing here has to be called harmless",
                true => "the text has to be the whole command, as it stands there; or leave it out",
            };
            problems.push(Problem::error("HP068", message, range).help(help));
        }
    }
}

/// Where it stands, when that is not in the runbook.
fn via(finding: &Finding, message: String) -> String {
    match &finding.via {
        Some((file, line)) => format!("{message} (line {line} of {file})"),
        None => message,
    }
}

/// A command's or statement's name in quotes; a description as it is.
fn quoted(what: &str) -> String {
    let described = [
        "emptying ",
        "overwriting ",
        "rm of ",
        "dd onto ",
        "cp onto ",
        "mv onto ",
        "mv to ",
        "install onto ",
    ];
    match described.iter().any(|begin| what.starts_with(begin)) {
        true => what.to_owned(),
        false => format!("`{what}`"),
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "HP064" => "put `set -o pipefail` in front of it; plain `sh` may not know that: use bash",
        "HP065" => "add `-v ON_ERROR_STOP=1`",
        "HP066" => "add `--exit-on-error`",
        "HP067" => "add `-bail`",
        _ => "",
    }
}
