//! YAML as a person would write it: scripts as blocks, short texts plain where that is safe, else in double quotes.
//!
//! Invariant: what is read back is what was given, character by character.

use crate::runbook::tree::{Core, core};

/// A text as the value of a key, for a map that is indented by `indent` columns: a block where it has several lines.
pub(super) fn text(value: &str, indent: usize) -> String {
    if value.contains('\n') && value.chars().all(|c| c == '\n' || printable(c)) {
        block(value, indent)
    } else {
        one_line(value)
    }
}

/// A text in one line.
pub(super) fn one_line(value: &str) -> String {
    if plain(value) { value.to_owned() } else { quoted(value) }
}

fn block(value: &str, indent: usize) -> String {
    let body = value.trim_end_matches('\n');
    if body.is_empty() {
        return quoted(value);
    }
    let ends = value.len() - body.len();
    // Where the first line begins with a blank or is empty, the indentation cannot be guessed.
    let hint = if body.starts_with([' ', '\t', '\n']) { "2" } else { "" };
    let chomp = match ends {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let pad = " ".repeat(indent + 2);
    let mut out = format!("|{hint}{chomp}\n");
    for line in body.split('\n') {
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
        out.push('\n');
    }
    out.push_str(&"\n".repeat(ends.saturating_sub(1)));
    // The caller ends the line.
    out.pop();
    out
}

/// In double quotes, everything that cannot be seen as an escape.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// A character that a reviewer sees, and that YAML takes as it is.
fn printable(c: char) -> bool {
    c == '\t' || (!c.is_control() && crate::base::text::neutral(c.encode_utf8(&mut [0; 4])).starts_with(c))
}

/// True for a text that means itself without quotes, wherever it stands.
fn plain(value: &str) -> bool {
    let Some(first) = value.chars().next() else { return false };
    first.is_ascii_alphabetic()
        && !value.ends_with([' ', ':'])
        && !value.contains(": ")
        && !value.contains(" #")
        && value.chars().all(|c| {
            c.is_ascii_alphanumeric() || " _-./'()%+=@!?;".contains(c) || (!c.is_ascii() && c.is_alphabetic())
        })
        && core(value) == Core::Text
        && !["yes", "no", "on", "off", "y", "n"].contains(&value.to_lowercase().as_str())
}

/// Comment lines with the same indentation.
pub(super) fn comment(text: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    text.lines().map(|line| format!("{pad}# {line}\n").replace("# \n", "#\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::load;
    use crate::runbook::source::Source;

    fn back(value: &str) -> (String, String) {
        let text = format!(
            "holdpoint: 1\nname: x\nabout: {}\nsteps:\n  - id: a\n    changes: false\n    manual:\n      instructions: {}\n",
            text(value, 0),
            text(value, 6)
        );
        let doc =
            load::parse(Source::new("x", text.as_str()), &[]).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let at = |path: &str| doc.root().at(path).and_then(|node| node.text()).unwrap_or_default().to_owned();
        (at("about"), at("steps[0].manual.instructions"))
    }

    #[test]
    fn nasty_texts_come_back() {
        for value in [
            "plain words",
            "a: b",
            "a:",
            "- a",
            "# a",
            "a # b",
            "'a' \"b\" \\c",
            "| a",
            "> a",
            "%a",
            "@a",
            "!a",
            "&a",
            "*a",
            "{a}",
            "[a]",
            "no",
            "null",
            "~",
            "1e3",
            "0x1f",
            " leading",
            "trailing ",
            "\ttab",
            "a\tb",
            "tab at the end\t",
            "é 日本 \u{1f600}",
            "zero\u{200b}width",
            "turn\u{202e}ed",
            "next\u{85}line",
            "one\ntwo\n",
            "one\ntwo",
            "one\ntwo\n\n\n",
            "  deeper\nless\n",
            "\n\nlate\n",
            "\n  late and deep\n x\n",
            "a  \nb\t\n",
            "---\n...\n",
            "key: |\n  inner\n",
            "# not a comment\nx\n",
            "\t\ttabs first\n",
            "a\n\n  \n\nb\n",
            "a\rb\nc",
            "\n",
            "cat <<'E'\n  x: ${y}\n\n- |\nE\n",
        ] {
            let escaped = value.replace("${", "$${");
            let (short, deep) = back(&escaped);
            assert_eq!((short.as_str(), deep.as_str()), (escaped.as_str(), escaped.as_str()), "{value:?}");
        }
    }

    #[test]
    fn random_texts_come_back() {
        use proptest::test_runner::{Config, TestRunner};
        let piece = proptest::sample::select(vec![
            "a", " ", "  ", "\n", "\t", ":", ": ", "-", "- ", "#", " #", "|", ">", "'", "\"", "\\", "é",
            "\u{a0}", "{", "}", "[", "]", ",", "&", "*", "!", "%", "@", "`", "?", "0", "~",
        ]);
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(400) });
        runner
            .run(&proptest::collection::vec(piece, 1..14), |pieces| {
                let value = pieces.concat();
                let (short, deep) = back(&value);
                assert_eq!((short, deep), (value.clone(), value));
                Ok(())
            })
            .unwrap();
    }
}
