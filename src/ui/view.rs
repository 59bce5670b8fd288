//! What screens know about the run: a shared snapshot that keeps itself up to date from the events it is told.

use std::sync::{Arc, PoisonError, RwLock};

use crate::base::StepId;
use crate::base::redact::Redactor;
use crate::engine::event::{Notice, Reporter};
use crate::engine::reverse::{self, Horizon};
use crate::engine::state::RunState;
use crate::runbook::{Runbook, Step};

/// The run as it is now.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The runbook, variables replaced.
    pub runbook: Arc<Runbook>,
    /// Where the run stands.
    pub state: RunState,
    /// Secret values, which are taken out of everything shown.
    pub secrets: Arc<Redactor>,
}

impl Snapshot {
    /// How far one can go back now.
    pub fn horizon(&self) -> Horizon {
        reverse::now(&self.runbook, &self.state)
    }

    /// A step and its place, from 1.
    pub fn step(&self, id: &StepId) -> Option<(usize, &Step)> {
        self.runbook.steps.iter().enumerate().find(|(_, step)| step.id == id.0).map(|(n, step)| (n + 1, step))
    }

    /// `step 4 of 12, copy`.
    pub fn place(&self, id: &StepId) -> String {
        match self.step(id) {
            Some((n, _)) => format!("step {n} of {}, {id}", self.runbook.steps.len()),
            None => format!("step {id}"),
        }
    }
}

/// A shared snapshot. Cheap to clone. As a [`Reporter`] it takes every line of the journal that it is told about; lines
/// that its state holds already change nothing.
#[derive(Debug, Clone)]
pub struct View(Arc<RwLock<Snapshot>>);

impl View {
    /// A view of a run.
    pub fn new(snapshot: Snapshot) -> View {
        View(Arc::new(RwLock::new(snapshot)))
    }

    /// Looks at it.
    pub fn read<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy.
    pub fn snapshot(&self) -> Snapshot {
        self.read(Clone::clone)
    }

    /// Changes it: a driver that keeps the state itself puts it here.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reporter for View {
    fn tell(&self, notice: &Notice) {
        if let Notice::Journal(line) = notice {
            self.update(|snapshot| {
                if line.seq > snapshot.state.seq {
                    snapshot.state.apply(line);
                }
            });
        }
    }
}

/// Tells several reporters, in order. A view goes first, so that the others see it up to date.
pub struct Fan(pub Vec<Arc<dyn Reporter>>);

impl Reporter for Fan {
    fn tell(&self, notice: &Notice) {
        self.0.iter().for_each(|reporter| reporter.tell(notice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::Status;
    use crate::ui::fixture::{failed_lines, snapshot};

    #[test]
    fn a_view_follows_the_journal_and_takes_each_line_once() {
        let lines = failed_lines();
        let view = View::new(snapshot(&lines[..6]));
        assert_eq!(view.read(|s| s.state.status(&"copy".into())), Status::Running);
        for line in &lines {
            view.tell(&Notice::Journal(line.clone()));
        }
        assert_eq!(view.read(|s| s.state.status(&"copy".into())), Status::Failed);
        assert_eq!(view.read(|s| s.state.remarks.len()), 1);
        view.tell(&Notice::Journal(lines[8].clone()));
        assert_eq!(view.read(|s| s.state.remarks.len()), 1, "known already");
        assert_eq!(view.read(|s| s.place(&"copy".into())), "step 2 of 4, copy");
    }
}
