//! A page for each code: what it means, why it matters, a wrong example and a right one. The one source of `holdpoint lint
//! --explain`, of `docs/lint/`, and of the help texts in SARIF.
//!
//! The texts are `pages/HP0NN.md`. Examples are fences: ` ```yaml wrong ` and ` ```yaml right `; what follows the word is
//! given on the command line. They leave out what every runbook has, and [`whole`] puts it back. A test holds every wrong
//! example to its code, and every right one to having no error at all.

use super::codes;

macro_rules! pages {
    ($($code:ident)*) => {
        &[$((stringify!($code), include_str!(concat!("pages/", stringify!($code), ".md")))),*]
    };
}

/// Every page. A code that has none fails a test: write `pages/CODE.md`, and its name here.
const PAGES: &[(&str, &str)] = pages! {
    HP000 HP001 HP002 HP003 HP004 HP005 HP006 HP007
    HP010 HP011 HP012 HP013 HP014 HP015
    HP020 HP021 HP022 HP023 HP024 HP025 HP026 HP027 HP028 HP029
    HP030 HP031 HP032 HP033 HP034 HP035 HP036
    HP040 HP041 HP042 HP043 HP044 HP045 HP046 HP047 HP048 HP049
    HP050 HP051 HP052 HP053 HP054 HP055 HP056 HP057
    HP060 HP061 HP062 HP063 HP064 HP065 HP066 HP067 HP068 HP069
    HP070 HP071 HP072 HP073 HP074 HP075 HP076 HP077
    HP080 HP081 HP083 HP085
};

/// Codes that no example can show, and why.
pub const UNSHOWN: &[(&str, &str)] = &[
    ("HP000", "it would be a defect of ours"),
    ("HP001", "the file would have to be larger than 8 MiB"),
    ("HP002", "a page is text itself"),
    ("HP003", "a page should not hold what nobody sees"),
    ("HP007", "no text is known that the two readers read differently"),
];

/// What is written about a code.
pub fn text(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == code).map(|(_, text)| *text)
}

/// An example of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example<'a> {
    /// It has the problem.
    pub wrong: bool,
    /// What is given on the command line.
    pub given: Vec<&'a str>,
    /// The example.
    pub text: String,
}

/// The examples of a page, in order.
pub fn examples(page: &str) -> Vec<Example<'_>> {
    let mut found = Vec::new();
    let mut open: Option<Example<'_>> = None;
    for line in page.lines() {
        if let Some(words) = line.strip_prefix("```") {
            found.extend(open.take());
            let mut words = words.split_whitespace();
            if words.next() == Some("yaml")
                && let Some(word @ ("wrong" | "right")) = words.next()
            {
                open = Some(Example { wrong: word == "wrong", given: words.collect(), text: String::new() });
            }
        } else if let Some(example) = &mut open {
            example.text.push_str(line);
            example.text.push('\n');
        }
    }
    found
}

/// A whole runbook around an example: version and name, the targets `old` and `new`, and a step, where it has none.
pub fn whole(example: &str) -> String {
    if example.starts_with("holdpoint") {
        return example.to_owned();
    }
    let steps = if example.starts_with("- ") { "steps:\n" } else { "" };
    let mut text = format!("{steps}{example}");
    let has = |text: &str, key: &str| text.lines().any(|line| line.starts_with(key));
    if !has(&text, "targets:") {
        text.push_str(
            "targets:\n  old: { postgres: \"service=old\" }\n  new: { postgres: \"service=new\" }\n",
        );
    }
    if !has(&text, "steps:") && !has(&text, "checks:") {
        text.push_str("steps:\n  - { id: look, manual: { instructions: look }, changes: false }\n");
    }
    format!("holdpoint: 1\nname: example\n{text}")
}

/// The page of a code, in Markdown.
pub fn markdown(code: &str) -> Option<String> {
    let (text, meaning) = (text(code)?, codes::meaning(code)?);
    let kind = if codes::is_warning(code) {
        "A warning: it is shown, and a run may start."
    } else {
        "An error, unless the text below says otherwise: a run does not start."
    };
    let mut page = format!("# {code}: {meaning}\n\n{kind}\n\n");
    for line in text.trim_end().lines() {
        match line.strip_prefix("```yaml ") {
            None => page.push_str(line),
            Some(words) => {
                let (word, given) = words.split_once(' ').unwrap_or((words, ""));
                let title = if word == "wrong" { "Wrong" } else { "Right" };
                let given = if given.is_empty() { String::new() } else { format!(", with `{given}`") };
                page.push_str(&format!("**{title}**{given}:\n\n```yaml"));
            }
        }
        page.push('\n');
    }
    if let Some((_, why)) = UNSHOWN.iter().find(|(unshown, _)| *unshown == code) {
        page.push_str(&format!("\nThere is no example here: {why}.\n"));
    }
    Some(page)
}

/// The prose of a page, its first paragraph, for one line.
pub fn summary(code: &str) -> Option<String> {
    text(code)?.split("\n\n").next().map(|first| first.replace('\n', " ").trim().to_owned())
}

/// The code that is meant by `HP053`, `hp53` or `53`.
pub fn code(given: &str) -> Result<&'static str, Option<&'static str>> {
    let known = || codes::CODES.iter().map(|(code, _)| *code);
    let digits = given.trim().to_uppercase();
    let digits = digits.strip_prefix("HP").unwrap_or(&digits);
    let meant = match digits.parse::<u16>() {
        Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("HP{number:03}"),
        _ => given.trim().to_uppercase(),
    };
    if let Some(code) = known().find(|code| *code == meant) {
        return Ok(code);
    }
    // The nearest by its number, else by its letters.
    let number = |code: &str| code.get(2..).and_then(|digits| digits.parse::<i32>().ok());
    Err(match number(&meant) {
        Some(wanted) => known().min_by_key(|code| number(code).map_or(i32::MAX, |n| (n - wanted).abs())),
        None => crate::base::text::nearest(&meant, known()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        for (code, _) in codes::CODES {
            assert!(
                text(code).is_some_and(|text| text.len() > 80),
                "{code} has no page: src/lint/pages/{code}.md"
            );
        }
        assert_eq!(PAGES.len(), codes::CODES.len(), "no page is left over");
    }

    #[test]
    fn codes_are_found_as_people_write_them() {
        for given in ["HP053", "hp053", "hp53", "53", " HP053 "] {
            assert_eq!(code(given), Ok("HP053"), "{given}");
        }
        assert_eq!(code("hp58"), Err(Some("HP057")));
        assert_eq!(code("hp999"), Err(codes::CODES.last().map(|(code, _)| *code)));
        assert_eq!(code("nonsense"), Err(None));
    }

    #[test]
    fn examples_are_read() {
        let page = "Why.\n\n```yaml wrong --var a=b\nx: 1\n```\n\n```yaml right\ny: 2\n```\n";
        let found = examples(page);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].wrong, found[0].given.as_slice()), (true, &["--var", "a=b"][..]));
        assert_eq!((found[1].wrong, found[1].text.as_str()), (false, "y: 2\n"));
    }
}
