//! Reads a text a second time, with another YAML reader, and compares every key and every value with the tree.
//!
//! Invariants: nothing counts as read twice unless the second reader saw all of the text. A long list of steps is given
//! to it in pieces, because it keeps all that it is given in memory. A cut is made only in front of a line that begins a
//! step, and a piece that is a whole text by itself leaves no quote, bracket or block open behind it, so the pieces mean
//! what the whole means; as soon as one does not read the same, the whole is read and decides.

use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::load::defect;
use super::source::first_line;
use super::tree::{Entry, Key, Kind, Node};
use crate::problem::Problem;

/// Texts from this size on are read the second time on a thread of their own, and in pieces.
const LARGE: usize = 256 << 10;
/// Pieces are at least so large.
const PIECE: usize = 32 << 10;

/// Does `work` and reads the text a second time; of a large text at the same time.
pub(super) fn beside(text: &str, root: &Node, work: impl FnOnce()) -> Result<(), Problem> {
    if text.len() < LARGE {
        work();
        return whole(text, root);
    }
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().spawn_scoped(scope, || long(text, root));
        work();
        match reader {
            Ok(reader) => {
                reader.join().unwrap_or_else(|_| Err(defect("the second YAML reader broke down", 0..0)))
            }
            Err(_) => long(text, root),
        }
    })
}

fn long(text: &str, root: &Node) -> Result<(), Problem> {
    let same = |(range, part): (Range<usize>, Part<'_>)| {
        text.get(range).is_some_and(|piece| compare(piece, part).is_ok())
    };
    if pieces(text, root).is_some_and(|pieces| pieces.into_iter().all(same)) {
        return Ok(());
    }
    whole(text, root)
}

/// The text in pieces, from its first byte to its last, and what each of them is to hold. `None` when it is not written in
/// the usual way: keys at the beginning of lines, and each step begun by a dash on a line.
fn pieces<'a>(text: &str, root: &'a Node) -> Option<Vec<(Range<usize>, Part<'a>)>> {
    let lines = root.entries();
    let at = lines.iter().position(|line| &*line.key.text == "steps")?;
    let steps = lines[at].value.items();
    let (first, indent) = dash(text, steps.first()?)?;
    let after = match lines.get(at + 1) {
        None => text.len(),
        Some(next) => Some(next.key.range().start).filter(|start| begins_line(text, *start))?,
    };
    if !begins_line(text, lines.first()?.key.range().start) {
        return None;
    }
    let mut all = vec![(0..first, Part::Lines { lines: &lines[..=at], open: true })];
    let (mut start, mut since) = (first, 0);
    for (nth, step) in steps.iter().enumerate().skip(1) {
        if step.range().start < start + PIECE {
            continue;
        }
        let (cut, _) = dash(text, step).filter(|(_, here)| *here == indent)?;
        all.push((start..cut, Part::Items(&steps[since..nth])));
        (start, since) = (cut, nth);
    }
    all.push((start..after, Part::Items(&steps[since..])));
    if after < text.len() {
        all.push((after..text.len(), Part::Lines { lines: &lines[at + 1..], open: false }));
    }
    Some(all)
}

/// The beginning of the line on which nothing but a dash stands in front of an item, and the dash's column.
fn dash(text: &str, item: &Node) -> Option<(usize, usize)> {
    let before = text.get(..item.range().start)?;
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let lead = &before[line..];
    let indent = lead.find(|c| c != ' ')?;
    (lead.ends_with(' ') && lead.trim_matches(' ') == "-").then_some((line, indent))
}

fn begins_line(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n')
}

/// Reads all of the text at once.
fn whole(text: &str, root: &Node) -> Result<(), Problem> {
    let Err((why, first)) = compare(text, Part::Value(root)) else { return Ok(()) };
    let (range, what) = match first {
        Some(range) => (range, "two YAML readers disagree about this value".to_owned()),
        None => {
            let at = why.location().map_or(0, |location| location.index()).min(text.len());
            let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            (at..at, format!("a second YAML reader refuses this: {why}"))
        }
    };
    let help = "write it more plainly: put the text in quotes, or use spaces instead of tabs";
    Err(Problem::error("HP007", what, first_line(text, range)).help(help))
}

