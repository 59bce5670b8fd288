//! Measures what the machine asks for: checks, identities, what would go. Everything has a time limit, and what breaks
//! down is unknown: there is always an answer.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;

use super::blast;
use super::event::{Notice, Reporter};
use super::faults::{self, Faults};
use super::machine::{Measured, Number};
use super::patience;
use super::plan::Placed;
use super::scripts;
use crate::base::{Digest, Moment, Span, StepId};
use crate::check::{Context, Evidence, Outcome, Verdict, WAITED, measure};
use crate::journal::record::{Blast, Purpose};
use crate::journal::scripts::Scripts;
use crate::runbook::model::Destroys;
use crate::world::{Identity, identify};

/// The longest that proving one identity takes.
const PROVING: Duration = Duration::from_secs(60);
/// The longest that measuring what would go takes.
const EXTENT: Duration = Duration::from_secs(3600);
/// Name under which the time for measuring what would go is remembered; no check is called so.
const BLAST: &str = "";

/// One request.
#[derive(Clone)]
pub struct Survey {
    /// Its number.
    pub request: Number,
    /// Why.
    pub purpose: Purpose,
    /// For which step.
    pub step: StepId,
    /// The checks.
    pub checks: Vec<Placed>,
    /// Targets whose identity is to be proved.
    pub prove: Vec<String>,
    /// What would go, when that is to be measured.
    pub destroys: Option<Destroys>,
    /// The run's folder, which must not go.
    pub folder: PathBuf,
    /// The scripts that steps call, as they were when the run was opened.
    pub scripts: Scripts,
}

impl Survey {
    /// As it is measured: invariants each for itself, so that a slow one keeps none waiting that protects a disk; all else
    /// together, since it has to hold together.
    pub fn apart(self) -> impl Iterator<Item = Survey> {
        let together = self.purpose != Purpose::Invariant;
        let (checks, alone) =
            if together { (Vec::new(), Some(self.clone())) } else { (self.checks.clone(), None) };
        let one = move |check| Survey { checks: vec![check], ..self.clone() };
        checks.into_iter().map(one).chain(alone)
    }
}

/// How long things took when they were last measured in this session.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<BTreeMap<String, Duration>>>);

impl Pace {
    fn of(&self, name: &str) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or_default()
    }

    fn took(&self, name: &str, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), time);
    }
}

/// Measures all of it side by side. Guards end at about the same time, as far as is known how long each takes: evidence is
/// valid for a minute, and the slowest decides. Identities are proved last, so that they are the newest.
pub async fn survey(
    survey: Survey,
    cx: Context,
    pace: Pace,
    faults: Faults,
    reporter: Arc<dyn Reporter>,
) -> Measured {
    let Survey { request, purpose, step, checks, prove, destroys, folder, scripts } = survey;
    let names = checks.iter().map(|(id, _)| id.as_str()).chain(destroys.iter().map(|_| BLAST));
    let longest = names.map(|name| pace.of(name)).max().unwrap_or_default();
    let head_start = |name: &str| match purpose {
        Purpose::Guard => longest.saturating_sub(pace.of(name)),
        _ => Duration::ZERO,
    };
    let bench = Bench {
        cx: &cx,
        faults: &faults,
        pace: &pace,
        reporter: reporter.as_ref(),
        purpose,
        step: &step,
        began: cx.world.clock.now(),
    };
    let wait = head_start(BLAST);
    let goes = async {
        let destroys = destroys.as_ref()?;
        tokio::time::sleep(wait).await;
        let began = cx.world.clock.now();
        let blast = extent(destroys, &cx, &folder).await;
        pace.took(BLAST, blast.at.since(&began));
        Some(blast)
    };
    let head_starts = checks.iter().map(|(id, _)| head_start(id.as_str())).collect();
    let (evidence, blast) = futures::join!(bench.all(&checks, head_starts), goes);
    let proofs = prove.into_iter().map(|name| async {
        let proof = proof(&name, &cx).await;
        (name, proof)
    });
    let proved = futures::future::join_all(proofs).await.into_iter().collect();
    let runbook_now = match tokio::fs::read(folder.join("runbook.yaml")).await {
        Ok(bytes) => Digest::of(&bytes),
        Err(_) => Digest::from("unreadable"),
    };
    // Nothing is decided about them while work is under way.
    let scripts_now = match purpose {
        Purpose::Invariant => Default::default(),
        _ => scripts::look(scripts).await,
    };
    Measured { request, purpose, step, evidence, proved, blast, runbook_now, scripts_now }
}

