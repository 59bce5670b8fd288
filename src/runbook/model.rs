//! A runbook as plain types. The JSON Schema that editors use and the loader's own validation come from these.
//!
//! No places here: a problem speaks in paths, and [`super::source`] knows where a path stands in the file.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::containers::Containers;
use super::limits::{ChangeWindow, Hook};
use super::space::Space;
use crate::base::{Span, StepId};

/// A whole runbook.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    /// Format version; this program reads version 1.
    #[schemars(range(min = 1, max = 1))]
    pub holdpoint: u32,
    /// Short name: lower-case letters, digits and hyphens. Runs are named after it.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub name: String,
    /// One line that says what the work is.
    #[serde(default)]
    pub title: Option<String>,
    /// Markdown, shown before the start.
    #[serde(default)]
    pub about: Option<String>,
    /// Values that differ from site to site.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": r"^[A-Za-z_][A-Za-z0-9_]{0,62}$" }))]
    pub vars: IndexMap<String, Variable>,
    /// What is measured and worked on.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" }))]
    pub targets: IndexMap<String, Target>,
    /// Places where this runbook is run; chosen with `--env`.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" }))]
    pub environments: IndexMap<String, Environment>,
    /// Who is told about what, by a command each.
    #[serde(default)]
    pub notify: Vec<Hook>,
    /// The work, in order. A runbook has it; a file of checks has `checks` instead.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// Instead of `steps`: checks alone, for `holdpoint check`. Such a file watches between maintenances what a runbook
    /// gates during them; it cannot be run.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub checks: Vec<CheckSpec>,
}

/// A value that differs from site to site. Without a default it must be given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The value when nothing else gives one.
    #[serde(default)]
    pub default: Option<String>,
    /// What it means, for the person who has to give it.
    #[serde(default)]
    pub help: Option<String>,
    /// Never shown, stored or passed on a command line. At least six characters.
    #[serde(default)]
    pub secret: bool,
    /// The environment variable of Holdpoint itself that gives the value when `--var` does not.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub env: Option<String>,
}

/// Something that is measured and worked on: a PostgreSQL database or an SQLite file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A PostgreSQL conninfo string or URL. Service files, .pgpass and PG* variables work as in psql.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<String>,
    /// With `postgres`: the Debian cluster, as `13/main`. Port and socket are then read from its configuration each
    /// time, so that a port that moves to another cluster cannot mislead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// With `postgres`: the data directory that the server must have. Lets a stopped cluster be measured, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_directory: Option<String>,
    /// An SQLite database file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<String>,
    /// A remote host. Not supported yet: refused in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The number of a transaction in which all sessions of this target are. Never in a file: a rehearsal sets it on a
    /// copy, to measure what it is about to undo.
    #[serde(skip)]
    pub within: Option<u64>,
}

/// A place where the runbook is run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Values for this place; they replace defaults, and `--var` replaces them.
    #[serde(default)]
    pub vars: IndexMap<String, String>,
    /// The operator types the environment's name at the start. Who last changed the runbook cannot approve here.
    #[serde(default)]
    pub protected: bool,
    /// Checks that prove that this is no protected place: a rehearsal measures them before its first step and as guards
    /// of every destructive one.
    #[serde(default)]
    pub proof: Vec<CheckSpec>,
    /// Makes this place as it was before a rehearsal: run before each repetition of a fault rehearsal. A list is argv, a
    /// string is a bash script.
    #[serde(default)]
    pub reset: Option<Run>,
    /// Host names or machine ids of the machines from which the work is done here. Elsewhere no run starts in it, and
    /// local addresses mean other objects.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// A run starts only with the receipt of a rehearsal that fits.
    #[serde(default)]
    pub rehearsal: Option<Demand>,
    /// How many people other than the operator must approve each step, or undoing, that destroys.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub approvals: Option<u32>,
    /// When steps that change something may begin.
    #[serde(default)]
    pub change_window: Option<ChangeWindow>,
    /// Approvals, waivers and handoffs must be signed with an SSH key that the store's allowed signers name.
    #[serde(default)]
    pub signed: bool,
}

