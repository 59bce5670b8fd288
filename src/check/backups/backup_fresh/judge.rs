//! Findings about the newest backup, and the one outcome they add up to. Any failure fails; else anything unknown is
//! unknown.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::candidates::{Candidate, Found, Kind};
use super::names;
use crate::base::text::count;
use crate::base::{Size, Span};
use crate::check::{Outcome, Verdict};

/// A date this far ahead is still "now": clocks of file servers are never quite ours.
const CLOCK_SLACK_S: i64 = 120;
/// pg_dump writes local time without a zone: a date inside may be ahead of ours by as much as zones differ.
const ZONES_S: i64 = 27 * 3600;
/// Predecessors that count, the newest first.
const MOST: usize = 7;
/// Candidates that are listed.
const LISTED: usize = 12;

/// One thing about a backup: does it hold (`None`: not known), and in what words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub holds: Option<bool>,
    pub observed: String,
    /// What was wanted instead, when "expected" does not say it already.
    wanted: Option<String>,
}

impl Finding {
    pub fn holds(observed: impl Into<String>) -> Self {
        Finding { holds: Some(true), observed: observed.into(), wanted: None }
    }

    pub fn fails(observed: impl Into<String>) -> Self {
        Finding { holds: Some(false), observed: observed.into(), wanted: None }
    }

    pub fn unknown(why: impl Into<String>) -> Self {
        Finding { holds: None, observed: why.into(), wanted: None }
    }

    fn wanted(mut self, wanted: String) -> Self {
        self.wanted = Some(wanted);
        self
    }
}

/// What is gathered about one backup.
pub(super) struct Report {
    findings: Vec<Finding>,
    details: Vec<String>,
    expected: String,
    outcome: Outcome,
}

impl Report {
    pub fn new(newest: &Candidate, expected: String) -> Self {
        let outcome = Outcome::pass("", "")
            .fact("path", newest.path.display().to_string())
            .fact("bytes", newest.size)
            .fact("format", word(&newest.kind))
            .fact("dated", newest.when().to_string());
        Report { findings: Vec::new(), details: Vec::new(), expected, outcome }
    }

    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub fn add_first(&mut self, finding: Finding) {
        self.findings.insert(0, finding);
    }

    pub fn remark(&mut self, line: &str) {
        self.details.push(line.to_owned());
    }

    pub fn fact(&mut self, name: &str, value: u64) {
        self.outcome.facts.insert(name.to_owned(), value.into());
    }

    /// One line for each candidate, and for what was left out.
    pub fn list(&mut self, found: &Found, now: Timestamp) {
        self.fact("candidates", found.candidates.len() as u64);
        for (place, one) in found.candidates.iter().take(LISTED).enumerate() {
            let mark = if place == 0 { "newest: " } else { "" };
            let inside = one.inside.map(|(_, place)| format!(", dated {place}")).unwrap_or_default();
            self.details.push(format!(
                "{mark}{}: {}, {} ({}), {}{inside}",
                one.name,
                old(now, one.when()),
                Size(one.size),
                day(one.when()),
                word(&one.kind)
            ));
        }
        if found.candidates.len() > LISTED {
            self.details.push(format!("and {} older", found.candidates.len() - LISTED));
        }
        self.details.extend(found.ignored.iter().take(LISTED).map(|line| format!("left out: {line}")));
    }

    pub fn outcome(self, place: &str) -> Outcome {
        let verdict = match () {
            () if self.findings.iter().any(|f| f.holds == Some(false)) => Verdict::Fail,
            () if self.findings.iter().any(|f| f.holds.is_none()) => Verdict::Unknown,
            () => Verdict::Pass,
        };
        let said = |which: Option<bool>| {
            let of = self.findings.iter().filter(move |f| f.holds == which && !f.observed.is_empty());
            of.map(|f| f.observed.clone()).collect::<Vec<_>>()
        };
        let mut outcome = self.outcome;
        outcome.verdict = verdict;
        outcome.observed = match verdict {
            Verdict::Pass => said(Some(true)).join(", "),
            Verdict::Fail => said(Some(false)).join("; "),
            Verdict::Unknown => said(None).join("; "),
        };
        let also: Vec<String> = self.findings.iter().filter_map(|f| f.wanted.clone()).collect();
        outcome.expected = [vec![self.expected], also].concat().join(", ");
        if verdict != Verdict::Pass {
            outcome.details.extend(said(Some(true)).into_iter().map(|line| format!("holds: {line}")));
            if verdict == Verdict::Fail {
                outcome.details.extend(said(None).into_iter().map(|line| format!("not known: {line}")));
            }
        }
        outcome.details.extend(self.details);
        let help = match verdict {
            Verdict::Fail => format!("make a new backup now, and find out why the job that fills {place} did not"),
            _ => "make what is not known known: another user, the missing program, a `pattern`, or a new backup".to_owned(),
        };
        outcome.help(help)
    }
}

