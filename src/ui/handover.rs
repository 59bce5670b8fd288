//! The screens around a handoff that are not pages of the run itself: the offer, acknowledging, and errors at the edge.

use crate::base::{Digest, RunId};
use crate::report::walkdown::OpenPoint;
use crate::report::{Standing, Tone, commands};
use crate::ui::ask::talk::Read;
use crate::ui::page::Page;
use crate::ui::prompt;
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
    page.command(2, &commands::accept(&standing.run));
    page.say(
        Tone::Plain,
        "Pass the head on by another way: with it `holdpoint verify --head` finds a cut or older log.",
    );
    page.finish()
}

/// One open point, to be acknowledged by typing `ok`. Anything else is a no, but what was mistyped is asked again.
pub fn acknowledge(point: &OpenPoint, (number, all): (usize, usize), style: &Style) -> bool {
    let mut page = Page::new(style);
    page.blank();
    page.say(Tone::Strong, &format!("Open point {number} of {all}"));
    page.text(2, &point.text);
    page.say(Tone::Plain, "Type ok to acknowledge it, or q to leave the run as it is, then Enter.");
    yes(&format!("\n{}", page.finish()), "ok", style)
}

/// A yes that has to be typed.
pub fn again(question: &str, style: &Style) -> bool {
    let mut page = Page::new(style);
    page.say(Tone::Strong, question);
    page.say(Tone::Plain, "Type yes to go on, or q to stop, then Enter.");
    yes(&format!("\n{}", page.finish()), "yes", style)
}

/// How often a slip of the fingers is forgiven.
const SLIPS: usize = 3;

fn yes(page: &str, word: &str, style: &Style) -> bool {
    let mut page = page.to_owned();
    for _ in 0..SLIPS {
        match prompt::one_line(&page, style) {
            Read::Line(line) if line.trim().eq_ignore_ascii_case(word) => return true,
            Read::Line(line) if !matches!(line.trim().to_lowercase().as_str(), "q" | "quit" | "n" | "no") => {
                let mut again = Page::new(style);
                again.say(Tone::Plain, &format!("That is neither. Type {word} or q, then Enter."));
                page = again.finish();
            }
            _ => return false,
        }
    }
    false
}

/// Without a terminal: the command that acknowledges every point, to be run by somebody who has read them.
pub fn unacknowledged(
    points: &[OpenPoint],
    given: &[String],
    run: &RunId,
    take_over: bool,
    style: &Style,
) -> String {
    let mut page = Page::new(style);
    page.blank();
    let open: Vec<&str> =
        points.iter().map(|point| point.id.as_str()).filter(|id| !given.iter().any(|g| g == id)).collect();
    let count = crate::base::text::count(open.len() as u64, "open point is", "open points are");
    page.item(0, (Tone::Doubt, "NOT TAKEN"), 11, &format!("{count} not acknowledged:"));
    page.block(11, " ", &open.join("\n"));
    page.item(0, (Tone::Plain, ""), 11, "Read each above. Then, at a terminal:");
    let command = if take_over { commands::take_over(run) } else { commands::accept(run) };
    page.command(11, &command);
    page.item(0, (Tone::Plain, ""), 11, "or without one, naming each point that was read:");
    page.command(11, &format!("{command} --acknowledge ID …"));
    page.finish()
}

/// The last line of a session: what to type next. Never broken, so that it can be copied.
pub fn next(command: &str, who: &str, style: &Style) -> String {
    let command = crate::report::words::flat(command);
    let line = format!("next: {command}{who}");
    if crate::ui::layout::width(&line) <= style.width {
        format!("{}{}\n", style.paint(Tone::Strong, "next:"), line.trim_start_matches("next:"))
    } else {
        format!("{}\n{command}\n", style.paint(Tone::Strong, &format!("next{who}:")))
    }
}

/// Plain sentences, each line wrapped to the screen; an indented line, a path or a command, stays whole.
pub fn told(text: &str, style: &Style) -> String {
    let columns = style.width.min(80);
    let line = |line: &str| match line.starts_with(' ') {
        true => line.to_owned(),
        false => crate::ui::layout::wrap(line, columns).join("\n"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// A command line as somebody types it, after their mark; broken between words where it is too long.
pub fn typed(mark: &str, argv: &[String], style: &Style) -> String {
    let mut text = style.paint(Tone::Strong, mark);
    let mut used = mark.len();
    for (n, word) in argv.iter().enumerate() {
        let word = crate::report::words::flat(&commands::quoted(word));
        let wide = crate::ui::layout::width(&word);
        // A quoted word stays whole, and two columns are left for the backslash.
        if n > 0 && used + 1 + wide + 2 > style.width {
            text.push_str(" \\\n   ");
            used = 3;
        } else if n > 0 {
            text.push(' ');
        }
        text.push_str(&word);
        used += 1 + wide;
    }
    text.push('\n');
    text
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
