//! From two sides to a verdict: measures them, compares, looks closer at what differs, and puts it into words.

use std::time::Duration;

use super::compare::{Comparison, Finding, Rules, compare};
use super::cross;
use super::differ;
use super::manifest::Level;
use super::progress::Tally;
use super::side::{self, Ask, Side};
use crate::base::text;
use crate::check::{Context, Outcome, ProofSource};
use crate::world::Identity;

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
    if let Some(source) = across(of, target, cx) {
        if rules.catalogue_only {
            let why = "the catalogues of SQLite and PostgreSQL are not compared with each other";
            return Outcome::unknown(why, wanted(of, rules)).help("compare the contents with `data_matches`");
        }
        return judge_across(purpose, source, of, target, rules, cx).await;
    }
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

fn ask(purpose: &'static str, rules: &Rules) -> Ask {
    let level = match (rules.contents, rules.catalogue_only) {
        (true, true) => Level::Catalogue,
        (true, false) => Level::Contents,
        (false, _) => Level::Rows,
    };
    Ask {
        purpose,
        level,
        databases: rules.databases.clone(),
        tables: rules.tables.clone(),
        except: rules.except.clone(),
        cross: false,
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
    let ask = ask(purpose, rules);
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
                return Err(Stop::Unknown(format!(
                    "`{source}` and `{target}` are not what their targets say"
                )));
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
pub fn both<T, U>(a: Result<T, String>, b: Result<U, String>) -> Result<(T, U), String> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(format!("{a}; {b}")),
        (Err(e), _) | (_, Err(e)) => Err(e),
    }
}

/// The source, when it and the target are of different engines.
fn across<'a>(of: &'a ProofSource, target: &str, cx: &Context) -> Option<cross::Source<'a>> {
    let there = cx.target(target).ok()?;
    match of {
        ProofSource::Target(name) => {
            let here = cx.target(name).ok()?;
            let one_each = here.postgres.is_some() != here.sqlite.is_some()
                && there.postgres.is_some() != there.sqlite.is_some()
                && here.ssh.is_none()
                && there.ssh.is_none();
            (one_each && here.postgres.is_some() != there.postgres.is_some())
                .then_some(cross::Source::Target(name))
        }
        ProofSource::Recorded(name) => {
            let manifest = cx.records.manifest(name).ok()?;
            let was_pg = matches!(manifest.identity, Identity::Postgres(_));
            let other =
                there.ssh.is_none() && if was_pg { there.sqlite.is_some() } else { there.postgres.is_some() };
            other.then(|| cross::Source::Recorded(Box::new(manifest)))
        }
    }
}

/// SQLite beside PostgreSQL.
async fn judge_across(
    purpose: &'static str,
    source: cross::Source<'_>,
    of: &ProofSource,
    target: &str,
    rules: &Rules,
    cx: &Context,
) -> Outcome {
    let wanted = match rules.contents {
        true => format!("the same rows and contents as in {}", label(of)),
        false => wanted(of, rules),
    };
    let recorded = match &source {
        cross::Source::Recorded(manifest) => {
            Some(format!("recorded at {} from {}", manifest.at.wall, manifest.identity.describe()))
        }
        cross::Source::Target(_) => None,
    };
    let ask = ask(purpose, rules);
    let looks = cross::Looks { tables: LOOKS, longest: LOOK };
    let crossed = match cross::measure(source, target, &ask, rules, cx, looks).await {
        Ok(crossed) => crossed,
        Err(why) => {
            return Outcome::unknown(why, wanted).help(
                "make both sides readable and comparable, then measure again; until then nothing is proved",
            );
        }
    };
    let seen = &crossed.seen;
    let outcome = match seen.open.split_first() {
        Some((first, others)) if seen.findings.is_empty() => {
            let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
            let outcome = Outcome::unknown(format!("{first}{more}"), wanted)
                .help(format!("do not remove {}; compare what is still open, then measure again", label(of)));
            seen.open
                .iter()
                .chain(&seen.notes)
                .take(LINES)
                .fold(outcome, |outcome, line| outcome.detail(line))
        }
        _ => words(of, seen, rules, &wanted, Between::Engines),
    };
    let mut outcome = figures(outcome, seen).on(target, crossed.target.clone());
    if let ProofSource::Target(name) = of {
        outcome = outcome.on(name, crossed.source.clone());
    }
    recorded.iter().chain(&crossed.notes).fold(outcome, |outcome, note| outcome.detail(note))
}

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Two of one engine, with their catalogues.
    Alike,
    /// SQLite and PostgreSQL.
    Engines,
}

fn figures(outcome: Outcome, seen: &Comparison) -> Outcome {
    outcome
        .fact("tables", seen.tables)
        .fact("rows_source", seen.source_rows)
        .fact("rows_target", seen.target_rows)
        .fact("differences", seen.findings.len() as u64)
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
            let outcome = words(of, &seen, rules, wanted, Between::Alike);
            match rules.catalogue_only {
                true => outcome.fact("tables", seen.tables).fact("differences", seen.findings.len() as u64),
                false => figures(outcome, &seen),
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

fn words(of: &ProofSource, seen: &Comparison, rules: &Rules, wanted: &str, between: Between) -> Outcome {
    let outcome = match seen.findings.split_first() {
        None => Outcome::pass(passed(seen, rules, between), wanted),
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

fn passed(seen: &Comparison, rules: &Rules, between: Between) -> String {
    let tables = text::count(seen.tables, "table", "tables");
    let rows = text::count(seen.target_rows, "row", "rows");
    let but = match seen.counted_only {
        0 => String::new(),
        n => format!("; of {} only the counts", text::count(n, "table", "tables")),
    };
    match (rules.contents, rules.at_least) {
        (true, _) if rules.catalogue_only => {
            format!("{tables}: all that belongs to them and everything else in the catalogue is equal")
        }
        (true, _) if between == Between::Engines => {
            format!("{tables}, {rows}: counts and contents are equal{but}")
        }
        (true, _) => format!("{tables}, {rows}: counts, contents and catalogue are equal{but}"),
        (false, true) => format!("{tables}, {rows}: none has fewer"),
        (false, false) => format!("{tables}, {rows}: counts are equal"),
    }
}