/// A kind in words.
pub(in crate::check::backups) fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Archive(header) if header.tar => "a pg_dump archive in tar format",
        Kind::Archive(_) => "a pg_dump archive",
        Kind::Directory(_) => "a pg_dump directory",
        Kind::Plain { cluster: false } => "an SQL dump",
        Kind::Plain { cluster: true } => "an SQL dump of a cluster",
        Kind::Packed("gzip") => "packed by gzip",
        Kind::Packed(_) => "a packed file",
        Kind::Base(_) => "a base backup",
        Kind::BaseTar => "a base backup in tar format",
        Kind::Sqlite => "an SQLite file",
        Kind::Broken(_) => "broken",
        Kind::Foreign => "of no known format",
    }
}

fn day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d").to_string()
}

/// `3h 20min old`, `152d old`, `dated 2h ahead`.
fn old(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match u64::try_from(seconds) {
        Ok(seconds @ 172_800..) => format!("{}d old", seconds / 86_400),
        Ok(seconds) => format!("{} old", Span::secs(seconds)),
        Err(_) => format!("dated {} ahead", Span::secs(seconds.unsigned_abs())),
    }
}

/// How old the newest backup is.
pub(super) fn age(newest: &Candidate, now: Timestamp, limit: Span) -> Finding {
    let ahead = |time: Timestamp| time.duration_since(now).as_secs();
    if ahead(newest.modified) > CLOCK_SLACK_S {
        return Finding::unknown(format!(
            "{} has a file time {} from now: a clock is wrong, so its age is not known",
            newest.name,
            Span::secs(ahead(newest.modified).unsigned_abs())
        ));
    }
    if let Some((inside, place)) = newest.inside
        && ahead(inside) > ZONES_S
    {
        return Finding::unknown(format!(
            "{} has the date {} {place}, which is in the future",
            newest.name,
            day(inside)
        ));
    }
    let seconds = now.duration_since(newest.when()).as_secs().max(0).unsigned_abs();
    let observed = format!("newest backup is {} ({})", old(now, newest.when().min(now)), day(newest.when()));
    if seconds <= limit.0.as_secs() { Finding::holds(observed) } else { Finding::fails(observed) }
}

/// The size alone.
pub(super) fn smallest(newest: &Candidate, least: Option<Size>) -> Finding {
    match least {
        Some(least) if newest.size < least.0 => {
            Finding::fails(format!("{} is {}", newest.name, Size(newest.size)))
                .wanted(format!("of at least {least}"))
        }
        _ => Finding::holds(Size(newest.size).to_string()),
    }
}

/// Backups of several things in one directory: the newest of one would hide that another is missing.
pub(super) fn several(found: &Found, chosen: bool) -> Option<Finding> {
    let mut series: Vec<(String, &str)> = Vec::new();
    for one in &found.candidates {
        let key = names::series(&one.name);
        if !series.iter().any(|(known, _)| *known == key) {
            series.push((key, &one.name));
        }
    }
    if chosen || series.len() < 2 {
        return None;
    }
    let names: Vec<&str> = series.iter().take(4).map(|(_, name)| *name).collect();
    let more = if series.len() > 4 { ", …" } else { "" };
    Some(
        Finding::unknown(format!(
            "backups of {} different things ({}{more}): it is not known which one counts",
            series.len(),
            names.join(", ")
        ))
        .wanted("chosen by `pattern`".to_owned()),
    )
}

