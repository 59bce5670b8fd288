//! A clock that can be put forward, for what takes a day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdpoint::base::Moment;
use holdpoint::world::Clock;
use holdpoint::world::clock::SystemClock;

/// The machine's clocks, some time later.
#[derive(Default)]
pub struct Later(AtomicU64);

impl Later {
    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Later {
    fn now(&self) -> Moment {
        let now = SystemClock.now();
        let later = Duration::from_millis(self.0.load(Ordering::SeqCst));
        Moment { wall: now.wall + later, boot_ms: now.boot_ms + later.as_millis() as u64 }
    }
}
