//! Walks over the tree of a script, command by command.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tree_sitter::Node;

use super::super::word::Word;
use super::super::{DEEPEST_PART, Here, Reader, Stdin};
use super::expand::{self, Values as _, closing};
use super::heredoc::Heredoc;
use super::names::{Names, Value};

pub(super) struct Walk<'w, 'a, 't> {
    pub(super) reader: &'w mut Reader<'a>,
    /// The code as it was given, with its place; `text` is the same without here-documents.
    pub(super) code: &'w Word,
    pub(super) text: &'t str,
    pub(super) documents: Vec<Heredoc>,
    pub(super) names: Names<'t>,
    pub(super) outer: HashMap<String, Value>,
    pub(super) here: Here,
    pub(super) args: Option<Vec<Word>>,
    /// Functions that are being walked.
    pub(super) stack: Vec<String>,
    pub(super) walked: HashSet<String>,
    pub(super) loops: usize,
    pub(super) line: usize,
    /// Values that were worked out, for as long as the arguments stay.
    pub(super) cache: RefCell<HashMap<String, String>>,
    /// Variables that are being looked up, so that `x=$x` ends.
    pub(super) looking: RefCell<Vec<String>>,
}

pub(super) fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

impl<'w, 'a, 't> Walk<'w, 'a, 't> {
    pub(super) fn new(
        reader: &'w mut Reader<'a>,
        code: &'w Word,
        text: &'t str,
        documents: Vec<Heredoc>,
        here: Here,
        args: Option<Vec<Word>>,
        outer: HashMap<String, Value>,
    ) -> Self {
        let line = reader.via.as_ref().map_or(0, |(_, line)| *line);
        Walk {
            reader,
            code,
            text,
            documents,
            names: Names::default(),
            outer,
            here,
            args,
            stack: Vec::new(),
            walked: HashSet::new(),
            loops: 0,
            line,
            cache: RefCell::default(),
            looking: RefCell::default(),
        }
    }

    /// Walks over everything, functions that nobody was seen to call included.
    pub(super) fn all(mut self, root: Node<'t>) {
        self.names = Names::of(root, self.text);
        let before = self.reader.via.clone();
        self.visit(root, &Stdin::Nothing);
        let left: Vec<String> =
            self.names.functions.keys().filter(|name| !self.walked.contains(*name)).cloned().collect();
        for name in left {
            self.call(&name, None, &Stdin::Nothing);
        }
        self.reader.via = before;
    }

