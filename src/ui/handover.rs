//! The screens around a handoff that are not pages of the run itself: the offer, acknowledging, and errors at the edge.

use console::Term;
use dialoguer::Input;

use crate::base::{Digest, RunId};
use crate::report::walkdown::OpenPoint;
use crate::report::{Standing, Tone, commands};
use crate::ui::page::Page;
use crate::ui::screen::Style;

/// What is shown once a run has been offered: for the operator who leaves, and to be passed on.
pub fn offered(standing: &Standing, head: &Digest, style: &Style) -> String {
    let mut page = Page::new(style);
    page.heading("The run is offered");
    page.item(2, (Tone::Plain, "run"), 10, standing.run.as_str());
    page.item(2, (Tone::Plain, "state"), 10, &standing.summary);
    if let Some(offer) = &standing.offer {
        page.item(2, (Tone::Plain, "to"), 10, offer.to.as_deref().unwrap_or("anybody"));
        page.item(2, (Tone::Plain, "note"), 10, &offer.note);
    }
    page.item(2, (Tone::Plain, "head"), 10, head.as_str());
    page.blank();
    page.say(Tone::Plain, "A command that runs goes on. The next operator takes over with:");
    page.block(2, " ", &commands::accept(&standing.run));
    page.say(Tone::Plain, "Pass the head on by another way: with it `holdpoint verify --head` finds a cut or older log.");
    page.finish()
}

/// One open point, to be acknowledged by typing `ok`. Anything else is a no.
pub fn acknowledge(point: &OpenPoint, style: &Style) -> bool {
    let mut page = Page::new(style);
    page.blank();
    page.item(0, (Tone::Strong, "open"), 6, &format!("{} ({})", point.text, point.id));
    asked(&page.finish(), "type ok to acknowledge this").is_some_and(|text| text.trim().eq_ignore_ascii_case("ok"))
}

/// A yes that has to be typed.
pub fn again(question: &str, style: &Style) -> bool {
    let mut page = Page::new(style);
    page.blank();
    page.say(Tone::Strong, question);
    asked(&page.finish(), "type yes to go on").is_some_and(|text| text.trim().eq_ignore_ascii_case("yes"))
}

fn asked(page: &str, prompt: &str) -> Option<String> {
    let term = Term::stderr();
    term.write_str(page).ok()?;
    // What was typed before the question was read is no answer to it.
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    let typed = Input::<String>::new().with_prompt(prompt).allow_empty(true).interact_text_on(&term);
    let _ = term.show_cursor();
    typed.ok()
}

/// Without a terminal: the command that acknowledges every point, to be run by somebody who has read them.
pub fn unacknowledged(points: &[OpenPoint], given: &[String], run: &RunId, take_over: bool, style: &Style) -> String {
    let mut page = Page::new(style);
    page.blank();
    let open = points.iter().filter(|point| !given.contains(&point.id)).count();
    page.item(0, (Tone::Doubt, "NOT TAKEN"), 11, &format!("{open} open points are not acknowledged."));
    page.item(0, (Tone::Plain, ""), 11, "Read each above. Then, at a terminal:");
    page.block(11, " ", &commands::accept(run));
    page.item(0, (Tone::Plain, ""), 11, "or without one, naming each point that was read:");
    let over = if take_over { "--take-over --reason TEXT " } else { "" };
    page.block(11, " ", &format!("{} \\\n  {over}--acknowledge ID …", commands::accept(run)));
    page.finish()
}

/// An error that ends a command: cause, then what to do next.
pub fn error(message: &str, hint: Option<&str>, style: &Style) -> String {
    let mut page = Page::new(style);
    page.item(0, (Tone::Bad, "error:"), 7, message);
    if let Some(hint) = hint {
        page.item(0, (Tone::Strong, "next:"), 7, hint);
    }
    page.finish()
}