/// Fails when the other reader sees something else, with the place of the first difference if it could read at all.
fn compare(text: &str, part: Part<'_>) -> Result<(), (serde_yaml::Error, Option<Range<usize>>)> {
    let mut differs = None;
    Same { part, differs: &mut differs }
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|why| (why, differs))
}

/// What a text, or a piece of it, is to hold.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// One value.
    Value(&'a Node),
    /// One key.
    Key(&'a Key),
    /// Nothing after the colon.
    Nothing,
    /// Some items of a list.
    Items(&'a [Node]),
    /// Some lines of a map; with `open`, the value of the last one stands in the pieces that follow.
    Lines { lines: &'a [Entry], open: bool },
}

/// Succeeds when the other reader sees the same.
struct Same<'a> {
    part: Part<'a>,
    differs: &'a mut Option<Range<usize>>,
}

impl Same<'_> {
    fn differs<E: serde::de::Error>(self) -> E {
        let range = match self.part {
            Part::Value(node) => node.range(),
            Part::Key(key) => key.range(),
            Part::Items([node, ..]) => node.range(),
            Part::Lines { lines: [line, ..], .. } => line.key.range(),
            Part::Nothing | Part::Items([]) | Part::Lines { lines: [], .. } => 0..0,
        };
        self.differs.get_or_insert(range);
        E::custom("the readers disagree")
    }
}

impl<'de> DeserializeSeed<'de> for Same<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.part {
            Part::Items(_) => deserializer.deserialize_seq(self),
            Part::Lines { .. } => deserializer.deserialize_map(self),
            // As a text, so that it is compared as it is written and not as the number it may be.
            Part::Key(_) | Part::Nothing => deserializer.deserialize_str(self),
            Part::Value(node) => match node.kind {
                Kind::Scalar { .. } => deserializer.deserialize_str(self),
                Kind::Seq(_) => deserializer.deserialize_seq(self),
                Kind::Map(_) => deserializer.deserialize_map(self),
            },
        }
    }
}

