//! Sequences of PostgreSQL beside the columns that they feed: SQLite has none, or only AUTOINCREMENT.

use super::count::Count;
use super::form::Form;
use super::plan::{Half, Plan, Two};
use crate::base::text;
use crate::check::data::compare::{Class, Comparison, Finding, is_called};
use crate::check::data::manifest::Sequence;

/// A column that gets its values from a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The sequence's own name.
    pub sequence: String,
    /// The table's name in lower case.
    pub table: String,
    /// The column's name in lower case.
    pub column: String,
    /// The values are the sequence's with a minus sign.
    pub down: bool,
}

/// Which columns feed on which sequence: what the server knows, and what the runbook says. An error says which of its
/// names is nothing here.
pub fn feeds(two: &Two<'_>) -> Result<Vec<Feed>, String> {
    let mut feeds = Vec::new();
    for (sequence, table, column) in &two.pg.fed {
        if let Some((table, _)) = two.pg.of(table) {
            feeds.push(Feed {
                sequence: sequence.clone(),
                table: table.clone(),
                column: column.to_lowercase(),
                down: false,
            });
        }
    }
    for (wanted, columns) in &two.rules.sequences {
        let known = two.pg.sequences.keys().find(|name| is_called(&two.pg.db, name, wanted));
        let Some(sequence) = known else {
            return Err(format!("`sequences` names `{wanted}`, which database {} does not have", two.pg.db));
        };
        for place in columns {
            let (down, rest) = match place.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, place.as_str()),
            };
            let found = rest.rsplit_once('.').and_then(|(table, column)| {
                let keys = two.pg.tables.iter();
                let (key, table) = keys.into_iter().find(|(_, t)| is_called(&two.pg.db, &t.name, table))?;
                let column = column.to_lowercase();
                let form = table.columns.get(&column)?.form?;
                Some((key, column, form))
            });
            let Some((table, column, form)) = found else {
                return Err(format!("`sequences` names `{place}`, which is no column here"));
            };
            if !matches!(form, Form::Int2 | Form::Int4 | Form::Int8) {
                return Err(format!("`sequences` names `{place}`, which holds no whole numbers"));
            }
            feeds.push(Feed { sequence: sequence.clone(), table: table.clone(), column, down });
        }
    }
    Ok(feeds)
}

/// What was read of both sides.
pub struct Read<'a> {
    /// The plans.
    pub plans: &'a [Plan],
    /// PostgreSQL's counts, in their order.
    pub pg: &'a [Option<Count>],
    /// SQLite's.
    pub lite: &'a [Option<Count>],
}

impl Read<'_> {
    /// The furthest value that a column has got from a sequence on each side: PostgreSQL's, SQLite's. `None` when the
    /// column was not read.
    fn furthest(&self, feed: &Feed) -> Option<(Option<i128>, Option<i128>)> {
        let at = self.plans.iter().position(|plan| plan.key == feed.table)?;
        let column = self.plans[at].fed.iter().position(|fed| fed.key == feed.column)?;
        let of = |counts: &[Option<Count>]| {
            let (low, high) = *counts.get(at)?.as_ref()?.bounds.get(&column)?;
            Some(if feed.down { -i128::from(low) } else { i128::from(high) })
        };
        Some((of(self.pg), of(self.lite)))
    }
}

/// The row number that SQLite's AUTOINCREMENT has given last, when the column is the one that gets it.
fn autoincrement(lite: &Half, feed: &Feed) -> Option<i128> {
    let table = lite.tables.get(&feed.table)?;
    let own = !feed.down && table.key == [feed.column.clone()];
    own.then(|| lite.sequences.get(&table.name).map(|s| i128::from(s.last_value)))?
}

