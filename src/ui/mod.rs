//! Everything that a person sees: pages, the live session, prompts. Only this layer knows terminals.
//!
//! Invariants: foreign text reaches a page only through [`page::Page`] or [`crate::report::words`], which neutralise it; a
//! closed pipe or a terminal that hung up never panics and never stops a run; without a terminal nobody is asked.

pub mod ask;
pub mod briefing;
pub mod evidence;
#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod gallery;
pub mod github;
pub mod handover;
pub mod layout;
pub mod live;
pub mod markdown;
pub mod output;
pub mod overview;
pub mod page;
pub mod plain;
pub mod plan;
pub mod prompt;
pub mod refusal;
mod room;
pub mod screen;
pub mod snippet;
pub mod status;
pub mod terminal;
pub mod track;
pub mod view;
pub mod words;

pub use page::Page;
pub use plain::PlainReporter;
pub use prompt::{NobodyOperator, TerminalOperator, present};
pub use screen::{Out, Style};
pub use terminal::TerminalReporter;
pub use view::{Fan, Snapshot, View};
