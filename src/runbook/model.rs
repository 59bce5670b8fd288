//! A runbook as plain types. The JSON Schema that editors use and the loader's own validation come from these.
//!
//! No places here: a problem speaks in paths, and [`super::source`] knows where a path stands in the file.

mod check;
mod destroys;
mod either;
mod step;
mod work;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{ChangeWindow, Hook};
use crate::base::Span;

pub use check::{COMMON_KEYS, CheckCommon, CheckSpec, Falsify, OnViolation};
pub use destroys::Destroys;
pub use step::{Harmless, Rollback, Step, Work};
pub use work::{Affects, Manual, Record, Repeat, Rerun, Run, Soak, Sql};

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
