//! Time, as a port.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::base::Moment;

/// Something that can be asked for the time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Moment;
}

/// How long the machine has been suspended since it started: what the boot clock counts and the monotonic one does not.
pub fn suspended() -> std::time::Duration {
    let read = |id| {
        let time = clock_gettime(id);
        std::time::Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    // In this order, so that the time between the two readings is never taken for suspension.
    let boot = read(ClockId::Boottime);
    boot.saturating_sub(read(ClockId::Monotonic))
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
