//! What it costs to start, to take a step, and to measure a check; each beside its floor, in turn.
//!
//! `cargo bench --bench start`; HOLDPOINT_BENCH_DIR names a folder on the disk to measure. Goals: start-up under 10 ms; a
//! command step within 1.5 times fork and exec and the flushes that it makes; a file-like check under 20 µs of its own.
//! Flushes are counted by `strace`; without it, that line says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdpoint::base::CheckId;
use holdpoint::check::{Context, Verdict, measure};
use holdpoint::runbook::CheckSpec;
use holdpoint::world::World;
use rustix::time::{ClockId, clock_gettime};

const HOLDPOINT: &str = env!("CARGO_BIN_EXE_holdpoint");
/// A run of so many steps is compared with one of a few, so that what a run costs once is left out.
const FEW: usize = 5;
const MANY: usize = 45;

fn main() {
    let root =
        std::env::var("HOLDPOINT_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let tmp = tempfile::tempdir_in(root).unwrap();
    startup(tmp.path());
    steps(tmp.path(), "on disk");
    // Where a flush costs nothing: what is left is ours.
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        steps(memory.path(), "in memory");
    }
    checks(tmp.path());
}

fn startup(place: &Path) {
    let store = place.join("store");
    let book = runbook(place, 2);
    run(&store, &book);
    let store = store.to_str().unwrap();
    let small = book.to_str().unwrap();
    let what: [(&str, &[&str]); 4] = [
        ("/bin/true", &[]),
        (HOLDPOINT, &["--version"]),
        (HOLDPOINT, &["--store", store, "runs"]),
        (HOLDPOINT, &["lint", small]),
    ];
    let mut wall = vec![Vec::new(); what.len()];
    let mut cpu = vec![0.0; what.len()];
    const BURST: usize = 20;
    for _ in 0..10 {
        for (nth, (program, arguments)) in what.iter().enumerate() {
            let before = children_cpu();
            for _ in 0..BURST {
                let begun = Instant::now();
                let done = quiet(program, arguments).status().unwrap();
                wall[nth].push(begun.elapsed());
                assert!(done.success(), "{program} {arguments:?}");
            }
            cpu[nth] += children_cpu() - before;
        }
    }
    for (nth, (program, arguments)) in what.iter().enumerate() {
        let label = match arguments.last() {
            None => (*program).to_owned(),
            Some(_) => format!(
                "holdpoint {}",
                arguments.iter().find(|a| !a.contains(['/']) && **a != "--store").unwrap()
            ),
        };
        println!(
            "start: {label:<20} {:>6.2} ms, {:>5.2} ms of processor time (goal 10)",
            ms(median(&mut wall[nth])),
            cpu[nth] * 1e3 / (10 * BURST) as f64,
        );
    }
}

/// Runs of few and of many steps, the shell's fork and exec, and a bare flush, in turn.
fn steps(place: &Path, label: &str) {
    let (few, many) = (runbook(place, FEW), runbook(place, MANY));
    let more = (MANY - FEW) as f64;
    let mut raw = OpenOptions::new().create(true).append(true).open(place.join("raw")).unwrap();
    let line = vec![b'x'; 700];
    let (mut ours, mut cpu, mut floor, mut flush) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut shell_cpu, mut whole) = (Vec::new(), Vec::new());
    for round in 0..9 {
        let one = |book: &Path, name: &str| {
            let store = place.join(format!("{name}-{round}"));
            let before = children_cpu();
            let took = run(&store, book);
            fs::remove_dir_all(store).unwrap();
            (took, children_cpu() - before)
        };
        let (short, short_cpu) = one(&few, "few");
        let (long, long_cpu) = one(&many, "many");
        ours.push((ms(long) - ms(short)) / more);
        cpu.push((long_cpu - short_cpu) * 1e3 / more);
        whole.push(ms(short));
        let loops = 100;
        let script = format!("i=0; while [ $i -lt {loops} ]; do /bin/true; i=$((i+1)); done");
        let before = children_cpu();
        let begun = Instant::now();
        assert!(quiet("/bin/sh", &["-c", &script]).status().unwrap().success());
        floor.push(ms(begun.elapsed()) / f64::from(loops));
        shell_cpu.push((children_cpu() - before) * 1e3 / f64::from(loops));
        let begun = Instant::now();
        for _ in 0..40 {
            raw.write_all(&line).unwrap();
            raw.sync_data().unwrap();
        }
        flush.push(ms(begun.elapsed()) / 40.0);
    }
    let middle = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (ours, cpu, floor, flush) = (middle(ours), middle(cpu), middle(floor), middle(flush));
    println!(
        "step {label}: {ours:.2} ms, {cpu:.2} ms of processor time; the shell's fork and exec {floor:.2} ms \
         ({:.2}); a bare append and flush {flush:.3} ms; a whole run of {FEW} steps {:.1} ms",
        middle(shell_cpu),
        middle(whole),
    );
    let Some(each) = flushes(place, &few).zip(flushes(place, &many)).map(|(few, many)| {
        let each = |nth: usize| (many[nth] - few[nth]) / more;
        (each(0), each(1))
    }) else {
        println!("step {label}: `strace` is not there, so flushes are not counted");
        return;
    };
    let (data, full) = each;
    let count = data + full;
    println!(
        "step {label}: {count:.1} flushes a step ({data:.1} of the journal); with fork and exec once that is a floor of \
         {:.2} ms: ratio {:.2} (goal 1.50); with the supervisor's own fork and exec {:.2} ms: ratio {:.2}",
        floor + count * flush,
        ours / (floor + count * flush),
        2.0 * floor + count * flush,
        ours / (2.0 * floor + count * flush),
    );
}

