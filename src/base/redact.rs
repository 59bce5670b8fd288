//! Keeps secret values out of everything that is stored or shown.
//!
//! A value is caught as it is and in the encodings that tools print by themselves (`redact/forms.rs`): base64 in every
//! alignment, hexadecimal, percent-encoding, JSON, shell and SQL quoting; each also when line breaks wrap it at twelve or
//! more columns. What a match covers becomes `[secret NAME]`.
//!
//! Invariants:
//! * How the bytes are cut into pushes changes nothing in the result. (After a pause in mid-base64 one character that
//!   carries at most four bits of the value may stay.)
//! * Memory is bounded by the longest form, not by the input.
//! * No value appears in `Debug` output.

mod forms;
mod sieve;
mod stream;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use stream::Stream;

/// A secret shorter than this many bytes is also found in innocent text, and can be guessed; refuse it where it is given.
pub const SHORTEST: usize = 6;

/// Knows the secret values of a run and replaces them, in any of their encodings. Cheap to clone. The default knows
/// none and changes nothing.
#[derive(Clone, Default)]
pub struct Redactor {
    sieve: Option<Arc<sieve::Sieve>>,
    names: Arc<BTreeSet<String>>,
    weak: Arc<BTreeSet<String>>,
}

impl Redactor {
    /// A redactor for named values. Empty values are left out: they would match everywhere.
    pub fn new<N: Into<String>, V: AsRef<[u8]>>(secrets: impl IntoIterator<Item = (N, V)>) -> Self {
        let (mut names, mut weak, mut needles) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (name, value) in secrets {
            let (name, value) = (name.into(), value.as_ref());
            if value.is_empty() {
                continue;
            }
            if value.len() < SHORTEST {
                weak.insert(name.clone());
            }
            needles.extend(forms::forms(value).into_iter().map(|form| (name.clone(), form)));
            names.insert(name);
        }
        Redactor {
            sieve: sieve::Sieve::new(needles).map(Arc::new),
            names: Arc::new(names),
            weak: Arc::new(weak),
        }
    }

    /// Names whose values are shorter than [`SHORTEST`]. A value of a single byte is not looked for at all.
    pub fn weak(&self) -> impl Iterator<Item = &str> {
        self.weak.iter().map(String::as_str)
    }

    /// True when there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.sieve.is_none()
    }

    /// `text` without secrets.
    pub fn text(&self, text: &str) -> String {
        match &self.sieve {
            None => text.to_owned(),
            Some(_) => String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned(),
        }
    }

    /// `bytes` without secrets.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut stream = self.stream();
        stream.push(bytes, &mut out);
        stream.finish(&mut out);
        out
    }

    /// A filter for bytes that come in pieces.
    pub fn stream(&self) -> Stream {
        Stream::new(self.sieve.clone())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
