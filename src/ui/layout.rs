//! Fitting text into columns: width of characters, wrapping at word borders, cutting.
//!
//! Widths are never underestimated, so that no line is longer than the screen and wraps to column one by itself, where
//! foreign text could look like a line of ours. Our own colour codes have no width.

/// Columns that a character takes, at most.
pub fn cell(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f
        | 0x2300..=0x23ff
        | 0x25a0..=0x27bf
        | 0x2900..=0x2bff
        | 0x2e80..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7ff
        | 0xf900..=0xfaff
        | 0xfe10..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x16fe0..=0x18fff
        | 0x1b000..=0x1b2ff
        | 0x1f000..=0x1ffff
        | 0x20000..=0x3ffff => 2,
        _ => 1,
    }
}

/// Columns that a text without colour codes takes, at most.
pub fn width(text: &str) -> usize {
    text.chars().map(cell).sum()
}

/// The text in lines of at most `columns`, broken at spaces; a word that is too long is broken where it must be. Newlines
/// stay. Never empty; never a line wider than `columns`, unless a single character is.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    wrap_after(text, columns, columns)
}

/// The same with another width for the first line.
pub fn wrap_after(text: &str, first: usize, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let limit = if lines.is_empty() { first } else { columns }.max(1);
            let wide = width(word);
            if used > 0 && used + 1 + wide <= limit {
                line.push(' ');
                line.push_str(word);
                used += 1 + wide;
                continue;
            }
            if used > 0 {
                lines.push(std::mem::take(&mut line));
            }
            let limit = if lines.is_empty() { first } else { columns }.max(1);
            let mut pieces =
                if wide <= limit { vec![word.to_owned()] } else { chop_after(word, limit, columns) };
            line = pieces.pop().unwrap_or_default();
            lines.append(&mut pieces);
            used = width(&line);
        }
        lines.push(line);
    }
    lines
}

/// The text in pieces of at most `columns`, broken anywhere: for commands and output, where spaces count.
pub fn chop(text: &str, columns: usize) -> Vec<String> {
    chop_after(text, columns, columns)
}

fn chop_after(text: &str, first: usize, columns: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut used = 0;
    for c in text.chars() {
        let limit = if pieces.is_empty() { first } else { columns }.max(1);
        if used > 0 && used + cell(c) > limit {
            pieces.push(std::mem::take(&mut piece));
            used = 0;
        }
        piece.push(c);
        used += cell(c);
    }
    pieces.push(piece);
    pieces
}

/// The text if it fits, else its beginning and `...`.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let dots = "...".get(..columns.min(3)).unwrap_or_default();
    let mut used = dots.len();
    let kept: String = text
        .chars()
        .take_while(|c| {
            used += cell(*c);
            used <= columns
        })
        .collect();
    kept + dots
}

/// The text with spaces up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let mut text = text.to_owned();
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

/// The text with spaces before it up to `columns`.
pub fn pad_left(text: &str, columns: usize) -> String {
    let mut padded = " ".repeat(columns.saturating_sub(width(text)));
    padded.push_str(text);
    padded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wraps_at_words_and_breaks_only_what_is_too_long() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("/var/lib/postgresql is full", 10), ["/var/lib/p", "ostgresql", "is full"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("", 9), [""]);
        assert_eq!(wrap_after("aa bb cc", 2, 5), ["aa", "bb cc"]);
        assert_eq!(fit("abcdef", 5), "ab...");
        assert_eq!(fit("abcde", 5), "abcde");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_wide(text in "[ a-z\u{4e2d}\u{1f600}]{0,60}", columns in 2usize..30) {
            let lines = wrap(&text, columns);
            prop_assert!(lines.iter().all(|line| width(line) <= columns), "{lines:?}");
            let squeeze = |text: &str| text.replace(' ', "");
            prop_assert_eq!(squeeze(&lines.concat()), squeeze(&text));
            prop_assert_eq!(chop(&text, columns).concat(), text);
        }
    }
}