/// The size against the median of the predecessors.
pub(super) fn against_predecessors(
    found: &Found,
    chosen: bool,
    wanted: u64,
    (low, high): (f64, f64),
    report: &mut Report,
) -> Finding {
    let Some((newest, older)) = found.candidates.split_first() else { return Finding::unknown("no backup") };
    let key = names::series(&newest.name);
    let mut sizes: Vec<u64> = older
        .iter()
        .filter(|one| chosen || names::series(&one.name) == key)
        .filter(|one| !matches!(one.kind, Kind::Broken(_)))
        .map(|one| one.size)
        .take(MOST.max(usize::try_from(wanted).unwrap_or(MOST)))
        .collect();
    let expected = format!("{low} to {high} times as large as its predecessors");
    if (sizes.len() as u64) < wanted || sizes.is_empty() {
        let n = count(sizes.len() as u64, "predecessor", "predecessors");
        return Finding::unknown(format!("only {n} to compare the size with, {wanted} wanted"))
            .wanted(expected);
    }
    sizes.sort_unstable();
    let median = match sizes.len() % 2 {
        1 => sizes[sizes.len() / 2],
        _ => sizes[sizes.len() / 2 - 1].midpoint(sizes[sizes.len() / 2]),
    };
    report.fact("median_of_predecessors", median);
    let ratio = newest.size as f64 / median.max(1) as f64;
    let n = count(sizes.len() as u64, "predecessor", "predecessors");
    let observed = format!("{} is {}, the median of {n} is {}", newest.name, Size(newest.size), Size(median));
    match (low..=high).contains(&ratio) {
        true => Finding::holds(format!("{:.0} % of its predecessors' size", ratio * 100.0)),
        false => Finding::fails(observed),
    }
    .wanted(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backup(name: &str, modified: &str, size: u64) -> Candidate {
        Candidate {
            name: name.to_owned(),
            path: format!("/b/{name}").into(),
            kind: Kind::Plain { cluster: false },
            modified: at(modified),
            size,
            inside: None,
        }
    }

    const NOW: &str = "2021-06-05T12:00:00Z";

    #[test]
    fn an_old_backup_that_was_copied_today_stays_old() {
        let mut copied = backup("x.dump", "2021-06-05T11:00:00Z", 1);
        assert_eq!(age(&copied, at(NOW), Span::secs(86_400)).holds, Some(true));
        copied.inside = Some((at("2021-01-04T12:00:00Z"), "in its header"));
        let finding = age(&copied, at(NOW), Span::secs(86_400));
        assert_eq!(finding, Finding::fails("newest backup is 152d old (2021-01-04)"));
    }

    #[test]
    fn the_future_is_not_known() {
        let limit = Span::secs(86_400);
        assert_eq!(age(&backup("x", "2021-06-05T13:00:00Z", 1), at(NOW), limit).holds, None);
        assert_eq!(
            age(&backup("x", "2021-06-05T12:00:30Z", 1), at(NOW), limit).holds,
            Some(true),
            "clocks differ a little"
        );
        let mut zone = backup("x", "2021-06-05T11:00:00Z", 1);
        zone.inside = Some((at("2021-06-05T20:00:00Z"), "in its header"));
        assert_eq!(age(&zone, at(NOW), limit).holds, Some(true), "dumped in Tokyo");
        zone.inside = Some((at("2021-06-09T20:00:00Z"), "in its header"));
        assert_eq!(age(&zone, at(NOW), limit).holds, None);
    }

    #[test]
    fn a_tiny_backup_among_large_ones_fails() {
        let mut found = Found {
            candidates: (1..=5).map(|i| backup(&format!("s-{i}.dump"), NOW, 100_000_000 + i)).collect(),
            ignored: Vec::new(),
            single: false,
        };
        let mut report = Report::new(&found.candidates[0], String::new());
        let ratio = (0.7, 1.5);
        assert_eq!(against_predecessors(&found, false, 3, ratio, &mut report).holds, Some(true));
        found.candidates[0].size = 1_500;
        let finding = against_predecessors(&found, false, 3, ratio, &mut report);
        assert_eq!(finding.observed, "s-1.dump is 1.46 KiB, the median of 4 predecessors is 95.4 MiB");
        assert_eq!(finding.holds, Some(false));
        found.candidates.truncate(3);
        assert_eq!(against_predecessors(&found, false, 3, ratio, &mut report).holds, None, "two are too few");
    }

    #[test]
    fn several_series_need_a_pattern() {
        let found = Found {
            candidates: vec![
                backup("syn-1.dump", NOW, 1),
                backup("globals-1.sql", NOW, 1),
                backup("syn-2.dump", NOW, 1),
            ],
            ignored: Vec::new(),
            single: false,
        };
        assert_eq!(several(&found, false).map(|f| f.holds), Some(None));
        assert_eq!(several(&found, true), None);
    }
}
