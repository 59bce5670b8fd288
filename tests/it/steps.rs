//! Every kind of step and every option of one, with the real program and without a terminal.

use std::time::{Duration, Instant};

use crate::harness::{Cluster, Major, Need, Ran, Registry, eventually};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("steps::a_list_is_argv_and_nothing_is_expanded", &[], argv);
    r.add("steps::a_script_fails_at_its_first_failure", &[], scripts);
    r.add("steps::environment_and_directory_are_as_written", &[], surroundings);
    r.add("steps::a_command_runs_as_the_user_named", &[Need::Root], other_user);
    r.add("steps::a_time_limit_ends_a_command_that_ignores_term", &[], time_limit);
    r.add("steps::a_captured_value_reaches_later_steps", &[], captured);
    r.add("steps::what_is_no_value_is_not_captured", &[], not_captured);
    r.add("steps::a_manual_step_waits_for_a_person", &[], manual);
    r.add("steps::statements_run_on_the_server", &[Need::Pg15], statements);
    r.add("steps::too_many_rows_are_rolled_back", &[Need::Pg15], || too_many_rows(Major::V15));
    r.add("steps::too_many_rows_are_rolled_back_on_13", &[Need::Pg13], || too_many_rows(Major::V13));
    r.add("steps::a_connection_cut_in_a_statement_leaves_a_doubt", &[Need::Pg15, Need::Root], cut_connection);
    r.add("steps::a_record_is_kept_and_an_empty_one_refused", &[], record);
    r.add("steps::a_soak_survives_a_crash_and_starts_again_after_a_failure", &[], soak);
    r.add("steps::a_soak_stands_still_while_nobody_knows_and_alerts_do_not_stop_it", &[], soak_unknown);
    r.add("steps::an_invariant_stops_a_command", &[], invariant_stops);
    r.add("steps::a_slow_invariant_keeps_no_quick_one_waiting", &[], slow_invariant);
    r.add("steps::an_invariant_pauses_a_command_and_it_goes_on", &[], invariant_pauses);
    r.add("steps::an_invariant_that_alerts_lets_the_command_end", &[], invariant_alerts);
    r.add("steps::going_back_undoes_newest_first", &[], rollback);
    r.add("steps::there_is_no_way_back_past_what_cannot_be_undone", &[], no_way_back);
    r.add("steps::rerun_says_who_may_repeat_a_failed_step", &[], rerun);
    r.add("steps::a_run_is_abandoned_with_a_reason", &[], abandoned);
    r.add("steps::a_protected_environment_is_named_before_anything_begins", &[], protected);
    r.add("steps::an_interrupted_session_leaves_its_command_alone", &[], interrupted);
}

/// A runbook of these steps.
fn steps(text: &str) -> String {
    format!("holdpoint: 1\nname: steps\nvars: {{ place: {{ default: \"@\" }} }}\nsteps:\n{text}")
}

fn play(text: &str) -> Play {
    let play = Play::new();
    play.book(&steps(text));
    play
}

#[track_caller]
fn run(play: &Play) -> Ran {
    play.ran("alice", "run book.yaml")
}

/// A step that appends a word and measures it.
fn word(id: &str, more: &str) -> String {
    format!(
        "  - id: {id}\n    run: \"echo {id} >>\\\"$place/ledger\\\"\"\n    timeout: 1min\n{more}    postconditions: [ file: {{ path: \"@/ledger\", contains: {id} }} ]\n"
    )
}

fn argv() {
    let play = play(
        "  - id: all\n    run: [/bin/sh, -c, 'for word; do echo \"$word\" >>\"$0\"; done', \"@/ledger\", \"${place}\", \"$HOME `id` ; rm x\", \"\", \"a  b\"]\n    timeout: 1min\n    postconditions: [ file: { path: \"@/ledger\" } ]\n",
    );
    run(&play).exits(0);
    assert_eq!(play.ledger(), [play.sandbox.path().to_str().unwrap(), "$HOME `id` ; rm x", "", "a  b"]);
    // A program that is not there is not started, and that is no success.
    let missing = self::play(
        "  - { id: all, run: [/no/such/program], timeout: 1min, postconditions: [ file: { path: / } ] }\n",
    );
    run(&missing).exits(1).says("/no/such/program");
    assert!(missing.events("done").is_empty());
}

