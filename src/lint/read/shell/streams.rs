//! Pipes, redirections and here-documents: what a command reads, and what is written over.

use std::ops::Range;

use tree_sitter::Node;

use super::super::word::{Word, around, joined};
use super::super::{Stdin, output};
use super::expand::document;
use super::heredoc::Heredoc;
use super::walk::{Walk, children};

impl<'w, 'a, 't> Walk<'w, 'a, 't> {
    pub(super) fn herestring(&mut self, node: Node<'t>) -> Stdin {
        let mut text = None;
        for child in children(node).into_iter().filter(|child| child.kind() != "file_descriptor") {
            text = Some(joined(&self.words(child)));
            self.visit(child, &Stdin::Nothing);
        }
        text.map_or(Stdin::Unknown, Stdin::Text)
    }

    pub(super) fn redirected(&mut self, node: Node<'t>, stdin: &Stdin) {
        let body = node.child_by_field_name("body");
        let mut own = stdin.clone();
        let mut more = Vec::new();
        let mut cursor = node.walk();
        let redirects: Vec<Node<'t>> = node.children_by_field_name("redirect", &mut cursor).collect();
        let words = body.filter(|body| body.kind() == "command").map(|body| self.command_words(body));
        let emptier = body.is_none().then(Vec::new);
        for redirect in redirects {
            match redirect.kind() {
                "herestring_redirect" => own = self.herestring(redirect),
                _ => {
                    own = self.input(redirect).unwrap_or(own);
                    more.extend(self.redirect_words(redirect));
                    self.file_redirect(redirect, words.as_deref().or(emptier.as_deref()), stdin);
                }
            }
        }
        match body {
            Some(body) if body.kind() == "command" => self.command(body, &more, &own),
            Some(body) => self.visit(body, &own),
            None => self.run(&more, &own),
        }
    }

