//! The small part of regular expressions that our JSON Schemas use for names: classes, groups, alternatives,
//! repetition, anchors. Matching takes time proportional to text times pattern, whatever the text.

/// A pattern that a text is searched for.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    code: Vec<Op>,
    straight: Option<Vec<Run>>,
}

/// One class, so many times.
#[derive(Debug, Clone)]
struct Run {
    class: Op,
    least: usize,
    most: usize,
}

#[derive(Debug, Clone)]
enum Op {
    Class { ranges: Vec<(char, char)>, negated: bool },
    Split(usize, usize),
    Begin,
    End,
    Match,
}

impl Op {
    /// True for a class that has this character.
    fn takes(&self, c: char) -> bool {
        match self {
            Op::Class { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
            _ => false,
        }
    }
}

/// The classes of a pattern that is nothing but classes one after the other from the beginning to the end, all of them a
/// fixed number of times but for one at most: nearly all patterns of names are so, and need no search.
fn straight(text: &str) -> Option<Vec<Run>> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0 };
    let mut runs = Vec::new();
    matches!(reader.next(), Some('^')).then_some(())?;
    loop {
        // An alternative is no character.
        (reader.peek() != Some('|')).then_some(())?;
        let mut atom = reader.atom().ok()?;
        match (atom.pop()?, atom.is_empty()) {
            (Op::End, true) => break,
            (class @ Op::Class { .. }, true) => {
                let (least, most) = reader.counts().ok()?;
                runs.push(Run { class, least, most: most.unwrap_or(usize::MAX) });
            }
            _ => return None,
        }
    }
    let open = runs.iter().filter(|run| run.least != run.most).count();
    (reader.peek().is_none() && open <= 1).then_some(runs)
}

/// True when a text is made of these classes.
fn follows(runs: &[Run], text: &str) -> bool {
    let length = text.chars().count();
    let fixed: usize = runs.iter().filter(|run| run.least == run.most).map(|run| run.least).sum();
    let Some(rest) = length.checked_sub(fixed) else { return false };
    let mut chars = text.chars();
    let all = runs.iter().all(|run| {
        let count = if run.least == run.most { run.least } else { rest };
        (run.least..=run.most).contains(&count) && chars.by_ref().take(count).all(|c| run.class.takes(c))
    });
    all && chars.next().is_none()
}

impl Pattern {
    /// Reads a pattern; an error names what is not supported.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0 };
        let mut code = reader.alternatives()?;
        if reader.at < reader.chars.len() {
            return Err(format!("pattern `{text}`: `)` without `(`"));
        }
        code.push(Op::Match);
        Ok(Pattern { text: text.to_owned(), code, straight: straight(text) })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when the pattern is found somewhere in `text`; anchors restrict where.
    pub fn matches(&self, text: &str) -> bool {
        match &self.straight {
            Some(runs) => follows(runs, text),
            None => self.search(text),
        }
    }

    fn search(&self, text: &str) -> bool {
        let mut now = States::new(self.code.len());
        let mut next = States::new(self.code.len());
        let mut chars = text.chars().peekable();
        let mut first = true;
        loop {
            let last = chars.peek().is_none();
            self.follow(0, first, last, &mut now);
            if now.seen.last() == Some(&true) {
                return true;
            }
            let Some(c) = chars.next() else { return false };
            let ends = chars.peek().is_none();
            for at in now.all.drain(..) {
                now.seen[at] = false;
                if self.code[at].takes(c) {
                    self.follow(at + 1, false, ends, &mut next);
                }
            }
            std::mem::swap(&mut now, &mut next);
            first = false;
        }
    }

    /// Marks what can be reached from `at` without reading a character.
    fn follow(&self, at: usize, first: bool, last: bool, states: &mut States) {
        let mut todo = vec![at];
        while let Some(at) = todo.pop() {
            if std::mem::replace(&mut states.seen[at], true) {
                continue;
            }
            states.all.push(at);
            match self.code[at] {
                Op::Split(a, b) => todo.extend([a, b]),
                Op::Begin if first => todo.push(at + 1),
                Op::End if last => todo.push(at + 1),
                _ => {}
            }
        }
    }
}