/// How often a run flushes: data only (the journal), and all (files and folders).
fn flushes(place: &Path, book: &Path) -> Option<[f64; 2]> {
    let (store, trace) = (place.join("traced"), place.join("trace"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(HOLDPOINT).args(["--non-interactive", "--store"]).arg(&store).arg("run").arg(book);
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    assert!(done.success());
    fs::remove_dir_all(store).unwrap();
    let text = fs::read_to_string(trace).unwrap();
    let count = |call: &str| text.lines().filter(|line| line.contains(call)).count() as f64;
    Some([count(" fdatasync("), count(" fsync(")])
}

/// 1 000 `file` checks at once.
fn checks(place: &Path) {
    const COUNT: usize = 1000;
    let file = place.join("there");
    fs::write(&file, "x").unwrap();
    let spec: CheckSpec = serde_json::from_value(serde_json::json!({ "file": { "path": file } })).unwrap();
    let named: Vec<_> = (0..COUNT).map(|nth| (CheckId(format!("s.post.file-{nth}")), &spec)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cx = Context::local(World::local());
    let (mut ours, mut cpu, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        let (begun, before) = (Instant::now(), own_cpu());
        let evidence = runtime.block_on(measure::measure_all(&named, &cx));
        ours.push(begun.elapsed());
        cpu.push(own_cpu() - before);
        assert!(evidence.iter().all(|e| e.verdict() == Verdict::Pass));
        let begun = Instant::now();
        for _ in 0..COUNT {
            let meta = fs::metadata(&file).unwrap();
            assert!(meta.is_file() && fs::canonicalize(&file).is_ok());
        }
        bare.push(begun.elapsed());
    }
    let each = |all: &mut Vec<Duration>| median(all).as_secs_f64() * 1e6 / COUNT as f64;
    println!(
        "checks: {COUNT} `file` checks, each {:.1} µs, {:.1} µs of processor time (goal 20); stat and realpath alone {:.1} µs",
        each(&mut ours),
        each(&mut cpu),
        each(&mut bare),
    );
    let mut text = String::from("holdpoint: 1\nname: checks\nsteps:\n");
    for nth in 0..COUNT {
        let path = file.display();
        writeln!(text, "  - id: s{nth}\n    record: {{ target: t, as: r{nth} }}\n    preconditions:\n      - file: {{ path: \"{path}\" }}")
            .unwrap();
    }
    text = text.replacen("steps:", "targets: { t: { sqlite: /nowhere } }\nsteps:", 1);
    let book = place.join("checks.yaml");
    fs::write(&book, text).unwrap();
    let book = book.to_str().unwrap();
    let mut wall: Vec<Duration> = (0..7)
        .map(|_| {
            let begun = Instant::now();
            assert!(quiet(HOLDPOINT, &["check", book]).status().unwrap().success());
            begun.elapsed()
        })
        .collect();
    println!(
        "checks: `holdpoint check` of {COUNT} `file` checks: {:.0} ms in all (goal 1000)",
        ms(median(&mut wall))
    );
}

/// A runbook of steps that do nothing, each with a postcondition.
fn runbook(place: &Path, steps: usize) -> PathBuf {
    let mut text = String::from("holdpoint: 1\nname: steps\nsteps:\n");
    for nth in 0..steps {
        writeln!(
            text,
            "  - id: s{nth}\n    run: [/bin/true]\n    timeout: 1min\n    postconditions:\n      - file: {{ path: /bin/true }}"
        )
        .unwrap();
    }
    let path = place.join(format!("steps-{steps}.yaml"));
    fs::write(&path, text).unwrap();
    path
}

fn run(store: &Path, book: &Path) -> Duration {
    let arguments = ["--non-interactive", "--store", store.to_str().unwrap(), "run", book.to_str().unwrap()];
    let begun = Instant::now();
    let done = quiet(HOLDPOINT, &arguments).status().unwrap();
    let took = begun.elapsed();
    assert!(done.success(), "{arguments:?}");
    took
}

fn quiet(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Seconds of processor time of all children that have ended; in steps of 10 ms.
fn children_cpu() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(13).take(2).map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn own_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
