//! How far a comparison is: one tally for both sides, in bytes of tables read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::check::context::{Context, Progress};

/// Counts bytes done of bytes expected, and tells whoever watches.
#[derive(Clone)]
pub struct Tally {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
    tell: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Tally {
    /// Starts at zero.
    pub fn new(cx: &Context) -> Self {
        Tally { done: Arc::default(), total: Arc::default(), tell: Arc::clone(&cx.progress) }
    }

    /// So many bytes more are to be read.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes need not be read after all.
    pub fn forget(&self, bytes: u64) {
        let less = |total: u64| Some(total.saturating_sub(bytes));
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Replaces an estimate by what it came to.
    pub fn settle(&self, estimate: u64, bytes: u64) {
        self.expect(bytes);
        self.forget(estimate);
    }

    /// A table is done.
    pub fn done(&self, what: &str, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = self.total.load(Ordering::Relaxed).max(done);
        (self.tell)(Progress { what: format!("read {what}"), done, total: Some(total), unit: "B" });
    }
}
