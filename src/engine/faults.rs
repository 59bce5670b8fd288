//! What a fault rehearsal does to a session: a check is unknown, a command fails. Empty in every other session; no flag of
//! `run` or `resume` and no variable fills it.
//!
//! It can only make things worse: there is no way to say here that a check passes, nor to run anything else in the place
//! of a command.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CheckId, StepId};
use crate::journal::record::Purpose;

/// Says whether a check is to be unknown, when it is measured for this reason.
pub type ForcedUnknown = dyn Fn(&CheckId, Purpose) -> bool + Send + Sync;

/// Says how a step's command is to fail, if it is.
pub type ForcedFailure = dyn Fn(&StepId) -> Option<CommandFault> + Send + Sync;

/// The faults of a session.
#[derive(Clone, Default)]
pub struct Faults {
    /// Checks that are unknown.
    pub unknown: Option<Arc<ForcedUnknown>>,
    /// Commands that fail.
    pub command: Option<Arc<ForcedFailure>>,
}

/// How a command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFault {
    /// Exit status 1, and it never ran.
    Instead,
    /// It runs to its end; then exit status 1.
    After,
    /// It is killed with all of its processes after this time.
    Killed(Duration),
}

/// What a check that is made unknown says.
pub const UNKNOWN: &str = "not measured: a fault rehearsal makes it unknown";

impl Faults {
    /// Whether a check is to be unknown.
    pub fn makes_unknown(&self, check: &CheckId, purpose: Purpose) -> bool {
        self.unknown.as_ref().is_some_and(|forced| forced(check, purpose))
    }

    /// How the work of a step is to fail, if it is.
    pub fn of(&self, step: &StepId) -> Option<CommandFault> {
        self.command.as_ref().and_then(|forced| forced(step))
    }

    /// The command of a step as it is started: itself, or itself with its fault.
    pub fn argv(&self, step: &StepId, argv: Vec<String>) -> Vec<String> {
        match self.of(step) {
            None => argv,
            Some(fault) => fault.around(argv),
        }
    }
}

impl CommandFault {
    fn around(self, argv: Vec<String>) -> Vec<String> {
        let (script, value) = match self {
            CommandFault::Instead => {
                ("echo 'a fault rehearsal: the command fails and did not run' >&2; exit 1", String::new())
            }
            CommandFault::After => (
                "shift; \"$@\" || true; echo 'a fault rehearsal: the command ran, and fails' >&2; exit 1",
                String::new(),
            ),
            // Job control gives the command a process group of its own, which is killed as a whole.
            CommandFault::Killed(after) => (
                "set -m; after=$1; shift; \"$@\" & sleep \"$after\"; kill -KILL -- -$! 2>/dev/null || true; \
                 echo 'a fault rehearsal: the command was killed half-way' >&2; kill -KILL $$",
                format!("{:.3}", after.as_secs_f64()),
            ),
        };
        let shell = ["bash", "--noprofile", "--norc", "-c", script, "fault"].map(str::to_owned);
        shell.into_iter().chain([value]).chain(argv).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(fault: CommandFault, argv: &[&str]) -> (Option<i32>, String) {
        let argv = fault.around(argv.iter().map(|word| (*word).to_owned()).collect());
        let out = Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    #[test]
    fn a_command_fails_before_after_or_half_way() {
        assert_eq!(run(CommandFault::Instead, &["echo", "ran"]), (Some(1), String::new()));
        assert_eq!(run(CommandFault::After, &["printf", "%s", "a b;c"]), (Some(1), "a b;c".to_owned()));
        let half = CommandFault::Killed(Duration::from_millis(200));
        let (status, said) = run(half, &["bash", "-c", "echo begun; sleep 30; echo ended"]);
        assert_eq!((status, said.as_str()), (None, "begun\n"));
    }

    #[test]
    fn without_faults_nothing_changes() {
        let faults = Faults::default();
        assert_eq!(faults.argv(&"a".into(), vec!["true".to_owned()]), ["true"]);
        assert!(!faults.makes_unknown(&"a.pre.b".into(), Purpose::Guard));
    }
}
