//! Every screen at 80 columns without colour, to be read by a person when it changes; at 40 and 20 columns, and with hostile
//! text in every place, only what must hold.

use crate::base::StepId;
use crate::check::Verdict;
use crate::engine::event::Question;
use crate::engine::forecast::{Change, Claim};
use crate::engine::room::Volume;
use crate::engine::state::RunState;
use crate::journal::Line;
use crate::journal::record::{Decision, Event};
use crate::report::room::room;
use crate::report::standing::{Around, RunRow, standing};
use crate::report::{log, plan};
use crate::ui::fixture::{
    EVIL, at, blast, blocker, evidence, failed_lines, hostile_evidence, lines, opened, runbook, safe,
    snapshot,
};
use crate::ui::{Style, ask, briefing, status};
use crate::world::files::Space;

fn questions() -> Vec<(&'static str, Question)> {
    let step = |id: &str| StepId::from(id);
    vec![
        ("environment", Question::Environment { name: "production".into() }),
        ("begin", Question::Begin { step: step("copy") }),
        ("begin-destructive", Question::Begin { step: step("drop-old") }),
        (
            "manual",
            Question::Manual { step: step("copy"), observe: Some("How many users are signed in?".into()) },
        ),
        (
            "confirm",
            Question::Confirm {
                step: step("drop-old"),
                undo: None,
                text: "cluster 13/main".into(),
                blast: blast(),
                horizon: "There is no way back past `drop-old`: it destroys.".into(),
            },
        ),
        (
            "held",
            Question::Held {
                step: step("drop-old"),
                undo: false,
                blockers: vec![
                    blocker("0 rows in events"),
                    crate::journal::record::Blocker {
                        subject: "serving".into(),
                        title: "What would go is not in use".into(),
                        observed: "12 client sessions".into(),
                        expected: "nothing uses it".into(),
                        next: "stop what uses it, or correct the target".into(),
                    },
                ],
            },
        ),
        (
            "failed",
            Question::Failed {
                step: step("copy"),
                why: "exit status 1".into(),
                may_rerun: true,
                may_finish: false,
            },
        ),
        (
            "not-undone",
            Question::NotUndone {
                step: step("copy"),
                blockers: vec![blocker("the copy is still there")],
                to: Some(step("copy")),
            },
        ),
        (
            "doubt",
            Question::Doubt {
                step: step("copy"),
                why: "db1 was restarted while the command ran".into(),
                evidence: vec![
                    evidence("copy.post.rows", Verdict::Fail),
                    evidence("copy.post.up", Verdict::Unknown),
                ],
                may_rerun: true,
                may_finish: false,
            },
        ),
        (
            "paused",
            Question::Paused { step: step("copy"), evidence: evidence("copy.inv.disk", Verdict::Fail) },
        ),
        ("interrupted", Question::Interrupted { running: Some(step("copy")) }),
        ("interrupted-idle", Question::Interrupted { running: None }),
    ]
}

fn shown(question: &Question, lines: &[Line], width: usize) -> String {
    let (snapshot, style) = (snapshot(lines), Style { width, ..Style::PLAIN });
    ask::page(question, &snapshot, &at(600), &style) + &ask::choices(question, &style)
}

fn around() -> Around {
    Around {
        now: at(600),
        holder_alive: Some(true),
        me: Some("alice@db1".into()),
        signers: Default::default(),
        boot: "b".into(),
    }
}

/// A run that saw everything.
fn eventful() -> Vec<Line> {
    let mut events: Vec<Event> = failed_lines().into_iter().map(|line| line.event).collect();
    events.extend([
        Event::Decided {
            step: "copy".into(),
            decision: Decision::Again,
            reason: "the disk was replaced".into(),
            by_runbook: false,
            undo: false,
        },
        Event::Began { step: "copy".into(), attempt: 2, permit: None },
        Event::Measured {
            purpose: crate::journal::record::Purpose::Postcondition,
            step: "copy".into(),
            evidence: evidence("copy.post.rows", Verdict::Fail),
            advisory: false,
        },
        Event::InDoubt {
            step: "copy".into(),
            attempt: 2,
            why: "db1 was restarted while the command ran".into(),
        },
        Event::Held { step: "drop-old".into(), undo: false, blockers: vec![blocker("0 rows in events")] },
        Event::Confirmed {
            step: "drop-old".into(),
            undo: false,
            text: "cluster 13/main".into(),
            blast: blast(),
        },
        Event::Offered {
            to: None,
            note: "copy is in doubt; do not run it again before the DBA has looked".into(),
            signature: None,
        },
        Event::Released { why: "handoff".into() },
    ]);
    lines(events)
}

#[test]
fn questions_at_eighty_columns() {
    for (name, question) in questions() {
        insta::assert_snapshot!(format!("question-{name}"), shown(&question, &failed_lines(), 80));
    }
}

