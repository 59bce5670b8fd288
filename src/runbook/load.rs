//! From a text to a [`Document`] whose structure and names are right, and from there to a [`Runbook`] with values.
//!
//! Invariants: the text is read by two independent YAML readers, and refused when they differ in one character; every
//! failure is a list of problems with places, never a panic.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::model::{Runbook, Step};
use super::names::Names;
use super::rules::Rules;
use super::schema::{CheckSchema, schema};
use super::shape;
use super::source::{Source, first_line};
use super::tree::{Kind, Node};
use super::validate::{Mode, Walk};
use super::vars::{self, Values};
use crate::problem::Problem;

/// A runbook whose structure and names are right; its variables have no values yet.
#[derive(Debug, Clone)]
pub struct Document {
    source: Source,
    root: Node,
    names: Names,
    rules: Rules,
}

/// Reads a runbook. `checks` are the checks that there are. On failure: everything that is wrong, in the order of the
/// file.
pub fn parse(source: Source, checks: &[CheckSchema]) -> Result<Document, Vec<Problem>> {
    let rules = Rules::new(&schema(checks)).map_err(|why| vec![defect(&why, 0..0)])?;
    let root = source.read()?;
    let names = Names::of(&root);
    let mut problems = Vec::new();
    let other = beside(&source.text, &root, || {
        let mut walk = Walk::new(&rules, &names, &source.text, Mode::Names);
        walk.head(&root);
        for (at, step) in steps(&root).iter().enumerate() {
            walk.one_step(at, step);
        }
        problems.append(&mut walk.problems);
        shape::judge(&root, &names, &source.text, &mut problems);
    });
    problems.extend(other.err());
    if problems.is_empty() {
        return Ok(Document { source, root, names, rules });
    }
    Err(in_order(problems))
}

/// Problems in the order of the file, each once.
pub fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let start = |problem: &Problem| problem.places.first().map_or(0, |place| place.range.start);
    problems.sort_by_key(start);
    problems.dedup();
    problems
}

fn steps(root: &Node) -> &[Node] {
    root.get("steps").map(Node::items).unwrap_or_default()
}

fn defect(why: &str, range: std::ops::Range<usize>) -> Problem {
    Problem::error("HP000", format!("a defect in Holdpoint: {why}"), range)
        .help("please report it with this runbook")
}

impl Document {
    /// The text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The names that it declares.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The runbook's short name.
    pub fn name(&self) -> &str {
        self.root.get_text("name").unwrap_or_default()
    }

    /// A step's place in the tree.
    pub fn step(&self, at: usize) -> Option<&Node> {
        steps(&self.root).get(at)
    }

    /// Where a path stands in the text: `steps[3].preconditions[0].disk_free.path`. Of a list or map its first line.
    pub fn place(&self, path: &str) -> Option<std::ops::Range<usize>> {
        self.root.at(path).map(|node| first_line(&self.source.text, node.range()))
    }

    /// Puts values in and makes the runbook. Captured values that are still pending stay as `${name}`.
    pub fn bind(&self, values: &Values) -> Result<Runbook, Vec<Problem>> {
        self.make(Mode::Bind(values))
    }

    /// The runbook as far as it is known without values from outside: defaults are put in; where a variable has none,
    /// texts keep `${name}` and sizes, durations and numbers get a harmless stand-in. Never run what this gives.
    pub fn bind_for_lint(&self) -> Result<Runbook, Vec<Problem>> {
        self.make(Mode::Lint(&vars::defaults(self)))
    }

    fn make(&self, mode: Mode<'_>) -> Result<Runbook, Vec<Problem>> {
        let mut walk = Walk::new(&self.rules, &self.names, &self.source.text, mode);
        let mut head = walk.head(&self.root);
        if let Value::Object(head) = &mut head {
            head.insert("steps".to_owned(), Value::Array(Vec::new()));
        }
        let all = steps(&self.root);
        let mut made: Vec<Step> = Vec::with_capacity(all.len());
        for (at, node) in all.iter().enumerate() {
            let value = walk.one_step(at, node);
            if !walk.problems.is_empty() {
                continue;
            }
            match serde_json::from_value(value) {
                Ok(step) => made.push(step),
                Err(why) => walk.problems.push(self.unread(&why, node)),
            }
        }
        if walk.problems.is_empty() {
            match serde_json::from_value::<Runbook>(head) {
                Ok(runbook) => return Ok(Runbook { steps: made, ..runbook }),
                Err(why) => walk.problems.push(self.unread(&why, &self.root)),
            }
        }
        Err(in_order(walk.problems))
    }

    /// The schema let something through that the types refuse. Its words may quote a value, so they are not shown when
    /// the runbook has secrets.
    fn unread(&self, why: &serde_json::Error, node: &Node) -> Problem {
        let why =
            if self.names.secrets.is_empty() { why.to_string() } else { "its types refuse this".to_owned() };
        defect(&why, first_line(&self.source.text, node.range()))
    }
}

/// Texts from this size on are read the second time on a thread of their own.
const LARGE: usize = 256 << 10;

/// Does `work` and reads the text a second time; of a large text at the same time.
fn beside(text: &str, root: &Node, work: impl FnOnce()) -> Result<(), Problem> {
    if text.len() < LARGE {
        work();
        return second_reading(text, root);
    }
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().spawn_scoped(scope, || second_reading(text, root));
        work();
        match reader {
            Ok(reader) => {
                reader.join().unwrap_or_else(|_| Err(defect("the second YAML reader broke down", 0..0)))
            }
            Err(_) => second_reading(text, root),
        }
    })
}

/// Reads the text again with another reader and compares every key and every value, in order.
fn second_reading(text: &str, root: &Node) -> Result<(), Problem> {
    let mut first = None;
    let result =
        Same { node: root, differs: &mut first }.deserialize(serde_yaml::Deserializer::from_str(text));
    let Err(why) = result else { return Ok(()) };
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

/// Succeeds when the other reader sees the same value.
struct Same<'a> {
    node: &'a Node,
    differs: &'a mut Option<std::ops::Range<usize>>,
}

impl Same<'_> {
    fn differs<E: serde::de::Error>(self) -> E {
        self.differs.get_or_insert(self.node.range());
        E::custom("the readers disagree")
    }
}

impl<'de> DeserializeSeed<'de> for Same<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node.kind {
            // As a text, so that it is compared as it is written and not as the number it may be.
            Kind::Scalar { .. } => deserializer.deserialize_str(self),
            Kind::Seq(_) => deserializer.deserialize_seq(self),
            Kind::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Same<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.node.word())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.node.text() == Some(text) { Ok(()) } else { Err(self.differs()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let items = self.node.items();
        for node in items {
            if seq.next_element_seed(Same { node, differs: &mut *self.differs })?.is_none() {
                return Err(self.differs());
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        for entry in self.node.entries() {
            let key =
                Node::new(entry.key.range(), Kind::Scalar { text: entry.key.text.clone(), plain: false });
            if map.next_key_seed(Same { node: &key, differs: &mut *self.differs })?.is_none() {
                return Err(self.differs());
            }
            map.next_value_seed(Same { node: &entry.value, differs: &mut *self.differs })?;
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(self.differs());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(second_reading(text, &root), Ok(()), "{text}");
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
            let problem = second_reading(text, &root).unwrap_err();
            assert_eq!((problem.code, problem.places[0].range.start), ("HP007", place), "{other}");
        }
        assert!(second_reading("a: [1, two]\nb: c\n", &tree(text)).is_err(), "a map for a text");
    }
}
