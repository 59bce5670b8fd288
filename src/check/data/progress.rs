//! How far a comparison is: one tally for both sides, in bytes of tables read.
//!
//! The total is told only once all sides have said what they expect, so that it does not grow afterwards, unless a database
//! has to be read anew because its tables did not hold still. It may shrink:
//! the size of a database is known before the sizes of its tables are. What is done never shrinks, and never exceeds the
//! total: a table counts as a whole only when it was read to its end, whatever was guessed on the way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::check::context::{Context, Progress};

/// The shortest time between two reports. The last one of all is never held back.
const PAUSE: Duration = Duration::from_millis(300);

/// Rows that pass here are reported after so many bytes of them.
const STEP: u64 = 4 << 20;

/// Counts bytes done of bytes expected, and tells whoever watches.
#[derive(Clone)]
pub struct Tally {
    state: Arc<Mutex<State>>,
    tell: Arc<dyn Fn(Progress) + Send + Sync>,
}

struct State {
    done: u64,
    total: u64,
    /// Sides that have not said yet what they expect.
    silent: u64,
    spoke: Option<Instant>,
    all: bool,
}

impl Tally {
    /// Starts at zero.
    pub fn new(cx: &Context) -> Self {
        let state = State { done: 0, total: 0, silent: 1, spoke: None, all: false };
        Tally { state: Arc::new(Mutex::new(state)), tell: Arc::clone(&cx.progress) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So many sides will say what they expect; one unless this is called.
    pub fn sides(self, sides: u64) -> Self {
        self.with(|state| state.silent = sides);
        self
    }

    /// One side expects to read so many bytes.
    pub fn expect(&self, bytes: u64) {
        self.with(|state| {
            state.total = state.total.saturating_add(bytes);
            state.silent = state.silent.saturating_sub(1);
        });
    }

    /// So many bytes need not be read after all.
    pub fn forget(&self, bytes: u64) {
        self.with(|state| state.total = state.total.saturating_sub(bytes));
    }

    /// So many bytes are read once more, from the beginning.
    pub fn again(&self, bytes: u64) {
        self.with(|state| state.total = state.total.saturating_add(bytes));
    }

    /// Replaces an estimate by what it comes to, which is not more.
    pub fn settle(&self, estimate: u64, bytes: u64) {
        self.forget(estimate.saturating_sub(bytes));
    }

    /// A table of so many bytes is about to be read.
    pub fn begin(&self, what: &str, bytes: u64) -> Part {
        let part =
            Part { tally: self.clone(), what: what.to_owned(), bytes, counted: 0, ahead: 0, read: false };
        part.say("reading");
        part
    }
}

/// One piece of the work: a table, or a file.
pub struct Part {
    tally: Tally,
    what: String,
    bytes: u64,
    counted: u64,
    ahead: u64,
    read: bool,
}

impl Part {
    /// Goes on with another table of the same piece.
    pub fn turn_to(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.say("reading");
    }

    /// So many bytes of it have been read, as far as can be seen. Never all of them before [`Part::done`], and never
    /// fewer than before; also said when nothing moved, so that nobody takes silence for progress.
    pub fn reached(&mut self, bytes: u64) {
        self.count(bytes.min(self.bytes.saturating_sub(1)));
        self.say("reading");
    }

    /// It is being read, and how far cannot be seen; also said, so that a long table does not look like one that hangs.
    pub fn unseen(&self) {
        match self.counted {
            0 if self.bytes > 0 => self.say_of("reading", ", which counts when it is done"),
            _ => self.say("reading"),
        }
    }

    /// So many bytes more have passed: cheap enough for every row.
    pub fn passed(&mut self, bytes: u64) {
        self.ahead += bytes;
        if self.ahead >= STEP {
            let all = self.counted.saturating_add(std::mem::take(&mut self.ahead));
            self.reached(all);
        }
    }

    /// It was read to its end.
    pub fn done(mut self) {
        self.read = true;
        self.count(self.bytes);
        self.say("read");
    }

    fn count(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.counted);
        self.counted += more;
        self.tally.with(|state| state.done = state.done.saturating_add(more));
    }

    fn say(&self, doing: &str) {
        self.say_of(doing, "");
    }

    fn say_of(&self, doing: &str, more: &str) {
        // Told while the figures stand still: two sides that speak at once must not be heard in the wrong order.
        self.tally.with(|state| {
            let total = (state.silent == 0).then(|| state.total.max(state.done));
            let all = total == Some(state.done);
            let soon = state.spoke.is_some_and(|spoke| spoke.elapsed() < PAUSE);
            if soon && (!all || state.all) {
                return;
            }
            (state.spoke, state.all) = (Some(Instant::now()), all);
            let what = format!("{doing} {}{more}", self.what);
            (self.tally.tell)(Progress { what, done: state.done, total, unit: "B" });
        });
    }
}

/// What was not read to its end is not waited for any more.
impl Drop for Part {
    fn drop(&mut self) {
        if !self.read {
            self.tally.forget(self.bytes - self.counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    type Heard = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

    fn heard() -> (Tally, Heard) {
        let heard: Heard = Arc::default();
        let here = Arc::clone(&heard);
        let mut cx = Context::local(World::local());
        cx.progress = Arc::new(move |p| here.lock().unwrap().push((p.done, p.total)));
        (Tally::new(&cx), heard)
    }

    #[test]
    fn a_guess_counts_for_less_than_the_table_until_it_is_done() {
        let (tally, heard) = heard();
        tally.expect(1000);
        let mut part = tally.begin("t", 600);
        for guess in [100, 50, 599, 5000] {
            part.reached(guess);
        }
        assert_eq!(tally.with(|state| state.done), 599);
        part.done();
        tally.begin("u", 400).done();
        tally.begin("empty", 0).done();
        let heard = heard.lock().unwrap();
        assert_eq!(*heard, [(0, Some(1000)), (1000, Some(1000))], "no more often than that, and the end");
    }

    #[test]
    fn the_total_is_told_when_both_sides_have_said_theirs() {
        let (tally, heard) = heard();
        let tally = tally.sides(2);
        tally.expect(10);
        let part = tally.begin("t", 10);
        tally.expect(20);
        tally.settle(20, 5);
        part.done();
        tally.begin("u", 5).done();
        assert_eq!(*heard.lock().unwrap(), [(0, None), (15, Some(15))]);
    }
}
