//! Something refuses before anything was begun: all reasons at once.

use super::ask::trouble::blockers;
use super::page::Page;
use super::screen::Style;
use crate::base::text::count;
use crate::journal::record::Blocker;
use crate::report::Tone;

/// The page. `what` says what does not begin: `The rehearsal does not begin`.
pub fn refusal(what: &str, all: &[Blocker], style: &Style) -> String {
    let mut page = Page::new(style);
    let n = crate::report::blockers::merged(all).len() as u64;
    page.say(Tone::Bad, &format!("{what}. {} in the way:", count(n, "thing stands", "things stand")));
    blockers(&mut page, all);
    page.blank();
    page.finish()
}