/// What measurements of one request share.
struct Bench<'a> {
    cx: &'a Context,
    faults: &'a Faults,
    pace: &'a Pace,
    reporter: &'a dyn Reporter,
    purpose: Purpose,
    step: &'a StepId,
    began: Moment,
}

impl Bench<'_> {
    /// Every check, in the order of the questions. Those that are waited for come first: what depends on a service that
    /// answers is measured when it does, and all of it holds at about the same time.
    async fn all(&self, checks: &[Placed], head_starts: Vec<Duration>) -> Vec<Evidence> {
        let mut seen: Vec<Option<Evidence>> = checks.iter().map(|_| None).collect();
        // Twice, since what passed first may be over by the time that the last one passes.
        for _ in 0..2 {
            let now = self.cx.world.clock.now();
            let over = |e: &Evidence| e.verdict() == Verdict::Pass && now.since(&e.at) > patience::LONGEST;
            let mut waits = Vec::new();
            for ((nth, placed), seen) in checks.iter().enumerate().zip(&seen) {
                if let Some(limit) = self.patience(placed)
                    && seen.as_ref().is_none_or(over)
                {
                    waits.push(self.patiently(nth, placed, limit));
                }
            }
            for (nth, evidence) in measure::side_by_side(waits).await {
                seen.splice(nth..=nth, [Some(evidence)]);
            }
        }
        let mut rest = Vec::new();
        for ((placed, head_start), seen) in checks.iter().zip(head_starts).zip(seen) {
            rest.push(self.unless_seen(placed, head_start, seen));
        }
        measure::side_by_side(rest).await
    }

    async fn unless_seen(&self, placed: &Placed, head_start: Duration, seen: Option<Evidence>) -> Evidence {
        if let Some(evidence) = seen {
            return evidence;
        }
        tokio::time::sleep(head_start).await;
        let evidence = self.once(placed).await;
        self.tell(&evidence);
        evidence
    }

    /// How long a check is waited for. What is made unknown on purpose stays so: nobody waits for it.
    fn patience(&self, (id, spec): &Placed) -> Option<Span> {
        let wait = spec.common.wait_up_to.filter(|_| self.purpose == Purpose::Postcondition);
        wait.filter(|_| !self.faults.makes_unknown(id, self.purpose))
    }

    async fn patiently(&self, nth: usize, placed: &Placed, limit: Span) -> (usize, Evidence) {
        let not_yet = |evidence: &Evidence, waited| {
            let evidence = evidence.clone();
            self.reporter.tell(&Notice::Waiting { evidence, waited, limit: limit.0 });
        };
        let clock = self.cx.world.clock.as_ref();
        let measure = || self.once(placed);
        let evidence = patience::wait(limit, &self.began, clock, tokio::time::sleep, measure, not_yet).await;
        self.tell(&evidence);
        (nth, evidence)
    }

    async fn once(&self, (id, spec): &Placed) -> Evidence {
        let mut evidence = measure::measure(id.clone(), spec, self.cx).await;
        if self.faults.makes_unknown(id, self.purpose) {
            evidence.outcome = Outcome::unknown(faults::UNKNOWN, evidence.outcome.expected);
        }
        // What a person took once, the next measurement does not take again.
        let waited = evidence.outcome.facts.get(WAITED).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let took = Duration::from_millis(evidence.took_ms.saturating_sub(waited));
        self.pace.took(evidence.check.as_str(), took);
        evidence
    }

    fn tell(&self, evidence: &Evidence) {
        let (step, purpose, evidence) = (self.step.clone(), self.purpose, evidence.clone());
        self.reporter.tell(&Notice::Measured { step, purpose, evidence });
    }
}

