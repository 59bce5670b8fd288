//! What is shown once, before the first question of a new run: what the runbook is about, what it works on, its steps, and
//! what it destroys.

use crate::report::Tone;
use crate::runbook::Step;
use crate::runbook::model::{Target, Work};
use crate::ui::layout::width;
use crate::ui::page::Page;
use crate::ui::screen::Style;
use crate::ui::view::Snapshot;

/// Columns of the labels.
const LABEL: usize = 10;

/// The page.
pub fn overview(snapshot: &Snapshot, by: &str, style: &Style) -> String {
    let mut page = Page::new(style).without(&snapshot.secrets);
    let runbook = &snapshot.runbook;
    page.rule('=');
    page.say(Tone::Strong, runbook.title.as_deref().unwrap_or(&runbook.name));
    page.rule('=');
    if let Some(about) = &runbook.about {
        page.guide(2, about);
        page.blank();
    }
    let state = &snapshot.state;
    let environment = state.environment.as_ref().map(|e| format!(" in {e}")).unwrap_or_default();
    page.item(2, (Tone::Plain, "run"), LABEL, &format!("{}{environment}", state.run));
    page.item(2, (Tone::Plain, "by"), LABEL, by);
    for (n, (name, target)) in runbook.targets.iter().enumerate() {
        let label = if n == 0 { "works on" } else { "" };
        page.item(2, (Tone::Plain, label), LABEL, &format!("{name}: {}", address(target)));
    }
    page.blank();
    steps(&mut page, &runbook.steps);
    page.blank();
    page.item(2, (Tone::Plain, "way back"), LABEL, &way_back(&runbook.steps));
    page.blank();
    page.say(Tone::Plain, "Nothing begins before you say so. Ctrl-C asks; it never kills a command.");
    page.finish()
}

fn steps(page: &mut Page<'_>, steps: &[Step]) {
    let ids = steps.iter().map(|step| width(&step.id)).max().unwrap_or(0).clamp(4, 24);
    let digits = steps.len().to_string().len();
    for (n, step) in steps.iter().enumerate() {
        let head = format!("{:>digits$}. {}", n + 1, crate::ui::layout::pad(&step.id, ids));
        let kind = match step.work() {
            Some(Work::Manual(_)) => " (by hand)",
            Some(Work::Soak(_)) => " (watching)",
            _ => "",
        };
        page.item(2, (Tone::Plain, head.trim_end()), digits + 2 + ids + 2, &format!("{}{kind}", step.name()));
        if let Some(destroys) = &step.destroys {
            page.item(2 + digits + 2, (Tone::Bad, "DESTROYS"), LABEL, &destroys.what);
        }
    }
}

fn way_back(steps: &[Step]) -> String {
    let stop =
        steps.iter().find_map(|step| crate::engine::reverse::irreversible(step).map(|why| (step, why)));
    match stop {
        None => "every step can be undone".to_owned(),
        Some((step, why)) => format!("to the start, until `{}` begins: {why}", step.id),
    }
}

/// Where a target is, as the runbook says; secrets are taken out by the page.
fn address(target: &Target) -> String {
    let place = match (&target.sqlite, &target.cluster, &target.postgres) {
        (Some(path), ..) => format!("SQLite file {path}"),
        (_, Some(cluster), _) => format!("PostgreSQL cluster {cluster}"),
        (_, _, Some(conninfo)) => format!("PostgreSQL at {}", without_password(conninfo)),
        _ => "unknown".to_owned(),
    };
    match &target.help {
        Some(help) => format!("{place} ({help})"),
        None => place,
    }
}

/// A password that stands in the runbook itself is no variable, and nobody has to see it.
fn without_password(conninfo: &str) -> String {
    let mut shown = conninfo.to_owned();
    if let Some((scheme, rest)) = conninfo.split_once("://")
        && let Some((user, host)) = rest.rsplit_once('@')
        && let Some((user, _)) = user.split_once(':')
    {
        shown = format!("{scheme}://{user}@{host}");
    }
    // How it is quoted does not matter: nothing behind the word is shown.
    match shown.to_lowercase().find("password") {
        Some(at) => format!("{}...", shown.get(..at).unwrap_or_default()),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixture::{EVIL, lines, opened, safe, snapshot};

    #[test]
    fn a_runbook_at_eighty_columns() {
        let mut snapshot = snapshot(&lines(opened()));
        let runbook = std::sync::Arc::make_mut(&mut snapshot.runbook);
        runbook.about = Some("Moves *everything*.\n\n- takes ten minutes".to_owned());
        insta::assert_snapshot!("overview", overview(&snapshot, "alice@db1", &Style::PLAIN));
        let runbook = std::sync::Arc::make_mut(&mut snapshot.runbook);
        (runbook.about, runbook.title) = (Some(EVIL.to_owned()), Some(EVIL.to_owned()));
        runbook.steps.iter_mut().for_each(|step| step.title = Some(EVIL.to_owned()));
        for width in [20, 40, 80] {
            safe(&overview(&snapshot, EVIL, &Style { width, ..Style::PLAIN }), width);
        }
    }

    #[test]
    fn passwords_in_addresses_are_not_shown() {
        assert_eq!(without_password("postgres://bob:secret@db1/x"), "postgres://bob@db1/x");
        assert_eq!(without_password("host=db1 password='a b' dbname=x"), "host=db1 ...");
        assert_eq!(without_password("postgres://db1/x?password=secret"), "postgres://db1/x?...");
        assert_eq!(without_password("service=synapse"), "service=synapse");
    }
}
