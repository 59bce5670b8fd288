//! Text for people: neutralised foreign text, wrapping, counting words.

/// Makes foreign text safe to show on one screen: control characters (C0, DEL, C1), escape sequences, carriage returns,
/// bidirectional and zero-width characters cannot reach the terminal. Newline and tab stay; tab becomes spaces.
///
/// Nothing disappears silently: an escape sequence
/// becomes `␛` and its printable rest, a carriage return becomes `␍`.
pub fn neutral(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            '\u{0}'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
        out
    })
}

/// `1 row`, `2 rows`: a number with thousands separators and the word in the right form.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The name in `known` nearest to `wrong`, if it is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(wrong.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_survives() {
        let evil = "a\x1b[2Jb\rc\u{9b}31m\u{202e}d\u{200b}\x07\x7f\n\tok";
        let shown = neutral(evil);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(shown.ends_with("\n    ok"));
    }

    #[test]
    fn nearest_name() {
        assert_eq!(nearest("presonditions", ["preconditions", "postconditions"]), Some("preconditions"));
        assert_eq!(nearest("xyzzy", ["preconditions"]), None);
    }

    #[test]
    fn counts() {
        assert_eq!(count(1, "row", "rows"), "1 row");
        assert_eq!(count(1_200_050, "row", "rows"), "1,200,050 rows");
    }
}
