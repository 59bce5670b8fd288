//! What second persons decided, as a fold over the journal: approvals wanted and given, rejections, waivers. Whether one
//! counts is not decided here: that depends on the moment, and on who can be believed. See `gate::approvals` and
//! `gate::waivers`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::base::{CheckId, Digest, Moment, StepId};
use crate::check::Verdict;
use crate::gate;
use crate::journal::record::{Ending, Event};
use crate::journal::second::{Author, Content, Signature};
use crate::world::Identity;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Second {
    /// Who last changed the runbook.
    pub author: Option<Author>,
    /// What approvals were wanted for, oldest first.
    pub wanted: Vec<Wanted>,
    /// What people said, in order.
    pub said: Vec<Said>,
    /// Waivers that are not settled: neither withdrawn, nor ended by a pass.
    pub waivers: Vec<Waiver>,
    /// How the lease in force was taken, when that is signed.
    pub holder_signature: Option<Said>,
    /// The latest date in the journal.
    pub newest: Timestamp,
    /// Lines that somebody was told about.
    pub told: BTreeSet<u64>,
    /// Signatures that were used: one that comes a second time is a copy.
    #[serde(skip)]
    signatures: BTreeSet<Digest>,
}

/// What an approval is wanted for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wanted {
    /// How many people.
    pub count: u32,
    /// What they approve.
    pub content: Content,
    /// Its digest.
    pub digest: Digest,
    /// Since when.
    pub at: Moment,
}

/// What somebody said about a step, and the event itself, which a signature is checked against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said {
    /// Who, as claimed: `bob@db1`.
    pub by: String,
    /// When.
    pub at: Moment,
    /// What, word for word.
    pub event: Event,
    /// The attempt that used it up.
    pub used: Option<u32>,
    /// Its signature stands on an earlier line, too.
    pub copied: bool,
}

/// A waiver.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiver {
    /// The check.
    pub check: CheckId,
    /// Who waived it, when, in which words.
    pub said: Said,
}

impl Waiver {
    /// Why.
    pub fn reason(&self) -> &str {
        match &self.said.event {
            Event::Waived { reason, .. } => reason,
            _ => "",
        }
    }

    /// Until when.
    pub fn until(&self) -> Timestamp {
        match &self.said.event {
            Event::Waived { until, .. } => *until,
            _ => Timestamp::MIN,
        }
    }

    /// The verdict that it is for.
    pub fn verdict(&self) -> Verdict {
        match &self.said.event {
            Event::Waived { verdict, .. } => *verdict,
            _ => Verdict::Pass,
        }
    }
}

impl Said {
    /// The step and direction that it is about.
    pub fn about(&self) -> Option<(&StepId, bool)> {
        match &self.event {
            Event::Approved { step, undo, .. }
            | Event::Rejected { step, undo, .. }
            | Event::ApprovalWithdrawn { step, undo, .. } => Some((step, *undo)),
            _ => None,
        }
    }

    /// Its signature.
    pub fn signature(&self) -> Option<&Signature> {
        self.event.signature()
    }
}

impl Second {
    /// Of a run that was just opened.
    pub(super) fn opened(author: Option<Author>, newest: Timestamp) -> Second {
        Second { author, newest, ..Second::default() }
    }

    /// The newest content that approvals were wanted for.
    pub fn wanted(&self, step: &StepId, undo: bool) -> Option<&Wanted> {
        self.wanted.iter().rev().find(|w| w.content.step == *step && w.content.undo == undo)
    }

    /// A content by its digest.
    pub fn content(&self, digest: &Digest) -> Option<&Content> {
        self.wanted.iter().find(|w| w.digest == *digest).map(|w| &w.content)
    }

    /// What was said about a step, in order.
    pub fn about<'a>(&'a self, step: &'a StepId, undo: bool) -> impl Iterator<Item = &'a Said> {
        self.said.iter().filter(move |said| said.about() == Some((step, undo)))
    }

    /// The waiver of a check that is not settled.
    pub fn waiver(&self, check: &CheckId) -> Option<&Waiver> {
        self.waivers.iter().find(|waiver| waiver.check == *check)
    }

    /// One more event, written at a moment by somebody.
    pub(super) fn event(&mut self, event: &Event, at: &Moment, by: &str, pins: &BTreeMap<String, Identity>) {
        self.newest = self.newest.max(at.wall);
        let copied = event.signature().is_some_and(|signature| {
            let text = signature.ssh.split_whitespace().collect::<String>();
            !self.signatures.insert(Digest::of(text.as_bytes()))
        });
        let said = || Said { by: by.to_owned(), at: *at, event: event.clone(), used: None, copied };
        match event {
            Event::Lease { signature, .. } => {
                self.holder_signature = signature.as_ref().map(|_| said());
            }
            Event::ApprovalWanted { count, content } => {
                let digest = content.digest();
                self.wanted.retain(|wanted| wanted.digest != digest);
                self.wanted.push(Wanted { count: *count, content: (**content).clone(), digest, at: *at });
            }
            Event::Approved { .. } | Event::Rejected { .. } | Event::ApprovalWithdrawn { .. } => {
                self.said.push(said());
            }
            Event::Began { step, attempt, .. } => self.use_up(step, false, *attempt),
            Event::RollbackBegan { step, attempt, .. } => self.use_up(step, true, *attempt),
            Event::Ended { step, attempt, ending: Ending::NotStarted { .. }, .. } => {
                self.give_back(step, false, *attempt);
            }
            Event::RollbackEnded { step, attempt, ending: Ending::NotStarted { .. } } => {
                self.give_back(step, true, *attempt);
            }
            Event::Waived { check, .. } => {
                self.waivers.retain(|waiver| waiver.check != *check);
                self.waivers.push(Waiver { check: check.clone(), said: said() });
            }
            Event::WaiverWithdrawn { check, .. } => self.waivers.retain(|waiver| waiver.check != *check),
            // A check that passes by itself, on the right target, needs no waiver any more.
            Event::Measured { evidence, .. } if gate::objection(evidence, pins).is_none() => {
                self.waivers.retain(|waiver| waiver.check != evidence.check);
            }
            Event::Notified { of, .. } => {
                self.told.insert(*of);
            }
            _ => {}
        }
    }

    fn use_up(&mut self, step: &StepId, undo: bool, attempt: u32) {
        for said in self.said.iter_mut().filter(|said| said.used.is_none()) {
            let approves = matches!(&said.event, Event::Approved { .. });
            if approves && said.about() == Some((step, undo)) {
                said.used = Some(attempt);
            }
        }
    }

    /// Nothing ran: what was approved for that attempt is still to come.
    fn give_back(&mut self, step: &StepId, undo: bool, attempt: u32) {
        for said in &mut self.said {
            if said.used == Some(attempt) && said.about() == Some((step, undo)) {
                said.used = None;
            }
        }
    }
}
