//! What runs out on a server, and how fast: pure.

use super::spent::{self, Left, Members, Spent};
use super::{FEWEST, WINDOWS};
use crate::base::Span;
use crate::base::text::count;
use crate::check::history::Series;

/// Something that runs out: how much is left, and how fast it goes.
pub struct Course {
    /// `multixact`, `multixacts`
    pub what: (&'static str, &'static str),
    /// `None` when it cannot be seen.
    pub left: Option<u64>,
    /// A second; the error says why nobody knows, and what helps.
    pub rate: Result<f64, (String, String)>,
}

impl Course {
    /// Until it ends; `None` when nobody knows.
    pub fn seconds(&self) -> Option<f64> {
        let rate = *self.rate.as_ref().ok()?;
        let left = self.left?;
        Some(if rate > 0.0 { left as f64 / rate } else { f64::INFINITY })
    }
}

/// What runs out, transactions first.
pub fn courses(left: &Left, series: &Series<Spent>, history: Span, multixacts: bool) -> Vec<Course> {
    let (looks, reach) = (series.samples.len(), series.reach());
    let again =
        || format!("measure again: it takes {FEWEST} looks over {history}; before a step use xid_age");
    let known = |rate: Option<f64>, looks: usize, reach: Span, word: &str| {
        rate.filter(|_| looks >= FEWEST).ok_or_else(|| {
            let looks = count(looks as u64, "look", "looks");
            (format!("only {looks}{word} over {reach} yet: no rate is known"), again())
        })
    };
    let rate = series.fastest(&WINDOWS, history, |spent| spent.xid() as f64);
    let mut courses = vec![Course {
        what: ("identifier", "identifiers"),
        left: Some(left.xids),
        rate: known(rate, looks, reach, ""),
    }];
    if !multixacts {
        return courses;
    }
    let looked = spent::multixacts(series);
    let rate = looked.fastest(&WINDOWS, history, |next| *next as f64);
    let rate = known(rate, looked.samples.len(), looked.reach(), " at multixacts");
    courses.push(Course { what: ("multixact", "multixacts"), left: Some(left.mxids), rate: rate.clone() });
    let what = ("member of multixacts", "members of multixacts");
    match &left.members {
        Members::Endless => {}
        Members::Left(left) => {
            let rate = rate.and_then(|rate| match spent::members_each(series) {
                _ if rate == 0.0 => Ok(0.0),
                Some(each) => Ok(rate * each),
                None => Err((
                    "multixacts are spent, and no checkpoint between two looks says how many members they have"
                        .to_owned(),
                    "measure again after the next checkpoint".to_owned(),
                )),
            });
            courses.push(Course { what, left: Some(*left), rate });
        }
        // Where no multixact is spent, no member is.
        Members::Hidden(_) if rate.as_ref().is_ok_and(|rate| *rate == 0.0) => {}
        Members::Hidden(why) => {
            let why = format!("multixacts are spent, and the room of their members cannot be seen: {why}");
            let help = "`grant execute on function pg_ls_dir(text)` to the role, or let a superuser measure";
            courses.push(Course { what, left: None, rate: Err((why, help.to_owned())) });
        }
    }
    courses
}