/// Which rehearsal has to have passed before a run may start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// Where it was rehearsed: another environment of this runbook, which is not protected.
    pub environment: String,
    /// How long ago it may have ended.
    pub max_age: Span,
    /// The receipt has to be signed by an allowed signer.
    #[serde(default)]
    pub signed: bool,
    /// Steps that need not have been rehearsed, or only in part: a person's work, a watch that takes too long.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "format": "step-from" }))]
    pub not_rehearsed: Vec<String>,
    /// It has to have been shown that every guard of a destructive step can fail.
    #[serde(default)]
    pub falsified: bool,
}

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

/// May a step's work be repeated?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rerun {
    /// Without asking.
    Safe,
    /// A person decides, with a reason.
    #[default]
    Ask,
    /// Not at all: undo it or abandon the run.
    Never,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Program and arguments, no shell.
    Argv(Vec<String>),
    /// A bash script; variables reach it as environment variables, never as text.
    Script(String),
}

/// Statements for a target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The target they run on.
    #[schemars(extend("format" = "target"))]
    pub target: String,
    /// The statements, in order.
    #[schemars(length(min = 1))]
    pub statements: Vec<String>,
    /// How many rows they may insert, update and delete, all together, by triggers and foreign keys too. With it they run
    /// in one transaction, which is rolled back when it affects fewer or more.
    #[serde(default)]
    pub affects: Option<Affects>,
}

/// How many rows statements may affect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affects {
    /// At least so many; 1 when not given.
    #[serde(default)]
    pub at_least: Option<u64>,
    /// At most so many.
    pub at_most: u64,
}

impl Affects {
    /// True when so many rows are meant.
    pub fn allows(&self, rows: u64) -> bool {
        (self.at_least.unwrap_or(1)..=self.at_most).contains(&rows)
    }
}

impl std::fmt::Display for Affects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at_least.unwrap_or(1) {
            least if least == self.at_most => write!(f, "exactly {least}"),
            least => write!(f, "{least} to {}", self.at_most),
        }
    }
}

/// Instructions for a person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// Markdown: what to do.
    pub instructions: String,
    /// A question whose answer is kept in the log; without it the operator only confirms.
    #[serde(default)]
    pub observe: Option<String>,
}

/// A manifest to compare with later.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The target that is measured: every table's rows and contents, sequences, and the catalogue.
    #[schemars(extend("format" = "target"))]
    pub target: String,
    /// The name that checks use in `recorded`.
    #[serde(rename = "as")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub name: String,
}

/// A watch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soak {
    /// How long the invariants must hold. The clock survives restarts, stands still while one of them is unknown, and
    /// starts again at zero on a failure.
    #[serde(rename = "for")]
    pub length: Span,
    /// How often they are measured.
    pub every: Span,
    /// How long they must hold in a rehearsal instead; its receipt then says that the watch was shortened.
    #[serde(default)]
    pub rehearse_for: Option<Span>,
}

/// What a destructive step destroys. In short form only the text that the operator types.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub struct Destroys {
    /// The text that the operator types.
    pub what: String,
    /// The target that goes: its directories, tablespaces, WAL, configuration, databases and rows are measured. With
    /// `database`, `tables` or `indexes` only that part of it goes, and the server may run.
    pub target: Option<String>,
    /// The database of the target that goes; with `tables` or `indexes`, the one that they are in.
    pub database: Option<String>,
    /// Tables and materialized views that go: `schema.name`.
    pub tables: Vec<String>,
    /// Indexes that go: `schema.name`. They hold nothing that their table does not.
    pub indexes: Vec<String>,
    /// Files and directories that go.
    pub paths: Vec<String>,
    /// Containers that go, with what was written into them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
    /// The target that holds the data from then on; it must be proved by a data check among the guards.
    pub survives_in: Option<String>,
}

impl Destroys {
    /// True when only a part of the target goes: a database, tables or indexes of a server that goes on.
    pub fn part(&self) -> bool {
        self.database.is_some() || self.relations()
    }

