//! One difference, ready to be said.

/// Kinds of difference, worst first: the headline is the first of the worst kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A table, or rows of one, are not in the target.
    Missing,
    /// Rows are not what they were.
    Contents,
    /// A sequence would give values again.
    Sequence,
    /// A column is not what it was.
    Column,
    /// An index, constraint, trigger, view, function or the like is missing, changed, or does not work.
    Object,
    /// The target has more than the source.
    Extra,
    /// Roles, locale and the like.
    Other,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub class: Class,
    /// How bad within its kind; rows lost, for example.
    pub weight: u64,
    /// What it is about: `synapse.public.events`.
    pub subject: String,
    /// What the target has: `0 rows in synapse.public.events`.
    pub observed: String,
    /// What the source has: `1,000,000 rows`.
    pub expected: String,
    /// The database and the table, when rows of a table that is on both sides differ.
    pub rows_of: Option<(String, String)>,
    /// What was found out about the rows that differ, one a line.
    pub more: Vec<String>,
}

impl Finding {
    pub(in crate::check::data) fn new(class: Class, weight: u64, subject: impl Into<String>) -> Self {
        Finding {
            class,
            weight,
            subject: subject.into(),
            observed: String::new(),
            expected: String::new(),
            rows_of: None,
            more: Vec::new(),
        }
    }

    pub(in crate::check::data) fn saw(mut self, observed: impl Into<String>) -> Self {
        self.observed = observed.into();
        self
    }

    pub(in crate::check::data) fn wanted(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(in crate::check::data) fn rows_of(mut self, db: &str, table: &str) -> Self {
        self.rows_of = Some((db.to_owned(), table.to_owned()));
        self
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!("{}; wanted {}", self.observed, self.expected)
    }
}