fn scripts() {
    for (script, ok) in [
        ("true", true),
        ("false; true", false),
        ("false | cat", false),
        ("echo \"$unset_variable\"", false),
        ("exit 3", false),
        ("kill -KILL $$", false),
        ("read -r line; echo \"$line\"", false),
    ] {
        let play = play(&format!(
            "  - id: all\n    run: |\n      {script}\n      echo after >>\"$place/ledger\"\n    timeout: 1min\n    postconditions: [ file: {{ path: / }} ]\n"
        ));
        let ran = run(&play);
        assert_eq!(ran.status, Some(i32::from(!ok)), "{script}: {ran:?}");
        assert_eq!(play.times("after"), usize::from(ok), "{script}");
    }
}

fn surroundings() {
    let play = play(
        "  - id: all\n    run: |\n      env >\"$place/ledger\"\n      pwd >>\"$place/ledger\"\n      umask >>\"$place/ledger\"\n      cat >>\"$place/ledger\"\n    env: { COLOUR: \"blue $HOME\" }\n    cwd: \"@\"\n    timeout: 1min\n    postconditions: [ file: { path: \"@/ledger\" } ]\n",
    );
    let mut command = play.holdpoint("alice", "run book.yaml");
    command.env("LEAKED", "from the operator's shell").env("LC_ALL", "tr_TR.UTF-8");
    crate::harness::finish(&mut command, Duration::from_secs(60)).exits(0);
    let seen = play.ledger();
    let has = |line: &str| seen.iter().any(|seen| seen == line);
    assert!(has("COLOUR=blue $HOME") && has(play.sandbox.path().to_str().unwrap()), "{seen:?}");
    assert!(!seen.iter().any(|line| line.starts_with("LEAKED") || line.contains("tr_TR")), "{seen:?}");
    assert!(has("LC_ALL=C.UTF-8"), "{seen:?}");
}

fn other_user() {
    let play = play(
        "  - id: all\n    run: [/bin/sh, -c, \"id -un; echo $HOME\"]\n    user: nobody\n    changes: false\n    timeout: 1min\n    postconditions: [ file: { path: / } ]\n",
    );
    run(&play).exits(0).says("nobody");
    let missing = self::play(
        "  - { id: all, run: [\"true\"], user: no-such-user, timeout: 1min, postconditions: [ file: { path: / } ] }\n",
    );
    run(&missing).exits(1).says("no-such-user");
}

/// TERM is ignored by the command and by what it started; KILL after the grace period is not.
fn time_limit() {
    let play = play(
        "  - id: all\n    run: |\n      trap '' TERM\n      (trap '' TERM; echo begun >>\"$place/ledger\"; while :; do sleep 0.1; done) &\n      wait\n      echo after >>\"$place/ledger\"\n    timeout: 3s\n    postconditions: [ file: { path: / } ]\n",
    );
    // It would never end.
    run(&play).exits(1).says("time limit of 3s");
    assert_eq!(play.ledger(), ["begun"]);
    eventually(Duration::from_secs(5), "nothing of it is left", || play.processes().is_empty());
}

fn captured() {
    let play = play(&format!(
        "  - id: ask\n    run: [echo, \"it's $HOME\"]\n    changes: false\n    rerun: safe\n    timeout: 1min\n    capture: answer\n    postconditions: [ file: {{ path: / }} ]\n{}  - id: use\n    run: [/bin/sh, -c, 'printf \"%s\\n\" \"$1\" >>\"$0\"', \"@/ledger\", \"${{answer}}\"]\n    timeout: 1min\n    postconditions: [ file: {{ path: \"@/ledger\", contains: \"${{answer}}\" }} ]\n  - id: again\n    run: \"echo \\\"$answer\\\" >>\\\"$place/ledger\\\"\"\n    timeout: 1min\n    postconditions: [ file: {{ path: \"@/ledger\" }}, file: {{ id: lamp, path: \"@/lamp\", advisory: true }} ]\n",
        word("door", "    preconditions: [ file: { path: \"@/door\" } ]\n")
    ));
    // Before any run nobody knows the value, and nothing is compared with its name.
    let early = play.ran("alice", "--json check book.yaml use").exits(1);
    early.says("`answer` is not known yet: step `ask` captures it");
    run(&play).exits(3);
    std::fs::write(play.path("door"), "").unwrap();
    // The value outlives the session that saw it.
    let done = play.ran("alice", "resume").exits(0);
    // What only advises is not taken for what gates, neither now nor in the log.
    for told in [done, play.ran("x", &format!("log {}", play.id())).exits(0)] {
        told.says("FAIL").says("after again (advisory, no gate): ");
    }
    assert_eq!(play.ledger(), ["door", "it's $HOME", "it's $HOME"]);
    assert_eq!(play.begun("ask"), 1);
}