impl<'de> Visitor<'de> for Same<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.part {
            Part::Value(node) => node.word(),
            Part::Key(_) => "a text",
            Part::Nothing => "nothing",
            Part::Items(_) => "a list",
            Part::Lines { .. } => "a map",
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let same = match self.part {
            Part::Value(node) => node.text() == Some(text),
            Part::Key(key) => &*key.text == text,
            Part::Nothing => text.is_empty(),
            Part::Items(_) | Part::Lines { .. } => false,
        };
        if same { Ok(()) } else { Err(self.differs()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let items = match self.part {
            Part::Items(items) => items,
            Part::Value(node) => node.items(),
            _ => &[],
        };
        for node in items {
            if seq.next_element_seed(Same { part: Part::Value(node), differs: &mut *self.differs })?.is_none() {
                return Err(self.differs());
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (lines, open) = match self.part {
            Part::Lines { lines, open } => (lines, open),
            Part::Value(node) => (node.entries(), false),
            _ => (&[][..], false),
        };
        for (nth, line) in lines.iter().enumerate() {
            if map.next_key_seed(Same { part: Part::Key(&line.key), differs: &mut *self.differs })?.is_none() {
                return Err(self.differs());
            }
            let last = open && nth + 1 == lines.len();
            let part = if last { Part::Nothing } else { Part::Value(&line.value) };
            map.next_value_seed(Same { part, differs: &mut *self.differs })?;
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn tree(text: &str) -> Node {
        Source::new("t", text).read().unwrap()
    }

    #[test]
    fn two_readings_agree_on_ordinary_texts() {
        for text in [
            "a: 16.10\nb: no\nc: 017\nd: 1_000\ne: ~\nf:\ng: 'x'\nh: \"y\\tz\"\n",
            "a: |\n  one\n  two\nb: >\n  three\n  four\n\nc: |-\n  x\nd: |+\n  y\n\n",
            "- [a, b]\n- {c: d, e: f}\n- - g\n  - h\n",
            "a: 'it''s'\nb: \"\\u00e9\"\nc: é – “”\n? x\n: y\n",
            "a: plain text\n  that goes on\nb: \"quoted\n  folded\"\n",
            "a: |2\n    x\n   y\n",
            "# comment\na: b # another\n\n---\n",
        ] {
            let Ok(root) = Source::new("t", text).read() else { continue };
            assert_eq!(whole(text, &root), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_difference_is_found_and_placed() {
        let text = "a: [1, two]\nb: {c: d}\n";
        for (other, place) in [
            ("a: [1, tvo]\nb: {c: d}\n", 7),
            ("a: [1]\nb: {c: d}\n", 3),
            ("a: [1, two]\nb: {x: d}\n", 16),
            ("a: [1, two]\nb: {c: d, e: f}\n", 15),
        ] {
            let root = tree(other);
            let problem = whole(text, &root).unwrap_err();
            assert_eq!((problem.code, problem.places[0].range.start), ("HP007", place), "{other}");
        }
        assert!(whole("a: [1, two]\nb: c\n", &tree(text)).is_err(), "a map for a text");
    }

    /// Steps of about 100 bytes, with what may stand between and in them.
    fn large(indent: &str, tail: &str) -> String {
        let mut text = String::from("# a runbook\nholdpoint: 1\nvars: { a: { default: b } }\nsteps:\n");
        for n in 0..2000 {
            let more = match n % 5 {
                0 => format!("{indent}  guide: |+\n{indent}    - id: none\n\n{indent}    text\n\n"),
                1 => format!("{indent}  title: \"over\n{indent}    two lines\" # and a comment\n"),
                2 => format!("{indent}  run: [a,\n{indent}    \"b: [\"]\n\n# between\n"),
                3 => format!("{indent}  env:\n{indent}  # in a map\n"),
                _ => format!("{indent}  checks:\n{indent}  - file: {{ path: /x }}\n{indent}  - up:\n"),
            };
            text += &format!("{indent}- id: step-{n}\n{more}");
        }
        text + tail
    }

    #[test]
    fn pieces_cover_everything_and_mean_the_same() {
        for indent in ["", "  ", "      "] {
            for tail in ["", "after: { all: that }\nmore: |\n  - x\n", "# the end\n"] {
                let text = large(indent, tail);
                let root = tree(&text);
                let pieces = pieces(&text, &root).expect("the usual way to write");
                assert!(pieces.len() > 3, "{} pieces", pieces.len());
                let mut end = 0;
                for (range, part) in pieces {
                    assert_eq!(range.start, end, "no byte is left out");
                    end = range.end;
                    let piece = &text[range];
                    assert!(compare(piece, part).is_ok(), "{piece}");
                }
                assert_eq!(end, text.len());
                assert_eq!(long(&text, &root), Ok(()));
            }
        }
    }

    #[test]
    fn a_difference_in_any_piece_is_found_and_placed_as_in_the_whole() {
        let text = large("  ", "after: x\n");
        let root = tree(&text);
        for (was, is) in [
            ("default: b", "default: c"),
            ("step-0\n", "step-x\n"),
            ("step-999\n", "step-99x\n"),
            ("step-1999\n", "step-199x\n"),
            ("  - id: step-1000\n", "  - idx: step-1000\n"),
            ("after: x", "after: y"),
            ("after: x\n", ""),
        ] {
            let other = text.replacen(was, is, 1);
            assert_ne!(other, text);
            let found = long(&other, &root).expect_err(was);
            assert_eq!(found, whole(&other, &root).unwrap_err());
        }
        let cut = text.replacen("  - id: step-1500\n", "", 1);
        assert!(long(&cut, &root).is_err(), "a step less");
    }

    #[test]
    fn a_text_written_otherwise_is_read_whole() {
        let mut flow = String::from("steps: [\n");
        (0..100).for_each(|n| flow += &format!("  {{ id: s{n} }},\n"));
        flow += "]\n";
        let mut lone = String::from("steps:\n");
        (0..100).for_each(|n| lone += &format!("  -\n    id: s{n}\n"));
        for text in [flow, lone, "steps:\n".to_owned(), "- a\n".to_owned(), " steps:\n  - a\n".to_owned()] {
            let root = tree(&text);
            assert!(pieces(&text, &root).is_none(), "{text}");
            assert_eq!(long(&text, &root), Ok(()));
        }
    }
}
