//! Waiting for a postcondition: a service that was just started answers some seconds later.
//!
//! It is measured again until it passes or the time is over, and only a pass passes: waiting makes no verdict better than
//! the last measurement. Time is that of the boot clock, so a suspended machine has used it up, too.

use std::time::Duration;

use crate::base::{Moment, Span};
use crate::check::{Evidence, Verdict};
use crate::world::clock::Clock;

/// The pause after the first measurement.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause. What passed longer ago than this, while others were waited for, is measured again.
pub const LONGEST: Duration = Duration::from_secs(15);

/// How long the next pause is.
#[derive(Debug, Clone)]
struct Pauses {
    limit: Duration,
    next: Duration,
}

impl Pauses {
    fn new(limit: Duration) -> Self {
        Pauses { limit, next: FIRST }
    }

    /// The pause until the next measurement, when so much time was waited already; `None` when the time is over. The last
    /// measurement begins when it is over, and not before.
    fn after(&mut self, waited: Duration) -> Option<Duration> {
        let left = self.limit.checked_sub(waited).filter(|left| !left.is_zero())?;
        let pause = self.next.min(left);
        self.next = (self.next * 3 / 2).min(LONGEST);
        Some(pause)
    }
}

/// Measures again and again until it passes, or until the time since `began` is over. What comes back is the last
/// measurement, and says how long it was waited for. `not_yet` is told of each before that, with the time waited.
pub async fn wait<M: Future<Output = Evidence>, S: Future<Output = ()>>(
    limit: Span,
    began: &Moment,
    clock: &dyn Clock,
    sleep: impl Fn(Duration) -> S,
    measure: impl Fn() -> M,
    not_yet: impl Fn(&Evidence, Duration),
) -> Evidence {
    let mut pauses = Pauses::new(limit.0);
    let mut times = 1;
    loop {
        let mut evidence = measure().await;
        let waited = clock.now().since(began);
        let pause = pauses.after(waited).filter(|_| evidence.verdict() != Verdict::Pass);
        let Some(pause) = pause else {
            tell(&mut evidence, waited, times);
            return evidence;
        };
        not_yet(&evidence, waited);
        sleep(pause).await;
        times += 1;
    }
}

/// Puts into the evidence how long it was waited for. What was seen stays in the words of the check when it passes, so
/// that a later measurement of the same is no change.
fn tell(evidence: &mut Evidence, waited: Duration, times: u64) {
    let waited = Span::secs(waited.as_secs());
    let outcome = &mut evidence.outcome;
    if outcome.verdict != Verdict::Pass {
        outcome.observed.push_str(&format!(" (waited {waited})"));
    }
    if times > 1 {
        outcome.details.push(format!("measured {times} times in {waited}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::check::Outcome;

    /// A clock that goes on only where something sleeps or measures.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Moment {
            Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: self.0.load(Ordering::SeqCst) }
        }
    }

    /// Waits for what passes from `passes_at` on, each measurement taking `took`: what came of it, and what was told.
    async fn waited(
        limit: Span,
        passes_at: Option<Span>,
        took: Span,
        other: Verdict,
    ) -> (Evidence, Vec<Duration>) {
        let (clock, told) = (Hand::default(), Mutex::new(Vec::new()));
        let pass = |time: Duration| {
            clock.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
            std::future::ready(())
        };
        let measure = async || {
            pass(took.0).await;
            let up = passes_at.is_some_and(|at| clock.now().boot_ms >= at.0.as_millis() as u64);
            let (verdict, observed) = if up { (Verdict::Pass, "HTTP 200") } else { (other, "refused") };
            let outcome = Outcome { verdict, ..Outcome::unknown(observed, "HTTP 200") };
            let (kind, title) = ("http_answers".to_owned(), "it answers".to_owned());
            Evidence { check: "a.post.b".into(), kind, title, outcome, at: clock.now(), took_ms: 0 }
        };
        let not_yet = |_: &Evidence, waited| told.lock().unwrap().push(waited);
        let began = clock.now();
        let evidence = wait(limit, &began, &clock, pass, measure, not_yet).await;
        (evidence, told.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_passes_in_time_passes_and_says_how_often_it_was_measured() {
        let (minute, none) = (Span::secs(60), Span::secs(0));
        for other in [Verdict::Fail, Verdict::Unknown] {
            let (evidence, told) = waited(minute, Some(Span::secs(8)), none, other).await;
            assert_eq!((evidence.verdict(), evidence.outcome.observed.as_str()), (Verdict::Pass, "HTTP 200"));
            assert_eq!(evidence.outcome.details, ["measured 4 times in 9s"]);
            assert_eq!(told, [0, 2000, 5000].map(Duration::from_millis));
        }
        let (evidence, told) = waited(minute, Some(none), none, Verdict::Fail).await;
        assert_eq!((evidence.outcome.details.len(), told.len()), (0, 0), "it passed at once");
    }

    #[tokio::test]
    async fn what_never_passes_ends_with_the_time_and_says_so() {
        for (other, none) in [(Verdict::Fail, Span::secs(0)), (Verdict::Unknown, Span::secs(0))] {
            let (evidence, told) = waited(Span::secs(60), None, none, other).await;
            assert_eq!(
                (evidence.verdict(), evidence.outcome.observed.as_str()),
                (other, "refused (waited 1min)")
            );
            assert_eq!(evidence.outcome.details, ["measured 9 times in 1min"]);
            assert_eq!(told.len(), 8, "not of the last one, which is on record");
        }
        // One that comes up when the time is over is too late.
        let late = waited(Span::secs(60), Some(Span::secs(61)), Span::secs(0), Verdict::Fail).await.0;
        assert_eq!(late.verdict(), Verdict::Fail);
        // A single measurement that took longer than all of the patience is the only one.
        let (slow, told) = waited(Span::secs(5), None, Span::secs(9), Verdict::Unknown).await;
        assert_eq!((slow.outcome.observed.as_str(), told.len()), ("refused (waited 9s)", 0));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_the_last_one_ends_with_the_time() {
        let mut pauses = Pauses::new(Duration::from_secs(60));
        let (mut waited, mut all) = (Duration::ZERO, Vec::new());
        while let Some(pause) = pauses.after(waited) {
            waited += pause;
            all.push(pause.as_millis());
        }
        assert_eq!(all, [2000, 3000, 4500, 6750, 10125, 15000, 15000, 3625]);
        assert_eq!(waited, Duration::from_secs(60));
        assert_eq!(Pauses::new(Duration::from_secs(1)).after(Duration::ZERO), Some(Duration::from_secs(1)));
    }
}