fn not_captured() {
    for printed in ["", "\\n", "one\\ntwo\\n", "a\\tb\\033[2Jc\\n", "\\377\\n"] {
        let play = play(&format!(
            "  - id: ask\n    run: [/usr/bin/printf, {printed:?}]\n    changes: false\n    timeout: 1min\n    capture: answer\n    postconditions: [ file: {{ path: / }} ]\n{}",
            word("use", "")
        ));
        run(&play).exits(1).says("no value");
        assert_eq!(play.ledger(), Vec::<String>::new(), "{printed}");
        assert!(play.events("captured").is_empty());
    }
}

fn manual() {
    let play = play(&format!(
        "{}  - id: look\n    manual: {{ instructions: \"Look at the lamp.\", observe: \"Which colour?\" }}\n{}",
        word("one", ""),
        word("two", "")
    ));
    run(&play).exits(4).says("Look at the lamp.").says("Which colour?");
    for _ in 0..2 {
        play.with("alice", "resume", &[]).exits(4);
        play.with("alice", "resume", &["--confirm", "look=green"]).exits(2).says("nothing to confirm");
    }
    let mut piped = play.holdpoint("alice", "resume");
    piped.args(["--decide", "look=done", "--reason", "I say so"]);
    crate::harness::finish(&mut piped, Duration::from_secs(30)).exits(4);
    assert_eq!(play.ledger(), ["one"]);
    assert_eq!(play.begun("look"), 0, "nobody carried it out");
}

fn statements() {
    let server = Cluster::start(Major::V15);
    server.psql("create table t (a int primary key)");
    let play = Play::new();
    let head = steps("").replace(
        "steps:\n",
        &format!("targets: {{ db: {{ postgres: \"{}\" }} }}\nsteps:\n", server.conninfo("postgres")),
    );
    let one = |statements: &str| {
        format!(
            "{head}  - id: change\n    sql: {{ target: db, statements: [{statements}] }}\n    timeout: 1min\n    postconditions: [ pg_query: {{ target: db, sql: select count(*) from t, equals: \"2\" }} ]\n"
        )
    };
    play.book(&one("\"insert into t values (1)\", \"insert into t values (2)\""));
    run(&play).exits(0);
    // The second fails: the first stays, the third never runs, and nothing of that is a success.
    play.book(&one(
        "\"insert into t values (3)\", \"insert into t values (1)\", \"insert into t values (4)\"",
    ));
    run(&play).exits(1).says("statement 2").says("duplicate key");
    assert_eq!(server.psql("select string_agg(a::text, ',' order by a) from t"), "1,2,3");
    play.ran("alice", "resume").exits(3);
    assert_eq!(server.psql("select count(*) from t"), "3");
    // Exit status 0 of all statements, and the result is not there.
    let id = play
        .runs()
        .into_iter()
        .find(|run| !std::fs::read_to_string(run.join("journal.jsonl")).unwrap().contains("\"completed\""))
        .unwrap();
    let id = id.file_name().unwrap().to_string_lossy().into_owned();
    play.with("alice", &format!("abandon {id}"), &["--reason", "next case"]).exits(0);
    play.book(&one("\"delete from t where a = 9\""));
    run(&play).exits(1).says("3");
}