    pub(super) fn of(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Where bytes of the code stand in the work's text.
    pub(super) fn place(&self, range: Range<usize>) -> Range<usize> {
        match self.code.verbatim {
            Some(at) => at + range.start..at + range.end,
            None => self.code.at.clone(),
        }
    }

    pub(super) fn verbatim(&self, at: usize) -> Option<usize> {
        self.code.verbatim.map(|start| start + at)
    }

    pub(super) fn visit(&mut self, node: Node<'t>, stdin: &Stdin) {
        if self.reader.parts >= DEEPEST_PART {
            let range = self.place(node.byte_range());
            return self.reader.unreadable("it is nested too deep to be read", range);
        }
        self.reader.parts += 1;
        self.part(node, stdin);
        self.reader.parts -= 1;
    }

    pub(super) fn part(&mut self, node: Node<'t>, stdin: &Stdin) {
        if let (Some(via), true) = (&mut self.reader.via, self.code.verbatim.is_none() && self.line == 1) {
            via.1 = node.start_position().row + 1;
        }
        if node.is_error() || node.is_missing() {
            let range = self.place(node.byte_range());
            self.reader.unreadable("this is not understood as a script", range);
        }
        match node.kind() {
            "command" => self.command(node, &[], stdin),
            "redirected_statement" => self.redirected(node, stdin),
            "pipeline" => self.pipeline(node, stdin),
            "function_definition" => self.definition(node),
            "declaration_command" | "unset_command" => self.declaration(node),
            "file_redirect" => self.file_redirect(node, None, stdin),
            "for_statement" | "while_statement" | "c_style_for_statement" => {
                self.loops += 1;
                self.each(node, stdin);
                self.loops -= 1;
            }
            // What is written to it is not followed.
            "process_substitution" if self.of(node).starts_with('>') => self.each(node, &Stdin::Unknown),
            "comment" | "raw_string" | "ansi_c_string" | "heredoc_body" => {}
            _ if node.child_count() == 0 => self.leaf(node),
            _ => self.each(node, stdin),
        }
    }

    pub(super) fn each(&mut self, node: Node<'t>, stdin: &Stdin) {
        // Signs that are missing have no names.
        let mut cursor = node.walk();
        let all: Vec<Node<'t>> = node.children(&mut cursor).collect();
        for child in all {
            if child.is_named() || child.is_missing() {
                self.visit(child, stdin);
            }
        }
    }

    /// The parser leaves some substitutions inside of words.
    pub(super) fn leaf(&mut self, node: Node<'t>) {
        self.hidden(self.of(node), node.start_byte());
    }

    pub(super) fn hidden(&mut self, text: &str, from: usize) {
        let mut at = 0;
        while let Some(found) = text[at..].find(['\\', '`', '$']) {
            let start = at + found;
            let rest = &text[start..];
            let (skip, sign) = match () {
                () if rest.starts_with('`') => (1, '`'),
                () if rest.starts_with("$(") && !rest.starts_with("$((") => (2, ')'),
                () if rest.starts_with('\\') => {
                    at = start + 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                    continue;
                }
                () => {
                    at = start + 1;
                    continue;
                }
            };
            let end = closing(text, start + skip, sign);
            let inner = &text[start + skip..end];
            let inner = inner.strip_suffix(sign).unwrap_or(inner);
            self.inner(inner, from + start + skip);
            at = end;
        }
    }

    /// Code that stands at this byte of ours, in the same shell.
    pub(super) fn inner(&mut self, code: &str, at: usize) {
        let place = self.place(at..at + code.len());
        let word = Word { text: code.to_owned(), at: place, verbatim: self.verbatim(at), ..Word::default() };
        let known = self.known();
        self.reader.script(&word, self.here, self.args.clone(), known);
    }

    /// Every variable that is known now.
    pub(super) fn known(&self) -> HashMap<String, Value> {
        let mut all = self.outer.clone();
        for name in self.names.values.keys() {
            let text = self.variable(name);
            all.insert(name.clone(), Value::Known(Word::made(text, self.code.at.clone())));
        }
        all
    }

    pub(super) fn words(&self, node: Node<'t>) -> Vec<Word> {
        let range = node.byte_range();
        if let Some(raw) = self.text.get(range.clone()) {
            return expand::expand(raw, self.place(range.clone()), self.verbatim(range.start), self);
        }
        Vec::new()
    }

    pub(super) fn command(&mut self, node: Node<'t>, more: &[Word], stdin: &Stdin) {
        let mut words: Vec<Word> = Vec::new();
        let mut own = stdin.clone();
        let mut redirects = Vec::new();
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => self.assignment(child),
                "file_redirect" => redirects.push(child),
                "herestring_redirect" => own = self.herestring(child),
                "comment" => {}
                "subshell" => self.visit(child, stdin),
                _ => {
                    words.extend(self.words(child));
                    // Substitutions in it are commands of their own.
                    self.visit(child, &Stdin::Nothing);
                }
            }
        }
        words.extend(more.iter().cloned());
        for redirect in redirects {
            words.extend(self.redirect_words(redirect));
            own = self.input(redirect).unwrap_or(own);
            self.file_redirect(redirect, Some(&words), stdin);
        }
        self.run(&words, &own);
    }

    /// The words of a command, without looking into it.
    pub(super) fn command_words(&self, node: Node<'t>) -> Vec<Word> {
        let all = children(node).into_iter();
        let words = all.filter(|child| {
            !matches!(
                child.kind(),
                "variable_assignment" | "file_redirect" | "herestring_redirect" | "comment"
            )
        });
        words.flat_map(|child| self.words(child)).collect()
    }
}