/// The places in a pattern that a text has come to.
struct States {
    seen: Vec<bool>,
    all: Vec<usize>,
}

impl States {
    fn new(length: usize) -> Self {
        States { seen: vec![false; length], all: Vec::new() }
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn alternatives(&mut self) -> Result<Vec<Op>, String> {
        let mut left = self.sequence()?;
        while self.peek() == Some('|') {
            self.at += 1;
            let right = self.sequence()?;
            // split → left → jump over right; a jump is a split with one way.
            let (l, r) = (left.len(), right.len());
            let mut joined = vec![Op::Split(1, l + 2)];
            joined.extend(shifted(left, 1));
            joined.push(Op::Split(l + 2 + r, l + 2 + r));
            joined.extend(shifted(right, l + 2));
            left = joined;
        }
        Ok(left)
    }

    fn sequence(&mut self) -> Result<Vec<Op>, String> {
        let mut code = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || (c == ')' && self.depth > 0) {
                break;
            }
            if c == ')' {
                return Err("`)` without `(`".to_owned());
            }
            let atom = self.atom()?;
            for part in self.repeated(atom)? {
                let at = code.len();
                code.extend(shifted(part, at));
            }
        }
        Ok(code)
    }

    fn atom(&mut self) -> Result<Vec<Op>, String> {
        let one = |ranges: Vec<(char, char)>, negated| vec![Op::Class { ranges, negated }];
        Ok(match self.next() {
            Some('^') => vec![Op::Begin],
            Some('$') => vec![Op::End],
            Some('.') => one(vec![('\n', '\n')], true),
            Some('(') => {
                if self.peek() == Some('?') {
                    self.at += 1;
                    if self.next() != Some(':') {
                        return Err("only plain groups are supported in a pattern".to_owned());
                    }
                }
                self.depth += 1;
                let inner = self.alternatives()?;
                self.depth -= 1;
                if self.next() != Some(')') {
                    return Err("`(` is not closed in a pattern".to_owned());
                }
                inner
            }
            Some('[') => {
                let negated = self.peek() == Some('^');
                self.at += usize::from(negated);
                let mut ranges = Vec::new();
                loop {
                    match self.next() {
                        None => return Err("`[` is not closed in a pattern".to_owned()),
                        Some(']') => break,
                        Some('\\') => ranges.extend(self.escape()?),
                        Some(from) => {
                            let to = self.chars.get(self.at + 1).copied().filter(|to| *to != ']');
                            match (self.peek(), to) {
                                (Some('-'), Some(to)) => {
                                    self.at += 2;
                                    ranges.push((from, to));
                                }
                                _ => ranges.push((from, from)),
                            }
                        }
                    }
                }
                one(ranges, negated)
            }
            Some('\\') => one(self.escape()?, false),
            Some(c @ ('*' | '+' | '?' | '{')) => {
                return Err(format!("`{c}` has nothing to repeat in a pattern"));
            }
            Some(c) => one(vec![(c, c)], false),
            None => Vec::new(),
        })
    }

    fn escape(&mut self) -> Result<Vec<(char, char)>, String> {
        Ok(match self.next() {
            Some('d') => vec![('0', '9')],
            Some('w') => vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')],
            Some('s') => vec![(' ', ' '), ('\t', '\r')],
            Some(c) if !c.is_alphanumeric() => vec![(c, c)],
            other => return Err(format!("escape {other:?} is not supported in a pattern")),
        })
    }

