use proptest::prelude::*;

use super::*;

fn one(value: &str) -> Redactor {
    Redactor::new([("pw", value)])
}

/// Base64 as `base64 -w COLUMNS` writes it; made by itself, not by the code under test.
fn base64(bytes: &[u8], columns: usize) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| (b >> i) & 1)).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push(0);
    }
    let mut text: Vec<u8> =
        bits.chunks(6).map(|c| alphabet[c.iter().fold(0, |n, b| n * 2 + usize::from(*b))]).collect();
    while !text.len().is_multiple_of(4) {
        text.push(b'=');
    }
    let lines: Vec<&[u8]> = if columns == 0 { vec![&text] } else { text.chunks(columns).collect() };
    String::from_utf8(lines.join(&b'\n')).unwrap()
}

#[test]
fn nothing_to_hide_changes_nothing() {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(Redactor::default().bytes(&all), all);
    assert_eq!(one("correct horse battery").bytes(&all), all);
    assert!(one("").is_empty());
}

#[test]
fn each_encoding_is_caught() {
    let value = "p@ss 'w\"ord/é$1+";
    for shown in [
        value,
        "p%40ss%20%27w%22ord%2F%C3%A9%241%2B",
        "p%40ss+%27w%22ord%2f%c3%a9%241%2b",
        "p@ss 'w\\\"ord/é$1+",
        "p@ss 'w\\\"ord\\/\\u00e9$1+",
        "p@ss '\\''w\"ord/é$1+",
        "p@ss ''w\"ord/é$1+",
        "7040737320277722 6f72642fc3a924312b".replace(' ', "").as_str(),
        "7040737320277722 6F72642FC3A924312B".replace(' ', "").as_str(),
        base64(value.as_bytes(), 0).as_str(),
    ] {
        assert_eq!(one(value).text(&format!("<{shown}>")), "<[secret pw]>", "{shown}");
    }
}

#[test]
fn base64_in_every_alignment() {
    let value = "hunter2-Tr0ub4dor&3";
    for before in ["", "a", "ab", "abc", "user:"] {
        for after in ["", "x", "xy", "xyz"] {
            let shown = base64(format!("{before}{value}{after}").as_bytes(), 0);
            let hidden = one(value).text(&format!("auth {shown}."));
            assert!(hidden.contains("[secret pw]"), "{before} {after}: {hidden}");
            // Only the characters that belong wholly to the neighbours stay.
            let stays = hidden.len() - "auth [secret pw].".len();
            assert!(stays <= (before.len() + after.len()) * 4 / 3 + 3, "{before} {after}: {hidden}");
        }
    }
}

#[test]
fn wrapped_at_any_column() {
    let key: String = (0..90).map(|i| char::from(b'!' + (i * 7 % 90) as u8)).collect();
    let redactor = one(&key);
    for columns in 12..100 {
        let shown = base64(format!("some text before it, then {key} and after").as_bytes(), columns);
        let hidden = redactor.text(&shown);
        assert!(hidden.contains("[secret pw]") && hidden.len() < 80, "{columns}: {hidden}");
        let raw: Vec<String> =
            key.as_bytes().chunks(columns).map(|c| String::from_utf8_lossy(c).into()).collect();
        for line_break in ["\n", "\r\n", "\n    "] {
            assert_eq!(redactor.text(&raw.join(line_break)), "[secret pw]", "{columns} {line_break:?}");
        }
    }
}

#[test]
fn a_key_of_several_lines_is_caught_whole_and_line_by_line() {
    let key = "-----BEGIN KEY-----\nMIGkAgEBBDBkVsYgLpMuKzGtSw0LrTq0\n4n1Q2xj0S3hQGm5XkZsYv9cWcA==\n-----END KEY-----\n";
    assert_eq!(one(key).text(&format!("a\n{key}b")), "a\n[secret pw]\nb");
    assert_eq!(one(key).text("2: 4n1Q2xj0S3hQGm5XkZsYv9cWcA=="), "2: [secret pw]");
    assert_eq!(one(key).text(&key.replace('\n', "\\n")), "[secret pw]\\n");
}

#[test]
fn overlapping_secrets_leave_nothing() {
    let redactor = Redactor::new([("a", "hunter2secret"), ("b", "secretpassage")]);
    assert_eq!(redactor.text("-hunter2secretpassage-"), "-[secret a]-");
    assert_eq!(one("aaaaaaa").text(&"a".repeat(1_000_000)), "[secret pw]");
    assert_eq!(one("secret!").text("secret!secret!"), "[secret pw][secret pw]");
}

#[test]
fn short_values_are_named_as_weak_and_still_caught() {
    let redactor = Redactor::new([("tiny", "ab"), ("pin", "4711"), ("good", "long enough")]);
    assert_eq!(redactor.weak().collect::<Vec<_>>(), ["pin", "tiny"]);
    assert_eq!(redactor.text("x4711y abz long enough"), "x[secret pin]y [secret tiny]z [secret good]");
}

#[test]
fn debug_tells_names_only() {
    assert_eq!(format!("{:?}", one("hunter2hunter2")), "Redactor { names: {\"pw\"}, .. }");
}

#[test]
fn a_prompt_is_not_held_back_but_the_beginning_of_a_secret_is() {
    let (mut stream, mut out) = (one("hunter2secret").stream(), Vec::new());
    stream.push(b"Continue? hunter2", &mut out);
    stream.idle(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), "Continue?", "one byte more than needed is held");
    stream.push(b"secret!", &mut out);
    stream.idle(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), "Continue? [secret pw]!");
    assert!(!stream.pending());
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec((0usize..8, 0usize..40), 1..60),
        cuts in prop::collection::vec((1usize..90, any::<bool>()), 1..40),
    ) {
        let value = "Tr0ub4dor&3-xyz";
        let redactor = Redactor::new([("pw", value), ("other", "xyz-and-more")]);
        let mut text = Vec::new();
        for (kind, n) in parts {
            match kind {
                0 => text.extend(value.bytes()),
                1 => text.extend(&value.as_bytes()[..n.min(value.len())]),
                2 => text.extend(base64(value.as_bytes(), 12).bytes()),
                3 => text.extend(base64(format!("{}{value}", "u".repeat(n)).as_bytes(), 0).bytes()),
                4 => text.extend(b"-and-more"),
                5 => text.push(b'\n'),
                _ => text.extend((0..n).map(|i| (i * 37 + n) as u8)),
            }
        }
        let whole = redactor.bytes(&text);
        let (mut stream, mut out, mut rest) = (redactor.stream(), Vec::new(), &text[..]);
        for (cut, idle) in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            stream.push(piece, &mut out);
            if *idle { stream.idle(&mut out); }
            rest = more;
        }
        stream.finish(&mut out);
        prop_assert!(!out.windows(value.len()).any(|w| w == value.as_bytes()));
        // A base64 character behind a match can have gone out before it was known to belong to it; nothing else differs.
        if !cuts.iter().any(|(_, idle)| *idle) {
            prop_assert_eq!(out, whole);
        }
    }
}