    /// True when only tables or indexes go.
    pub fn relations(&self) -> bool {
        !self.tables.is_empty() || !self.indexes.is_empty()
    }

    /// True when nothing goes but indexes: they can be built again from their tables.
    pub fn only_indexes(&self) -> bool {
        !self.indexes.is_empty()
            && self.tables.is_empty()
            && self.paths.is_empty()
            && self.containers.is_none()
    }

    /// True when nothing is named that could be measured.
    pub fn unnamed(&self) -> bool {
        self.target.is_none() && self.paths.is_empty() && self.containers.is_none()
    }

    /// True when nothing goes but containers.
    pub fn only_containers(&self) -> bool {
        self.containers.is_some() && self.target.is_none() && self.paths.is_empty()
    }

    /// The target whose data goes, whole or in part, so that somebody else has to hold them.
    pub fn data_of(&self) -> Option<&String> {
        let data = !self.tables.is_empty() || self.indexes.is_empty();
        self.target.as_ref().filter(|_| data)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DestroysLong {
    /// The text that the operator types.
    #[schemars(extend("format" = "confirmation"))]
    what: String,
    /// The target that goes: its directories, tablespaces, WAL, configuration, databases and rows are measured. With
    /// `database`, `tables` or `indexes` only that part of it goes, and the server may run.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The database of the target that goes; with `tables` or `indexes`, the one that they are in.
    #[serde(default)]
    database: Option<String>,
    /// Tables and materialized views that go: `schema.name`.
    #[serde(default)]
    tables: Vec<String>,
    /// Indexes that go: `schema.name`. They hold nothing that their table does not.
    #[serde(default)]
    indexes: Vec<String>,
    /// Files and directories that go.
    #[serde(default)]
    paths: Vec<String>,
    /// Containers that go, with what was written into them.
    #[serde(default)]
    containers: Option<Containers>,
    /// The target that holds the data from then on; a data check among the guards must prove it.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    survives_in: Option<String>,
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

/// What an invariant does when it no longer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnViolation {
    /// Pauses the command (SIGSTOP to its group) and asks.
    Pause,
    /// Stops the command: TERM, grace, KILL; the step has failed.
    #[default]
    Stop,
    /// Only says so.
    Alert,
}

/// Keys that every check takes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCommon {
    /// A name of your own, unique in the step; needed when a step has the same check twice.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub id: Option<String>,
    /// What it shows, in one line.
    #[serde(default)]
    pub title: Option<String>,
    /// The longest the measurement may take; then the verdict is unknown.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Postconditions only: need not hold once this step has begun.
    #[serde(default)]
    #[schemars(extend("format" = "step"))]
    pub until: Option<String>,
    /// Postconditions only: how long it may take, after the step's work has ended, until it passes. Until then it is
    /// measured again every few seconds; 1s to 1h.
    #[serde(default)]
    pub wait_up_to: Option<Span>,
    /// May a second person waive it although it guards a destructive step?
    #[serde(default)]
    pub waivable: bool,
    /// Shown, never a gate. Not allowed on a guard of a destructive step.
    #[serde(default)]
    pub advisory: bool,
    /// Invariants only: what happens when it no longer holds.
    #[serde(default)]
    pub on_violation: Option<OnViolation>,
    /// Invariants only: how often it is measured; 10s when not given.
    #[serde(default)]
    pub every: Option<Span>,
    /// How a rehearsal breaks what the check measures, to show that it can fail, and how that is undone.
    #[serde(default)]
    pub falsify: Option<Falsify>,
}

/// Breaks what a check measures, on staging and nowhere else: then the check has to fail. Undone in any case, and it has
/// to pass again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Falsify {
    /// What breaks it. A list is argv, a string is a bash script.
    pub run: Run,
    /// What brings it back, also when `run` got half-way or nowhere.
    pub undo: Run,
    /// The longest that each of them may take; 10min when not given.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The user that they run as.
    #[serde(default)]
    pub user: Option<String>,
}

