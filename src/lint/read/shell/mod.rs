//! Scripts: finds every command of one, wherever it stands, with what its variables, functions and pipes are known to be.

mod expand;
mod heredoc;
mod names;
mod run;
mod streams;
mod values;
mod walk;

use std::cell::RefCell;
use std::collections::HashMap;

use tree_sitter::{Parser, Tree};

use super::word::Word;
use super::{Here, Reader, path};
pub(crate) use names::Value;
use walk::Walk;

thread_local! {
    static PARSER: RefCell<Option<Parser>> = const { RefCell::new(None) };
}

/// The tree of a script. `None` only when there is no parser to be had.
fn parse(text: &str) -> Option<Tree> {
    PARSER.with_borrow_mut(|slot| {
        if slot.is_none() {
            let mut parser = Parser::new();
            parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
            *slot = Some(parser);
        }
        slot.as_mut()?.parse(text, None)
    })
}

impl Reader<'_> {
    /// Reads a script. `args` are its arguments, `None` when they are not known; `variables` what is known beside the
    /// environment.
    pub(super) fn script(
        &mut self,
        code: &Word,
        here: Here,
        args: Option<Vec<Word>>,
        variables: HashMap<String, names::Value>,
    ) {
        let at = code.at.clone();
        self.deeper(&at, |reader| {
            let (text, documents) = heredoc::take_out(&code.text);
            if let Some(at) = heredoc::broken_word(&code.text) {
                let range = code.verbatim.map_or(code.at.clone(), |start| start + at..start + at + 1);
                reader.unreadable("a line ends in the middle of a word", range);
            }
            let Some(tree) = parse(&text) else {
                return reader.unreadable("it cannot be parsed", code.at.clone());
            };
            Walk::new(reader, code, &text, documents, here, args, variables).all(tree.root_node());
        });
    }

    /// Reads a text that some shell takes as code.
    pub(super) fn nested(&mut self, code: &Word, pipefail: bool, args: Option<Vec<Word>>) {
        let scope = std::mem::take(&mut self.scope);
        self.script(code, Here { pipefail }, args, scope);
    }

    /// What a redirection writes over.
    pub(super) fn overwrites(&mut self, target: &Word, empties: bool, range: std::ops::Range<usize>) {
        use path::Class;
        let class = path::class(target);
        let goes = match class {
            Class::Data | Class::Device => true,
            Class::Backup | Class::Plain | Class::Unknown => empties,
            Class::Temporary | Class::Scratch => false,
        };
        if goes {
            let what = if empties { "emptying a file" } else { "overwriting data" };
            self.destroys(what, class == Class::Device, range);
        }
    }
}
