//! What `pg_upgrade --check` wrote: pure.

/// How to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It said so, and exited with 0.
    Compatible,
    /// It looked, and found something.
    InTheWay,
    /// It could not look.
    NoAnswer,
}

/// What it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// How to take it.
    pub verdict: Verdict,
    /// In one line.
    pub words: String,
    /// The rest, a line each.
    pub details: Vec<String>,
    /// Files that it wrote lists into.
    pub reports: Vec<String>,
}

/// Words of a program that did not get to its work.
const TROUBLE: [&str; 8] = [
    "connection to server",
    "could not connect",
    "could not open",
    "could not create",
    "Permission denied",
    "pg_ctl failed",
    "postmaster servicing",
    "could not start",
];

/// Reads all of its output.
pub fn read(text: &str, status: Option<i32>) -> Said {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let looked = lines.iter().any(|line| line.starts_with("Performing Consistency Checks"));
    let passed = lines.iter().filter(|line| line.starts_with("Checking ") && line.ends_with(" ok")).count();
    let said = |words: &str| lines.iter().any(|line| line.trim() == words);
    let reports: Vec<String> = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.ends_with(".txt") && !line.contains(' '))
        .map(str::to_owned)
        .collect();
    if status == Some(0) && said("*Clusters are compatible*") {
        let words = format!("compatible: {passed} checks of pg_upgrade passed");
        return Said { verdict: Verdict::Compatible, words, details: Vec::new(), reports };
    }
    let frame = |line: &str| {
        line.is_empty()
            || line.starts_with("Performing Consistency Checks")
            || line.starts_with("---")
            || line.ends_with(" ok")
            || line == "Failure, exiting"
            || line == "*Clusters are compatible*"
    };
    let rest: Vec<String> = lines.iter().filter(|line| !frame(line)).map(|line| tidy(line)).collect();
    let trouble = TROUBLE.iter().any(|words| text.contains(words));
    let verdict = match looked && said("Failure, exiting") && !trouble {
        true => Verdict::InTheWay,
        false => Verdict::NoAnswer,
    };
    // The line of the check that failed says what it looked for; the sentences after it say what it found.
    let told: Vec<&String> =
        rest.iter().filter(|line| !line.starts_with("Checking ") && !line.ends_with(".txt")).collect();
    let failed = rest.iter().find(|line| line.starts_with("Checking ")).map(|line| {
        line.trim_start_matches("Checking ")
            .trim_start_matches("for ")
            .trim_end_matches("fatal")
            .trim_end()
            .to_owned()
    });
    let what = told.iter().map(|line| line.trim()).take(3).collect::<Vec<_>>().join(" ");
    let words = match (failed, what.is_empty()) {
        (Some(check), false) if verdict == Verdict::InTheWay => format!("{check}: {what}"),
        (Some(check), true) => check,
        (_, false) => what,
        (None, true) => match status {
            Some(status) => {
                format!("pg_upgrade exited with {status} and does not say that the clusters are compatible")
            }
            None => "pg_upgrade was killed".to_owned(),
        },
    };
    Said { verdict, words, details: rest, reports }
}

/// Without the blanks that it fills lines with.
fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Performing Consistency Checks\n-----------------------------\nChecking cluster versions             ok\n\n*Clusters are compatible*\n";

    #[test]
    fn only_its_words_and_its_status_together_are_a_yes() {
        assert_eq!(read(GOOD, Some(0)).verdict, Verdict::Compatible);
        assert_eq!(read(GOOD, Some(1)).verdict, Verdict::NoAnswer);
        assert_eq!(read("Performing Consistency Checks\n", Some(0)).verdict, Verdict::NoAnswer);
        assert_eq!(read("", None).words, "pg_upgrade was killed");
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let text = "Performing Consistency Checks\n-----------------------------\nChecking cluster versions      ok\n\
                    Checking for presence of required libraries                   fatal\n\n\
                    Your installation references loadable libraries that are missing from the\nnew installation.  A list is in the file:\n\
                    \x20   /n/pg_upgrade_output.d/2026/loadable_libraries.txt\nFailure, exiting\n";
        let said = read(text, Some(1));
        assert_eq!(said.verdict, Verdict::InTheWay);
        assert!(
            said.words.starts_with("presence of required libraries: Your installation references"),
            "{said:?}"
        );
        assert_eq!(said.reports, ["/n/pg_upgrade_output.d/2026/loadable_libraries.txt"]);
        let text = "Performing Consistency Checks on Old Live Server\n---\n\nold cluster does not use data checksums but the new one does\nFailure, exiting\n";
        let said = read(text, Some(1));
        assert_eq!(
            (said.verdict, said.words.as_str()),
            (Verdict::InTheWay, "old cluster does not use data checksums but the new one does")
        );
    }

    #[test]
    fn a_program_that_could_not_look_has_found_nothing() {
        let text = "Performing Consistency Checks on Old Live Server\n---\nChecking database connection settings    connection to server on socket \"x\" failed: FATAL:  role \"y\" does not exist\n\nFailure, exiting\n";
        assert_eq!(read(text, Some(1)).verdict, Verdict::NoAnswer);
        let text = "\nThere seems to be a postmaster servicing the new cluster.\nPlease shutdown that postmaster and try again.\nFailure, exiting\n";
        let said = read(text, Some(1));
        assert_eq!(said.verdict, Verdict::NoAnswer);
        assert!(said.words.contains("postmaster servicing the new cluster"), "{said:?}");
    }
}
