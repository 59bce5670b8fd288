//! Draws problems with the lines they are about: file, line, column, caret, cause, next step.
//!
//! Invariants: no text of a file or a value reaches the terminal unneutralised; the cost depends on what is drawn, not on
//! the size of the file.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::base::text::{count, neutral};
use crate::lint::codes;
use crate::problem::{Problem, Severity};
use crate::runbook::source::Source;

/// No more than this many problems are drawn; the rest is counted.
pub const MAX_DRAWN: usize = 100;
/// Places closer than this, in bytes, are drawn together.
const NEAR: usize = 16 << 10;

/// Draws problems of a source, and ends with a line that counts them. `width` is the terminal's, in columns.
///
/// Empty when there are no problems.
pub fn render(problems: &[Problem], source: &Source, colour: bool, width: usize) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let width = width.clamp(40, 200);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(width);
    // A secret is covered in every drawing, also where another problem stands in its line.
    let secrets: Vec<Range<usize>> = problems
        .iter()
        .filter(|problem| codes::covers(problem.code))
        .filter_map(|problem| problem.places.first().map(|place| place.range.clone()))
        .collect();
    let mut out = String::new();
    for problem in problems.iter().take(MAX_DRAWN) {
        let drawing = Drawing::new(problem, source, width, &secrets);
        out.push_str(&renderer.render(&[drawing.group(problem)]));
        out.push_str("\n\n");
    }
    if let rest @ 1.. = problems.len().saturating_sub(MAX_DRAWN) {
        out.push_str(&format!("and {} that are not shown\n\n", count(rest as u64, "problem", "problems")));
    }
    out.push_str(&summary(problems));
    out.push('\n');
    out
}

/// `3 errors, 1 warning`.
pub fn summary(problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count() as u64;
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let errors = (errors > 0).then(|| count(errors, "error", "errors"));
    let warnings = (warnings > 0).then(|| count(warnings, "warning", "warnings"));
    let both: Vec<String> = [errors, warnings].into_iter().flatten().collect();
    if both.is_empty() { "no problems".to_owned() } else { both.join(", ") }
}

/// What is drawn of one problem: neutralised lines, and places in them.
struct Drawing {
    name: String,
    title: String,
    help: Option<String>,
    windows: Vec<Window>,
}

/// Lines that are next to each other, with places in them.
struct Window {
    lines: String,
    first_line: usize,
    /// Primary or not, range in `lines`, label.
    places: Vec<(bool, Range<usize>, String)>,
}

impl Drawing {
    fn new(problem: &Problem, source: &Source, width: usize, secrets: &[Range<usize>]) -> Self {
        let prefix = "warning[HP000]: ".len();
        let text = &*source.text;
        // Places that are near each other share a window; what is far away gets one of its own.
        let mut groups: Vec<Vec<(bool, Range<usize>, String)>> = Vec::new();
        for (at, place) in problem.places.iter().enumerate() {
            let range = within(text, &place.range);
            let one = (at == 0, range.clone(), one_line(&place.label));
            let near = |group: &&mut Vec<(bool, Range<usize>, String)>| {
                group.iter().all(|(_, other, _)| other.start.abs_diff(range.start) < NEAR)
            };
            match groups.iter_mut().find(near) {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
        Drawing {
            name: one_line(&source.name),
            title: wrapped(&one_line(&problem.message), width.saturating_sub(prefix)),
            help: problem.help.as_deref().map(|help| wrapped(&one_line(help), width.saturating_sub(14))),
            windows: groups.into_iter().map(|places| Window::new(text, places, secrets)).collect(),
        }
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&*self.title).id(problem.code);
        let mut group = if self.windows.is_empty() {
            title.element(Origin::path(&*self.name))
        } else {
            title.elements(self.windows.iter().map(|window| window.snippet(&self.name)))
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        group
    }
}

impl Window {
    /// Asterisks stand for what is a secret.
    fn new(text: &str, places: Vec<(bool, Range<usize>, String)>, secrets: &[Range<usize>]) -> Self {
        let from = places.iter().map(|(_, range, _)| range.start).min().unwrap_or(0);
        let to = places.iter().map(|(_, range, _)| range.end).max().unwrap_or(0);
        let from = text[..from].rfind('\n').map_or(0, |at| at + 1);
        let to = text[to..].find('\n').map_or(text.len(), |at| to + at);
        let first_line = text[..from].matches('\n').count() + 1;
        let mut window =
            Window { lines: String::with_capacity(to - from), first_line, places: places.clone() };
        // Every range is moved to where its text stands in the neutralised lines.
        let mut chars = text[from..to].char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            window.mark(&places, from + at);
            if c != '\n' && secrets.iter().any(|range| range.contains(&(from + at))) {
                window.lines.push('*');
            } else if !(c == '\r' && chars.peek().is_none_or(|(_, next)| *next == '\n')) {
                window.lines.push_str(&neutral(c.encode_utf8(&mut [0; 4])));
            }
        }
        window.mark(&places, to);
        window
    }

    fn mark(&mut self, places: &[(bool, Range<usize>, String)], at: usize) {
        for ((_, range, _), (_, moved, _)) in places.iter().zip(&mut self.places) {
            moved.start = if range.start == at { self.lines.len() } else { moved.start };
            moved.end = if range.end == at { self.lines.len() } else { moved.end };
        }
    }

    fn snippet<'a>(&'a self, name: &'a str) -> Snippet<'a, Annotation<'a>> {
        let annotations = self.places.iter().map(|(primary, range, label)| {
            let kind = if *primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            kind.span(range.clone()).label((!label.is_empty()).then_some(&**label))
        });
        Snippet::source(&*self.lines).line_start(self.first_line).path(name).annotations(annotations)
    }
}