/// A budget of rows: what goes by a foreign key counts, and nothing stays of what went past it.
fn too_many_rows(major: Major) {
    let server = Cluster::start(major);
    server.psql(
        "create table rooms (id int primary key); create table events (id int, room int references rooms on delete cascade); \
         insert into rooms select generate_series(1, 20); insert into events select g, g from generate_series(1, 20) g",
    );
    let head = steps("").replace(
        "steps:\n",
        &format!("targets: {{ db: {{ postgres: \"{}\" }} }}\nsteps:\n", server.conninfo("postgres")),
    );
    let purge = |statements: &str, affects: &str| {
        let play = Play::new();
        play.book(&format!(
            "{head}  - id: purge\n    sql: {{ target: db, statements: [{statements}], affects: {affects} }}\n    timeout: 1min\n    \
             postconditions: [ pg_accepts_connections: {{ target: db }} ]\n"
        ));
        run(&play)
    };
    let left = || server.psql("select (select count(*) from rooms) || ' ' || (select count(*) from events)");
    let two = "\"delete from rooms where id in (1, 2)\"";
    purge(two, "{ at_most: 3 }").exits(1).says("4 rows would have been affected, and 1 to 3 are meant");
    purge("\"delete from rooms where id > 100\"", "{ at_most: 3 }").exits(1).says("0 rows would have been");
    purge(&format!("{two}, \"delete from rooms where id = 3\""), "{ at_least: 4, at_most: 4 }")
        .exits(1)
        .says("6 rows would have been affected, and exactly 4 are meant")
        .says("rolled back");
    assert_eq!(left(), "20 20");
    // What ends the transaction is refused when it is read, and noticed when it is hidden.
    purge("\"delete from rooms; commit\"", "{ at_most: 3 }").exits(2).says("HP057").says("COMMIT");
    purge("\"truncate events\"", "{ at_most: 3 }").exits(2).says("TRUNCATE");
    purge(two, "{ at_least: 4, at_most: 3 }").exits(2).says("no number of rows");
    purge("\"/* ; */ /**/ commit\", \"delete from rooms\"", "{ at_most: 3 }")
        .exits(1)
        .says("ended the transaction");
    server.psql("alter system set track_counts = off");
    server.reload();
    purge(two, "{ at_most: 4 }").exits(1).says("did not count");
    assert_eq!(left(), "20 20");
    server.psql("alter system reset track_counts");
    server.reload();
    purge(two, "{ at_most: 4 }").exits(0);
    assert_eq!(left(), "18 18");
}

/// The server's process ends while a statement runs: whether it was committed, the client cannot know.
fn cut_connection() {
    let server = Cluster::start(Major::V15);
    server.psql("create table t (a int primary key)");
    let play = Play::new();
    let head = steps("").replace(
        "steps:\n",
        &format!("targets: {{ db: {{ postgres: \"{}\" }} }}\nsteps:\n", server.conninfo("postgres")),
    );
    play.book(&format!(
        "{head}  - id: change\n    sql: {{ target: db, statements: [\"insert into t select 1 from pg_sleep(50)\"] }}\n    timeout: 1min\n    postconditions: [ pg_query: {{ target: db, sql: select count(*) from t, equals: \"1\" }} ]\n"
    ));
    let mut alice = play.start("alice", "run book.yaml");
    let busy = "select count(*) from pg_stat_activity where application_name = 'holdpoint change'";
    eventually(Duration::from_secs(20), "the statement runs", || server.psql(busy) == "1");
    server.psql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdpoint change'",
    );
    alice.ends(Duration::from_secs(20)).exits(4).says("IN DOUBT");
    play.ran("alice", "resume").exits(4);
    assert_eq!(play.begun("change"), 1);
    // It was committed after all: the measurement agrees, and a person says so.
    server.psql("insert into t values (1)");
    play.with("alice", "resume", &["--decide", "change=done", "--reason", "the row is there"]).exits(0);
    assert_eq!(play.begun("change"), 1);
}

