//! The text that is signed for an event: made from the event itself, so that whoever reads the journal can make it again.

use serde_json::{Value, json};

use super::record::Event;
use super::second::Signature;
use crate::base::{Digest, RunId};

/// What signatures of approvals, rejections and their withdrawal are for.
pub const APPROVAL: &str = "holdpoint-approval";
/// What signatures of waivers are for.
pub const WAIVER: &str = "holdpoint-waiver";
/// What signatures of a handoff's two sides are for.
pub const HANDOFF: &str = "holdpoint-handoff";

/// Namespace and text of the signature for an event by somebody; `None` for an event that nobody signs. `head` is the
/// last line that the signer saw.
pub fn text(run: &RunId, by: &str, event: &Event, head: &Digest) -> Option<(&'static str, Vec<u8>)> {
    let (namespace, body) = match event {
        Event::Approved { step, undo, content, text, until, boot, .. } => (
            APPROVAL,
            json!({ "approves": step, "undo": undo, "content": content, "text": text, "until": until, "boot": boot }),
        ),
        Event::Rejected { step, undo, content, reason, .. } => {
            (APPROVAL, json!({ "rejects": step, "undo": undo, "content": content, "reason": reason }))
        }
        Event::ApprovalWithdrawn { step, undo, reason, .. } => {
            (APPROVAL, json!({ "withdraws": step, "undo": undo, "reason": reason }))
        }
        Event::Waived { check, reason, until, boot, verdict, seen, .. } => (
            WAIVER,
            json!({
                "waives": check, "reason": reason, "until": until, "boot": boot, "verdict": verdict, "seen": seen,
            }),
        ),
        Event::WaiverWithdrawn { check, reason, .. } => {
            (WAIVER, json!({ "withdraws": check, "reason": reason }))
        }
        Event::Offered { to, note, .. } => (HANDOFF, json!({ "offers": to, "note": note })),
        // How the holder's death was proved is added when the lease is taken, and is not the signer's word.
        Event::Lease { how, acknowledged, .. } => {
            (HANDOFF, json!({ "takes": how, "acknowledges": acknowledged }))
        }
        _ => return None,
    };
    // The keys of such a map come in alphabetical order, in every version.
    let whole: Value = json!({ "holdpoint": 1, "run": run, "by": by, "head": head, "says": body });
    Some((namespace, format!("{whole}\n").into_bytes()))
}

impl Event {
    /// Its signature, if it has one.
    pub fn signature(&self) -> Option<&Signature> {
        match self {
            Event::Approved { signature, .. }
            | Event::Rejected { signature, .. }
            | Event::ApprovalWithdrawn { signature, .. }
            | Event::Waived { signature, .. }
            | Event::WaiverWithdrawn { signature, .. }
            | Event::Offered { signature, .. }
            | Event::Lease { signature, .. } => signature.as_ref(),
            _ => None,
        }
    }

    /// Gives it a signature; false for an event that nobody signs.
    pub fn sign(&mut self, by_key: Signature) -> bool {
        match self {
            Event::Approved { signature, .. }
            | Event::Rejected { signature, .. }
            | Event::ApprovalWithdrawn { signature, .. }
            | Event::Waived { signature, .. }
            | Event::WaiverWithdrawn { signature, .. }
            | Event::Offered { signature, .. }
            | Event::Lease { signature, .. } => {
                *signature = Some(by_key);
                true
            }
            _ => false,
        }
    }
}
