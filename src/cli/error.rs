//! What goes wrong at the edge: a kind, which gives the exit status, a cause, and what to do next.

use crate::engine::Exit;

/// An error for a person.
#[derive(Debug)]
pub struct CliError {
    /// Gives the exit status.
    pub exit: Exit,
    /// The cause.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl CliError {
    /// An error of a kind.
    pub fn new(exit: Exit, message: impl ToString) -> Self {
        CliError { exit, message: message.to_string(), hint: None }
    }

    /// Wrong usage or an invalid runbook.
    pub fn usage(message: impl ToString) -> Self {
        CliError::new(Exit::Usage, message)
    }

    /// The journal or the store.
    pub fn journal(message: impl ToString) -> Self {
        CliError::new(Exit::Journal, message)
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