fn record() {
    let play = Play::new();
    let head = steps("").replace("steps:\n", "targets: { db: { sqlite: \"@/app.db\" } }\nsteps:\n");
    play.book(&format!(
        "{head}  - {{ id: before, record: {{ target: db, as: before }} }}\n{}  - id: same\n    preconditions: [ data_matches: {{ recorded: before, target: db }} ]\n    run: [\"true\"]\n    changes: false\n    timeout: 1min\n    postconditions: [ file: {{ path: / }} ]\n",
        word("door", "    preconditions: [ file: { path: \"@/door\" } ]\n")
    ));
    // No file, then no table: neither is a manifest.
    run(&play).exits(3);
    let id = play.id();
    play.with("alice", &format!("abandon {id}"), &["--reason", "no file"]).exits(0);
    let db = rusqlite::Connection::open(play.path("app.db")).unwrap();
    db.execute_batch("create table t (a); drop table t").unwrap();
    std::fs::remove_dir_all(play.run()).unwrap();
    run(&play).exits(1).says("no table");
    db.execute_batch("create table t (a); insert into t values (1)").unwrap();
    play.with("alice", "resume", &["--decide", "before=again", "--reason", "there are rows now"])
        .exits(3)
        .says("/door");
    db.execute_batch("insert into t values (2)").unwrap();
    std::fs::write(play.path("door"), "").unwrap();
    play.ran("alice", "resume").exits(3).says("before");
    db.execute_batch("delete from t where a = 2").unwrap();
    // The manifest on disk is what the journal says, or it is nothing.
    let manifest = play.run().join("records/before.json");
    let right = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, [&right[..], b" "].concat()).unwrap();
    let held = play.ran("alice", "resume");
    assert_eq!((held.status, play.begun("same")), (Some(3), 0), "{held:?}");
    std::fs::write(&manifest, right).unwrap();
    play.ran("alice", "resume").exits(0);
}

fn soak() {
    let play = play(
        "  - id: watch\n    soak: { for: 3s, every: 200ms }\n    invariants: [ file: { path: \"@/good\" } ]\n",
    );
    std::fs::write(play.path("good"), "").unwrap();
    let elapsed =
        || play.events("soaked").iter().map(|line| line["elapsed_ms"].as_u64().unwrap()).collect::<Vec<_>>();
    let mut alice = play.start("alice", "run book.yaml");
    play.until_event("began");
    eventually(Duration::from_secs(10), "a second was watched", || {
        elapsed().last().is_some_and(|ms| *ms >= 1000)
    });
    alice.kill();
    let before = *elapsed().last().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let resumed = Instant::now();
    let known = elapsed().len();
    let mut alice = play.start("alice", "resume");
    eventually(Duration::from_secs(10), "it goes on", || elapsed().len() > known);
    let (first, since) = (elapsed()[known], resumed.elapsed().as_millis() as u64);
    assert!(
        first > before && first <= before + since,
        "{before}, then {first} after {since} ms: what nobody watched does not count"
    );
    std::fs::remove_file(play.path("good")).unwrap();
    eventually(Duration::from_secs(10), "it is back at zero", || elapsed().last() == Some(&0));
    let zero = Instant::now();
    std::fs::write(play.path("good"), "").unwrap();
    alice.ends(Duration::from_secs(20)).exits(0);
    assert!(zero.elapsed() >= Duration::from_millis(2900), "{:?}", zero.elapsed());
    assert!(!play.events("violated").is_empty());
}

