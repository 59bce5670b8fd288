//! Walks over the tree of a script, command by command.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tree_sitter::Node;

use super::super::word::{TEMPORARY, UNKNOWN, Word, around, joined, plain};
use super::super::{Here, Reader, Stdin, wrap};
use super::expand::{self, Values, closing, document};
use super::heredoc::Heredoc;
use super::names::{Names, Value, unknown};

/// Functions that call functions: deeper than this is not followed.
const DEEPEST_CALL: usize = 16;

pub(super) struct Walk<'w, 'a, 't> {
    reader: &'w mut Reader<'a>,
    /// The code as it was given, with its place; `text` is the same without here-documents.
    code: &'w Word,
    text: &'t str,
    documents: Vec<Heredoc>,
    names: Names<'t>,
    outer: HashMap<String, Value>,
    here: Here,
    args: Option<Vec<Word>>,
    /// Functions that are being walked.
    stack: Vec<String>,
    walked: HashSet<String>,
    loops: usize,
    line: usize,
    /// Variables that are being looked up, so that `x=$x` ends.
    looking: RefCell<Vec<String>>,
}

fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

impl<'w, 'a, 't> Walk<'w, 'a, 't> {
    pub fn new(
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
            looking: RefCell::default(),
        }
    }

    /// Walks over everything, functions that nobody was seen to call included.
    pub fn all(mut self, root: Node<'t>) {
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

    fn of(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Where bytes of the code stand in the work's text.
    fn place(&self, range: Range<usize>) -> Range<usize> {
        match self.code.verbatim {
            Some(at) => at + range.start..at + range.end,
            None => self.code.at.clone(),
        }
    }

    fn verbatim(&self, at: usize) -> Option<usize> {
        self.code.verbatim.map(|start| start + at)
    }

    fn visit(&mut self, node: Node<'t>, stdin: &Stdin) {
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
            "comment" | "raw_string" | "ansi_c_string" | "heredoc_body" => {}
            _ if node.child_count() == 0 => self.leaf(node),
            _ => self.each(node, stdin),
        }
    }

    fn each(&mut self, node: Node<'t>, stdin: &Stdin) {
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
    fn leaf(&mut self, node: Node<'t>) {
        self.hidden(self.of(node), node.start_byte());
    }

    fn hidden(&mut self, text: &str, from: usize) {
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
    fn inner(&mut self, code: &str, at: usize) {
        let place = self.place(at..at + code.len());
        let word = Word { text: code.to_owned(), at: place, verbatim: self.verbatim(at), ..Word::default() };
        let known = self.known();
        self.reader.script(&word, self.here, self.args.clone(), known);
    }

    /// Every variable that is known now.
    fn known(&self) -> HashMap<String, Value> {
        let mut all = self.outer.clone();
        for name in self.names.values.keys() {
            let text = self.variable(name);
            all.insert(name.clone(), Value::Known(Word::made(text, self.code.at.clone())));
        }
        all
    }

    fn words(&self, node: Node<'t>) -> Vec<Word> {
        let range = node.byte_range();
        if let Some(raw) = self.text.get(range.clone()) {
            return expand::expand(raw, self.place(range.clone()), self.verbatim(range.start), self);
        }
        Vec::new()
    }

    fn command(&mut self, node: Node<'t>, more: &[Word], stdin: &Stdin) {
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

    /// A command with its words.
    fn run(&mut self, words: &[Word], stdin: &Stdin) {
        let Some((name, args)) = words.split_first() else { return };
        match name.text.as_str() {
            "set" => self.set(args),
            "shift" => match self.args.as_mut() {
                Some(list) if self.loops == 0 => {
                    let count = args.first().map_or(Some(1), |word| word.text.parse().ok());
                    let count = count.unwrap_or(list.len()).min(list.len());
                    list.drain(..count);
                }
                _ => self.args = None,
            },
            "cd" | "pushd" if args.len() == 1 && args[0].known() && self.stack.is_empty() => {
                self.reader.go(&args[0].text);
            }
            "shopt" if args.iter().any(|word| word.text == "pipefail") => self.here.pipefail = true,
            _ => {}
        }
        if self.names.functions.contains_key(&name.text) {
            self.call(&name.text.clone(), Some(args.to_vec()), stdin);
        }
        if matches!(name.text.as_str(), "source" | ".") {
            return self.source(args);
        }
        if matches!(name.text.as_str(), "eval" | "trap" | "alias") {
            self.reader.scope = self.known();
        }
        self.reader.command(words, stdin, self.here);
        self.reader.scope.clear();
    }

    fn set(&mut self, args: &[Word]) {
        let texts: Vec<&str> = args.iter().map(|word| word.text.as_str()).collect();
        if let Some(at) = texts.iter().position(|text| *text == "--") {
            self.args = Some(args[at + 1..].to_vec()).filter(|_| self.loops == 0);
        }
        for pair in texts.windows(2).filter(|pair| pair[1] == "pipefail") {
            self.here.pipefail = pair[0].starts_with('-') && pair[0].ends_with('o');
        }
    }

    /// Reads another file into this shell.
    fn source(&mut self, args: &[Word]) {
        let Some(file) = args.first() else { return };
        const HARMLESS: &[&str] =
            &["/etc/os-release", "/usr/lib/os-release", "/etc/lsb-release", "/etc/profile", "/etc/default/"];
        if file.known()
            && HARMLESS.iter().any(|known| file.text.starts_with(known))
            && !file.text.contains("..")
        {
            return;
        }
        let path = match file.text.contains('/') {
            true => file.clone(),
            false => Word { text: format!("./{}", file.text), ..file.clone() },
        };
        if !file.known() || !self.reader.local(&path, &args[1..], true) {
            self.reader.unreadable("what `source` reads is not known", file.at.clone());
        }
    }

    fn call(&mut self, name: &str, args: Option<Vec<Word>>, stdin: &Stdin) {
        let Some(body) = self.names.functions.get(name).and_then(|node| node.child_by_field_name("body"))
        else {
            return;
        };
        let known = args.as_ref().is_some_and(Vec::is_empty) && self.walked.contains(name);
        if known || self.stack.iter().any(|open| open == name) || self.stack.len() > DEEPEST_CALL {
            return;
        }
        self.walked.insert(name.to_owned());
        self.stack.push(name.to_owned());
        let before = std::mem::replace(&mut self.args, args);
        let loops = std::mem::take(&mut self.loops);
        if self.reader.left == 0 {
            self.reader.unreadable("it is too long to be read", self.code.at.clone());
        } else {
            self.reader.left -= 1;
            self.visit(body, stdin);
        }
        self.loops = loops;
        self.args = before;
        self.stack.pop();
    }

    /// A function: read where it is called, or at the end.
    fn definition(&mut self, node: Node<'t>) {
        let Some(name) = node.child_by_field_name("name").map(|name| self.of(name).to_owned()) else {
            return;
        };
        // Defined twice: each body is read, the one that is not kept here and now.
        if self.names.functions.get(&name).is_some_and(|kept| kept.id() != node.id()) {
            self.each(node, &Stdin::Nothing);
        }
    }

    fn declaration(&mut self, node: Node<'t>) {
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => self.assignment(child),
                _ => self.visit(child, &Stdin::Nothing),
            }
        }
    }

    fn assignment(&mut self, node: Node<'t>) {
        let name = node.child_by_field_name("name").map(|name| self.of(name)).unwrap_or_default();
        if matches!(name, "BASH_ENV" | "PROMPT_COMMAND" | "LD_PRELOAD") {
            let range = self.place(node.byte_range());
            self.reader.unreadable(format!("`{name}` makes other commands run"), range);
        }
        self.each(node, &Stdin::Nothing);
    }

    fn herestring(&mut self, node: Node<'t>) -> Stdin {
        let mut text = None;
        for child in children(node).into_iter().filter(|child| child.kind() != "file_descriptor") {
            text = Some(joined(&self.words(child)));
            self.visit(child, &Stdin::Nothing);
        }
        text.map_or(Stdin::Unknown, Stdin::Text)
    }

    fn redirected(&mut self, node: Node<'t>, stdin: &Stdin) {
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

    /// The words of a command, without looking into it.
    fn command_words(&self, node: Node<'t>) -> Vec<Word> {
        let all = children(node).into_iter();
        let words = all.filter(|child| {
            !matches!(
                child.kind(),
                "variable_assignment" | "file_redirect" | "herestring_redirect" | "comment"
            )
        });
        words.flat_map(|child| self.words(child)).collect()
    }

    fn operator(&self, node: Node<'t>) -> &'t str {
        let mut cursor = node.walk();
        let operator = node.children(&mut cursor).find(|child| !child.is_named());
        operator.map(|operator| self.of(operator)).unwrap_or_default()
    }

    fn destinations(&self, node: Node<'t>) -> Vec<Node<'t>> {
        let mut cursor = node.walk();
        node.children_by_field_name("destination", &mut cursor).collect()
    }

    /// The parser takes arguments behind a redirection for more places to redirect to.
    fn redirect_words(&mut self, node: Node<'t>) -> Vec<Word> {
        let all = self.destinations(node);
        all.into_iter().skip(1).flat_map(|word| self.words(word)).collect()
    }

    /// What a redirection gives to read.
    fn input(&mut self, node: Node<'t>) -> Option<Stdin> {
        let operator = self.operator(node);
        if !operator.starts_with('<') {
            return None;
        }
        let start = node.start_byte();
        let range = node.byte_range();
        if let Some(document) = self.documents.iter().find(|one| range.contains(&one.at) && one.at >= start) {
            let raw = self.code.text.get(document.body.clone()).unwrap_or_default();
            let raw = match document.tabs {
                true => raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect(),
                false => raw.to_owned(),
            };
            let (literal, body) = (document.literal, document.body.clone());
            let text = if literal { raw.clone() } else { document_text(&raw, self) };
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
            "<" => Some(Stdin::File(self.words(place).into_iter().next()?)),
            _ => Some(Stdin::Unknown),
        }
    }

    fn file_redirect(&mut self, node: Node<'t>, words: Option<&[Word]>, stdin: &Stdin) {
        for place in self.destinations(node) {
            self.visit(place, stdin);
        }
        let operator = self.operator(node);
        let writes = matches!(operator, ">" | ">|" | "&>" | ">&");
        let Some(place) = self.destinations(node).first().copied().filter(|_| writes) else { return };
        let range = self.place(node.byte_range());
        for target in self.words(place) {
            if operator == ">&" && target.text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                continue;
            }
            let empties = words.is_some_and(wrap::prints_nothing);
            self.reader.overwrites(&target, empties, range.clone());
        }
    }

    fn pipeline(&mut self, node: Node<'t>, stdin: &Stdin) {
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
    fn output(&self, node: Node<'t>) -> Stdin {
        match node.kind() {
            "command" => wrap::output(&self.command_words(node)),
            "redirected_statement" => {
                let Some(body) = node.child_by_field_name("body") else { return Stdin::Unknown };
                let mut cursor = node.walk();
                let redirects: Vec<Node<'t>> = node.children_by_field_name("redirect", &mut cursor).collect();
                let cat = body.kind() == "command"
                    && matches!(self.command_words(body).as_slice(), [one] if one.text == "cat");
                for redirect in redirects {
                    let range = redirect.byte_range();
                    if let Some(one) =
                        self.documents.iter().find(|one| range.contains(&one.at)).filter(|_| cat)
                    {
                        let raw = self.code.text.get(one.body.clone()).unwrap_or_default();
                        let text = if one.literal { raw.to_owned() } else { document_text(raw, self) };
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

    fn own_folder(&self) -> Option<String> {
        let (file, _) = self.reader.via.as_ref()?;
        Some(file.rsplit_once('/').map_or("./".to_owned(), |(folder, _)| format!("./{folder}")))
    }

    fn raw(&self, raw: &str, range: Range<usize>) -> Vec<Word> {
        expand::expand(raw, self.place(range.clone()), self.verbatim(range.start), self)
    }
}

fn document_text(raw: &str, values: &dyn Values) -> String {
    document(raw, values)
}

impl Values for Walk<'_, '_, '_> {
    fn variable(&self, name: &str) -> String {
        if self.names.ifs && name != "IFS" && self.names.values.contains_key(name) {
            return unknown();
        }
        match name {
            "@" | "*" => {
                let args = self.args.as_deref();
                return args.map_or_else(unknown, |args| joined(args).text);
            }
            "0" | "BASH_SOURCE" => {
                return self.reader.via.as_ref().map_or_else(unknown, |(file, _)| format!("./{file}"));
            }
            _ => {}
        }
        if let Ok(nth) = name.parse::<usize>() {
            let args = self.args.as_ref().map(|args| args.get(nth.saturating_sub(1)));
            return args.map_or_else(unknown, |word| word.map(|word| word.text.clone()).unwrap_or_default());
        }
        if self.looking.borrow().iter().any(|open| open == name) {
            return unknown();
        }
        self.looking.borrow_mut().push(name.to_owned());
        let environment = || (self.reader.variables)(name);
        let value = match self.names.values.get(name).or_else(|| self.outer.get(name)) {
            Some(Value::Raw(raw, range)) => {
                // Values are not split where they are given to a variable.
                let words = match raw.contains(['"', '\'', '\\']) {
                    false => self.raw(&format!("\"{raw}\""), range.clone()),
                    true => self.raw(raw, range.clone()),
                };
                // What the environment gives, and what the script gives: only one of them can be told.
                let other = environment();
                let set_here = joined(&words).text;
                if other.is_empty() || other.contains(UNKNOWN) || other == set_here {
                    set_here
                } else {
                    unknown()
                }
            }
            Some(Value::Known(word)) => word.text.clone(),
            Some(Value::Items(items)) => items
                .first()
                .map(|(raw, range)| joined(&self.raw(raw, range.clone())).text)
                .unwrap_or_default(),
            Some(Value::Unknown) => unknown(),
            None => environment(),
        };
        self.looking.borrow_mut().pop();
        value
    }

    fn list(&self, name: &str) -> Option<Vec<Word>> {
        if name == "@" {
            return self.args.clone();
        }
        match self.names.values.get(name)? {
            Value::Items(items) => {
                Some(items.iter().flat_map(|(raw, range)| self.raw(raw, range.clone())).collect())
            }
            _ => None,
        }
    }

    fn output(&self, code: &str) -> String {
        let code = code.trim();
        let first = code.split_whitespace().next().unwrap_or_default();
        if code.contains("dirname") && (code.contains("$0") || code.contains("BASH_SOURCE")) {
            return self.own_folder().unwrap_or_else(unknown);
        }
        if code.contains(['|', ';', '&', '<', '>', '\n', '(', '`', '#']) {
            return unknown();
        }
        match first {
            "mktemp" => TEMPORARY.to_string(),
            "echo" | "printf" | "which" | "command" | "type" => {
                let words: Vec<Word> = split(code).into_iter().flat_map(|raw| self.raw(raw, 0..0)).collect();
                match (first, wrap::output(&words), words.last()) {
                    ("which" | "command" | "type", _, Some(last)) => last.text.clone(),
                    (_, Stdin::Text(text), _) => plain(text.text.trim_end_matches('\n')),
                    _ => unknown(),
                }
            }
            _ => unknown(),
        }
    }
}

/// Words of a simple command, quotes respected.
fn split(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote) = (None, None);
    let mut escaped = false;
    for (at, c) in code.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') => {
                escaped = true;
                start.get_or_insert(at);
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => {
                quote = Some(c);
                start.get_or_insert(at);
            }
            (None, c) if c.is_whitespace() => words.extend(start.take().map(|from| &code[from..at])),
            (None, _) => drop(start.get_or_insert(at)),
        }
    }
    words.extend(start.map(|from| &code[from..]));
    words
}
