//! How far a sequence has come: pure.

use crate::base::text::thousands;
use crate::check::params::Percent;
use crate::check::sequences::Standing;
use crate::check::survey::{Findings, cell};

/// A column that must hold the values of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `public.t.id`
    pub name: String,
    /// Its type, as people write it.
    pub type_: String,
    /// The largest value that it holds.
    pub holds: i128,
}

impl Column {
    /// From table and column, and from type and largest value; `None` when the type sets no end.
    pub fn read(name: &[Option<String>], type_: &[Option<String>]) -> Option<Column> {
        Some(Column {
            name: format!("{}.{}", cell(name, 0), cell(name, 1)),
            type_: cell(type_, 0).to_owned(),
            holds: cell(type_, 1).parse().ok()?,
        })
    }
}

/// A sequence on its way.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its database.
    pub database: String,
    /// `schema.name`
    pub sequence: String,
    /// Where it stands.
    pub standing: Standing,
    /// MINVALUE.
    pub smallest: i64,
    /// MAXVALUE.
    pub largest: i64,
    /// START.
    pub start: i64,
    /// What its values are put into.
    pub columns: Vec<Column>,
}

impl Run {
    /// As if it ascended: the way of a descending sequence in a mirror.
    fn sign(&self) -> i128 {
        if self.standing.step < 0 { -1 } else { 1 }
    }

    fn own_end(&self) -> i128 {
        self.sign() * i128::from(if self.standing.step < 0 { self.smallest } else { self.largest })
    }

    /// The column that ends before the sequence does, if one does.
    fn narrowest(&self) -> Option<&Column> {
        let narrow = self.columns.iter().filter(|column| column.holds < self.own_end());
        narrow.min_by_key(|column| column.holds)
    }

    fn end(&self) -> i128 {
        self.narrowest().map_or_else(|| self.own_end(), |column| column.holds)
    }

    /// It begins again before any column is full.
    fn harmless(&self) -> bool {
        self.standing.cycles && self.narrowest().is_none()
    }

    /// Its next value cannot be had, or not be held.
    fn ended(&self) -> bool {
        self.sign() * self.standing.next() > self.end()
    }

    /// The part that is used up.
    pub fn percent(&self) -> f64 {
        let sign = self.sign();
        let near = sign * i128::from(if sign < 0 { self.largest } else { self.smallest });
        // One that starts below zero goes the whole way; of any other, what lies below zero is not for use.
        let floor = if sign * i128::from(self.start) < 0 { near } else { near.max(0) };
        let given = sign * (self.standing.next() - i128::from(self.standing.step));
        let (way, done) = (self.end() - floor, given - floor);
        if self.ended() || way <= 0 {
            return 100.0;
        }
        // Rounded down, so that what is not at its end never looks like it.
        ((done.max(0) as f64 / way as f64) * 1000.0).floor().min(999.0) / 10.0
    }

    /// `app.public.t_id_seq is 93.1 % used up (2,000,000,000 of 2,147,483,647, the end of public.t.id, an integer)`
    pub fn standing(&self) -> String {
        let name = format!("{}.{}", self.database, self.sequence);
        let end = match self.narrowest() {
            None if self.standing.step < 0 => "its own MINVALUE".to_owned(),
            None => "its own MAXVALUE".to_owned(),
            Some(column) => format!("the end of {} ({})", column.name, column.type_),
        };
        let (last, limit) = (signed(i128::from(self.standing.last)), signed(self.sign() * self.end()));
        match self.ended() {
            true => format!("sequence {name} is at its end: it stands at {last}, and {limit} is {end}"),
            false => {
                format!("sequence {name} is {:.1} % used up: {last} of {limit}, {end}", self.percent())
            }
        }
    }
}

fn signed(number: i128) -> String {
    let digits = thousands(u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX));
    if number < 0 { format!("-{digits}") } else { digits }
}

