//! Which rows differ, when a table does: both sides hash their rows into buckets by key, and only the rows of a few
//! differing buckets are looked at. Costs two more scans a side, whatever the size of the table: one for the buckets, one
//! for the rows of those that were picked. Memory is bounded by [`MOST_ROWS`] and the number of buckets.

use std::collections::BTreeMap;

use super::manifest::Relation;
use super::side::Reader;
use crate::base::text;

/// At most so many rows of a table are fetched for a closer look, and only their keys and hashes.
pub const MOST_ROWS: usize = 50_000;

/// At most so many keys are named.
const KEYS: usize = 5;

/// At most so many buckets are looked into.
const LOOK_INTO: usize = 8;

/// Count and sum of hashes in one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Rows in it.
    pub rows: u64,
    /// Sum of their hashes.
    pub sum: String,
}

/// A row by its key and its hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyed {
    /// `event_id=123`; empty in a table without a key.
    pub key: String,
    /// Hash of the whole row.
    pub hash: String,
}

/// How many buckets a table of so many rows is split into: some two thousand rows each.
fn buckets_for(rows: u64) -> u32 {
    let wanted = (rows / 2000).clamp(64, 65_536) as u32;
    wanted.next_power_of_two()
}

/// One side of a table: who reads it, and what it is.
pub type Half<'a> = (&'a Reader, &'a Relation);

/// What differs, one a line. An error says why nothing more can be said.
pub async fn look(db: &str, table: &str, source: Half<'_>, target: Half<'_>) -> Result<Vec<String>, String> {
    let (a, b) = (source.1, target.1);
    if a.columns.keys().ne(b.columns.keys()) || a.key != b.key {
        return Err("its columns or its key differ".to_owned());
    }
    let n = buckets_for(a.rows.unwrap_or(0).max(b.rows.unwrap_or(0)));
    let (was, is) = futures::try_join!(source.0.buckets(db, table, a, n), target.0.buckets(db, table, b, n))?;
    let differing: Vec<u32> = differing(&was, &is);
    if differing.is_empty() {
        return Err("looked at again, the rows are the same".to_owned());
    }
    let these = picked(&differing, &was, &is);
    drop((was, is));
    let (was, is) =
        futures::try_join!(source.0.rows(db, table, a, n, &these), target.0.rows(db, table, b, n, &these))?;
    Ok(words(&was, &is, differing.len().saturating_sub(these.len())))
}