    /// What the quantifier that stands here says: fewest and most; once when there is none.
    fn counts(&mut self) -> Result<(usize, Option<usize>), String> {
        let counts = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let close = self.chars[self.at..]
                    .iter()
                    .position(|c| *c == '}')
                    .ok_or("`{` is not closed in a pattern")?;
                let inner: String = self.chars[self.at + 1..self.at + close].iter().collect();
                self.at += close;
                let (min, max) = inner.split_once(',').unwrap_or((&inner, &inner));
                let number =
                    |n: &str| n.parse::<usize>().ok().filter(|n| *n <= 1000).ok_or("bad counts in a pattern");
                (number(min)?, if max.is_empty() { None } else { Some(number(max)?) })
            }
            _ => return Ok((1, Some(1))),
        };
        self.at += 1;
        Ok(counts)
    }

    /// The atom as often as the quantifier after it says, in parts that stand one after the other.
    fn repeated(&mut self, atom: Vec<Op>) -> Result<Vec<Vec<Op>>, String> {
        let (min, max) = self.counts()?;
        let mut parts = vec![atom.clone(); min];
        let length = atom.len();
        match max {
            None => {
                let mut star = vec![Op::Split(1, length + 2)];
                star.extend(shifted(atom, 1));
                star.push(Op::Split(0, 0));
                parts.push(star);
            }
            Some(max) => {
                for left in (1..=max.saturating_sub(min)).rev() {
                    // From each of them past all that are left, so that few states are alive at a time.
                    let mut maybe = vec![Op::Split(1, left * (length + 1))];
                    maybe.extend(shifted(atom.clone(), 1));
                    parts.push(maybe);
                }
            }
        }
        Ok(parts)
    }
}

fn shifted(code: Vec<Op>, by: usize) -> Vec<Op> {
    let shift = |op| match op {
        Op::Split(a, b) => Op::Split(a + by, b + by),
        op => op,
    };
    code.into_iter().map(shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names_and_numbers() {
        for (pattern, yes, no) in [
            ("^[a-z0-9][a-z0-9-]{0,62}$", &["a", "drop-old", "0"][..], &["", "-a", "A", "a_b", "a b"][..]),
            (r"^\d{1,3}(\.\d+)?%$", &["15%", "1.5%"], &["15", "%", "1234%", "1.%"]),
            ("^(a|bc|)d*$", &["a", "bcd", "", "ddd"], &["b", "ab", "da"]),
            ("b+", &["abc", "b"], &["ac", ""]),
            ("^[^/]*$", &["x", ""], &["a/b"]),
            ("^a.c$", &["abc", "aéc"], &["ac", "a\nc"]),
            ("^[0-9]+(:?[a-z-]+)*$", &["1", "1:a-b", "12ab:c"], &[":", "1:"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            for text in yes.iter().chain(no) {
                assert_eq!(compiled.matches(text), compiled.search(text), "{pattern} {text:?}");
            }
            yes.iter().for_each(|text| assert!(compiled.matches(text), "{pattern} must match {text:?}"));
            no.iter().for_each(|text| assert!(!compiled.matches(text), "{pattern} must not match {text:?}"));
        }
        assert!(!Pattern::new("^[a-z]{0,62}$").unwrap().matches(&"a".repeat(63)));
    }

    #[test]
    fn straight_patterns_need_no_search() {
        for (pattern, is) in [
            ("^[a-z0-9][a-z0-9-]{0,62}$", true),
            ("^[A-Za-z_][A-Za-z0-9_]*$", true),
            ("^[0-9a-fA-F]{64}$", true),
            ("^[0-9]+%$", true),
            ("^[a-z]+[0-9]+$", false),
            ("^(a|b)$", false),
            ("[a-z]$", false),
            ("^[a-z]", false),
            ("^a|b$", false),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!(compiled.straight.is_some(), is, "{pattern}");
            let texts = [
                "",
                "a",
                "a0",
                "0",
                "-",
                "aé",
                "0%",
                "%",
                "12%%",
                "A_9",
                "ab",
                "b",
                "xb",
                &"a".repeat(63),
                &"a".repeat(64),
            ];
            for text in texts {
                assert_eq!(compiled.matches(text), compiled.search(text), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for wrong in ["(", ")", "[a", "*", "(?=a)", r"\bword", "a{2"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
