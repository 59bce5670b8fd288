//! Adds up the room that steps take and give back on one file system. Pure; no disk is asked here.
//!
//! A step takes its room from its beginning on, and keeps it until the step named by `until` has ended; what it frees is
//! there again once it has ended itself. An amount that is not known is never zero: from the step that takes it until it
//! is given back, what is used is at least the sum of the rest, and nobody says that it fits.

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It takes room until this step (by position) has ended; `None`: for good.
    Takes(Option<usize>),
    /// It gives room back once it has ended.
    Frees,
}

/// One entry of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The step's position.
    pub step: usize,
    /// What is taken or given back, in a few words.
    pub what: String,
    /// Which of the two.
    pub change: Change,
    /// Bytes, or why nobody knows.
    pub bytes: Result<u64, String>,
}

/// A step at which something changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The step's position.
    pub step: usize,
    /// What it takes.
    pub taken: Vec<Claim>,
    /// What is there again after it: its own, and what lasted until it.
    pub given: Vec<Claim>,
    /// Bytes in use by the run while it works, as far as they are known; less than nothing when more was freed than taken.
    pub used: i128,
    /// False when something in use, or given back before, is not known.
    pub known: bool,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// It fits at every step.
    Yes,
    /// At this step (by position) it runs out, for certain.
    No(usize),
    /// What is known fits; something is not known, from this step on.
    Unknown(usize),
}

/// The whole run on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Steps at which something changes, in order.
    pub rows: Vec<Row>,
    /// The row with the most in use, the first of several; `None` without any.
    pub peak: Option<usize>,
    /// What comes of it.
    pub fits: Fits,
}

/// Adds up the claims of one file system with so many bytes available.
pub fn add_up(available: u64, claims: &[Claim]) -> Sum {
    let ends = |claim: &Claim| match claim.change {
        Change::Takes(until) => until,
        Change::Frees => Some(claim.step),
    };
    let mut steps: Vec<usize> =
        claims.iter().flat_map(|claim| [Some(claim.step), ends(claim)]).flatten().collect();
    steps.sort_unstable();
    steps.dedup();
    let (mut rows, mut fits) = (Vec::new(), Fits::Yes);
    // Once an amount is given back that nobody knows, there is no least use any more.
    let mut adrift = false;
    for step in steps {
        let taken: Vec<Claim> = claims.iter().filter(|claim| claim.step == step).cloned().collect();
        let given: Vec<Claim> = claims.iter().filter(|claim| ends(claim) == Some(step)).cloned().collect();
        let (mut used, mut known) = (0_i128, !adrift);
        for claim in claims {
            let sign = match claim.change {
                Change::Takes(until) if claim.step <= step && until.is_none_or(|until| step <= until) => 1,
                Change::Frees if claim.step < step => -1,
                _ => continue,
            };
            match claim.bytes {
                Ok(bytes) => used += sign * i128::from(bytes),
                Err(_) => known = false,
            }
        }
        fits = match fits {
            Fits::No(at) => Fits::No(at),
            _ if !adrift && used > i128::from(available) => Fits::No(step),
            Fits::Yes if !known => Fits::Unknown(step),
            fits => fits,
        };
        adrift |= given.iter().any(|claim| claim.change == Change::Frees && claim.bytes.is_err());
        let taken = taken.into_iter().filter(|claim| claim.change != Change::Frees).collect();
        rows.push(Row { step, taken, given, used, known });
    }
    let most = rows.iter().map(|row| row.used).max();
    let peak = rows.iter().position(|row| Some(row.used) == most);
    Sum { rows, peak, fits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(step: usize, change: Change, bytes: Option<u64>) -> Claim {
        let bytes = bytes.ok_or_else(|| "the server is gone".to_owned());
        Claim { step, what: "x".to_owned(), change, bytes }
    }

    fn takes(step: usize, bytes: u64) -> Claim {
        claim(step, Change::Takes(None), Some(bytes))
    }

    fn used(sum: &Sum) -> Vec<(usize, i128)> {
        sum.rows.iter().map(|row| (row.step, row.used)).collect()
    }

    #[test]
    fn the_peak_and_the_step_at_which_it_runs_out() {
        let claims =
            [takes(1, 10), takes(3, 20), takes(4, 5), claim(6, Change::Frees, Some(25)), takes(7, 3)];
        let sum = add_up(29, &claims);
        assert_eq!(used(&sum), [(1, 10), (3, 30), (4, 35), (6, 35), (7, 13)]);
        assert_eq!(
            (sum.fits, sum.peak),
            (Fits::No(3), Some(2)),
            "the first step, and the first of the highest"
        );
        assert_eq!(add_up(34, &claims).fits, Fits::No(4));
        assert_eq!(add_up(35, &claims).fits, Fits::Yes, "to the last byte");
    }

    #[test]
    fn room_is_held_through_the_step_that_ends_it() {
        let claims = [claim(1, Change::Takes(Some(2)), Some(10)), takes(2, 10), takes(3, 10)];
        assert_eq!(used(&add_up(20, &claims)), [(1, 10), (2, 20), (3, 20)]);
        let own = [claim(1, Change::Takes(Some(1)), Some(10)), takes(2, 10)];
        assert_eq!(add_up(10, &own).fits, Fits::Yes, "temporary files are gone before the next step");
        assert_eq!(add_up(10, &own).rows[0].given.len(), 1);
    }

    #[test]
    fn what_a_step_frees_is_there_for_the_next_one_only() {
        let same = [claim(1, Change::Frees, Some(10)), takes(1, 12)];
        assert_eq!(add_up(11, &same).fits, Fits::No(1));
        let next = [claim(1, Change::Frees, Some(10)), takes(2, 12)];
        assert_eq!(used(&add_up(2, &next)), [(1, 0), (2, 2)]);
        assert_eq!(add_up(2, &next).fits, Fits::Yes);
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        let unknown = |step, until| claim(step, Change::Takes(until), None);
        assert_eq!(add_up(100, &[unknown(2, None), takes(3, 1)]).fits, Fits::Unknown(2));
        assert_eq!(add_up(100, &[unknown(2, None), takes(3, 101)]).fits, Fits::No(3), "whatever the rest is");
        let over = add_up(100, &[unknown(1, Some(1)), takes(2, 100)]);
        assert_eq!((over.rows[0].known, over.rows[1].known, over.fits), (false, true, Fits::Unknown(1)));
        let freed = [claim(1, Change::Frees, None), takes(2, 101)];
        assert_eq!(add_up(100, &freed).fits, Fits::Unknown(2), "who knows what was freed");
        assert!(add_up(100, &freed).rows[0].known, "while it works nothing is free yet");
    }

    #[test]
    fn nothing_changes_nothing() {
        let sum = add_up(0, &[]);
        assert_eq!((sum.rows.len(), sum.peak, sum.fits), (0, None, Fits::Yes));
    }
}