/// The names of [`CheckCommon`]'s keys.
pub const COMMON_KEYS: [&str; 10] = [
    "id",
    "title",
    "timeout",
    "until",
    "wait_up_to",
    "waivable",
    "advisory",
    "on_violation",
    "every",
    "falsify",
];

/// A check as written: a map with one key, its name; inside stand its own parameters and the common ones.
#[derive(Debug, Clone)]
pub struct CheckSpec {
    /// The check's name, as in `holdpoint checks`.
    pub kind: String,
    /// Keys that every check takes.
    pub common: CheckCommon,
    /// Its own parameters, variables already replaced.
    pub params: Map<String, Value>,
}

impl<'de> Deserialize<'de> for CheckSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = CheckSpec;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(ONE_KEY)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CheckSpec, A::Error> {
                let Some(kind) = map.next_key::<String>()? else { return Err(A::Error::custom(ONE_KEY)) };
                let (common, params) = map.next_value_seed(Body(&kind))?;
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(CheckSpec { kind, common, params }),
                    Some(_) => Err(A::Error::custom(ONE_KEY)),
                }
            }
        }
        deserializer.deserialize_map(Named)
    }
}

const ONE_KEY: &str = "a check is a map with one key, its name";

/// The parameters of the check with this name, sorted into common ones and its own.
struct Body<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = (CheckCommon, Map<String, Value>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = (CheckCommon, Map<String, Value>);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the parameters of `{}`, a map", self.0)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Default::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut common, mut params) = (CheckCommon::default(), Map::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => common.id = map.next_value()?,
                "title" => common.title = map.next_value()?,
                "timeout" => common.timeout = map.next_value()?,
                "until" => common.until = map.next_value()?,
                "wait_up_to" => common.wait_up_to = map.next_value()?,
                "waivable" => common.waivable = map.next_value()?,
                "advisory" => common.advisory = map.next_value()?,
                "on_violation" => common.on_violation = map.next_value()?,
                "every" => common.every = map.next_value()?,
                "falsify" => common.falsify = map.next_value()?,
                _ => {
                    params.insert(key, map.next_value()?);
                }
            }
        }
        Ok((common, params))
    }
}

impl JsonSchema for CheckSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Check".into()
    }

    /// A placeholder: [`super::schema`] replaces it by the catalogue's checks with their parameters.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "minProperties": 1, "maxProperties": 1 })
    }
}

/// Reads a string or something longer, by a visitor, so that an error keeps its place.
macro_rules! string_or {
    ($type:ty, $expecting:literal, $from_str:expr, seq: $seq:ty => $from_seq:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        Ok($from_str(text.to_owned()))
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<$type, A::Error> {
                        <$seq>::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map($from_seq)
                    }
                }
                deserializer.deserialize_any(V)
            }
        }
    };
    ($type:ty, $expecting:literal, $from_str:expr, map: $map:ty => $from_map:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        Ok($from_str(text.to_owned()))
                    }
                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$map>::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map($from_map)
                    }
                }
                deserializer.deserialize_any(V)
            }
        }
    };
}

string_or!(Run, "a list (argv) or a string (a bash script)", Run::Script, seq: Vec<String> => Run::Argv);
string_or!(
    Destroys, "the text to type, or a map with `what`",
    |what| Destroys { what, ..Destroys::default() },
    map: DestroysLong => |long| Destroys {
        what: long.what, target: long.target, database: long.database, tables: long.tables,
        indexes: long.indexes, paths: long.paths, containers: long.containers, survives_in: long.survives_in,
    }
);

impl JsonSchema for Run {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Run".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list is argv (no shell); a string is a bash script, run with -euo pipefail.",
            "anyOf": [
                { "type": "string", "minLength": 1, "format": "script" },
                { "type": "array", "minItems": 1, "items": { "type": "string", "format": "argv" } },
            ],
        })
    }
}

impl JsonSchema for Destroys {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destroys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<DestroysLong>();
        json_schema!({
            "description": "Makes the step destructive. The operator types this text, or `what` of the long form.",
            "anyOf": [ { "type": "string", "minLength": 1, "format": "confirmation" }, long ],
        })
    }
}
