//! Takes secrets out of what people and programs say, before it goes on record. Facts that are compared later (identities,
//! digests, names) are left as they are: no secret may be one.

use crate::base::redact::Redactor;
use crate::journal::record::{Blocker, Ending, Event};

/// The event without secrets.
pub fn scrub(mut event: Event, secrets: &Redactor) -> Event {
    if secrets.is_empty() {
        return event;
    }
    let clean = |text: &mut String| *text = secrets.text(text);
    match &mut event {
        Event::Note { text } | Event::Observed { text, .. } => clean(text),
        Event::Offered { note, .. } => clean(note),
        Event::WaiverUsed { reason, .. } => clean(reason),
        Event::Notified { program, outcome, .. } => [program, outcome].into_iter().for_each(clean),
        Event::Decided { reason, .. } | Event::Abandoned { reason } => clean(reason),
        Event::Failed { why, .. } | Event::InDoubt { why, .. } | Event::Reopened { why, .. } => clean(why),
        Event::Ended { ending, left_running, .. } => {
            how(ending, clean);
            left_running.iter_mut().for_each(clean);
        }
        Event::RollbackEnded { ending, .. } => how(ending, clean),
        Event::Held { blockers, .. } => {
            for Blocker { title, observed, expected, next, .. } in blockers {
                [title, observed, expected, next].into_iter().for_each(clean);
            }
        }
        _ => {}
    }
    event
}

fn how(ending: &mut Ending, clean: impl Fn(&mut String)) {
    match ending {
        Ending::Stopped { why }
        | Ending::NotStarted { why }
        | Ending::Broken { why }
        | Ending::Unknown { why } => {
            clean(why);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_keeps_no_secret() {
        let secrets = Redactor::new([("password", "hunter2-hunter2")]);
        let event = Event::Note { text: "the password is hunter2-hunter2".to_owned() };
        let Event::Note { text } = scrub(event, &secrets) else { panic!("another event") };
        assert!(!text.contains("hunter2"), "{text}");
        let ending = Ending::NotStarted { why: "auth failed for hunter2-hunter2".to_owned() };
        let event = Event::Ended {
            step: "s".into(),
            attempt: 1,
            ending,
            output_bytes: 0,
            left_running: vec!["x hunter2-hunter2".to_owned()],
        };
        assert!(!format!("{:?}", scrub(event, &secrets)).contains("hunter2"));
    }
}
