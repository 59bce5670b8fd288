use std::sync::Arc;

use super::*;
use crate::base::Moment;
use crate::world::World;
use crate::world::clock::Clock;

const KEEP: Keep = Keep { reach: Span::secs(3600), closest: Span::millis(500), most: 100 };

fn series(values: &[(u64, u64)]) -> Series<u64> {
    let samples = values.iter().map(|&(s, value)| Sample { boot_ms: s * 1000, value }).collect();
    Series { samples, trouble: None }
}

struct At(std::sync::atomic::AtomicU64);

impl Clock for At {
    fn now(&self) -> Moment {
        Moment {
            wall: jiff::Timestamp::UNIX_EPOCH,
            boot_ms: self.0.load(std::sync::atomic::Ordering::SeqCst),
        }
    }
}

fn context() -> (Context, Arc<At>, tempfile::TempDir) {
    let clock = Arc::new(At(1_000_000.into()));
    let dir = tempfile::tempdir().unwrap();
    let world = World { clock: clock.clone(), ..World::local() };
    let cx = Context { samples: Some(dir.path().join("samples")), ..Context::local(world) };
    (cx, clock, dir)
}

#[test]
fn says_for_how_long_and_since_when() {
    let seen = series(&[(0, 1), (60, 0), (120, 1), (600, 1)]);
    assert_eq!(seen.held_for(|v| *v == 1), Some(Span::secs(480)));
    assert_eq!(seen.held_for(|v| *v == 0), None);
    assert_eq!(seen.last_seen(|v| *v == 0), Some(Span::secs(540)));
    assert_eq!(seen.before(Span::secs(481)).map(|s| s.boot_ms), Some(60_000));
    assert_eq!(seen.reach(), Span::secs(600));
    assert_eq!(series(&[(5, 1)]).held_for(|v| *v == 1), Some(Span::secs(0)));
}

#[test]
fn the_fastest_rate_counts_and_too_short_a_time_gives_none() {
    let seen = series(&[(0, 0), (1000, 10), (1100, 1010)]);
    let rate = |windows: &[Span], shortest| seen.fastest(windows, Span::secs(shortest), |v| *v as f64);
    assert_eq!(rate(&[Span::secs(100)], 60), Some(10.0));
    assert_eq!(rate(&[], 60), Some(1010.0 / 1100.0));
    assert_eq!(rate(&[Span::secs(100)], 2000), None);
    assert_eq!(series(&[(0, 9), (100, 4)]).fastest(&[], Span::secs(1), |v| *v as f64), Some(0.0));
}

#[test]
fn a_series_is_bounded_and_keeps_its_reach() {
    let mut samples = Vec::new();
    let at = |s: u64| Sample { boot_ms: s * 1000, value: Value::from(s) };
    (0..3600).for_each(|s| push(&mut samples, at(s), KEEP));
    assert!(samples.len() <= 100, "{}", samples.len());
    assert_eq!(samples.first().map(|s| s.boot_ms), Some(0));
    push(&mut samples, at(7300), KEEP);
    assert_eq!(samples.len(), 2, "one sample beyond the reach stays");
    (0..50).for_each(|_| push(&mut samples, at(7300), KEEP));
    assert!(samples.len() <= 3, "a crowd counts once: {}", samples.len());
    push(&mut samples, at(10), KEEP);
    assert_eq!(samples.len(), 1, "samples from the future are damage");
}

#[tokio::test]
async fn it_outlives_the_process_and_a_torn_file() {
    let (cx, clock, _dir) = context();
    for nth in 1..=3_u64 {
        clock.0.fetch_add(10_000, std::sync::atomic::Ordering::SeqCst);
        let seen = add(&cx, "kind a b", nth, KEEP).await;
        assert_eq!((seen.samples.len() as u64, seen.trouble), (nth, None));
    }
    assert_eq!(add(&cx, "kind a c", 1_u64, KEEP).await.samples.len(), 1, "another server");
    let longer = Keep { reach: Span::secs(7200), ..KEEP };
    assert_eq!(add(&cx, "kind a b", 1_u64, longer).await.samples.len(), 1, "one that looks back farther");
    let folder = cx.samples.clone().unwrap();
    let path = folder.join(file_name("kind a b 3600000"));
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    clock.0.fetch_add(10_000, std::sync::atomic::Ordering::SeqCst);
    let seen = add(&cx, "kind a b", 4_u64, KEEP).await;
    assert_eq!(seen.samples.len(), 1);
    assert!(seen.trouble.unwrap().contains("begins anew"));
    std::fs::write(&path, whole.replace(&host::boot_id(), "another-boot")).unwrap();
    assert_eq!(add(&cx, "kind a b", 5_u64, KEEP).await.samples.len(), 1, "ages do not cross a reboot");
    assert_eq!(
        add(&cx, "kind a b", "other type".to_owned(), KEEP).await.samples.len(),
        1,
        "what another version wrote was not seen"
    );
}

#[tokio::test]
async fn it_goes_on_in_memory_when_the_folder_fails() {
    let (mut cx, clock, _dir) = context();
    cx.samples = Some("/proc/no/such/folder".into());
    for nth in 1..=2_u64 {
        clock.0.fetch_add(10_000, std::sync::atomic::Ordering::SeqCst);
        let seen = add(&cx, "kind in memory", nth, KEEP).await;
        assert_eq!(seen.samples.len() as u64, nth);
        assert!(seen.trouble.unwrap().contains("could not be kept"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_lose_nothing() {
    let (cx, clock, _dir) = context();
    let one = |nth: u64| {
        let (cx, clock) = (cx.clone(), clock.clone());
        tokio::spawn(async move {
            clock.0.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
            add(&cx, "kind crowd", nth, KEEP).await.trouble
        })
    };
    for task in (0..30).map(one).collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), None);
    }
    clock.0.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    // Those that read the clock at one instant count once, so a few of the 30 may have met.
    let seen = add(&cx, "kind crowd", 99_u64, KEEP).await.samples.len();
    assert!(seen > 2, "{seen}");
    let all: Vec<u64> = add(&cx, "kind crowd", 99_u64, KEEP).await.samples.iter().map(|s| s.value).collect();
    assert_eq!(all.last(), Some(&99));
}
