//! From two sides to a verdict: measures them, compares, looks closer at what differs, and puts it into words.

use std::time::Duration;

use super::compare::{Comparison, Finding, Rules, compare};
use super::differ;
use super::manifest::Level;
use super::progress::Tally;
use super::side::{self, Ask, Side};
use crate::base::text;
use crate::check::{Context, Outcome, ProofSource};

/// Lines of differences that are kept.
const LINES: usize = 50;

/// Tables that are looked at row by row.
const LOOKS: usize = 5;

/// The longest such a look takes; the verdict does not depend on it.
const LOOK: Duration = Duration::from_secs(600);

/// Measures both sides and judges.
pub async fn reach(
    purpose: &'static str,
    of: &ProofSource,
    target: &str,
    rules: &Rules,
    cx: &Context,
) -> Outcome {
    let wanted = wanted(of, rules);
    match sides(purpose, of, target, rules, cx).await {
        Err(Stop::Unknown(why)) => Outcome::unknown(why, wanted)
            .help("make both sides readable, then measure again; until then nothing is proved"),
        Err(Stop::OneObject(what)) => Outcome::fail(what, "two different objects, one a copy of the other")
            .help("correct the addresses of the targets: what is compared with itself proves nothing"),
        Ok((was, is)) => judge(of, target, &was, &is, rules, &wanted).await,
    }
}

fn label(of: &ProofSource) -> String {
    match of {
        ProofSource::Target(name) => format!("`{name}`"),
        ProofSource::Recorded(name) => format!("the record `{name}`"),
    }
}

fn wanted(of: &ProofSource, rules: &Rules) -> String {
    let label = label(of);
    match (rules.contents, rules.at_least) {
        (true, _) if rules.catalogue_only => format!("the same catalogue as in {label}"),
        (true, _) => format!("the same rows, contents and catalogue as in {label}"),
        (false, true) => format!("in every table at least as many rows as in {label}"),
        (false, false) => format!("in every table as many rows as in {label}"),
    }
}

enum Stop {
    Unknown(String),
    OneObject(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Stop::Unknown(why)
    }
}

async fn sides(
    purpose: &'static str,
    of: &ProofSource,
    target: &str,
    rules: &Rules,
    cx: &Context,
) -> Result<(Side, Side), Stop> {
    let level = match (rules.contents, rules.catalogue_only) {
        (true, true) => Level::Catalogue,
        (true, false) => Level::Contents,
        (false, _) => Level::Rows,
    };
    let ask = Ask { purpose, level, databases: rules.databases.clone(), tables: rules.tables.clone() };
    let tally = Tally::new(cx);
    let there = cx.target(target)?;
    match of {
        ProofSource::Recorded(name) => {
            let was = side::recorded(name, cx)?;
            let is = side::of(target, there, &ask, cx, &tally).await?;
            Ok((was, is))
        }
        ProofSource::Target(source) => {
            let (a, b) = futures::future::join(side::identify(source, cx), side::identify(target, cx)).await;
            let (a, b) = both(a, b)?;
            if a.same_object(&b) {
                return Err(Stop::OneObject(format!("`{source}` and `{target}` are one: {}", b.describe())));
            }
            if a.word() != b.word() {
                return Err(Stop::Unknown("cannot compare PostgreSQL with SQLite yet".to_owned()));
            }
            let here = cx.target(source)?;
            let tally = tally.sides(2);
            let measured = futures::future::join(
                side::of(source, here, &ask, cx, &tally),
                side::of(target, there, &ask, cx, &tally),
            );
            let (was, is) = measured.await;
            let (was, is) = both(was, is)?;
            if was.manifest.identity.same_object(&is.manifest.identity) {
                return Err(Stop::OneObject(format!("`{source}` and `{target}` are one by now")));
            }
            Ok((was, is))
        }
    }
}

/// Both, or all that stood in the way.
fn both<T>(a: Result<T, String>, b: Result<T, String>) -> Result<(T, T), String> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(format!("{a}; {b}")),
        (Err(e), _) | (_, Err(e)) => Err(e),
    }
}

