//! Reads a text twice, with two YAML readers, and compares every key and every value.
//!
//! Invariants: nothing counts as read unless both readers saw all of the text and the same in it. A long text is read in
//! [`super::pieces`], by several threads; as soon as one of them does not read well by itself, the whole text is read at
//! once, and that decides, in its own words.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::pieces::{self, LARGE};
use super::source::{MAX_DEPTH, Source, first_line};
use super::tree::{Entry, Key, Kind, Node};
use crate::problem::Problem;

/// More threads than this are not worth starting.
const THREADS: usize = 4;

/// A tree, and what the second reader makes of the text; or what keeps the first from making one.
pub(super) fn read(source: &Source) -> Result<(Node, Option<Problem>), Vec<Problem>> {
    if source.text.len() >= LARGE
        && let Some(root) = in_pieces(source)
    {
        return Ok((root, None));
    }
    let root = source.read()?;
    let differs = whole(&source.text, &root).err();
    Ok((root, differs))
}

/// How many threads share long work.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS)
}

/// The tree, when both readers read every piece well and the same.
fn in_pieces(source: &Source) -> Option<Node> {
    source.prescan().ok()?;
    let pieces = pieces::cut(&source.text)?;
    let twice = |range: &Range<usize>, part: fn(&Node) -> Part<'_>| {
        // The map that the piece is out of counts, too.
        let node = source.read_piece(range.clone(), MAX_DEPTH - 1).ok()?;
        compare(&source.text[range.clone()], part(&node)).is_ok().then_some(node.kind)
    };
    let Some(Kind::Map(mut lines)) = twice(&pieces.head, |node| Part::Lines(node.entries())) else {
        return None;
    };
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = pieces.steps.get(nth) else { return Some(done) };
            match twice(range, |node| Part::Items(node.items())) {
                Some(Kind::Seq(items)) => done.push((nth, items)),
                _ => {
                    next.store(pieces.steps.len(), Ordering::Relaxed);
                    return None;
                }
            }
        }
    };
    let mut read = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads())
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, share).ok())
            .collect();
        let mut all = share();
        for other in others {
            all = all.zip(other.join().ok().flatten()).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        }
        all
    })?;
    read.sort_unstable_by_key(|(nth, _)| *nth);
    let mut items = Vec::with_capacity(read.iter().map(|(_, items)| items.len()).sum());
    read.into_iter().for_each(|(_, more)| items.extend(more));

    let last = lines.last_mut().filter(|line| &*line.key.text == "steps" && line.value.is_null())?;
    // A list that is indented begins at its dash, any other at its first item: so the reader has it.
    let indented = source.text[..pieces.dash].ends_with(' ');
    let start = if indented { pieces.dash } else { items.first()?.range().start };
    last.value = Node::new(start..items.last()?.range().end, Kind::Seq(items));
    if !pieces.tail.is_empty() {
        let Some(Kind::Map(more)) = twice(&pieces.tail, |node| Part::Lines(node.entries())) else {
            return None;
        };
        if more.iter().any(|line| lines.iter().any(|before| before.key.text == line.key.text)) {
            return None;
        }
        lines.extend(more);
    }
    let range = lines.first()?.key.range().start..lines.last()?.value.range().end;
    Some(Node::new(range, Kind::Map(lines)))
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
    /// Items of a list.
    Items(&'a [Node]),
    /// Lines of a map.
    Lines(&'a [Entry]),
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
            Part::Lines([line, ..]) => line.key.range(),
            Part::Items([]) | Part::Lines([]) => 0..0,
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
            Part::Lines(_) => deserializer.deserialize_map(self),
            // As a text, so that it is compared as it is written and not as the number it may be.
            Part::Key(_) => deserializer.deserialize_str(self),
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
            Part::Items(_) => "a list",
            Part::Lines(_) => "a map",
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let same = match self.part {
            Part::Value(node) => node.text() == Some(text),
            Part::Key(key) => &*key.text == text,
            Part::Items(_) | Part::Lines(_) => false,
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
            if seq.next_element_seed(Same { part: Part::Value(node), differs: &mut *self.differs })?.is_none()
            {
                return Err(self.differs());
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let lines = match self.part {
            Part::Lines(lines) => lines,
            Part::Value(node) => node.entries(),
            _ => &[],
        };
        for line in lines {
            if map.next_key_seed(Same { part: Part::Key(&line.key), differs: &mut *self.differs })?.is_none()
            {
                return Err(self.differs());
            }
            map.next_value_seed(Same { part: Part::Value(&line.value), differs: &mut *self.differs })?;
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pieces::tests::large;
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

    #[test]
    fn a_long_text_is_the_same_tree_in_pieces() {
        for indent in ["", "  ", "      "] {
            for tail in ["", "after: { all: that }\nmore: |\n  - x\n", "# the end\n"] {
                let source = Source::new("t", large(indent, tail));
                let pieces = format!("{:?}", in_pieces(&source).expect("it reads well"));
                let whole = format!("{:?}", source.read().unwrap());
                let differs = pieces.bytes().zip(whole.bytes()).position(|(one, other)| one != other);
                let near = |text: &str| differs.map(|at| text[at.saturating_sub(200)..][..300].to_owned());
                assert_eq!((near(&pieces), pieces.len()), (near(&whole), whole.len()));
            }
        }
    }

    #[test]
    fn what_does_not_read_well_in_pieces_is_left_to_the_whole() {
        let text = large("  ", "after: x\n");
        for (was, is) in [
            ("step-3999\n", "step-3999\n    : [\n"),
            ("id: step-2500\n", "id: \"step-2500\n"),
            ("id: step-2500\n", "id: step-2500\n    id: again\n"),
            ("id: step-2500\n", "id: &anchor step-2500\n"),
            ("id: step-2500\n", "id: step\u{200b}\n"),
            ("after: x", "vars: x"),
            ("after: x", "steps: x"),
            ("after: x", "- id: x"),
            ("after: x", "after: x\n--- \na: b"),
            ("vars: {", "steps: {"),
            ("vars: {", "vars: [{"),
        ] {
            let other = text.replacen(was, is, 1);
            assert_ne!(other, text);
            let source = Source::new("t", other);
            assert!(in_pieces(&source).is_none(), "{is}");
            let (alone, both) = (source.read(), read(&source));
            assert_eq!(alone.unwrap_err(), both.unwrap_err(), "{is}");
        }
    }

    #[test]
    fn the_second_reader_has_its_say_about_every_piece() {
        let text = large("  ", "after: x\n");
        let source = Source::new("t", text.as_str());
        let pieces = pieces::cut(&text).unwrap();
        for range in &pieces.steps {
            let node = source.read_piece(range.clone(), MAX_DEPTH).unwrap();
            let piece = &text[range.clone()];
            assert!(compare(piece, Part::Items(node.items())).is_ok());
            let at = piece.rfind("id: step-").unwrap();
            let other = format!("{}id: stop-{}", &piece[..at], &piece[at + 9..]);
            assert!(compare(&other, Part::Items(node.items())).is_err());
            assert!(compare(&format!("{piece}\n  - more\n"), Part::Items(node.items())).is_err());
        }
    }
}
