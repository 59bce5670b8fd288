//! The filter for bytes that come in pieces. It holds back only what may still turn out to be part of a secret.

use std::sync::Arc;

use super::sieve::Sieve;

/// Replaces secrets in bytes that come in pieces. End it with [`Stream::finish`].
pub struct Stream {
    sieve: Option<Arc<Sieve>>,
    held: Vec<u8>,
    /// So many bytes at the start of `held` are already replaced.
    covered: usize,
}

impl Stream {
    pub(super) fn new(sieve: Option<Arc<Sieve>>) -> Self {
        Stream { sieve, held: Vec::new(), covered: 0 }
    }

    /// Takes `bytes`, and appends to `out` what is decided.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(sieve) = self.sieve.clone() else {
            out.extend_from_slice(bytes);
            return;
        };
        self.held.extend_from_slice(bytes);
        let margin = sieve.lookahead + sieve.reach;
        // Scanning costs the margin each time: wait until there is something to gain.
        if self.held.len() > margin * 2 {
            let upto = self.held.len() - margin;
            self.release(&sieve, upto, out);
        }
    }

    /// True when something is held back.
    pub fn pending(&self) -> bool {
        self.held.len() > self.covered
    }

    /// Nothing came for a while: lets go of what cannot be the beginning of a secret, so that a prompt or a last line is seen.
    pub fn idle(&mut self, out: &mut Vec<u8>) {
        if let Some(sieve) = self.sieve.clone() {
            let upto = sieve.undecided(&self.held);
            // One byte more stays when a base64 character before a match may have to go with it.
            let upto = if upto < self.held.len() { upto.saturating_sub(1) } else { upto };
            self.release(&sieve, upto, out);
        }
    }

    /// The end: lets go of the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(sieve) = self.sieve.clone() {
            let upto = self.held.len();
            self.release(&sieve, upto, out);
        }
    }

    /// Writes out `held[..upto]`. Every hit that begins there must be there whole.
    fn release(&mut self, sieve: &Sieve, upto: usize, out: &mut Vec<u8>) {
        let mut at = self.covered;
        for hit in sieve.scan(&self.held) {
            if hit.start >= upto {
                break;
            }
            if hit.start >= at {
                out.extend_from_slice(&self.held[at..hit.start]);
                out.extend_from_slice(sieve.replacement(hit));
            }
            at = at.max(hit.end);
        }
        if at < upto {
            out.extend_from_slice(&self.held[at..upto]);
            at = upto;
        }
        self.held.drain(..upto);
        self.covered = at - upto;
    }
}