#[test]
fn a_question_at_forty_columns() {
    let confirm = questions().into_iter().find(|(name, _)| *name == "confirm").unwrap().1;
    insta::assert_snapshot!("narrow-confirm", shown(&confirm, &failed_lines(), 40));
}

#[test]
fn nobody_to_ask() {
    let (snapshot, style) = (snapshot(&failed_lines()), Style::PLAIN);
    let confirm = questions().into_iter().find(|(name, _)| *name == "confirm").unwrap().1;
    insta::assert_snapshot!("nobody", ask::unanswered(&confirm, &snapshot, &at(600), &style));
}

#[test]
fn a_run_at_eighty_columns() {
    let state = RunState::fold(&eventful()).unwrap();
    let standing = standing(&runbook(), &state, &Around { now: at(1200), ..around() });
    insta::assert_snapshot!("status", status::status(&standing, &at(1200), &Style::PLAIN));
    insta::assert_snapshot!("briefing", briefing::briefing(&standing, &at(1200), &Style::PLAIN));
    let now = [evidence("copy.post.rows", Verdict::Unknown), evidence("copy.pre.disk_free", Verdict::Pass)];
    let before = [
        ("copy.pre.disk_free".into(), evidence("copy.pre.disk_free", Verdict::Pass)),
        ("copy.post.rows".into(), evidence("copy.post.rows", Verdict::Pass)),
    ]
    .into();
    let changes = briefing::changes(&before, &now);
    insta::assert_snapshot!(
        "walkdown",
        briefing::walkdown(&changes, &Style::PLAIN)
            + &briefing::points(&briefing::open_points(&state, &now), &Style::PLAIN)
    );
    let rows = [RunRow::of(&runbook(), &state, &at(1200))];
    let broken = [("pg-upgrade-20261101-aaaa".to_owned(), "line 7 of its journal was changed".to_owned())];
    insta::assert_snapshot!("runs", status::runs(&rows, &broken, &at(1200), &Style::PLAIN));
    insta::assert_snapshot!("log-text", log::text(&eventful()));
    insta::assert_snapshot!("log-markdown", log::markdown(&eventful()));
}

#[test]
fn a_plan_at_eighty_columns() {
    let plan = plan::plan(&runbook(), vec!["HP014: drop-old proves no copy of what it destroys".into()]);
    insta::assert_snapshot!("plan", crate::ui::plan::plan(&plan, &Style::PLAIN));
}

/// Two file systems: one that runs out, one of which not everything is known.
fn volumes(text: &str) -> Vec<Volume> {
    const G: u64 = 1 << 30;
    let disk = |path: &str, available: u64| Space {
        path: path.into(),
        total: 200 * G,
        available,
        free: available,
        inodes: 0,
        inodes_available: 0,
        read_only: false,
        device: 1,
        kind: Some("ext4".into()),
    };
    let claim = |step, what: &str, change, bytes| Claim { step, what: what.into(), change, bytes };
    let old = || Err(format!("the size of old is not known: {text}"));
    vec![
        Volume {
            paths: vec!["/var/lib/postgresql/15".into(), "/var/lib/postgresql/13".into()],
            disk: Ok(disk("/var/lib/postgresql", 125 * G)),
            doubt: None,
            claims: vec![
                claim(0, "a few notes", Change::Takes(None), Ok(G)),
                claim(1, "the new cluster", Change::Takes(None), Ok(120 * G)),
                claim(1, "write-ahead log and sort files", Change::Takes(Some(1)), Ok(9 * G)),
                claim(3, "the old cluster", Change::Frees, Ok(100 * G)),
            ],
        },
        Volume {
            paths: vec!["/srv/dumps".into()],
            disk: Ok(disk("/srv/dumps", 80 * G)),
            doubt: Some("what lies behind it, and its quotas, do not show".into()),
            claims: vec![
                claim(0, "the dump", Change::Takes(None), Ok(40 * G)),
                claim(3, text, Change::Takes(None), old()),
            ],
        },
        Volume {
            paths: vec![text.into()],
            disk: Err(format!("/srv/x: {text}")),
            doubt: None,
            claims: vec![claim(2, "samples", Change::Takes(None), Ok(5 * G))],
        },
    ]
}

#[test]
fn a_plan_with_a_forecast_at_eighty_columns() {
    let mut plan = plan::plan(&runbook(), Vec::new());
    plan.room = Some(room(&runbook(), &volumes("permission denied")));
    let page = crate::ui::plan::plan(&plan, &Style::PLAIN);
    let from = page.find("\nRoom\n").unwrap();
    insta::assert_snapshot!("plan-room", &page[from..page.find("\nWay back\n").unwrap()]);
    plan.room = Some(room(&runbook(), &volumes("permission denied")[1..2]));
    let page = crate::ui::plan::plan(&plan, &Style::PLAIN);
    assert!(page.contains("Nobody can say yet") && page.contains("Nothing was run; only room"), "{page}");
    let json = crate::report::json::plan(&plan);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["room"]["file_systems"][0]["unknown_from"]["step"], "drop-old", "{json}");
}

