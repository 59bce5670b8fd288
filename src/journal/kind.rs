//! What the journal itself has to know about kinds of events: which ones are known at all, which begin an effect
//! (never without a lease, never on the last bytes of a disk), and which close something that already happened.

use super::record::Event;

/// The `what` of every event that this program knows. A line with another one can be shown, never acted on.
pub const KINDS: [&str; 37] = [
    "opened",
    "lease",
    "released",
    "pinned",
    "unpinned",
    "measured",
    "held",
    "confirmed",
    "permitted",
    "began",
    "ended",
    "done",
    "failed",
    "in_doubt",
    "reopened",
    "decided",
    "recorded",
    "captured",
    "observed",
    "soaked",
    "violated",
    "continued",
    "note",
    "offered",
    "rollback_began",
    "rollback_ended",
    "rolled_back",
    "abandoned",
    "completed",
    "approval_wanted",
    "approved",
    "rejected",
    "approval_withdrawn",
    "waived",
    "waiver_withdrawn",
    "waiver_used",
    "notified",
];

/// Kinds that people may write who do not hold the lease: words, offers, second persons' decisions, and that somebody was
/// told.
const ANYONE: [&str; 8] = [
    "note",
    "offered",
    "approved",
    "rejected",
    "approval_withdrawn",
    "waived",
    "waiver_withdrawn",
    "notified",
];

/// True for kinds that people may write who do not hold the lease.
pub fn anyone(what: &str) -> bool {
    ANYONE.contains(&what)
}

impl Event {
    /// True for events that an effect follows, or that let somebody go on to one: never written on reserved space.
    pub fn begins(&self) -> bool {
        matches!(
            self,
            Event::Began { .. }
                | Event::Permitted { .. }
                | Event::RollbackBegan { .. }
                | Event::Lease { .. }
                | Event::Offered { .. }
                | Event::Continued { .. }
                | Event::Approved { .. }
                | Event::Waived { .. }
        )
    }

    /// True for events that only the holder of the lease may write; see [`anyone`].
    pub fn drives(&self) -> bool {
        !matches!(
            self,
            Event::Opened { .. }
                | Event::Note { .. }
                | Event::Offered { .. }
                | Event::Approved { .. }
                | Event::Rejected { .. }
                | Event::ApprovalWithdrawn { .. }
                | Event::Waived { .. }
                | Event::WaiverWithdrawn { .. }
                | Event::Notified { .. }
        )
    }

    /// True for events that say how something ended that has already happened. The reserve is kept for them.
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Event::Ended { .. }
                | Event::RollbackEnded { .. }
                | Event::Held { .. }
                | Event::Failed { .. }
                | Event::Released { .. }
                | Event::InDoubt { .. }
                | Event::Violated { .. }
                | Event::Note { .. }
                | Event::Rejected { .. }
                | Event::ApprovalWithdrawn { .. }
                | Event::WaiverWithdrawn { .. }
                | Event::Notified { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_one_that_serde_knows() {
        let error = serde_json::from_str::<Event>(r#"{"what":"~"}"#).unwrap_err().to_string();
        let named: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(named, KINDS, "{error}");
    }
}
