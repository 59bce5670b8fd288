//! The engine: a pure machine that decides, and a thin loop that does.
//!
//! [`machine::Machine`] takes one input and returns effects in the order in which they must happen; it reads no clock,
//! no disk and no network. [`drive`] performs the effects: it writes the journal before anything else, measures, runs,
//! asks, and feeds what came of it back as the next input.

pub mod blast;
pub mod drive;
pub mod event;
pub mod faults;
pub mod forecast;
pub mod machine;
pub mod notify;
pub mod patience;
pub mod people;
pub mod plan;
pub mod reverse;
pub mod room;
pub mod scripts;
pub mod scrub;
pub mod second;
pub mod state;
pub mod survey;
pub mod work;

pub use event::{Answer, Exit, Notice, Operator, Question, Reporter};
pub use machine::{Effect, Input, Machine};
pub use plan::Plan;
pub use state::RunState;
