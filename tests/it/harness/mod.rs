//! What the tests share: a registry that knows what each test needs, sandboxes, clusters, terminals.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Running as root.
    Root,
    /// Loop devices and mount.
    Mount,
    /// PostgreSQL 15 (Debian 12's own).
    Pg15,
    /// PostgreSQL 13.
    Pg13,
    /// Debian's pg_upgradecluster and friends.
    PgCommon,
}

impl Need {
    /// Why the machine does not have it; `None` when it has.
    fn missing(self) -> Option<String> {
        match self {
            Need::Root | Need::Mount => (!rustix_is_root()).then(|| "needs root".to_owned()),
            Need::Pg15 => absent("/usr/lib/postgresql/15/bin/postgres"),
            Need::Pg13 => super::harness::pg13_bin().is_none().then(|| "PostgreSQL 13 is not unpacked".to_owned()),
            Need::PgCommon => absent("/usr/bin/pg_upgradecluster"),
        }
    }
}

fn absent(path: &str) -> Option<String> {
    (!std::path::Path::new(path).exists()).then(|| format!("{path} is not there"))
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false)
}

/// The programs of PostgreSQL 13, where `tests/run.sh` put them.
pub fn pg13_bin() -> Option<std::path::PathBuf> {
    let root = std::env::var_os("HOLDPOINT_TEST_PG13")?;
    let bin = std::path::PathBuf::from(root);
    bin.join("postgres").exists().then_some(bin)
}

/// All tests.
#[derive(Default)]
pub struct Registry {
    trials: Vec<Trial>,
}

impl Registry {
    /// Adds a test that needs `needs`.
    pub fn add(&mut self, name: &str, needs: &[Need], test: impl FnOnce() + Send + 'static) {
        let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
        let trial = Trial::test(name, move || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_else(|| "panicked".to_owned());
                Failed::from(text)
            })
        });
        if missing.is_empty() {
            self.trials.push(trial);
        } else {
            eprintln!("SKIPPED {name}: {}", missing.join("; "));
            self.trials.push(trial.with_ignored_flag(true));
        }
    }

    /// Runs them as the arguments say.
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code()
    }
}