/// What `turn` holds is what the check says: an exit status that is no answer is unknown.
fn soak_unknown() {
    let play = play(
        "  - id: watch\n    soak: { for: 3s, every: 200ms }\n    invariants:\n      - command: { run: \"echo look >>$place/ledger; exit $(cat $place/turn)\" }\n      - file: { path: \"@/never\", on_violation: alert }\n",
    );
    let turn = |status: &str| {
        std::fs::write(play.path("turn.new"), status)
            .and_then(|()| std::fs::rename(play.path("turn.new"), play.path("turn")))
            .unwrap()
    };
    turn("0");
    let elapsed =
        || play.events("soaked").iter().map(|line| line["elapsed_ms"].as_u64().unwrap()).collect::<Vec<_>>();
    let verdict = || {
        let measured = play.events("measured");
        let last = measured.iter().rfind(|line| line["evidence"]["check"] == "watch.inv.command");
        last.map(|line| line["evidence"]["verdict"].as_str().unwrap().to_owned())
    };
    let mut alice = play.start("alice", "run book.yaml");
    play.until_event("began");
    eventually(Duration::from_secs(10), "a second was watched", || {
        elapsed().last().is_some_and(|ms| *ms >= 1000)
    });
    turn("126");
    eventually(Duration::from_secs(10), "it is unknown", || verdict().as_deref() == Some("unknown"));
    let before = elapsed();
    let looks = play.times("look");
    eventually(Duration::from_secs(10), "more looks", || play.times("look") > looks + 4);
    assert_eq!(elapsed(), before, "nothing is counted, and nothing is lost");
    let again = Instant::now();
    turn("0");
    alice.ends(Duration::from_secs(20)).exits(0).says("stands still").says("watch.inv.file (1 time)");
    let left = Duration::from_millis(2_900 - before.last().unwrap());
    assert!(again.elapsed() >= left, "{:?} for {left:?}", again.elapsed());
    let all = elapsed();
    assert!(all.is_sorted() && all.last().unwrap() >= &3_000, "{all:?}");
    let actions: Vec<_> = play.events("violated").iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["alert"]);
    assert_eq!(play.events("ended").last().unwrap()["ending"]["how"], "finished");
}

/// A command that would take ten minutes, watched.
fn watched(policy: &str) -> Play {
    let play = play(&format!(
        "  - id: all\n    run: |\n      echo begun >>\"$place/ledger\"\n      for i in $(seq 6000); do [ -e \"$place/go\" ] && break; sleep 0.1; date +%s%N >\"$place/tick\"; done\n      echo ended >>\"$place/ledger\"\n    timeout: 20min\n    invariants: [ file: {{ path: \"@/good\", on_violation: {policy}, every: 200ms }} ]\n    postconditions: [ file: {{ path: \"@/ledger\", contains: ended }} ]\n"
    ));
    std::fs::write(play.path("good"), "").unwrap();
    play
}

fn invariant_stops() {
    let play = watched("stop");
    let mut alice = play.start("alice", "run book.yaml");
    play.until("begun");
    std::fs::remove_file(play.path("good")).unwrap();
    alice.ends(Duration::from_secs(20)).exits(1).says("stopped");
    assert_eq!(play.ledger(), ["begun"]);
    assert_eq!(play.events("violated")[0]["action"], "stop");
    eventually(Duration::from_secs(5), "nothing of it is left", || play.processes().is_empty());
}

/// One that answers after ten minutes stands beside one that protects something.
fn slow_invariant() {
    let play = play(
        "  - id: all\n    run: |\n      echo begun >>\"$place/ledger\"\n      sleep 600\n    timeout: 20min\n    invariants:\n      - command: { id: slow, run: \"echo slow >>$place/ledger; sleep 600\", timeout: 15min, every: 200ms }\n      - file: { path: \"@/good\", every: 200ms }\n    postconditions: [ file: { path: \"@/ledger\", contains: ended } ]\n",
    );
    std::fs::write(play.path("good"), "").unwrap();
    let mut alice = play.start("alice", "run book.yaml");
    play.until("begun");
    play.until("slow");
    std::fs::remove_file(play.path("good")).unwrap();
    play.until_event("violated");
    alice.ends(Duration::from_secs(20)).exits(1).says("stopped");
    assert_eq!(play.times("slow"), 1, "never two measurements of it at once");
    assert_eq!(play.events("violated")[0]["check"], "all.inv.file");
    eventually(Duration::from_secs(5), "nothing of it is left", || play.processes().is_empty());
}

/// Without a terminal the session leaves with the command paused; it goes on when somebody resumes and all is well.
fn invariant_pauses() {
    let play = watched("pause");
    let mut alice = play.start("alice", "run book.yaml");
    play.until("begun");
    eventually(Duration::from_secs(5), "it works", || play.path("tick").exists());
    std::fs::remove_file(play.path("good")).unwrap();
    alice.ends(Duration::from_secs(20)).exits(4);
    let tick = || std::fs::read_to_string(play.path("tick")).unwrap();
    // Its supervisor was told, and may be a moment behind.
    eventually(Duration::from_secs(10), "it is paused", || {
        let before = tick();
        std::thread::sleep(Duration::from_millis(500));
        tick() == before
    });
    let still = tick();
    // Still violated: still paused.
    play.ran("alice", "resume").exits(4);
    assert_eq!(tick(), still, "it is paused");
    std::fs::write(play.path("good"), "").unwrap();
    let mut alice = play.start("alice", "resume");
    eventually(Duration::from_secs(10), "it works again", || tick() != still);
    std::fs::write(play.path("go"), "").unwrap();
    alice.ends(Duration::from_secs(20)).exits(0);
    assert_eq!(play.ledger(), ["begun", "ended"]);
}

