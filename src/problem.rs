//! What is wrong with a text that somebody wrote, where, and what to do: data only, no rendering.

use std::ops::Range;

use serde::Serialize;

/// How bad a problem is. Errors stop `run`; warnings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The runbook cannot be run.
    Error,
    /// The runbook can be run, and probably should be better.
    Warning,
}

/// A place in a text, with a few words about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Byte range in the source text.
    pub range: Range<usize>,
    /// What is to be said at this place; may be empty.
    pub label: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code: `HP001`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The cause, in one line, without a full stop.
    pub message: String,
    /// Where: the first is the primary place. Empty only when the whole file is meant.
    pub places: Vec<Place>,
    /// What to do next; the nearest correct name, if there is one.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(code: &'static str, message: impl Into<String>, range: Range<usize>) -> Self {
        Problem {
            code,
            severity: Severity::Error,
            message: message.into(),
            places: vec![Place { range, label: String::new() }],
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, message: impl Into<String>, range: Range<usize>) -> Self {
        Problem { severity: Severity::Warning, ..Problem::error(code, message, range) }
    }

    /// Words at the primary place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(place) = self.places.first_mut() {
            place.label = label.into();
        }
        self
    }

    /// A second place that helps to understand the first.
    #[must_use]
    pub fn also(mut self, range: Range<usize>, label: impl Into<String>) -> Self {
        self.places.push(Place { range, label: label.into() });
        self
    }

    /// What to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