/// Sorts the sequences into what fails and what is told; the one that has come furthest.
pub fn sort<'a>(
    runs: &'a [Run],
    at_most: Percent,
    excepted: impl Fn(&Run) -> Option<&'a str>,
    findings: &mut Findings,
) -> Option<&'a Run> {
    let mut fullest: Option<&Run> = None;
    let mut failed: Vec<&Run> = Vec::new();
    for run in runs {
        if run.harmless() {
            findings.notes.push(format!(
                "sequence {}.{} starts again at its end and was not judged",
                run.database, run.sequence
            ));
            continue;
        }
        if let Some(reason) = excepted(run) {
            findings.notes.push(format!("excepted ({reason}): {}", run.standing()));
            continue;
        }
        findings.looked += 1;
        if fullest.is_none_or(|other| other.percent() < run.percent()) {
            fullest = Some(run);
        }
        if run.percent() > at_most.0 {
            failed.push(run);
        }
    }
    failed.sort_by(|a, b| b.percent().total_cmp(&a.percent()));
    findings.failed.extend(failed.into_iter().map(Run::standing));
    fullest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(last: i64, step: i64, (smallest, largest, start): (i64, i64, i64), holds: &[i128]) -> Run {
        let column = |&holds| Column { name: "public.t.id".to_owned(), type_: "integer".to_owned(), holds };
        Run {
            database: "app".to_owned(),
            sequence: "public.s".to_owned(),
            standing: Standing { last, called: true, step, cycles: false },
            smallest,
            largest,
            start,
            columns: holds.iter().map(column).collect(),
        }
    }

    const BIG: (i64, i64, i64) = (1, i64::MAX, 1);
    const INT: i128 = 2_147_483_647;

    #[test]
    fn what_ends_first_counts() {
        let it = run(2_000_000_000, 1, BIG, &[i128::from(i64::MAX), INT]);
        assert_eq!(it.percent(), 93.1);
        assert!(it.standing().ends_with("2,000,000,000 of 2,147,483,647, the end of public.t.id (integer)"));
        let alone = run(2_000_000_000, 1, BIG, &[]);
        assert_eq!((alone.percent(), alone.narrowest()), (0.0, None));
        assert!(run(INT as i64, 1, BIG, &[INT]).ended());
        assert!(!run(INT as i64 - 1, 1, BIG, &[INT]).ended());
        assert_eq!(run(i64::MAX, 1, BIG, &[]).percent(), 100.0, "no overflow");
        assert_eq!(run(INT as i64 - 1, 1, BIG, &[INT]).percent(), 99.9, "not yet");
        // Steps of ten: the next one is over the end.
        assert!(run(95, 10, (1, 100, 5), &[]).ended());
    }

    #[test]
    fn the_way_begins_at_zero_or_at_a_bound() {
        assert_eq!(run(-1_610_612_737, -1, (i64::MIN, -1, -1), &[INT]).percent(), 75.0);
        assert!(run(i64::MIN, -1, (i64::MIN, -1, -1), &[]).ended());
        // From the far side of zero upwards, to have twice as many.
        let low = (-2_147_483_648, 2_147_483_647, -2_147_483_648);
        assert_eq!(run(0, 1, low, &[]).percent(), 50.0);
        // A range that happens to reach below zero, and is used from 1 on.
        assert_eq!(run(5, 1, (i64::MIN, 100, 1), &[]).percent(), 5.0);
        // It starts high: what is left is what counts.
        assert_eq!(run(90, 1, (1, 100, 90), &[]).percent(), 89.8);
        let unused = Run {
            standing: Standing { called: false, ..run(1, 1, BIG, &[]).standing },
            ..run(1, 1, BIG, &[])
        };
        assert_eq!(unused.percent(), 0.0);
    }

    #[test]
    fn one_that_cycles_is_judged_only_by_a_narrower_column() {
        let cycles = |holds: &[i128]| {
            let it = run(99, 1, (1, 100, 1), holds);
            Run { standing: Standing { cycles: true, ..it.standing }, ..it }
        };
        let judged = |it: &[Run]| {
            let mut findings = Findings::default();
            sort(it, Percent(75.0), |_| None, &mut findings);
            findings
        };
        assert_eq!(judged(&[cycles(&[INT])]).failed.len(), 0);
        assert_eq!(judged(&[cycles(&[INT])]).notes.len(), 1);
        assert_eq!(judged(&[cycles(&[99])]).failed.len(), 1);
    }
}