/// A range that lies in the text, on character boundaries.
fn within(text: &str, range: &Range<usize>) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(range.start);
    start..floor(range.end).max(start)
}

/// One line of safe text; a message that quotes a whole file is cut.
fn one_line(text: &str) -> String {
    const MOST: usize = 1_000;
    let mut line = neutral(&text.replace(['\n', '\r'], " "));
    if let Some((cut, _)) = line.char_indices().nth(MOST) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Breaks a line between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_place_cause_and_help() {
        let source = Source::new("a.yaml", "name: x\nsteps:\n  - presonditions: []\n");
        let problem = Problem::error("HP010", "a step has no key `presonditions`", 19..32)
            .help("did you mean `preconditions`?");
        let drawn = render(&[problem], &source, false, 80);
        assert_eq!(
            drawn,
            "error[HP010]: a step has no key `presonditions`\n --> a.yaml:3:5\n  |\n3 |   - presonditions: []\n  |     \
             ^^^^^^^^^^^^^\n  |\n  = help: did you mean `preconditions`?\n\n1 error\n"
        );
    }

    #[test]
    fn nothing_foreign_reaches_the_terminal() {
        let source = Source::new("a\x1b[2J.yaml", "key: \x1b[31m\u{202e}x\u{85}y\r\n");
        let problem = Problem::error("HP003", "bad \x1b]0;x\x07", 5..6).label("\x1b[0m").help("a\nb\rc");
        let drawn = render(&[problem], &source, false, 80);
        assert!(
            drawn.chars().all(|c| c == '\n' || !c.is_control()) && !drawn.contains('\u{202e}'),
            "{drawn:?}"
        );
        assert!(drawn.contains(":1:6"), "{drawn}");
    }

    #[test]
    fn what_is_far_away_is_drawn_apart() {
        let source = Source::new("a", format!("first\n{}last\n", "x: y\n".repeat(100_000)));
        let problem = Problem::error("HP006", "twice", 500_006..500_010).also(0..5, "first here");
        let drawn = render(&[problem], &source, false, 80);
        assert!(
            drawn.contains("1 | first") && drawn.contains("100002 | last") && drawn.lines().count() < 15,
            "{drawn}"
        );
        let many = vec![Problem::error("HP006", "twice", 0..1); 150];
        let drawn = render(&many, &source, false, 80);
        assert!(drawn.ends_with("and 50 problems that are not shown\n\n150 errors\n"));
    }

    #[test]
    fn odd_places_do_not_matter() {
        for text in ["", "\n", "é", "a\nb", "日本\r\n語"] {
            let source = Source::new("a", text);
            for range in [0..0, 1..1, 0..9, 2..3, 7..99, 1..2] {
                let problem = Problem::warning("HP060", "odd", range.clone()).also(0..1, "also");
                assert!(render(&[problem], &source, true, 80).contains("1 warning"), "{text:?} {range:?}");
            }
        }
        let mut nowhere = Problem::error("HP032", "--var x: no variable is called that", 0..0);
        nowhere.places.clear();
        assert_eq!(summary(&[nowhere.clone(), nowhere]), "2 errors");
    }
}