async fn judge(
    of: &ProofSource,
    target: &str,
    was: &Side,
    is: &Side,
    rules: &Rules,
    wanted: &str,
) -> Outcome {
    let outcome = match compare(&was.manifest, &is.manifest, rules) {
        Err(why) => Outcome::unknown(why, wanted).help("check that the targets are the right ones"),
        Ok(mut seen) => {
            if rules.contents && !rules.catalogue_only {
                closer(&mut seen, was, is).await;
            }
            let outcome = words(of, &seen, rules, wanted)
                .fact("tables", seen.tables)
                .fact("differences", seen.findings.len() as u64);
            match rules.catalogue_only {
                true => outcome,
                false => outcome.fact("rows_source", seen.source_rows).fact("rows_target", seen.target_rows),
            }
        }
    };
    let mut outcome = outcome.on(target, is.manifest.identity.clone());
    if let ProofSource::Target(name) = of {
        outcome = outcome.on(name, was.manifest.identity.clone());
    } else {
        outcome = outcome.detail(format!(
            "recorded at {} from {}",
            was.manifest.at.wall,
            was.manifest.identity.describe()
        ));
    }
    was.manifest.notes.iter().chain(&is.manifest.notes).fold(outcome, |outcome, note| outcome.detail(note))
}

/// Finds out which rows differ, table by table, where both sides are there to be asked.
async fn closer(seen: &mut Comparison, was: &Side, is: &Side) {
    let (Some(here), Some(there)) = (&was.reader, &is.reader) else { return };
    let worth = seen.findings.iter_mut().filter(|finding| finding.rows_of.is_some()).take(LOOKS);
    for finding in worth {
        let Some((db, table)) = &finding.rows_of else { continue };
        let relation =
            |side: &Side| side.manifest.databases.get(db).and_then(|d| d.relations.get(table)).cloned();
        let (Some(a), Some(b)) = (relation(was), relation(is)) else { continue };
        if a.rows == Some(0) || b.rows == Some(0) {
            continue;
        }
        let look = differ::look(db, table, (here, &a), (there, &b));
        finding.more = match tokio::time::timeout(LOOK, look).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(why)) => vec![format!("which rows differ is not known: {why}")],
            Err(_) => vec!["which rows differ is not known: it took too long".to_owned()],
        };
    }
}

fn words(of: &ProofSource, seen: &Comparison, rules: &Rules, wanted: &str) -> Outcome {
    let outcome = match seen.findings.split_first() {
        None => Outcome::pass(passed(seen, rules), wanted),
        Some((worst, others)) => {
            let more = match others.len() {
                0 => String::new(),
                n => format!(", and {} more", text::thousands(n as u64)),
            };
            let rows = worst.more.first().map(|line| format!(": {line}")).unwrap_or_default();
            Outcome::fail(
                format!("{}{rows}{more}", worst.observed),
                format!("{}, as in {}", worst.expected, label(of)),
            )
            .help(format!(
                "do not remove {}; find out why they differ, copy again, then measure again",
                label(of)
            ))
        }
    };
    let lines = seen.findings.iter().flat_map(|f: &Finding| {
        std::iter::once(f.line()).chain(f.more.iter().map(|line| format!("  {line}")))
    });
    let mut outcome = lines.take(LINES).fold(outcome, |outcome, line| outcome.detail(line));
    let all: usize = seen.findings.iter().map(|f| 1 + f.more.len()).sum();
    if all > LINES {
        outcome = outcome.detail(format!("{} more lines of differences are not shown", all - LINES));
    }
    seen.notes.iter().take(LINES).fold(outcome, |outcome, note| outcome.detail(note))
}

fn passed(seen: &Comparison, rules: &Rules) -> String {
    let tables = text::count(seen.tables, "table", "tables");
    let rows = text::count(seen.target_rows, "row", "rows");
    match (rules.contents, rules.at_least) {
        (true, _) if rules.catalogue_only => {
            format!("{tables}: all that belongs to them and everything else in the catalogue is equal")
        }
        (true, _) => format!("{tables}, {rows}: counts, contents and catalogue are equal"),
        (false, true) => format!("{tables}, {rows}: none has fewer"),
        (false, false) => format!("{tables}, {rows}: counts are equal"),
    }
}