    pub(super) fn operator(&self, node: Node<'t>) -> &'t str {
        let mut cursor = node.walk();
        let operator = node.children(&mut cursor).find(|child| !child.is_named());
        operator.map(|operator| self.of(operator)).unwrap_or_default()
    }

    pub(super) fn destinations(&self, node: Node<'t>) -> Vec<Node<'t>> {
        let mut cursor = node.walk();
        node.children_by_field_name("destination", &mut cursor).collect()
    }

    /// The parser takes arguments behind a redirection for more places to redirect to.
    pub(super) fn redirect_words(&mut self, node: Node<'t>) -> Vec<Word> {
        let all = self.destinations(node);
        all.into_iter().skip(1).flat_map(|word| self.words(word)).collect()
    }

    /// What a redirection gives to read.
    pub(super) fn input(&mut self, node: Node<'t>) -> Option<Stdin> {
        let operator = self.operator(node);
        if !operator.starts_with('<') {
            return None;
        }
        let range = node.byte_range();
        if let Some(found) = self.document(&range) {
            let raw = self.code.text.get(found.body.clone()).unwrap_or_default();
            let raw = match found.tabs {
                true => raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect(),
                false => raw.to_owned(),
            };
            let (literal, body) = (found.literal, found.body.clone());
            let text = if literal { raw.clone() } else { document(&raw, self) };
            let verbatim =
                self.verbatim(body.start).filter(|_| self.code.text.get(body.clone()) == Some(text.as_str()));
            if !literal {
                self.hidden(&raw, body.start);
            }
            return Some(Stdin::Text(Word { text, at: self.place(body), verbatim, ..Word::default() }));
        }
        let place = self.destinations(node).first().copied()?;
        if place.kind() == "process_substitution" {
            return Some(self.output(place));
        }
        match operator {
            "<" => {
                let file = self.words(place).into_iter().next()?;
                Some(if file.text == "/dev/null" { Stdin::Nothing } else { Stdin::File(file) })
            }
            _ => Some(Stdin::Unknown),
        }
    }

    /// The here-document whose operator stands there.
    pub(super) fn document(&self, range: &Range<usize>) -> Option<&Heredoc> {
        let nth = self.documents.partition_point(|one| one.at < range.start);
        self.documents.get(nth).filter(|one| range.contains(&one.at))
    }

    pub(super) fn file_redirect(&mut self, node: Node<'t>, words: Option<&[Word]>, stdin: &Stdin) {
        for place in self.destinations(node) {
            self.visit(place, stdin);
        }
        let operator = self.operator(node);
        let writes = matches!(operator, ">" | ">|" | "&>" | ">&");
        if operator.contains('>') {
            let written = self.destinations(node).into_iter().take(1).flat_map(|place| self.words(place));
            let written: Vec<String> = written.map(|word| word.text).collect();
            written.iter().for_each(|path| self.reader.writes(path));
        }
        let Some(place) = self.destinations(node).first().copied().filter(|_| writes) else { return };
        let range = self.place(node.byte_range());
        for target in self.words(place) {
            if operator == ">&" && target.text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                continue;
            }
            let empties = words.is_some_and(output::prints_nothing);
            self.reader.overwrites(&target, empties, range.clone());
        }
    }

    pub(super) fn pipeline(&mut self, node: Node<'t>, stdin: &Stdin) {
        let parts = children(node);
        let mut own = stdin.clone();
        let mut silent = None;
        for (nth, part) in parts.iter().enumerate() {
            let last = nth + 1 == parts.len();
            self.visit(*part, &own);
            if !last {
                own = self.output(*part);
                if !matches!(own, Stdin::Text(_)) {
                    silent = silent.or(Some(*part));
                }
            }
        }
        let first = silent.map(|part| self.of(part).trim().to_owned());
        if let (Some(first), false) = (first, self.here.pipefail) {
            let name = first.split_whitespace().next().unwrap_or_default().to_owned();
            let range = self.place(node.byte_range());
            self.reader.lies("HP064", format!("nothing notices when `{name}` fails in this pipe"), range);
        }
    }

    /// What a part of a pipe, or a substitution, prints.
    pub(super) fn output(&self, node: Node<'t>) -> Stdin {
        match node.kind() {
            "command" => output::output(&self.command_words(node)),
            "redirected_statement" => {
                let Some(body) = node.child_by_field_name("body") else { return Stdin::Unknown };
                let mut cursor = node.walk();
                let redirects: Vec<Node<'t>> = node.children_by_field_name("redirect", &mut cursor).collect();
                let cat = body.kind() == "command"
                    && matches!(self.command_words(body).as_slice(), [one] if one.text == "cat");
                // The last one counts.
                for redirect in redirects.into_iter().rev() {
                    let range = redirect.byte_range();
                    if let Some(one) = self.document(&range).filter(|_| cat) {
                        let raw = self.code.text.get(one.body.clone()).unwrap_or_default();
                        let text = if one.literal { raw.to_owned() } else { document(raw, self) };
                        let same = text == raw;
                        let verbatim = self.verbatim(one.body.start).filter(|_| same);
                        let at = self.place(one.body.clone());
                        return Stdin::Text(Word { text, at, verbatim, ..Word::default() });
                    }
                    if self.operator(redirect).starts_with('>')
                        && redirect.child_by_field_name("descriptor").is_none()
                    {
                        return Stdin::Nothing;
                    }
                }
                self.output(body)
            }
            "compound_statement" | "subshell" | "list" | "process_substitution" | "command_substitution" => {
                let mut all = Vec::new();
                for child in children(node) {
                    match self.output(child) {
                        Stdin::Text(word) => all.push(word),
                        Stdin::Nothing => {}
                        other if node.named_child_count() == 1 => return other,
                        _ => return Stdin::Unknown,
                    }
                }
                match all.as_slice() {
                    [] => Stdin::Nothing,
                    [one] => Stdin::Text(one.clone()),
                    [first, .., last] => {
                        let text = all.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join("\n");
                        Stdin::Text(Word::made(text, around(first, last)))
                    }
                }
            }
            _ => Stdin::Unknown,
        }
    }
}