fn invariant_alerts() {
    let play = watched("alert");
    let mut alice = play.start("alice", "run book.yaml");
    play.until("begun");
    std::fs::remove_file(play.path("good")).unwrap();
    play.until_event("violated");
    std::fs::write(play.path("go"), "").unwrap();
    alice.ends(Duration::from_secs(20)).exits(0);
    assert_eq!(play.events("violated")[0]["action"], "alert");
}

fn undoable(id: &str) -> String {
    word(id, &format!("    rollback: {{ run: \"echo undo-{id} >>\\\"$place/ledger\\\"\", timeout: 1min }}\n"))
}

fn rollback() {
    let text = format!(
        "{}{}{}{}",
        undoable("one"),
        undoable("two"),
        undoable("three"),
        word("door", "    preconditions: [ file: { path: \"@/door\" } ]\n")
    );
    let play = play(&text);
    run(&play).exits(3);
    let id = play.id();
    play.ran("alice", &format!("rollback {id} --to nowhere")).exits(2);
    play.ran("bob", &format!("rollback {id}")).exits(5);
    play.ran("alice", &format!("rollback {id} --to two")).exits(0);
    assert_eq!(play.ledger(), ["one", "two", "three", "undo-three", "undo-two"]);
    // Forward again, from where it is.
    play.ran("alice", "resume").exits(3);
    assert_eq!(&play.ledger()[5..], ["two", "three"]);
    play.ran("alice", &format!("rollback {id}")).exits(0);
    assert_eq!(&play.ledger()[7..], ["undo-three", "undo-two", "undo-one"]);
    play.ran("alice", &format!("rollback {id}")).exits(0);
    assert_eq!(play.ledger().len(), 10, "nothing is undone twice");
    play.verified();
}

fn no_way_back() {
    let last = word("door", "    preconditions: [ file: { path: \"@/door\" } ]\n");
    let text = format!("{}{}{}{last}", undoable("one"), word("plain", ""), undoable("three"));
    let stuck = play(&text);
    run(&stuck).exits(3);
    stuck.ran("alice", &format!("rollback {}", stuck.id())).exits(3).says("no rollback");
    assert_eq!(stuck.ledger(), ["one", "plain", "three", "undo-three"]);

    let destroy = "  - id: purge\n    destroys: { what: all dumps, paths: [\"@/dump\"] }\n    preconditions: [ file: { path: \"@/dump\" } ]\n    run: [rm, \"@/dump\"]\n    timeout: 1min\n    postconditions: [ file: { path: \"@/dump\", exists: false } ]\n";
    let play = play(&format!("{}{destroy}{last}", undoable("one")));
    std::fs::write(play.path("dump"), "x").unwrap();
    play.with("alice", "run book.yaml", &["--confirm", "purge=all dumps"]).exits(3);
    assert!(!play.path("dump").exists());
    play.ran("alice", &format!("rollback {}", play.id())).exits(3).says("destroys");
    assert_eq!(play.ledger(), ["one"]);
}

