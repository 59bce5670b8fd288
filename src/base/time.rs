//! One reading of the clocks. Ages come from the boot clock, which nobody can set and which counts suspension; the wall
//! clock is for people, and a jump of it voids freshness.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far wall and boot clock may drift apart between two readings before the wall clock is said to have jumped.
/// NTP slews at 500 ppm: five seconds would take it almost three hours.
pub const WALL_JUMP: Duration = Duration::from_secs(5);

/// A reading of the wall clock and of the boot clock at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall clock, UTC. For people; never for ages.
    pub wall: Timestamp,
    /// Milliseconds of CLOCK_BOOTTIME. Comparable only within one boot of one machine.
    pub boot_ms: u64,
}

impl Moment {
    /// Time from `earlier` to `self` by the boot clock; zero when `earlier` is not earlier.
    pub fn since(&self, earlier: &Moment) -> Duration {
        Duration::from_millis(self.boot_ms.saturating_sub(earlier.boot_ms))
    }

    /// True when the wall clock did not advance as the boot clock did, or the boot clock went backwards (another boot).
    pub fn jumped_since(&self, earlier: &Moment) -> bool {
        if self.boot_ms < earlier.boot_ms {
            return true;
        }
        let wall = self.wall.as_millisecond() - earlier.wall.as_millisecond();
        let boot = (self.boot_ms - earlier.boot_ms) as i64;
        (wall - boot).unsigned_abs() > WALL_JUMP.as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: i64, boot_ms: u64) -> Moment {
        Moment { wall: Timestamp::from_millisecond(wall_ms).unwrap_or_default(), boot_ms }
    }

    #[test]
    fn ages_by_the_boot_clock_and_sees_jumps() {
        let start = at(1_000_000, 5_000);
        assert_eq!(at(1_060_000, 65_000).since(&start), Duration::from_secs(60));
        assert!(!at(1_060_000, 65_000).jumped_since(&start));
        assert!(at(1_600_000, 65_000).jumped_since(&start), "nine minutes forward");
        assert!(at(900_000, 65_000).jumped_since(&start), "backwards");
        assert!(at(1_060_000, 4_000).jumped_since(&start), "another boot");
    }
}
