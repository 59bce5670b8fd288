//! What a script's commands do to the script itself: functions, arguments, options, files that are sourced.

use tree_sitter::Node;

use super::super::Stdin;
use super::super::word::Word;
use super::walk::{Walk, children};

/// Functions that call functions: deeper than this is not followed.
const DEEPEST_CALL: usize = 16;

impl<'w, 'a, 't> Walk<'w, 'a, 't> {
    /// A command with its words.
    pub(super) fn run(&mut self, words: &[Word], stdin: &Stdin) {
        let Some((name, args)) = words.split_first() else { return };
        if matches!(name.text.as_str(), "set" | "shift") {
            self.cache.take();
        }
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

    pub(super) fn set(&mut self, args: &[Word]) {
        let texts: Vec<&str> = args.iter().map(|word| word.text.as_str()).collect();
        if let Some(at) = texts.iter().position(|text| *text == "--") {
            self.args = Some(args[at + 1..].to_vec()).filter(|_| self.loops == 0);
        }
        for pair in texts.windows(2).filter(|pair| pair[1] == "pipefail") {
            self.here.pipefail = pair[0].starts_with('-') && pair[0].ends_with('o');
        }
    }

    /// Reads another file into this shell.
    pub(super) fn source(&mut self, args: &[Word]) {
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

    pub(super) fn call(&mut self, name: &str, args: Option<Vec<Word>>, stdin: &Stdin) {
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
        self.cache.take();
        let before = std::mem::replace(&mut self.args, args);
        let loops = std::mem::take(&mut self.loops);
        if self.reader.left == 0 {
            self.reader.too_long(&self.code.at);
        } else {
            self.reader.left -= 1;
            self.visit(body, stdin);
        }
        self.loops = loops;
        self.args = before;
        self.cache.take();
        self.stack.pop();
    }

    /// A function: read where it is called, or at the end.
    pub(super) fn definition(&mut self, node: Node<'t>) {
        let Some(name) = node.child_by_field_name("name").map(|name| self.of(name).to_owned()) else {
            return;
        };
        // Defined twice: each body is read, the one that is not kept here and now.
        if self.names.functions.get(&name).is_some_and(|kept| kept.id() != node.id()) {
            self.each(node, &Stdin::Nothing);
        }
    }

    pub(super) fn declaration(&mut self, node: Node<'t>) {
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => self.assignment(child),
                _ => self.visit(child, &Stdin::Nothing),
            }
        }
    }

    pub(super) fn assignment(&mut self, node: Node<'t>) {
        let name = node.child_by_field_name("name").map(|name| self.of(name)).unwrap_or_default();
        if matches!(name, "BASH_ENV" | "PROMPT_COMMAND" | "LD_PRELOAD") {
            let range = self.place(node.byte_range());
            self.reader.unreadable(format!("`{name}` makes other commands run"), range);
        }
        self.each(node, &Stdin::Nothing);
    }
}
