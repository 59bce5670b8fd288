//! Time, as a port.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::base::Moment;

/// Something that can be asked for the time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Moment;
}

/// The machine's clocks: CLOCK_REALTIME and CLOCK_BOOTTIME, which counts suspension and cannot be set.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let boot = clock_gettime(ClockId::Boottime);
        let boot_ms = boot.tv_sec.unsigned_abs() * 1000 + boot.tv_nsec.unsigned_abs() / 1_000_000;
        Moment { wall: Timestamp::now(), boot_ms }
    }
}
