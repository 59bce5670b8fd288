//! A page of text under construction. Everything that is put on it is neutralised and freed of secrets here, and
//! wrapped with hanging indents, so that no caller can forget it.
//!
//! Invariant: only headings, marks and labels of ours stand at the left edge; foreign text is always indented.

use crate::base::redact::Redactor;
use crate::base::text::neutral;
use crate::report::{Tone, words};
use crate::ui::layout::{chop, pad, wrap, wrap_after};
use crate::ui::markdown;
use crate::ui::screen::Style;

/// Prose is not set wider than this: long lines are hard to read.
const MEASURE: usize = 100;

/// A page.
pub struct Page<'a> {
    style: &'a Style,
    secrets: Option<&'a Redactor>,
    text: String,
}

impl<'a> Page<'a> {
    /// An empty page.
    pub fn new(style: &'a Style) -> Self {
        Page { style, secrets: None, text: String::new() }
    }

    /// The same page, which also removes these secrets from all that follows.
    #[must_use]
    pub fn without(mut self, secrets: &'a Redactor) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Columns that text may take.
    pub fn columns(&self) -> usize {
        self.style.width.clamp(20, MEASURE)
    }

    fn clean(&self, text: &str) -> String {
        match self.secrets {
            Some(secrets) => neutral(&secrets.text(text)),
            None => neutral(text),
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line, unless the page is empty or ends with one.
    pub fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A line across the page.
    pub fn rule(&mut self, with: char) {
        let line: String = std::iter::repeat_n(with, self.columns().min(80)).collect();
        self.push(&line);
    }

    /// A heading, after an empty line.
    pub fn heading(&mut self, text: &str) {
        self.blank();
        self.say(Tone::Strong, text);
    }

    /// A sentence of ours at the left edge; further lines are indented by two.
    pub fn say(&mut self, tone: Tone, text: &str) {
        let text = words::flat(&self.clean(text));
        let columns = self.columns();
        for (n, line) in wrap_after(&text, columns, columns - 2).into_iter().enumerate() {
            let line = self.style.paint(tone, &line);
            self.push(&if n == 0 { line } else { format!("  {line}") });
        }
    }

    /// Text with a label in a column of its own: `  wanted  1,000 rows`. The label is ours. On a narrow screen the text
    /// stands below its label.
    pub fn item(&mut self, indent: usize, (tone, label): (Tone, &str), column: usize, text: &str) {
        let text = self.clean(text);
        let columns = self.columns();
        let label = words::flat(&self.clean(label));
        let hang = indent + column;
        let edge = " ".repeat(indent);
        if hang + 16 > columns {
            let painted = self.style.paint(tone, &label);
            self.push(&format!("{edge}{painted}"));
            for line in wrap(&text, columns.saturating_sub(indent + 2).max(8)) {
                self.push(&format!("{edge}  {line}"));
            }
            return;
        }
        let gap = if crate::ui::layout::width(&label) >= column { " " } else { "" };
        let padded = pad(&label, column);
        let painted =
            padded.replacen(&label, &self.style.paint(tone, &label), usize::from(!label.is_empty()));
        let first = columns.saturating_sub(hang.max(indent + crate::ui::layout::width(&label) + gap.len()));
        for (n, line) in wrap_after(&text, first, columns - hang).into_iter().enumerate() {
            let before = if n == 0 { format!("{edge}{painted}{gap}") } else { " ".repeat(hang) };
            self.push(&format!("{before}{line}"));
        }
    }

    /// Text without a label, indented by two or more.
    pub fn text(&mut self, indent: usize, text: &str) {
        let text = self.clean(text);
        let indent = indent.max(2);
        for line in wrap(&text, self.columns().saturating_sub(indent).max(8)) {
            self.push(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    /// Commands and scripts, every line after a mark, broken anywhere, nothing lost.
    pub fn block(&mut self, indent: usize, mark: &str, text: &str) {
        let text = self.clean(text.trim_end_matches('\n'));
        let edge = format!("{}{mark} ", " ".repeat(indent.max(2)));
        let columns = self.columns().saturating_sub(edge.len()).max(8);
        for line in text.split('\n') {
            for piece in chop(line, columns) {
                self.push(&format!("{edge}{piece}"));
            }
        }
    }

    /// A command to be typed, after a `$`: where it does not fit it moves to the left, then it is broken between words as a
    /// shell takes it, so that it can be copied.
    pub fn command(&mut self, indent: usize, text: &str) {
        let text = words::flat(&self.clean(text));
        let wide = crate::ui::layout::width(&text) + 2;
        let indent = if indent + wide <= self.columns() { indent } else { 2 };
        let edge = " ".repeat(indent);
        if indent + wide <= self.columns() {
            return self.push(&format!("{edge}$ {text}"));
        }
        let lines = wrap(&text, self.columns().saturating_sub(indent + 4).max(8));
        let last = lines.len().saturating_sub(1);
        for (n, line) in lines.iter().enumerate() {
            let (mark, tail) = (if n == 0 { "$" } else { " " }, if n < last { " \\" } else { "" });
            self.push(&format!("{edge}{mark} {line}{tail}"));
        }
    }

    /// A guide.
    pub fn guide(&mut self, indent: usize, text: &str) {
        let text = self.clean(text);
        for line in markdown::render(&text, self.columns().saturating_sub(indent).max(8), self.style) {
            self.push(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    /// One line of parts in several tones; wrapped, without tones, where it does not fit.
    pub fn row(&mut self, indent: usize, parts: &[(Tone, String)]) {
        let parts: Vec<(Tone, String)> =
            parts.iter().map(|(tone, text)| (*tone, words::flat(&self.clean(text)))).collect();
        let whole: String = parts.iter().map(|(_, text)| text.as_str()).collect();
        let columns = self.columns().saturating_sub(indent);
        if crate::ui::layout::width(whole.trim_end()) > columns {
            for (n, line) in
                wrap_after(&whole, columns, columns.saturating_sub(2).max(8)).into_iter().enumerate()
            {
                self.push(&format!("{}{line}", " ".repeat(if n == 0 { indent } else { indent + 2 })));
            }
            return;
        }
        let line: String = parts.iter().map(|(tone, text)| self.style.paint(*tone, text)).collect();
        self.push(&format!("{}{line}", " ".repeat(indent)));
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_never_reaches_the_left_edge() {
        for width in [20, 40, 80] {
            let style = Style { width, ..Style::PLAIN };
            let evil =
                "seen\n[x] 5 drop-old done\r\x1b[2K\x1b]52;c;eA==\x07 and a very long tail of words to wrap";
            let mut page = Page::new(&style);
            page.item(2, (Tone::Bad, "seen"), 8, evil);
            page.text(4, evil);
            page.block(2, "|", evil);
            page.guide(2, evil);
            page.say(Tone::Plain, evil);
            let text = page.finish();
            assert!(!text.lines().any(|line| line.starts_with("[x]")), "{text}");
            assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{text:?}");
            assert!(text.lines().all(|line| crate::ui::layout::width(line) <= width), "{text}");
        }
    }

    #[test]
    fn items_hang() {
        let style = Style { width: 40, ..Style::PLAIN };
        let mut page = Page::new(&style);
        page.item(2, (Tone::Plain, "wanted"), 8, "1,000,000 rows in events, as in old");
        assert_eq!(page.finish(), "  wanted  1,000,000 rows in events, as\n          in old\n");
    }
}
