//! The operator of a rehearsal: answers what is safe to answer with nobody there.
//!
//! Begin: yes. The text of a destruction: typed, because the targets were proved to be staging's, and what goes is
//! compared with what is protected once more. A step by hand without a stand-in: said not to have been carried out.
//! Everything else wants a person's judgement and gets none: it is printed, and the rehearsal ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::engine::event::{Answer, Operator, Question};
use crate::journal::record::Blast;

/// What is on record as the observation of a step by hand that nobody carried out.
pub const NOT_CARRIED_OUT: &str =
    "not carried out: this is a rehearsal, and nothing stands in for the person";

/// Asked in front of a destruction, when all guards have just passed: to look, or to try something. An error says why
/// the text must not be typed.
#[async_trait]
pub trait BeforeDestruction: Send + Sync {
    /// `question` is always [`Question::Confirm`].
    async fn look(&self, question: &Question, blast: &Blast) -> Result<Then, String>;
}

/// What follows a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next look, or the text.
    Go,
    /// Everything is measured again, and then asked again: something was tried, and undone.
    MeasureAgain,
}

/// The operator of a rehearsal.
pub struct Rehearser {
    /// Prints what nobody answers, and says so.
    nobody: Arc<dyn Operator>,
    /// Looks in front of each destruction, in this order.
    looks: Vec<Arc<dyn BeforeDestruction>>,
    /// Says why a destruction was not confirmed.
    refused: Arc<dyn Fn(&str) + Send + Sync>,
    /// An invariant paused a command, and nobody decided about it.
    paused: Arc<AtomicBool>,
}

impl Rehearser {
    /// An operator. `nobody` prints questions that get no answer; `refused` is told why a text was not typed.
    pub fn new(
        nobody: Arc<dyn Operator>,
        looks: Vec<Arc<dyn BeforeDestruction>>,
        refused: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Rehearser { nobody, looks, refused, paused: Arc::default() }
    }

    /// Sets this when an invariant paused a command: a person would have to decide about it.
    #[must_use]
    pub fn telling(self, paused: Arc<AtomicBool>) -> Self {
        Rehearser { paused, ..self }
    }

    async fn confirm(&self, question: &Question, text: &str, blast: &Blast) -> Answer {
        for look in &self.looks {
            match look.look(question, blast).await {
                Ok(Then::Go) => {}
                Ok(Then::MeasureAgain) => return Answer::Measure,
                Err(why) => {
                    (self.refused)(&why);
                    return Answer::Quit;
                }
            }
        }
        Answer::Typed(text.to_owned())
    }
}

#[async_trait]
impl Operator for Rehearser {
    fn present(&self) -> bool {
        true
    }

    async fn ask(&self, question: &Question) -> Answer {
        match question {
            Question::Begin { .. } => Answer::Go,
            Question::Manual { .. } => Answer::Carried(Some(NOT_CARRIED_OUT.to_owned())),
            Question::Confirm { text, blast, .. } => self.confirm(question, text, blast).await,
            // The session ends; what runs is stopped by whoever drives the rehearsal.
            Question::Interrupted { .. } => Answer::Quit,
            Question::Paused { .. } => {
                self.paused.store(true, Ordering::SeqCst);
                self.nobody.ask(question).await
            }
            Question::Environment { .. }
            | Question::Undo { .. }
            | Question::Held { .. }
            | Question::Failed { .. }
            | Question::NotUndone { .. }
            | Question::Doubt { .. } => self.nobody.ask(question).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::Moment;

    struct Nobody(Mutex<u32>);

    #[async_trait]
    impl Operator for Nobody {
        fn present(&self) -> bool {
            false
        }
        async fn ask(&self, _: &Question) -> Answer {
            *self.0.lock().unwrap() += 1;
            Answer::Nobody
        }
    }

    struct Never;

    #[async_trait]
    impl BeforeDestruction for Never {
        async fn look(&self, _: &Question, _: &Blast) -> Result<Then, String> {
            Err("it is production's".to_owned())
        }
    }

    fn blast() -> Blast {
        let at = Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: 0 };
        Blast {
            items: Vec::new(),
            identity: None,
            serving: Vec::new(),
            unmeasured: Vec::new(),
            gone: Vec::new(),
            at,
        }
    }

    #[tokio::test]
    async fn answers_what_needs_no_judgement_and_nothing_else() {
        let said = Arc::new(Mutex::new(String::new()));
        let nobody = Arc::new(Nobody(Mutex::new(0)));
        let told = said.clone();
        let operator = |looks| {
            let told = told.clone();
            Rehearser::new(nobody.clone(), looks, Arc::new(move |why| *told.lock().unwrap() = why.to_owned()))
        };
        let confirm = Question::Confirm {
            step: "drop".into(),
            text: "the old database".into(),
            blast: blast(),
            horizon: String::new(),
            undo: None,
        };
        let easy = operator(Vec::new());
        assert_eq!(easy.ask(&Question::Begin { step: "a".into() }).await, Answer::Go);
        assert_eq!(easy.ask(&confirm).await, Answer::Typed("the old database".into()));
        let manual = Question::Manual { step: "a".into(), observe: None };
        assert_eq!(easy.ask(&manual).await, Answer::Carried(Some(NOT_CARRIED_OUT.into())));
        assert_eq!(*nobody.0.lock().unwrap(), 0);
        for question in [
            Question::Environment { name: "production".into() },
            Question::Held { step: "a".into(), undo: false, blockers: Vec::new() },
            Question::Failed { step: "a".into(), why: String::new(), may_rerun: true, may_finish: true },
            Question::Undo { step: "a".into(), to: None },
        ] {
            assert_eq!(easy.ask(&question).await, Answer::Nobody, "{question:?}");
        }
        assert_eq!(*nobody.0.lock().unwrap(), 4);
        assert_eq!(operator(vec![Arc::new(Never)]).ask(&confirm).await, Answer::Quit);
        assert_eq!(*said.lock().unwrap(), "it is production's");
    }
}
