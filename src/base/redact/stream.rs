//! The filter for bytes that come in pieces. It holds back only what may still turn out to be part of a secret.

use std::io;
use std::sync::Arc;

use super::sieve::Sieve;

/// Replaces secrets in bytes that come in pieces. End it with [`Stream::finish`].
pub struct Stream {
    sieve: Option<Arc<Sieve>>,
    /// Only `[..filled]` counts; what comes after is room to read into.
    held: Vec<u8>,
    filled: usize,
    /// So many bytes at the start of `held` are already replaced.
    covered: usize,
    /// Where text with replacements is put together.
    mixed: Vec<u8>,
}

impl Stream {
    pub(super) fn new(sieve: Option<Arc<Sieve>>) -> Self {
        Stream { sieve, held: Vec::new(), filled: 0, covered: 0, mixed: Vec::new() }
    }

    /// Takes `bytes`, and appends to `out` what is decided.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.sieve.is_none() {
            out.extend_from_slice(bytes);
            return;
        }
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
        self.pass(&mut |decided| out.extend_from_slice(decided));
    }

    /// Reads once, at most `size` bytes, and gives to `sink` what is decided: the same as [`Stream::push`] without copying.
    pub fn read(
        &mut self,
        from: &mut impl io::Read,
        size: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let n = from.read(self.room(size))?;
        self.filled += n;
        self.pass(sink);
        Ok(n)
    }

    /// True when something is held back.
    pub fn pending(&self) -> bool {
        self.filled > self.covered
    }

    /// Nothing came for a while: lets go of what cannot be the beginning of a secret, so that a prompt or a last line is
    /// seen.
    pub fn idle(&mut self, out: &mut Vec<u8>) {
        if let Some(sieve) = self.sieve.clone() {
            let upto = sieve.undecided(&self.held[..self.filled]);
            // One byte more stays when a base64 character before a match may have to go with it.
            let upto = if upto < self.filled { upto.saturating_sub(1) } else { upto };
            self.release(&sieve, upto, &mut |decided| out.extend_from_slice(decided));
        }
    }

    /// The end: lets go of the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(sieve) = self.sieve.clone() {
            self.release(&sieve, self.filled, &mut |decided| out.extend_from_slice(decided));
        }
    }

    fn room(&mut self, size: usize) -> &mut [u8] {
        let end = self.filled + size;
        if self.held.len() < end {
            self.held.resize(end, 0);
        }
        &mut self.held[self.filled..end]
    }

    fn pass(&mut self, sink: &mut impl FnMut(&[u8])) {
        match self.sieve.clone() {
            None => {
                sink(&self.held[..self.filled]);
                self.filled = 0;
            }
            Some(sieve) => {
                let margin = sieve.lookahead + sieve.reach;
                // Scanning costs the margin each time: wait until there is something to gain.
                if self.filled > margin * 2 {
                    self.release(&sieve, self.filled - margin, sink);
                }
            }
        }
    }

    /// Gives out `held[..upto]`. Every hit that begins there must be there whole.
    fn release(&mut self, sieve: &Sieve, upto: usize, sink: &mut impl FnMut(&[u8])) {
        let hits = sieve.scan(&self.held[..self.filled]);
        let mut at = self.covered;
        if at == 0 && hits.first().is_none_or(|hit| hit.start >= upto) {
            sink(&self.held[..upto]);
            at = upto;
        } else {
            self.mixed.clear();
            for hit in hits.into_iter().take_while(|hit| hit.start < upto) {
                if hit.start >= at {
                    self.mixed.extend_from_slice(&self.held[at..hit.start]);
                    self.mixed.extend_from_slice(sieve.replacement(hit));
                }
                at = at.max(hit.end);
            }
            if at < upto {
                self.mixed.extend_from_slice(&self.held[at..upto]);
                at = upto;
            }
            sink(&self.mixed);
        }
        self.held.copy_within(upto..self.filled, 0);
        self.filled -= upto;
        self.covered = at - upto;
    }
}