fn rerun() {
    // Fails the first time it is run.
    let flaky = |how: &str| {
        format!(
            "  - id: all\n    run: |\n      echo all >>\"$place/ledger\"\n      [ \"$(wc -l <\"$place/ledger\")\" -ge 2 ]\n    timeout: 1min\n    rerun: {how}\n    postconditions: [ file: {{ path: / }} ]\n"
        )
    };
    let again = ["--decide", "all=again", "--reason", "the cause is gone"];
    let safe = play(&flaky("safe"));
    run(&safe).exits(1);
    assert_eq!(safe.times("all"), 1, "not twice in one session");
    safe.ran("alice", "resume").exits(0);
    assert_eq!(safe.times("all"), 2);
    let allowed = &safe.events("decided")[0];
    assert_eq!((&allowed["by_runbook"], &allowed["reason"]), (&true.into(), &"rerun: safe".into()));
    let log = safe.ran("bob", &format!("log {}", safe.id())).exits(0);
    let log = log.says("; nobody was asked, since the runbook allows it").says("all is run again by alice@");
    assert!(!log.stdout.contains("decides that"), "{log:?}");

    let ask = play(&flaky("ask"));
    run(&ask).exits(1);
    ask.ran("alice", "resume").exits(3);
    ask.with("alice", "resume", &["--decide", "all=again"]).exits(2);
    ask.with("alice", "resume", &["--decide", "all=maybe", "--reason", "x"]).exits(2);
    assert_eq!(ask.times("all"), 1);
    ask.with("alice", "resume", &again).exits(0);
    assert_eq!(ask.times("all"), 2);
    let decided = &ask.events("decided")[0];
    assert!(
        decided["reason"] == "the cause is gone" && decided["by"].as_str().unwrap().starts_with("alice@")
    );
    assert_eq!(decided.get("by_runbook"), None, "a person did");

    let never = play(&flaky("never"));
    run(&never).exits(1);
    never.with("alice", "resume", &again).exits(3).says("rerun: never");
    assert_eq!(never.times("all"), 1);
}

fn abandoned() {
    let play = play(&format!(
        "{}{}",
        word("one", ""),
        word("two", "    preconditions: [ file: { path: \"@/door\" } ]\n")
    ));
    run(&play).exits(3);
    let id = play.id();
    play.ran("alice", &format!("abandon {id}")).exits(2);
    play.with("alice", &format!("abandon {id}"), &["--reason", " "]).exits(2);
    play.with("bob", &format!("abandon {id}"), &["--reason", "tired"]).exits(5);
    play.with("alice", &format!("abandon {id}"), &["--reason", "not this year"]).exits(0);
    std::fs::write(play.path("door"), "").unwrap();
    for words in ["resume", "accept"] {
        play.ran("alice", &format!("{words} {id}")).exits(2);
    }
    play.with("alice", &format!("abandon {id}"), &["--reason", "again"]).exits(2);
    play.ran("alice", &format!("log {id}")).exits(0).says("not this year");
    assert_eq!(play.ledger(), ["one"]);
}

fn protected() {
    let play = Play::new();
    let head = steps("")
        .replace("steps:\n", "environments:\n  production: { protected: true }\n  staging: {}\nsteps:\n");
    play.book(&format!("{head}{}", word("one", "")));
    play.ran("alice", "run book.yaml --env production").exits(4).says("production");
    assert_eq!(play.ledger(), Vec::<String>::new());
    // Not having answered is no answer, however the run is gone on with.
    play.ran("alice", "resume").exits(4).says("production");
    play.with("alice", "resume", &["--confirm", "environment=staging"]).exits(4);
    assert_eq!(play.ledger(), Vec::<String>::new());
    play.with("alice", "resume", &["--confirm", "environment=production"]).exits(0);
    assert_eq!(play.ledger(), ["one"]);
    play.ran("alice", "run book.yaml --env staging").exits(0);
    play.with("alice", "run book.yaml --env production", &["--confirm", "environment=production"]).exits(0);
    play.ran("alice", "run book.yaml --env nowhere").exits(2);
}

fn interrupted() {
    let play = watched("stop");
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        let words = if play.runs().is_empty() { "run book.yaml" } else { "resume" };
        let mut alice = play.start("alice", words);
        play.until("begun");
        eventually(Duration::from_secs(10), "she watches", || !alice.said().is_empty());
        std::thread::sleep(Duration::from_millis(500));
        alice.signal(signal);
        alice.ends(Duration::from_secs(20)).exits(130);
        assert_eq!(play.ledger(), ["begun"]);
    }
    std::fs::write(play.path("go"), "").unwrap();
    play.ran("alice", "resume").exits(0);
    assert_eq!(play.ledger(), ["begun", "ended"]);
    assert_eq!(play.begun("all"), 1);
}
