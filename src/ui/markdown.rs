//! The Markdown of guides, for a terminal: paragraphs, headings, lists, quotes, `code`, fenced code. What it does not know it
//! shows as it was written. Takes text that is neutralised already.

use crate::report::Tone;
use crate::ui::layout::{chop, wrap};
use crate::ui::screen::Style;

/// The lines of a guide, at most `columns` wide.
pub fn render(text: &str, columns: usize, style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut paragraph = String::new();
    let mut fence: Option<&str> = None;
    for raw in text.lines() {
        let line = raw.trim_end();
        let bare = line.trim_start();
        if let Some(mark) = fence {
            if bare.starts_with(mark) && bare.trim_start_matches('`').trim_start_matches('~').is_empty() {
                fence = None;
            } else {
                lines.extend(
                    chop(line, columns.saturating_sub(4).max(4))
                        .into_iter()
                        .map(|piece| format!("    {piece}")),
                );
            }
            continue;
        }
        if bare.starts_with("```") || bare.starts_with("~~~") {
            flush(&mut paragraph, &mut lines, columns, style);
            fence = bare.get(..3);
        } else if bare.is_empty() {
            flush(&mut paragraph, &mut lines, columns, style);
            if lines.last().is_some_and(|last| !last.is_empty()) {
                lines.push(String::new());
            }
        } else if let Some(title) = heading(line) {
            flush(&mut paragraph, &mut lines, columns, style);
            lines.extend(wrap(title, columns).into_iter().map(|line| style.paint(Tone::Strong, &line)));
        } else if line.starts_with("    ") && paragraph.is_empty() {
            lines.extend(chop(line, columns));
        } else if marker(bare).is_some() {
            flush(&mut paragraph, &mut lines, columns, style);
            paragraph = line.to_owned();
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
                paragraph.push_str(bare);
            } else {
                paragraph = bare.to_owned();
            }
        }
    }
    flush(&mut paragraph, &mut lines, columns, style);
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    title.strip_prefix(' ').filter(|_| (1..=6).contains(&level)).map(str::trim)
}

/// The length of a list's or quote's mark with its space: `- `, `12. `, `> `.
fn marker(line: &str) -> Option<usize> {
    if ["- ", "* ", "+ ", "> "].iter().any(|mark| line.starts_with(mark)) {
        return Some(2);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line.get(digits..)?;
    ((1..=3).contains(&digits) && (rest.starts_with(". ") || rest.starts_with(") "))).then_some(digits + 2)
}

fn flush(paragraph: &mut String, lines: &mut Vec<String>, columns: usize, style: &Style) {
    let text = std::mem::take(paragraph);
    let bare = text.trim_start();
    if bare.is_empty() {
        return;
    }
    let mark = marker(bare).unwrap_or(0);
    let indent = if mark > 0 { (text.len() - bare.len()).min(8) } else { 0 };
    let hang = if indent + mark + 8 > columns { 0 } else { indent + mark };
    let (mark, body) = bare.split_at(mark);
    let mark = mark.replacen(['*', '+'], "-", usize::from(!mark.starts_with('>')));
    let wrapped = wrap(body, columns.saturating_sub(hang.max(mark.len())).max(4));
    for (n, line) in spans(&wrapped, style).into_iter().enumerate() {
        let edge = match n {
            0 => format!("{}{mark}", " ".repeat(hang.saturating_sub(mark.len()))),
            _ => " ".repeat(hang),
        };
        lines.push(format!("{edge}{line}"));
    }
}

/// Paints `code` and **strong** words. Without colour the marks stay, so that nothing is lost.
fn spans(lines: &[String], style: &Style) -> Vec<String> {
    if !style.colour {
        return lines.to_vec();
    }
    let paint = |line: &String| {
        let mut out = String::new();
        for (n, part) in line.split('`').enumerate() {
            let closed = n % 2 == 1 && line.matches('`').count() > n;
            match (n % 2, closed) {
                (0, _) => out.push_str(&strong(part, style)),
                (_, true) => out.push_str(&style.paint(Tone::Strong, part)),
                (_, false) => out.push_str(&format!("`{part}")),
            }
        }
        out
    };
    lines.iter().map(paint).collect()
}

/// Paints `**strong**` words; a mark without its other half stays.
fn strong(text: &str, style: &Style) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("**") {
        let Some((inner, behind)) = after.split_once("**").filter(|(inner, _)| !inner.trim().is_empty())
        else {
            break;
        };
        out.push_str(before);
        out.push_str(&style.paint(Tone::Strong, inner));
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guides() {
        let text = "# Before\nThe copy takes\nabout `4h`.\n\n* one point that is longer than the line\n* two\n  1. in it\n\n```sh\nls  -l /srv\n```\nEnd.";
        let style = Style { width: 28, ..Style::PLAIN };
        assert_eq!(
            render(text, 28, &style).join("\n"),
            "\
Before
The copy takes about `4h`.

- one point that is longer
  than the line
- two
  1. in it

    ls  -l /srv
End."
        );
    }

    #[test]
    fn strange_markdown_is_shown_as_it_is() {
        let style = Style { colour: true, ..Style::PLAIN };
        for text in ["```\nnever closed", "`open", "####### seven", "1234. no list", "- ", "> "] {
            assert!(!render(text, 20, &style).is_empty(), "{text}");
        }
        assert_eq!(render("run `x` now", 40, &style), ["run \u{1b}[1mx\u{1b}[0m now"]);
    }
}
