//! Forecasts from looks that were made up.

use serde_json::json;

use super::spent::Members;
use super::*;
use crate::check::history::Sample;

const NOON: &str = "2020-05-20T12:00:00Z";

fn of(left: u64, members: Members) -> Left {
    Left { database: "matrix".to_owned(), age: 0, xids: left, mxids: 1 << 31, members }
}

fn asked(params: Value, left: &Left, looks: Vec<(u64, Spent)>) -> Outcome {
    let check: XidTimeToStop = serde_json::from_value(params).unwrap();
    let samples = looks.into_iter().map(|(s, value)| Sample { boot_ms: s * 1000, value }).collect();
    check.judge(left, &Series { samples, trouble: None }, NOON.parse().unwrap(), check.expected())
}

fn judged(params: Value, left: u64, looks: &[(u64, u64)]) -> Outcome {
    let looks = looks.iter().map(|&(s, xid)| (s, Spent::new(xid, 7, 7, Some(20)))).collect();
    asked(params, &of(left, Members::Left(1 << 32)), looks)
}

#[test]
fn multixacts_and_their_members_can_end_first() {
    let looks = |step: u64| -> Vec<(u64, Spent)> {
        (0..3).map(|n| (n * 1800, Spent::new(n, n * step, n * step, Some(n * step * 10)))).collect()
    };
    let plain = || json!({ "target": "db" });
    let roomy = || of(1 << 30, Members::Left(1 << 32));
    assert_eq!(asked(plain(), &roomy(), looks(1800)).verdict, Verdict::Pass);
    // 10 members each, 1000 a second: 4.3 G last five days; the multixacts 24.
    let members = asked(plain(), &roomy(), looks(1_800_000));
    assert_eq!(members.verdict, Verdict::Fail);
    assert!(members.observed.contains("writes are refused in 4d 23h"), "{members:?}");
    assert!(members.observed.contains("10000.0 members of multixacts/s; 4.29 G left"), "{members:?}");
    let unbounded = asked(plain(), &of(1 << 30, Members::Endless), looks(1_800_000));
    assert!(
        unbounded.verdict == Verdict::Fail && unbounded.observed.contains("1000.0 multixacts/s"),
        "{unbounded:?}"
    );
    let hidden = asked(plain(), &of(1 << 30, Members::Hidden("no right".to_owned())), looks(1800));
    assert!(hidden.verdict == Verdict::Unknown && hidden.observed.contains("no right"), "{hidden:?}");
    assert!(hidden.help.as_deref().is_some_and(|help| help.contains("pg_ls_dir")), "{hidden:?}");
    let idle = asked(plain(), &of(1 << 30, Members::Hidden("no right".to_owned())), looks(0));
    assert_eq!(idle.verdict, Verdict::Pass, "none is spent: {idle:?}");
    let left_out = json!({ "target": "db", "multixacts": false });
    assert_eq!(asked(left_out, &roomy(), looks(1_800_000)).verdict, Verdict::Pass);
    let none = Left { mxids: 0, ..roomy() };
    assert!(asked(plain(), &none, looks(0)).observed.starts_with("no multixact is left"));
    // No checkpoint came meanwhile.
    let still = (0..3).map(|n| (n * 1800, Spent::new(n, n * 1800, 5, Some(50)))).collect();
    let still = asked(plain(), &roomy(), still);
    assert!(still.verdict == Verdict::Unknown && still.observed.contains("no checkpoint"), "{still:?}");
}

#[test]
fn looks_of_an_older_program_count_for_transactions_alone() {
    let old: Spent = serde_json::from_value(json!(5)).unwrap();
    let new = |n| Spent::new(n, n, n, Some(n));
    let outcome = asked(
        json!({ "target": "db" }),
        &of(1 << 30, Members::Left(1 << 32)),
        vec![(0, old), (900, new(6)), (1800, new(7))],
    );
    assert_eq!(outcome.verdict, Verdict::Unknown);
    assert!(outcome.observed.starts_with("only 2 looks at multixacts over 15min yet"), "{outcome:?}");
    let kept: Spent = serde_json::from_value(serde_json::to_value(new(7)).unwrap()).unwrap();
    assert_eq!(kept, new(7));
}

/// 100 a second.
const STEADY: [(u64, u64); 3] = [(0, 0), (1800, 180_000), (3600, 360_000)];

#[test]
fn the_plan_of_may_2020_fails() {
    // 28 days at 100/s: the stop comes on 17 June, the cure was planned for 28 June.
    let left = 28 * 86_400 * 100;
    let outcome =
        judged(json!({ "target": "db", "at_least": "7d", "planned_fix": "2020-06-28" }), left, &STEADY);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.observed.contains("before the cure planned for 2020-06-28"), "{outcome:?}");
    assert!(outcome.observed.contains("on 2020-06-17"), "{outcome:?}");
    let in_time =
        judged(json!({ "target": "db", "at_least": "7d", "planned_fix": "2020-06-15" }), left, &STEADY);
    assert_eq!(in_time.verdict, Verdict::Pass, "{in_time:?}");
    let too_short = judged(json!({ "target": "db" }), left, &STEADY);
    assert_eq!(too_short.verdict, Verdict::Fail);
    let over = judged(json!({ "target": "db", "planned_fix": "2020-05-19" }), 1 << 30, &STEADY);
    assert!(over.verdict == Verdict::Fail && over.observed.contains("is over"), "{over:?}");
    let today = judged(json!({ "target": "db", "planned_fix": "2020-05-20" }), 1 << 30, &STEADY);
    assert_eq!(today.verdict, Verdict::Pass, "{today:?}");
}

#[test]
fn no_rate_is_no_pass() {
    let plain = || json!({ "target": "db" });
    assert_eq!(judged(plain(), 1 << 30, &[(0, 5)]).verdict, Verdict::Unknown);
    assert_eq!(judged(plain(), 1 << 30, &[(0, 5), (3600, 5)]).verdict, Verdict::Unknown, "two looks");
    assert_eq!(judged(plain(), 1 << 30, &[(0, 5), (9, 5), (99, 5)]).verdict, Verdict::Unknown, "too short");
    assert_eq!(judged(plain(), 0, &[(0, 5)]).verdict, Verdict::Fail, "it has stopped already");
    let idle = judged(plain(), 1 << 30, &[(0, 5), (900, 5), (1800, 5)]);
    assert!(idle.verdict == Verdict::Pass && idle.observed.contains("no transaction"), "{idle:?}");
}

#[test]
fn a_day_must_be_one() {
    for wrong in [json!("soon"), json!("2020-13-01"), json!(20200628)] {
        let params = json!({ "target": "db", "planned_fix": wrong });
        assert!(build(params.as_object().cloned().unwrap()).is_err());
    }
}