async fn proof(name: &str, cx: &Context) -> Result<(Identity, Moment), String> {
    let target = cx.target(name)?;
    let proving = AssertUnwindSafe(identify::identity(target)).catch_unwind();
    let identity = match tokio::time::timeout(PROVING, proving).await {
        Ok(Ok(identity)) => identity?,
        Ok(Err(_)) => return Err(BROKEN.to_owned()),
        Err(_) => return Err(format!("no answer within {}", Span(PROVING))),
    };
    Ok((identity, cx.world.clock.now()))
}

const BROKEN: &str = "measuring it broke down (a defect in Holdpoint)";

async fn extent(destroys: &Destroys, cx: &Context, folder: &std::path::Path) -> Blast {
    let measuring = AssertUnwindSafe(blast::measure(destroys, cx, folder)).catch_unwind();
    let why = match tokio::time::timeout(EXTENT, measuring).await {
        Ok(Ok(blast)) => return blast,
        Ok(Err(_)) => BROKEN.to_owned(),
        Err(_) => format!("measuring it took longer than {}", Span(EXTENT)),
    };
    let (items, serving) = (Vec::new(), Vec::new());
    Blast {
        items,
        identity: None,
        serving,
        unmeasured: vec![why],
        gone: Vec::new(),
        at: cx.world.clock.now(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::world::World;
    use crate::world::clock::Clock;

    /// Each look at this clock is 20 s later than the one before.
    #[derive(Default)]
    struct Leaps(AtomicU64);

    impl Clock for Leaps {
        fn now(&self) -> Moment {
            Moment { wall: jiff::Timestamp::now(), boot_ms: self.0.fetch_add(20_000, Ordering::SeqCst) }
        }
    }

    /// While the second file is waited for, it comes and the first one goes; while that is waited for, it comes again.
    struct Weather(std::path::PathBuf, Mutex<Vec<(String, crate::check::Verdict)>>);

    impl Reporter for Weather {
        fn tell(&self, notice: &Notice) {
            match notice {
                Notice::Waiting { evidence, .. } if evidence.check.as_str() == "b" => {
                    std::fs::write(self.0.join("b"), "").unwrap();
                    std::fs::remove_file(self.0.join("a")).unwrap();
                }
                Notice::Waiting { .. } => std::fs::write(self.0.join("a"), "").unwrap(),
                Notice::Measured { evidence, .. } => {
                    self.1.lock().unwrap().push((evidence.check.to_string(), evidence.verdict()));
                }
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn what_passed_long_before_the_last_one_has_to_pass_again_and_the_rest_comes_last() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let check = |id: &str, wait: bool| -> Placed {
            let mut params = json!({ "path": dir.path().join(if id == "c" { "b" } else { id }) });
            if wait {
                params["wait_up_to"] = json!("1h");
            }
            (id.into(), serde_json::from_value(json!({ "file": params })).unwrap())
        };
        let weather = Arc::new(Weather(dir.path().to_owned(), Mutex::default()));
        let request = Survey {
            request: 1,
            purpose: Purpose::Postcondition,
            step: "start".into(),
            checks: vec![check("c", false), check("a", true), check("b", true)],
            prove: Vec::new(),
            destroys: None,
            folder: dir.path().to_owned(),
            scripts: Scripts::default(),
        };
        let cx = Context::local(World { clock: Arc::new(Leaps::default()), ..World::local() });
        let measured = survey(request, cx, Pace::default(), Faults::default(), weather.clone()).await;
        let seen: Vec<_> = measured.evidence.iter().map(|e| (e.check.as_str(), e.verdict())).collect();
        assert_eq!(seen, [("c", Verdict::Pass), ("a", Verdict::Pass), ("b", Verdict::Pass)]);
        let told = weather.1.lock().unwrap().clone();
        let order: Vec<_> = told.iter().map(|(check, _)| check.as_str()).collect();
        assert_eq!((order.first(), order.last()), (Some(&"a"), Some(&"c")), "{told:?}");
        assert_eq!(order.iter().filter(|check| **check == "a").count(), 2, "{told:?}");
        assert!(dir.path().join("a").exists());
    }
}