/// Judges the sequences.
pub fn judge(two: &Two<'_>, feeds: &[Feed], read: &Read<'_>, pg_is_target: bool, seen: &mut Comparison) {
    let mut unknown = Vec::new();
    for (name, sequence) in &two.pg.sequences {
        let of: Vec<&Feed> = feeds.iter().filter(|feed| feed.sequence == *name).collect();
        if !two.rules.tables.is_empty() && !of.iter().any(|feed| two.covers(&feed.table)) {
            continue;
        }
        let full = two.pg.full(name);
        let excepted = two.rules.excepted(&two.pg.db, name);
        if of.is_empty() {
            match pg_is_target {
                false => unknown.push(full),
                true => match excepted {
                    Some((at, except)) => {
                        seen.used.insert(at);
                        seen.notes
                            .push(format!("excepted ({}): sequence {full} not compared", except.reason));
                    }
                    None => unknown.push(full),
                },
            }
            continue;
        }
        for feed in of {
            let finding = match pg_is_target {
                true => behind(two, feed, sequence, read, seen),
                false => ahead(two, feed, sequence, read, seen),
            };
            if let Some(finding) = finding {
                seen.found(excepted, finding);
            }
        }
    }
    let names = unknown.join(", ");
    if pg_is_target && let Some(first) = unknown.first() {
        let sequences = match unknown.len() {
            1 => format!("sequence {names}"),
            n => format!("{n} sequences: {names}"),
        };
        seen.findings.push(
            Finding::new(Class::Sequence, 0, first)
                .saw(format!("it is not known which columns feed on {sequences}"))
                .wanted("their columns under `sequences`, and each past their values"),
        );
    } else if !unknown.is_empty() {
        seen.notes.push(format!("SQLite has no sequences; not compared: {names}"));
    }
}

fn number(n: i128) -> String {
    let digits = text::thousands(u64::try_from(n.unsigned_abs()).unwrap_or(u64::MAX));
    if n < 0 { format!("-{digits}") } else { digits }
}

/// PostgreSQL's sequence must be past every value in the column, on both sides.
fn behind(
    two: &Two<'_>,
    feed: &Feed,
    sequence: &Sequence,
    read: &Read<'_>,
    seen: &mut Comparison,
) -> Option<Finding> {
    let full = two.pg.full(&feed.sequence);
    let column = format!("{}.{}", feed.table, feed.column);
    let Some((pg, lite)) = read.furthest(feed) else {
        seen.open
            .push(format!("sequence {full} could not be compared: {column}, which it feeds, was not read"));
        return None;
    };
    if sequence.cycles {
        return None;
    }
    let used = [pg, lite, autoincrement(two.lite, feed)].into_iter().flatten();
    let next = sequence.next();
    let (furthest, again) = if sequence.increment < 0 {
        let furthest = used.min()?;
        (furthest, next >= furthest)
    } else {
        let furthest = used.max()?;
        (furthest, next <= furthest)
    };
    again.then(|| {
        Finding::new(Class::Sequence, 1, &full)
            .saw(format!("sequence {full} is behind: it gives {} next", number(next)))
            .wanted(format!("a number past {}, which {column} has got already", number(furthest)))
    })
}

/// SQLite must not give numbers again that PostgreSQL's sequence has given. Only AUTOINCREMENT can remember them.
fn ahead(
    two: &Two<'_>,
    feed: &Feed,
    sequence: &Sequence,
    read: &Read<'_>,
    seen: &mut Comparison,
) -> Option<Finding> {
    let table = two.lite.tables.get(&feed.table)?;
    let full = two.lite.full(&table.name);
    if sequence.increment < 0 || sequence.cycles || feed.down {
        let name = two.pg.full(&feed.sequence);
        seen.notes.push(format!("sequence {name} has nothing like it in SQLite; not compared"));
        return None;
    }
    let (_, lite) = read.furthest(feed)?;
    let last = autoincrement(two.lite, feed);
    let next = last.into_iter().chain(lite).max().unwrap_or(0) + 1;
    if next >= sequence.next() {
        return None;
    }
    let gives = format!("{full} gives {} next for {}", number(next), feed.column);
    let wanted = format!("{} or further, as sequence {} would", number(sequence.next()), feed.sequence);
    if last.is_none() {
        seen.notes.push(format!("{gives}, not {wanted}: without AUTOINCREMENT it forgets what was deleted"));
        return None;
    }
    Some(Finding::new(Class::Sequence, 1, &full).saw(gives).wanted(wanted))
}
