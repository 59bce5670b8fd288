//! A group of lines for each step in the log of GitHub Actions. Outside our own commands the log's commands are switched
//! off, so that nothing that a step prints, or a check saw, is one.

use std::sync::{Mutex, PoisonError};

use super::screen::Out;
use crate::engine::event::{Notice, Reporter};
use crate::journal::record::Event;
use crate::report::github;

/// Groups the lines of a session.
pub struct Groups {
    out: Out,
    token: String,
    open: Mutex<bool>,
}

impl Groups {
    /// Begins. `token` is something that nobody can guess.
    pub fn begin(out: Out, token: String) -> Self {
        let _ = out.print(&github::silence(&token));
        Groups { out, token, open: Mutex::new(false) }
    }

    fn turn(&self, title: Option<&str>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = github::speak(&self.token);
        if std::mem::replace(&mut *open, title.is_some()) {
            text.push_str(github::GROUP_END);
        }
        text.push_str(&title.map(github::group).unwrap_or_default());
        text.push_str(&github::silence(&self.token));
        let _ = self.out.print(&text);
    }

    /// Ends: commands of ours are heard again.
    pub fn end(&self) {
        self.turn(None);
        let _ = self.out.print(&github::speak(&self.token));
    }
}

impl Reporter for Groups {
    fn tell(&self, notice: &Notice) {
        let Notice::Journal(line) = notice else { return };
        match &line.event {
            Event::Began { step, .. } => self.turn(Some(step.as_str())),
            Event::Done { .. } | Event::Failed { .. } | Event::InDoubt { .. } | Event::Released { .. }
                if *self.open.lock().unwrap_or_else(PoisonError::into_inner) =>
            {
                self.turn(None);
            }
            _ => {}
        }
    }
}
