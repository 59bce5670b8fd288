//! Limits on when and by whom: change windows, and the hooks that tell others. Only types; what they mean is decided in
//! `gate`, and who is told in `engine::notify`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::Span;

/// The most people other than the operator whom a runbook may ask for.
pub const MOST_APPROVALS: u32 = 9;

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// `mon`.
    pub fn word(self) -> &'static str {
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][self as usize]
    }
}

/// When steps that change something may begin. Outside it none begins; what runs already is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWindow {
    /// The days on which it opens.
    #[schemars(length(min = 1))]
    pub days: Vec<Weekday>,
    /// From when to when, by the clock of `timezone`: `09:00-15:00`. One that ends before it begins goes past midnight, and
    /// belongs to the day on which it opens.
    #[schemars(regex(pattern = r"^[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}$"))]
    pub hours: String,
    /// The time zone, as in `Europe/London`.
    pub timezone: String,
    /// Dates on which it does not open, as in `2026-12-24`.
    #[serde(default)]
    pub except: Vec<String>,
}

/// Somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// About what.
    #[schemars(length(min = 1))]
    pub on: Vec<Occasion>,
    /// Program and arguments, no shell. `${event.summary}`, `${event.kind}`, `${event.run}` and `${event.step}` stand for
    /// what happened; the same is in the environment, as HOLDPOINT_EVENT_SUMMARY and so on.
    #[schemars(length(min = 1), extend("items" = { "type": "string", "format": "hook" }))]
    pub run: Vec<String>,
    /// The longest it may take, at most 5min; 30s when not given. Then it is killed.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// What somebody may be told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A step failed, or no longer holds.
    Failed,
    /// Nobody knows how a step ended.
    InDoubt,
    /// A hold point refuses.
    Held,
    /// A person is waited for: an answer, an approval.
    Waiting,
    /// The run is offered to the next operator.
    Handoff,
    /// Every step is done.
    Completed,
    /// The run will not be finished.
    Abandoned,
}

impl Occasion {
    /// As it is written: `in_doubt`.
    pub fn word(self) -> &'static str {
        match self {
            Occasion::Failed => "failed",
            Occasion::InDoubt => "in_doubt",
            Occasion::Held => "held",
            Occasion::Waiting => "waiting",
            Occasion::Handoff => "handoff",
            Occasion::Completed => "completed",
            Occasion::Abandoned => "abandoned",
        }
    }
}

/// What `${event.…}` may name in a hook.
pub const EVENT_NAMES: [&str; 4] = ["event.summary", "event.kind", "event.run", "event.step"];

/// True for `${event.summary}` and its kin as written.
pub fn is_event_name(written: &str) -> bool {
    let name = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| EVENT_NAMES.contains(&name))
}
