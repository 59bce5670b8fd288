//! Findings as GitHub's workflow commands: printed in a job, they become annotations at their lines.
//!
//! Nothing of a file or a message can end a command early or begin another: see [`super::github`].

use super::findings::{Found, message, region};
use super::github::{data, property};
use crate::lint::codes;
use crate::problem::Severity;

/// One command a line.
pub fn annotations(all: &[Found]) -> String {
    let mut out = String::new();
    for found in all {
        let file = property(found.source.name.strip_prefix("./").unwrap_or(&found.source.name));
        for problem in &found.problems {
            let level = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let place = problem.places.first().map(|place| region(&found.source, &place.range));
            let place = place.map_or_else(String::new, |r| {
                format!(",line={},endLine={},col={},endColumn={}", r.line, r.end_line, r.column, r.end_column)
            });
            let title = match codes::meaning(problem.code) {
                Some(meaning) => format!("{} {meaning}", problem.code),
                None => problem.code.to_owned(),
            };
            let (title, message) = (property(&title), data(&message(problem)));
            out.push_str(&format!("::{level} file={file}{place},title={title}::{message}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use crate::runbook::source::Source;

    #[test]
    fn annotations_cannot_be_broken_out_of() {
        let source = Source::new("./a,b:c\n::error::x.yaml", "one\ntwo: 3\n");
        let mut nowhere = Problem::warning("HP061", "100% of\n::error::it", 0..0);
        nowhere.places.clear();
        let problems = vec![Problem::error("HP053", "`x` destroys", 4..7).help("say what goes"), nowhere];
        let text = annotations(&[Found { source, problems }]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("::error file=a%2Cb%3Ac")
                && lines[0].contains(
                    ",line=2,endLine=2,col=1,endColumn=4,title=HP053 destruction that is not declared::"
                )
                && lines[0].ends_with("::`x` destroys. Next: say what goes"),
            "{text}"
        );
        assert!(lines[1].starts_with("::warning file=") && lines[1].contains("100%25 of"), "{text}");
        assert!(!lines[1].contains("line="), "{text}");
    }
}
