//! Reads, judges, binds, lints and plans a runbook of 10 000 steps (about 4.2 MB), and finds the guards of its hold points.
//! `cargo bench --bench runbook`; the goal is 0.3 s and 100 MiB in all, and costs that grow linearly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use holdpoint::check::{DataProof, ProofSource};
use holdpoint::lint::{self, CheckFacts};
use holdpoint::report::plan;
use holdpoint::runbook::CheckSpec;
use holdpoint::runbook::graph;
use holdpoint::runbook::load::parse;
use holdpoint::runbook::schema::CheckSchema;
use holdpoint::runbook::source::Source;
use rustix::time::{ClockId, clock_gettime};
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
    let proves = (spec.kind == "data_matches").then(|| DataProof {
        of: ProofSource::Target(text("source")),
        held_by: text("target"),
        databases: vec![],
        tables: vec![],
    });
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

/// Seconds of the clock and of the processor since the last look.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Watch {
        Watch(Instant::now(), cpu())
    }

    fn lap(&mut self) -> [f64; 2] {
        let Watch(wall, used) = std::mem::replace(self, Watch::start());
        [(self.0 - wall).as_secs_f64(), (self.1 - used).as_secs_f64()]
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

const STAGES: [&str; 5] = ["parse", "bind", "lint", "guards", "plan"];

/// Each stage's seconds; and the peak of memory before anything but this was done.
fn once(text: &str, steps: usize) -> [[f64; 2]; 5] {
    let source = Source::new("large.yaml", text);
    let checks = checks();
    let mut watch = Watch::start();
    let doc = parse(source, &checks).expect("a good runbook");
    let parsed = watch.lap();
    let bound = doc.bind_for_lint().expect("values");
    let made = watch.lap();
    let problems = lint::lint(&doc, &bound, &facts);
    assert!(problems.is_empty(), "{problems:?}");
    let linted = watch.lap();
    let guards: usize = (0..steps)
        .filter(|at| bound.steps[*at].destroys.is_some())
        .map(|at| graph::guards(&bound, at).len())
        .sum();
    assert!(guards >= steps / 1000);
    let guarded = watch.lap();
    let plan = plan::plan(&bound, Vec::new());
    assert_eq!(plan.steps.len(), steps);
    [parsed, made, linted, guarded, watch.lap()]
}

/// The best of some rounds, beside libyaml's bare reading of the same text (no places, no rules, no types) in turn.
fn measure(steps: usize) {
    let text = runbook(steps);
    let mut best = [[f64::MAX; 2]; 6];
    let mut peak = 0.0;
    for round in 0..5 {
        let stages = once(&text, steps);
        if round == 0 {
            peak = peak_mib();
        }
        let mut watch = Watch::start();
        let node: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let bare = watch.lap();
        drop(node);
        let total = [0, 1].map(|of| stages.iter().map(|stage| stage[of]).sum::<f64>());
        if total[0] < best[0][0] {
            best[0][0] = total[0];
            (0..5).for_each(|nth| best[nth][1] = stages[nth][0]);
        }
        best[5] = [best[5][0].min(bare[0]), best[5][1].min(bare[1])];
        best[1][0] = best[1][0].min(total[1]);
    }
    let stages: Vec<String> =
        STAGES.iter().zip(best).map(|(name, stage)| format!("{name} {:.3}", stage[1])).collect();
    let (wall, used, bare) = (best[0][0], best[1][0], best[5]);
    println!(
        "{steps:>6} steps {:>5.2} MB: {wall:.3} s ({}), {used:.3} s of processor time, peak {peak:.0} MiB (goals 0.3 s, 100 MiB); \
         libyaml into a value {:.3} s ({:.3}): ratio {:.2} ({:.2})",
        text.len() as f64 / 1e6,
        stages.join(", "),
        bare[0],
        bare[1],
        wall / bare[0],
        used / bare[1],
    );
}

fn main() {
    // Peaks only grow: each size is a process of its own.
    if let Some(steps) = std::env::args().nth(1).and_then(|steps| steps.parse().ok()) {
        return measure(steps);
    }
    for steps in ["1000", "2500", "5000", "10000"] {
        let itself = std::env::current_exe().unwrap();
        assert!(std::process::Command::new(itself).arg(steps).status().unwrap().success());
    }
}
