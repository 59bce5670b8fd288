//! How far a comparison is: one tally for both sides, in bytes of tables read.
//!
//! The total is told only once all sides have said what they expect, so that it never grows afterwards. It may shrink:
//! the size of a database is known before the sizes of its tables are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::check::context::{Context, Progress};

/// Counts bytes done of bytes expected, and tells whoever watches.
#[derive(Clone)]
pub struct Tally {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
    silent: Arc<AtomicU64>,
    tell: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Tally {
    /// Starts at zero.
    pub fn new(cx: &Context) -> Self {
        Tally {
            done: Arc::default(),
            total: Arc::default(),
            silent: Arc::new(AtomicU64::new(1)),
            tell: Arc::clone(&cx.progress),
        }
    }

    /// So many sides will say what they expect; one unless this is called.
    pub fn sides(self, sides: u64) -> Self {
        self.silent.store(sides, Ordering::Relaxed);
        self
    }

    /// One side expects to read so many bytes.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        let _ = self.silent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }

    /// So many bytes need not be read after all.
    pub fn forget(&self, bytes: u64) {
        let less = |total: u64| Some(total.saturating_sub(bytes));
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Replaces an estimate by what it comes to, which is not more.
    pub fn settle(&self, estimate: u64, bytes: u64) {
        self.forget(estimate.saturating_sub(bytes));
    }

    /// A table is about to be read.
    pub fn begin(&self, what: &str) {
        self.say(format!("reading {what}"), self.done.load(Ordering::Relaxed));
    }

    /// A table is done.
    pub fn done(&self, what: &str, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.say(format!("read {what}"), done);
    }

    fn say(&self, what: String, done: u64) {
        let known = self.silent.load(Ordering::Relaxed) == 0;
        let total = known.then(|| self.total.load(Ordering::Relaxed).max(done));
        (self.tell)(Progress { what, done, total, unit: "B" });
    }
}