fn hostile_runbook() -> crate::runbook::Runbook {
    let mut runbook = runbook();
    runbook.title = Some(EVIL.into());
    for step in &mut runbook.steps {
        step.title = Some(EVIL.into());
        step.guide = Some(EVIL.into());
        step.cwd = Some(EVIL.into());
        if let Some(destroys) = &mut step.destroys {
            destroys.what = EVIL.into();
        }
        if let Some(run) = &mut step.run {
            *run = crate::runbook::model::Run::Script(EVIL.into());
        }
        for check in step.preconditions.iter_mut().chain(&mut step.postconditions).chain(&mut step.invariants)
        {
            check.common.title = Some(EVIL.into());
        }
    }
    runbook
}

fn hostile_events() -> Vec<Line> {
    let mut events = opened();
    if let Event::Opened { title, environment, host, .. } = &mut events[0] {
        (*title, *environment, *host) = (Some(EVIL.into()), Some(EVIL.into()), EVIL.into());
    }
    events.extend([
        Event::Began { step: "copy".into(), attempt: 1, permit: None },
        Event::Measured {
            purpose: crate::journal::record::Purpose::Postcondition,
            step: "copy".into(),
            evidence: hostile_evidence(),
            advisory: false,
        },
        Event::InDoubt { step: "copy".into(), attempt: 1, why: EVIL.into() },
        Event::Note { text: EVIL.into() },
        Event::Held { step: "drop-old".into(), undo: false, blockers: vec![blocker(EVIL)] },
        Event::Captured { step: "copy".into(), name: EVIL.into(), value: EVIL.into() },
        Event::Offered { to: Some(EVIL.into()), note: EVIL.into(), signature: None },
    ]);
    let mut lines = lines(events);
    lines.iter_mut().for_each(|line| line.by = EVIL.into());
    lines
}

#[test]
fn hostile_text_reaches_no_screen() {
    let (runbook, lines) = (hostile_runbook(), hostile_events());
    let state = RunState::fold(&lines).unwrap();
    let standing = standing(&runbook, &state, &around());
    let changes = briefing::changes(&Default::default(), &[hostile_evidence()]);
    let points = briefing::open_points(&state, &[hostile_evidence()]);
    let rows = [RunRow::of(&runbook, &state, &at(600))];
    let mut plan = plan::plan(&runbook, vec![EVIL.into()]);
    plan.room = Some(room(&runbook, &volumes(EVIL)));
    for width in [20, 40, 80, 200] {
        let style = Style { width, ..Style::PLAIN };
        safe(&status::status(&standing, &at(600), &style), width);
        safe(&briefing::briefing(&standing, &at(600), &style), width);
        safe(&briefing::walkdown(&changes, &style), width);
        safe(&briefing::points(&points, &style), width);
        safe(&status::runs(&rows, &[(EVIL.into(), EVIL.into())], &at(600), &style), width);
        safe(&crate::ui::plan::plan(&plan, &style), width);
        for line in &lines {
            safe(
                &crate::ui::words::render(&crate::ui::words::line(line), Some(line.at.wall), &style, true),
                width,
            );
        }
    }
    safe(&log::text(&lines), usize::MAX);
    safe(&log::markdown(&lines), usize::MAX);
    safe(&log::jsonl(&lines, true).unwrap(), usize::MAX);
}

#[test]
fn hostile_text_reaches_no_question() {
    let mut snapshot = snapshot(&hostile_events());
    snapshot.runbook = std::sync::Arc::new(hostile_runbook());
    let mut questions = questions();
    for (_, question) in &mut questions {
        match question {
            Question::Environment { name } => *name = EVIL.into(),
            Question::Manual { observe, .. } => *observe = Some(EVIL.into()),
            Question::Confirm { text, blast, horizon, .. } => {
                (*text, *horizon) = (EVIL.into(), EVIL.into());
                blast.serving.push(EVIL.into());
                blast.unmeasured.push(EVIL.into());
                blast.items.iter_mut().for_each(|item| (item.kind, item.name) = (EVIL.into(), EVIL.into()));
            }
            Question::Held { blockers, .. } | Question::NotUndone { blockers, .. } => {
                *blockers = vec![blocker(EVIL)];
            }
            Question::Failed { why, .. } => *why = EVIL.into(),
            Question::Doubt { why, evidence, .. } => {
                (*why, *evidence) = (EVIL.into(), vec![hostile_evidence()])
            }
            Question::Paused { evidence, .. } => *evidence = hostile_evidence(),
            Question::Begin { .. } | Question::Undo { .. } | Question::Interrupted { .. } => {}
        }
    }
    for width in [20, 40, 80] {
        let style = Style { width, ..Style::PLAIN };
        for (_, question) in &questions {
            safe(&ask::page(question, &snapshot, &at(600), &style), width);
            safe(&ask::choices(question, &style), width);
            safe(&ask::unanswered(question, &snapshot, &at(600), &style), width);
        }
    }
}
