//! A step, and the work that undoes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckSpec, Destroys, Manual, Record, Repeat, Rerun, Run, Soak, Sql};
use crate::base::{Span, StepId};
use crate::runbook::limits::ChangeWindow;
use crate::runbook::space::Space;

/// One unit of work: exactly one of `run`, `sql`, `manual`, `record`, `soak`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the runbook: lower-case letters, digits and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub id: String,
    /// One line that says what happens.
    #[serde(default)]
    pub title: Option<String>,
    /// Markdown: what to know, what to watch, what to do when it goes wrong.
    #[serde(default)]
    pub guide: Option<String>,
    /// Must pass before the step begins.
    #[serde(default)]
    pub preconditions: Vec<CheckSpec>,
    /// Measured again and again while the step runs.
    #[serde(default)]
    pub invariants: Vec<CheckSpec>,
    /// Must pass after the step, and from then on until the step named by `until` begins.
    #[serde(default)]
    pub postconditions: Vec<CheckSpec>,
    /// A command: a list is argv, a string is a bash script (run with -euo pipefail).
    #[serde(default)]
    pub run: Option<Run>,
    /// SQL statements for a target, in order; each in its own transaction unless the text says otherwise.
    #[serde(default)]
    pub sql: Option<Sql>,
    /// Instructions for a person, who confirms that they were carried out.
    #[serde(default)]
    pub manual: Option<Manual>,
    /// Measures a manifest of a target now and keeps it, to compare with later.
    #[serde(default)]
    pub record: Option<Record>,
    /// Waits and watches: the invariants must hold for this long.
    #[serde(default)]
    pub soak: Option<Soak>,
    /// The longest the work may take. Then TERM, a grace period, KILL.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Extra environment variables for the command.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub env: BTreeMap<String, String>,
    /// Working directory of the command; `/` when not given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The user that the command runs as.
    #[serde(default)]
    pub user: Option<String>,
    /// May the work be repeated? `safe`: without asking; `ask`: a person decides; `never`.
    #[serde(default)]
    pub rerun: Rerun,
    /// False for work that changes nothing, so that nothing has to be undone when going back past it.
    #[serde(default)]
    pub changes: Option<bool>,
    /// Targets that this work makes anew: their identity is pinned again once it has run.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "format": "target" }))]
    pub creates: Vec<String>,
    /// Room on disks that the work takes or gives back; `plan` adds it up over all steps.
    #[serde(default)]
    pub space: Vec<Space>,
    /// Makes the step destructive: what is destroyed, which the operator types.
    #[serde(default)]
    pub destroys: Option<Destroys>,
    /// Commands that look as if they destroyed, and do not: with the reason. Not for what destroys for certain.
    #[serde(default)]
    pub harmless: Vec<Harmless>,
    /// How many people other than the operator must approve what this step, or its undoing, destroys. Where the environment
    /// asks for more, that counts.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub approvals: Option<u32>,
    /// When the step may begin, besides the environment's own window: both must be open.
    #[serde(default)]
    pub change_window: Option<ChangeWindow>,
    /// Work that undoes the step.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// Stands in for a manual step when nobody is there (rehearsal).
    #[serde(default)]
    pub rehearse: Option<Run>,
    /// Keeps the one line that the command printed, standard error included, as a variable for later steps.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub capture: Option<String>,
    /// The one line that the command prints is what was observed: it stands in for a person who would have looked.
    #[serde(skip)]
    #[schemars(skip)]
    pub observes: bool,
}

/// What a step does, one of five.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// A command.
    Run(&'a Run),
    /// SQL statements.
    Sql(&'a Sql),
    /// A person.
    Manual(&'a Manual),
    /// A manifest.
    Record(&'a Record),
    /// A watch.
    Soak(&'a Soak),
}

impl Work<'_> {
    /// The key it is written with.
    pub fn word(&self) -> &'static str {
        match self {
            Work::Run(_) => "run",
            Work::Sql(_) => "sql",
            Work::Manual(_) => "manual",
            Work::Record(_) => "record",
            Work::Soak(_) => "soak",
        }
    }
}

impl Step {
    /// The step's id as a type.
    pub fn key(&self) -> StepId {
        StepId(self.id.clone())
    }

    /// The title, or the id when there is none.
    pub fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.id)
    }

    /// The work. A loaded runbook has exactly one; [`super::load`] refuses others, so this falls back to nothing only
    /// for a step that was never validated.
    pub fn work(&self) -> Option<Work<'_>> {
        let all = [
            self.run.as_ref().map(Work::Run),
            self.sql.as_ref().map(Work::Sql),
            self.manual.as_ref().map(Work::Manual),
            self.record.as_ref().map(Work::Record),
            self.soak.as_ref().map(Work::Soak),
        ];
        let mut given = all.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }

    /// What the step's work destroys, or with `undo` its rollback.
    pub fn destroying(&self, undo: bool) -> Option<&Destroys> {
        if undo { self.undoing()?.destroys.as_ref() } else { self.destroys.as_ref() }
    }

    /// The rollback, where one can help: nothing undoes a step that destroys, except one that drops indexes only.
    pub fn undoing(&self) -> Option<&Rollback> {
        let lost = self.destroys.as_ref().is_some_and(|destroys| !destroys.only_indexes());
        self.rollback.as_ref().filter(|_| !lost)
    }

    /// True when the step may change something: `run`, `sql` and `manual` do unless they say `changes: false`.
    pub fn changes_something(&self) -> bool {
        self.changes.unwrap_or(!matches!(self.work(), Some(Work::Record(_) | Work::Soak(_))))
    }
}

/// Work that undoes a step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// What to know.
    #[serde(default)]
    pub guide: Option<String>,
    /// Must pass before the step is undone.
    #[serde(default)]
    pub preconditions: Vec<CheckSpec>,
    /// Makes the undoing destructive: what it destroys, which the operator types. Then it needs preconditions.
    #[serde(default)]
    pub destroys: Option<Destroys>,
    /// Commands of the undoing that look as if they destroyed, and do not: with the reason.
    #[serde(default)]
    pub harmless: Vec<Harmless>,
    /// A command.
    #[serde(default)]
    pub run: Option<Run>,
    /// SQL statements.
    #[serde(default)]
    pub sql: Option<Sql>,
    /// Instructions for a person.
    #[serde(default)]
    pub manual: Option<Manual>,
    /// The longest it may take.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Extra environment variables.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$" }))]
    pub env: BTreeMap<String, String>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The user that the command runs as.
    #[serde(default)]
    pub user: Option<String>,
    /// May it be repeated when it ended well and left what it should have undone? `safe`: without asking; `ask`: a person
    /// decides.
    #[serde(default)]
    pub rerun: Repeat,
    /// Must pass afterwards.
    #[serde(default)]
    pub postconditions: Vec<CheckSpec>,
}

impl Rollback {
    /// The work; `None` for one that was never validated.
    pub fn work(&self) -> Option<Work<'_>> {
        let all = [
            self.run.as_ref().map(Work::Run),
            self.sql.as_ref().map(Work::Sql),
            self.manual.as_ref().map(Work::Manual),
        ];
        let mut given = all.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

/// A command that looks as if it destroyed, and does not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Harmless {
    /// The whole command as it stands in the work, from its name to its last argument.
    #[schemars(length(min = 1), extend("format" = "script"))]
    pub text: String,
    /// Why nothing of value goes. `plan` shows it.
    #[schemars(length(min = 1), extend("format" = "script"))]
    pub because: String,
}
