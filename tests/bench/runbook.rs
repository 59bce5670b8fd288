//! Reads, judges, binds and lints a runbook of 10 000 steps (about 4.2 MB), and finds the guards of its hold points.
//! `cargo bench --bench runbook`; the goal is 0.3 s and 100 MiB in all, and costs that grow linearly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::time::Instant;

use holdpoint::check::{DataProof, ProofSource};
use holdpoint::lint::{self, CheckFacts};
use holdpoint::runbook::CheckSpec;
use holdpoint::runbook::graph;
use holdpoint::runbook::load::parse;
use holdpoint::runbook::schema::CheckSchema;
use holdpoint::runbook::source::Source;
use serde_json::json;

fn checks() -> Vec<CheckSchema> {
    let target = json!({ "type": "string", "format": "target" });
    let of = |name: &str, properties| CheckSchema {
        name: name.to_owned(),
        summary: name.to_owned(),
        schema: json!({ "type": "object", "properties": properties }),
    };
    vec![
        of(
            "disk_free",
            json!({ "path": { "type": "string" }, "at_least": { "anyOf": [
            { "type": "string", "format": "size" }, { "type": "string", "pattern": "^[0-9]+%$" } ] } }),
        ),
        of("data_matches", json!({ "source": target, "target": target })),
        of("file", json!({ "path": { "type": "string" } })),
    ]
}

fn facts(spec: &CheckSpec) -> Result<CheckFacts, String> {
    let text =
        |key: &str| spec.params.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let proves = (spec.kind == "data_matches")
        .then(|| DataProof { of: ProofSource::Target(text("source")), held_by: text("target") });
    Ok(CheckFacts { proves, ..CheckFacts::default() })
}

fn runbook(steps: usize) -> String {
    let mut text = String::from(
        "holdpoint: 1\nname: large\nvars: { to: { default: \"16\" } }\n\
         targets:\n  old: { postgres: \"port=5432\" }\n  new: { postgres: \"port=5433\" }\nsteps:\n",
    );
    for n in 0..steps {
        let destroys = n % 1000 == 999;
        let until = if n + 1 < steps { format!("step-{}", n + 1) } else { String::new() };
        let until = if until.is_empty() { until } else { format!(", until: {until}") };
        write!(
            text,
            "  - id: step-{n}\n    title: Step number {n} of the move to ${{to}}\n    guide: |\n      Look at the log \
             while it runs.\n    preconditions:\n      - disk_free: {{ path: /srv/data/{n}, at_least: 20GiB }}\n{}    run: \
             [/usr/local/bin/move, --number, \"{n}\", --to, \"${{to}}\", --really]\n    timeout: 2h\n{}    postconditions:\n      \
             - file: {{ path: \"/srv/data/{n}/moved\"{until} }}\n{}",
            if destroys { "      - data_matches: { source: old, target: new }\n" } else { "" },
            if destroys { "    destroys: { what: \"old data\", target: old, survives_in: new }\n" } else { "    rerun: safe\n" },
            if n % 2 == 0 { "    env: { MODE: quick, LEVEL: 3, LONG_SETTING: one-two-three-four-five }\n" } else { "" },
        )
        .unwrap();
    }
    text
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn measure(steps: usize) {
    let text = runbook(steps);
    let bytes = text.len();
    let source = Source::new("large.yaml", text);
    let began = Instant::now();
    let tree = source.read().expect("a tree");
    let read = began.elapsed();
    drop(tree);
    let began = Instant::now();
    let doc = parse(source, &checks()).expect("a good runbook");
    let parsed = began.elapsed();
    let bound = doc.bind_for_lint().expect("values");
    let bind = began.elapsed();
    let problems = lint::lint(&doc, &bound, &facts);
    let linted = began.elapsed();
    let guards: usize = (0..steps)
        .filter(|at| bound.steps[*at].destroys.is_some())
        .map(|at| graph::guards(&bound, at).len())
        .sum();
    let all = began.elapsed();
    println!(
        "{steps:>6} steps {:>5.2} MB  total {:.3} s (tree {:.3}, parse {:.3}, bind {:.3}, lint {:.3}, guards {:.3})  \
         peak {:.0} MiB  {} problems  {guards} guards",
        bytes as f64 / 1e6,
        all.as_secs_f64(),
        read.as_secs_f64(),
        parsed.as_secs_f64(),
        (bind - parsed).as_secs_f64(),
        (linted - bind).as_secs_f64(),
        (all - linted).as_secs_f64(),
        peak_mib(),
        problems.len(),
    );
}

fn main() {
    for steps in [1_000, 2_500, 5_000, 10_000] {
        measure(steps);
    }
}
