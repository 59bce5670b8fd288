//! `verify`: who signed what in a journal, and what is only claimed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::global::Cmd;
use super::signing;
use crate::base::{Digest, RunId};
use crate::engine::second::Said;
use crate::gate::approvals::Proven;
use crate::journal::chain;
use crate::journal::record::Event;
use crate::report::words;

/// A line that somebody could have signed.
#[derive(Debug, Serialize)]
pub struct Spoken {
    /// Its number.
    pub line: u64,
    /// Its kind.
    pub what: String,
    /// Who, as the line says.
    pub by: String,
    /// Who, as the signature proves.
    pub signed_by: Option<String>,
    /// Why its signature does not hold.
    pub broken: Option<String>,
    /// What it says, in words.
    pub says: String,
}

/// Checks every signature of a journal. What cannot be read at all is reported as damage elsewhere.
pub fn of(cmd: &Cmd, bytes: &[u8], run: &RunId) -> Vec<Spoken> {
    let signers = signing::signers(cmd)();
    let blind = signers.0.is_err() && cmd.signing.signers.is_none();
    let (mut heads, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    for text in bytes.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        let hash = chain::line_hash(text);
        let Ok(line) = chain::decode(text) else { continue };
        if speaks(&line.event) {
            let copied = line.event.signature().is_some_and(|made| {
                let plain: String = made.ssh.split_whitespace().collect();
                !seen.insert(Digest::of(plain.as_bytes()))
            });
            let strange = line.event.signature().is_some_and(|made| !heads.contains(&made.head));
            let says = words::line(&line).head;
            let said =
                Said { by: line.by.clone(), at: line.at, event: line.event.clone(), used: None, copied };
            let (signed_by, broken) = match signers.proof(run, &said) {
                // Nobody said whose signatures count: then that it is one is all that can be told.
                (_, Proven::Broken(_)) if blind && !copied && !strange => match signers.key(run, &said) {
                    Ok(key) => (Some(format!("key {key}, whose owner nobody has named")), None),
                    Err(why) => (None, Some(why)),
                },
                (_, Proven::Claimed) => (None, None),
                (Some(name), Proven::Signed) if strange => {
                    (None, Some(format!("{name} signed it in front of another journal than this one")))
                }
                (name, Proven::Signed) => (name, None),
                (_, Proven::Broken(why)) => (None, Some(why)),
            };
            let what = kind(&line.event);
            all.push(Spoken { line: line.seq, what, by: line.by, signed_by, broken, says });
        }
        heads.insert(hash);
    }
    all
}

fn speaks(event: &Event) -> bool {
    matches!(
        event,
        Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::ApprovalWithdrawn { .. }
            | Event::Waived { .. }
            | Event::WaiverWithdrawn { .. }
            | Event::Offered { .. }
            | Event::Lease { .. }
    )
}

fn kind(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap_or_default();
    value["what"].as_str().unwrap_or_default().to_owned()
}

/// In words, one line each; what is only claimed is called so.
pub fn told(all: &[Spoken]) -> String {
    let mut text = String::new();
    for said in all {
        let word = match (&said.signed_by, &said.broken) {
            (Some(name), _) => format!("signed by {name}"),
            (None, Some(why)) => format!("SIGNATURE DOES NOT HOLD ({why})"),
            (None, None) => "claimed, not signed".to_owned(),
        };
        text.push_str(&format!("line {}: {word}: {}\n", said.line, said.says));
    }
    crate::base::text::neutral(&text)
}
