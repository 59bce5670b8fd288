//! Many things wrong at once, and what a permit needs in plain words.

use proptest::prelude::*;

use super::wrong::WRONG;
use super::*;

proptest! {
    /// Whatever is wrong, alone or together: a permit is made exactly when nothing is, and everything is said at once.
    #[test]
    fn a_permit_is_made_exactly_when_nothing_is_wrong(picked in prop::collection::btree_set(0..WRONG.len(), 0..5)) {
        let mut facts = facts();
        // Two that undo each other's ground say nothing about either.
        let removes = [
            "not measured",
            "nothing would go",
            "it was not there, and then it was",
            "the other way destroys nothing",
            "waived, and not measured",
        ];
        let structural = |n: &usize| matches!(WRONG[*n].0, "survivors" | "guards" | "copy" | "approval") || removes.contains(&WRONG[*n].1);
        let picked: Vec<usize> = picked.into_iter().filter(|n| !structural(n)).collect();
        let mut done = Vec::new();
        for n in picked {
            // Spoil what is still whole: a later one must not repair an earlier one.
            if done.iter().all(|m: &usize| WRONG[*m].0 != WRONG[n].0) {
                let before = facts.clone();
                (WRONG[n].2)(&mut facts);
                let kept = done.iter().all(|m| {
                    let subject = WRONG[*m].0;
                    facts.ask(clear).err().is_some_and(|b| b.iter().any(|b| b.subject == subject))
                });
                if kept { done.push(n) } else { facts = before }
            }
        }
        match facts.ask(clear) {
            Ok(_) => prop_assert!(done.is_empty(), "{done:?}"),
            Err(blockers) => {
                prop_assert!(!done.is_empty());
                for n in done {
                    prop_assert!(blockers.iter().any(|b| b.subject == WRONG[n].0), "{} is not said", WRONG[n].1);
                }
            }
        }
    }

    /// The oracle: in plain words what a permit needs, over numbers that vary freely.
    #[test]
    fn the_gate_agrees_with_an_oracle(
        verdicts in prop::collection::vec(0..3u8, 2), ages in prop::collection::vec(0..120_000u64, 4),
        epoch in 0..NOW, jump in prop::sample::select(vec![0i64, 0, 4_000, 6_000, -6_000]),
        now_rows in 0..20u64, shown_rows in 0..20u64, typed in 0..3u8, restart in any::<bool>(),
        second in (0..20u64, 100_000..400_000u64, 0..4usize, 0..4u8),
    ) {
        let mut facts = facts();
        let (approved_rows, until, who, waived) = second;
        facts.approved(|content| content.blast.items[1].rows = Some(approved_rows));
        facts.term().until = moment(until).wall;
        facts.given().person = Person::named(["bob", "dave", "Alice@x", "carol example"][who]);
        let waives = waived == 0;
        if waives {
            facts.guards[1].waivable = true;
            facts.waivers = vec![waiver("drop.pre.backup", "bob@h")];
            facts.approved(|content| content.waived = vec!["drop.pre.backup".into()]);
        }
        let verdict = |n: u8| [Verdict::Pass, Verdict::Fail, Verdict::Unknown][usize::from(n)];
        for (n, id) in ["copy.post.same", "drop.pre.backup"].into_iter().enumerate() {
            facts.seen(id).outcome.verdict = verdict(verdicts[n]);
            facts.seen(id).at = moment(NOW - ages[n]);
        }
        for proved in facts.proved.values_mut() {
            proved.1 = moment(NOW - ages[2]);
        }
        if restart {
            facts.proved("new", |pg| pg.server_start = "later".to_owned());
            facts.proved.get_mut("new").unwrap().1 = moment(NOW - ages[2]);
        }
        facts.blast.at = moment(NOW - ages[3]);
        facts.epoch_began = moment(epoch);
        facts.now.wall = Timestamp::from_millisecond(facts.now.wall.as_millisecond() + jump).unwrap();
        facts.blast.items[1].rows = Some(now_rows);
        facts.confirmed.as_mut().unwrap().blast.items[1].rows = Some(shown_rows);
        match typed {
            0 => {}
            1 => facts.confirmed.as_mut().unwrap().text.push(' '),
            _ => facts.confirmed = None,
        }
        let due = verdicts[0] == 0
            && (verdicts[1] == 0 || (waives && verdicts[1] == 1))
            && now_rows <= approved_rows
            && until > NOW
            && until as i64 > NOW as i64 + jump
            && who < 2
            && ages.iter().all(|age| *age <= 60_000 && NOW - age >= epoch)
            && jump.abs() <= 5_000
            && !restart
            && typed == 0
            && now_rows <= shown_rows;
        prop_assert_eq!(facts.ask(clear).is_ok(), due);
    }
}
