//! What every command has at hand: who asks, where the store is, two streams.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::error::CliError;
use super::signing::Signing;
use super::who;
use crate::base::Moment;
use crate::engine::Exit;
use crate::journal::store::SYSTEM;
use crate::journal::{RunDir, Store};
use crate::ui::screen::{Out, Style};
use crate::world::{World, host};

/// A command's surroundings.
pub struct Cmd {
    /// Options that every command takes.
    pub global: Global,
    /// Standard output.
    pub out: Out,
    /// Standard error.
    pub errors: Out,
    /// How standard output looks.
    pub style: Style,
    /// How standard error looks.
    pub err_style: Style,
    /// The outside.
    pub world: World,
    /// Who asks, as claimed.
    pub operator: String,
    /// Keys.
    pub signing: Signing,
}

impl Cmd {
    /// Finds out who asks and what the streams are.
    pub fn new(global: Global) -> Self {
        let (style, err_style) = (Style::detect(std::io::stdout()), Style::detect(std::io::stderr()));
        let operator = who::operator(global.operator.as_deref(), &|name| std::env::var(name).ok());
        Cmd {
            out: Out::stdout(&style),
            errors: Out::stderr(&err_style),
            style,
            err_style,
            world: World::local(),
            operator,
            signing: Signing::default(),
            global,
        }
    }

    /// Prints to standard output. A reader that went away is no error.
    pub fn print(&self, text: &str) {
        let _ = self.out.print(text);
    }

    /// Prints to standard error.
    pub fn err(&self, text: &str) {
        let _ = self.errors.print(text);
    }

    /// The author of journal lines: `operator@host`.
    pub fn by(&self) -> String {
        format!("{}@{}", self.operator, host::hostname())
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.world.clock.now()
    }

    /// The store.
    pub fn store(&self) -> Result<Store, CliError> {
        // clap has read HOLDPOINT_STORE into the option already.
        Store::locate(self.global.store.as_deref(), None).map_err(|e| CliError::new(Exit::Usage, e))
    }

    /// The store's folder where there is one already: nothing is made.
    pub fn existing_store(&self) -> Option<PathBuf> {
        let home = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let given = self.global.store.as_ref().filter(|given| !given.is_empty()).map(PathBuf::from);
        let state = || home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")));
        let candidates = match given {
            Some(given) => vec![given],
            None => [Some(PathBuf::from(SYSTEM)), state().map(|state| state.join("holdpoint"))]
                .into_iter()
                .flatten()
                .collect(),
        };
        candidates.into_iter().find(|path| path.join("runs").is_dir())
    }

    /// A command as it must be typed to reach the same store, as the same operator if it is for them.
    pub fn again(&self, command: &str, for_me: bool) -> String {
        let quoted = crate::report::commands::quoted;
        let mut text = command.to_owned();
        let known = std::env::var("HOLDPOINT_STORE").ok();
        if let Some(store) = self.global.store.as_ref().filter(|store| known.as_ref() != Some(store)) {
            text.push_str(&format!(" --store {}", quoted(store)));
        }
        if let Some(operator) = self.global.operator.as_ref().filter(|_| for_me) {
            text.push_str(&format!(" --operator {}", quoted(operator)));
        }
        text
    }

    /// A run by the beginning of its name; the only unfinished one when none is named.
    pub fn find(&self, run: Option<&str>) -> Result<RunDir, CliError> {
        self.store()?.find(run).map_err(|e| CliError::usage(e).hint("`holdpoint runs` lists all runs"))
    }
}

/// A path for people.
pub fn shown(path: &Path) -> String {
    crate::base::text::neutral(&path.display().to_string())
}