fn differing(was: &BTreeMap<u32, Bucket>, is: &BTreeMap<u32, Bucket>) -> Vec<u32> {
    let mut numbers: Vec<u32> = was.keys().chain(is.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.retain(|n| was.get(n) != is.get(n));
    numbers
}

/// The buckets to look into: a few, and no more than will be fetched, as a large table has large ones.
fn picked(differing: &[u32], was: &BTreeMap<u32, Bucket>, is: &BTreeMap<u32, Bucket>) -> Vec<u32> {
    let rows =
        |n: &u32| [was, is].into_iter().filter_map(|side| side.get(n)).map(|b| b.rows).max().unwrap_or(0);
    let mut sum = 0u64;
    let fits = |n: &&u32| {
        sum = sum.saturating_add(rows(n));
        sum <= MOST_ROWS as u64
    };
    let few: Vec<u32> = differing.iter().take(LOOK_INTO).take_while(fits).copied().collect();
    if few.is_empty() { differing.iter().min_by_key(|n| rows(n)).copied().into_iter().collect() } else { few }
}

/// Says what differs between the rows of the buckets that were looked into; `more` others differ as well.
fn words(was: &[Keyed], is: &[Keyed], more: usize) -> Vec<String> {
    let mut balance: BTreeMap<&Keyed, i64> = BTreeMap::new();
    for row in was {
        *balance.entry(row).or_default() += 1;
    }
    for row in is {
        *balance.entry(row).or_default() -= 1;
    }
    let mut keys: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (row, n) in balance.iter().filter(|(_, n)| **n != 0) {
        let sides = keys.entry(row.key.as_str()).or_default();
        if *n > 0 { sides.0 += n.unsigned_abs() } else { sides.1 += n.unsigned_abs() }
    }
    let least = if more > 0 { "at least " } else { "" };
    let mut lines = Vec::new();
    let mut say = |named: Vec<&str>, rows: u64, one: &str, many: &str| {
        if rows > 0 {
            let shown =
                named.iter().take(KEYS).copied().filter(|k| !k.is_empty()).collect::<Vec<_>>().join("; ");
            let rest = named.len().saturating_sub(KEYS);
            let tail = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            let colon = if shown.is_empty() { "" } else { ": " };
            let verb = if rows == 1 { one } else { many };
            lines.push(format!("{least}{} {verb}{colon}{shown}{tail}", text::count(rows, "row", "rows")));
        }
    };
    let keyed = |want: fn(&(u64, u64)) -> bool| -> Vec<&str> {
        keys.iter().filter(|(key, sides)| !key.is_empty() && want(sides)).map(|(key, _)| *key).collect()
    };
    let changed = keyed(|s| s.0 > 0 && s.1 > 0);
    let lost = keyed(|s| s.1 == 0);
    let extra = keyed(|s| s.0 == 0);
    let (n_changed, n_lost, n_extra) = (changed.len() as u64, lost.len() as u64, extra.len() as u64);
    say(changed, n_changed, "differs", "differ");
    say(lost, n_lost, "is missing", "are missing");
    say(extra, n_extra, "is extra", "are extra");
    if let Some((only_was, only_is)) = keys.get("") {
        say(
            Vec::new(),
            *only_was,
            "is only in the source (no key to name it by)",
            "are only in the source (no key to name them by)",
        );
        say(
            Vec::new(),
            *only_is,
            "is only in the target (no key to name it by)",
            "are only in the target (no key to name them by)",
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Vec<Keyed> {
        rows.iter().map(|(key, hash)| Keyed { key: (*key).into(), hash: (*hash).into() }).collect()
    }

    #[test]
    fn says_what_happened_to_which_row() {
        let was = rows(&[("id=1", "a"), ("id=2", "b"), ("id=3", "c")]);
        let is = rows(&[("id=1", "a"), ("id=2", "x"), ("id=4", "d")]);
        assert_eq!(
            words(&was, &is, 0),
            ["1 row differs: id=2", "1 row is missing: id=3", "1 row is extra: id=4"]
        );
        let many: Vec<Keyed> =
            (0..9).map(|i| Keyed { key: format!("id={i}"), hash: String::new() }).collect();
        assert_eq!(
            words(&many, &[], 3),
            ["at least 9 rows are missing: id=0; id=1; id=2; id=3; id=4 and 4 more"]
        );
    }

    #[test]
    fn duplicates_count_in_a_table_without_a_key() {
        let lines = words(&rows(&[("", "a")]), &rows(&[("", "a"), ("", "a")]), 0);
        assert_eq!(lines, ["1 row is only in the target (no key to name it by)"]);
    }

    #[test]
    fn no_more_is_picked_than_will_be_fetched() {
        let side = |sizes: &[u64]| -> BTreeMap<u32, Bucket> {
            let bucket = |rows: &u64| Bucket { rows: *rows, sum: String::new() };
            sizes.iter().enumerate().map(|(n, rows)| (n as u32, bucket(rows))).collect()
        };
        let all: Vec<u32> = (0..20).collect();
        assert_eq!(picked(&all, &side(&[2000; 20]), &side(&[])).len(), LOOK_INTO);
        assert_eq!(picked(&all, &side(&[20_000; 20]), &side(&[1; 20])), [0, 1]);
        assert_eq!(picked(&[0, 1], &side(&[90_000, 60_000]), &side(&[])), [1], "at least one is tried");
    }

    #[test]
    fn buckets_are_powers_of_two_within_bounds() {
        assert_eq!(buckets_for(0), 64);
        assert_eq!(buckets_for(5_000_000), 4096);
        assert_eq!(buckets_for(u64::MAX), 65_536);
    }
}
