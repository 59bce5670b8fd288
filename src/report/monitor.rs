//! What `check` found, for monitoring: as a Nagios or Icinga plugin, and as Prometheus text for the node exporter's
//! textfile collector.
//!
//! The plugin's form follows the Monitoring Plugins guidelines: one line that says the state, more lines with one check
//! each, performance data behind `|`. Prometheus text follows its exposition format, version 0.0.4.

use super::checked::{Checked, Item, Level};
use crate::base::text::neutral;
use crate::check::Verdict;

/// Longest first line: pagers show little more.
const LINE: usize = 300;
/// Longest line of one check.
const DETAIL: usize = 500;

/// The output of a plugin; the exit status is that of [`Checked::level`].
pub fn nagios(checked: &Checked) -> String {
    let bad: Vec<&Item> = checked.worst_first().into_iter().filter(|item| item.level() > Level::Ok).collect();
    let mut first =
        format!("HOLDPOINT {} - {}: {}", checked.level().word(), plain(&checked.name), checked.sum());
    if let Some(worst) = bad.first() {
        first.push_str(&format!("; {}: {}", worst.evidence.check, plain(&worst.evidence.outcome.observed)));
    }
    let mut text = format!(
        "{} | passed={};;;0;{all} failed={};;0;0;{all} unknown={};;;0;{all} time={}s\n",
        short(&first, LINE),
        checked.passed,
        checked.failed,
        checked.unknown,
        seconds(checked.took_ms),
        all = checked.items.len(),
    );
    for item in bad {
        let outcome = &item.evidence.outcome;
        let help = outcome.help.as_deref().map(|help| format!("; next: {}", plain(help))).unwrap_or_default();
        let line = format!(
            "[{}] {}: {}; wanted: {}{help}",
            item.level().word(),
            item.evidence.check,
            plain(&outcome.observed),
            plain(&outcome.expected),
        );
        text.push_str(&short(&line, DETAIL));
        text.push('\n');
    }
    text
}

/// A plugin's output when nothing could be measured at all.
pub fn nagios_error(message: &str) -> String {
    format!("{}\n", short(&format!("HOLDPOINT UNKNOWN - {}", plain(message)), LINE))
}

/// Metrics. `at` is when it was measured, in seconds since 1970 by this machine's clock.
pub fn prometheus(checked: &Checked, at: f64) -> String {
    let mut page = Metrics::default();
    let file = label(&checked.name);
    page.begin("holdpoint_check_verdict", "1 for the verdict that the check has, 0 for the two others.");
    for item in &checked.items {
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Unknown] {
            let is = u8::from(item.evidence.verdict() == verdict);
            let word = verdict.word().to_lowercase();
            page.line(&format!("{},verdict=\"{word}\"", labels(&file, item)), &is.to_string());
        }
    }
    page.begin("holdpoint_check_duration_seconds", "How long the measurement took.");
    for item in &checked.items {
        page.line(&labels(&file, item), &seconds(item.evidence.took_ms));
    }
    page.begin("holdpoint_check_value", "Numbers that the check saw; those it could not see are absent.");
    for item in &checked.items {
        for (name, value) in &item.evidence.outcome.facts {
            if let Some(number) = value.as_f64().filter(|number| number.is_finite()) {
                page.line(&format!("{},value=\"{}\"", labels(&file, item), label(name)), &number.to_string());
            }
        }
    }
    page.begin("holdpoint_checks", "How many checks have this verdict.");
    for (word, count) in [("pass", checked.passed), ("fail", checked.failed), ("unknown", checked.unknown)] {
        page.line(&format!("file=\"{file}\",verdict=\"{word}\""), &count.to_string());
    }
    page.begin("holdpoint_pass", "1 when every check that is not advisory passes, and there is one.");
    page.line(&format!("file=\"{file}\""), &u8::from(checked.pass).to_string());
    page.begin("holdpoint_measured_timestamp_seconds", "When it was measured. Alarm on its age, too.");
    page.line(&format!("file=\"{file}\""), &at.to_string());
    page.text
}

#[derive(Default)]
struct Metrics {
    text: String,
    name: &'static str,
}

impl Metrics {
    fn begin(&mut self, name: &'static str, help: &str) {
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        self.name = name;
    }

    fn line(&mut self, labels: &str, value: &str) {
        self.text.push_str(&format!("{}{{{labels}}} {value}\n", self.name));
    }
}

fn labels(file: &str, item: &Item) -> String {
    format!(
        "file=\"{file}\",check=\"{}\",kind=\"{}\",advisory=\"{}\"",
        label(item.evidence.check.as_str()),
        label(&item.evidence.kind),
        item.advisory
    )
}

/// A label's value: backslash, quote and line feed are escaped, as the format wants.
fn label(text: &str) -> String {
    neutral(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// One line without the sign that begins performance data.
fn plain(text: &str) -> String {
    neutral(text).replace(['\n', '\r'], " ").replace('|', "/")
}

fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{} ...", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::evidence as seen;
    use super::*;

    fn checked() -> Checked {
        let mut bad = seen("disk", Verdict::Fail);
        bad.outcome.observed = "2 % free | in /var\n\"x\\y\"".to_owned();
        let bad = bad.outcome.fact("bytes", 12).fact("kind", "ext4");
        let bad = crate::check::Evidence { outcome: bad, ..seen("disk", Verdict::Fail) };
        let item = |evidence, advisory| Item { evidence, advisory };
        Checked::of("site", vec![item(seen("up", Verdict::Pass), false), item(bad, false)], 1234)
    }

    #[test]
    fn a_plugin_says_its_state_first_and_keeps_the_pipe_for_numbers() {
        let text = nagios(&checked());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(
            "HOLDPOINT CRITICAL - site: 1 of 2 checks pass; 1 FAIL, 0 UNKNOWN; disk: 2 % free / in /var"
        ));
        assert!(lines[0].ends_with("| passed=1;;;0;2 failed=1;;0;0;2 unknown=0;;;0;2 time=1.234s"), "{text}");
        assert!(lines.len() == 2 && lines[1].starts_with("[CRITICAL] disk: "), "{text}");
        assert_eq!(text.matches('|').count(), 1);
        assert_eq!(nagios_error("no such file|\n"), "HOLDPOINT UNKNOWN - no such file/ \n");
    }

    #[test]
    fn metrics_are_numbers_with_escaped_labels() {
        let text = prometheus(&checked(), 1.5);
        let disk = "file=\"site\",check=\"disk\",kind=\"k\",advisory=\"false\"";
        assert!(text.contains(&format!("holdpoint_check_verdict{{{disk},verdict=\"fail\"}} 1\n")), "{text}");
        assert!(text.contains(&format!("holdpoint_check_verdict{{{disk},verdict=\"pass\"}} 0\n")));
        assert!(text.contains(&format!("holdpoint_check_value{{{disk},value=\"bytes\"}} 12\n")));
        assert!(!text.contains("ext4"), "words are no numbers");
        assert!(text.contains("holdpoint_pass{file=\"site\"} 0\n"));
        assert!(text.contains("holdpoint_measured_timestamp_seconds{file=\"site\"} 1.5\n"));
        assert_eq!(label("a\\b\"c"), "a\\\\b\\\"c");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
        }
    }
}
