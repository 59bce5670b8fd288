//! Finds forms in text, fast: most text is passed over by looking at every fourth position only.
//!
//! Of each form two anchors are taken, its first and its second few bytes. A line break can fall into one of them only,
//! as lines are at least [`COLUMN`] wide, so every occurrence shows at least one anchor whole. Any window as long as an
//! anchor holds a gram (three bytes) that begins at a multiple of the stride: only those grams are looked up, in a bitmap that fits
//! the first-level cache; what it lets through is compared byte by byte, to both sides.

use std::collections::HashMap;

use super::forms::{Form, is_base64};

/// The narrowest lines for which a value wrapped over several of them is found.
pub(super) const COLUMN: usize = 12;

/// Bytes that one line break may take: CR, LF, indentation.
const BREAK: usize = 10;

/// Length of an anchor, when the form is long enough.
const ANCHOR: usize = 6;

const BITS: u32 = 15;

/// Among so many earlier hits one of the same name is looked for, to be made longer.
const NEAR: usize = 8;

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub start: usize,
    pub end: usize,
    /// Which name; see [`Sieve::replacement`].
    pub name: usize,
}

/// All forms of all secrets, ready to be looked for.
pub(super) struct Sieve {
    forms: Vec<(usize, Form)>,
    replacements: Vec<Vec<u8>>,
    /// Gram to (form, offset in it).
    grams: HashMap<u32, Vec<(usize, usize)>>,
    bitmap: Box<[u64; 1 << (BITS - 6)]>,
    first: Box<[bool; 256]>,
    stride: usize,
    gram: usize,
    /// A hit that begins before this many bytes from the end is known from what is there.
    pub lookahead: usize,
    /// A hit begins at most this many bytes before the gram that shows it.
    pub reach: usize,
}

impl Sieve {
    /// `None` when there is nothing to look for.
    pub fn new(needles: Vec<(String, Form)>) -> Option<Sieve> {
        let anchor_of =
            |form: &Form| if form.bytes.len() >= 4 { ANCHOR.min(form.bytes.len() / 2) } else { 2 };
        let anchor = needles.iter().map(|(_, form)| anchor_of(form)).min()?;
        let longest = needles.iter().map(|(_, form)| form.bytes.len()).max()?;
        let gram = anchor.min(3);
        let mut sieve = Sieve {
            forms: Vec::new(),
            replacements: Vec::new(),
            grams: HashMap::new(),
            bitmap: Box::new([0; 1 << (BITS - 6)]),
            first: Box::new([false; 256]),
            stride: anchor - gram + 1,
            gram,
            lookahead: longest + breaks(longest) * BREAK + 3,
            reach: 2 * anchor + breaks(2 * anchor) * BREAK + 1,
        };
        let mut names: Vec<String> = Vec::new();
        for (name, form) in needles {
            let id = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                sieve.replacements.push(format!("[secret {name}]").into_bytes());
                names.push(name);
                names.len() - 1
            });
            let index = sieve.forms.len();
            for start in [0, anchor] {
                for offset in start..start + sieve.stride {
                    if let Some(bytes) = form.bytes.get(offset..offset + gram) {
                        let key = key(bytes);
                        sieve.grams.entry(key).or_default().push((index, offset));
                        let bit = hash(key);
                        sieve.bitmap[bit / 64] |= 1 << (bit % 64);
                    }
                }
            }
            if let Some(first) = form.bytes.first() {
                sieve.first[usize::from(*first)] = true;
            }
            sieve.forms.push((id, form));
        }
        Some(sieve)
    }

    /// What stands for a hit.
    pub fn replacement(&self, hit: Hit) -> &[u8] {
        &self.replacements[hit.name]
    }

    /// Everything in `text` that is there whole, by its start; hits that overlap under one name are one.
    pub fn scan(&self, text: &[u8]) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        if self.stride == 4 && self.gram == 3 {
            let (words, rest) = text.as_chunks::<4>();
            // Several at a time: they do not wait for one another.
            for (i, group) in words.chunks(8).enumerate() {
                let gram = |word: &[u8; 4]| u32::from_le_bytes(*word) & 0x00ff_ffff;
                if group.iter().fold(false, |any, word| any | self.maybe(gram(word))) {
                    for (j, word) in group.iter().enumerate().filter(|(_, word)| self.maybe(gram(word))) {
                        self.verify(gram(word), text, (i * 8 + j) * 4, &mut hits);
                    }
                }
            }
            if rest.len() == 3 {
                self.verify(key(rest), text, text.len() - 3, &mut hits);
            }
        } else {
            let mut at = 0;
            while let Some(bytes) = text.get(at..at + self.gram) {
                let gram = key(bytes);
                if self.maybe(gram) {
                    self.verify(gram, text, at, &mut hits);
                }
                at += self.stride;
            }
        }
        hits.sort_by_key(|hit| hit.start);
        hits
    }

    /// The first position from which a form may have begun whose end has not come yet; the length when there is none.
    pub fn undecided(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.lookahead);
        (from..text.len())
            .find(|&at| {
                self.first[usize::from(text[at])]
                    && self
                        .forms
                        .iter()
                        .any(|(_, form)| matches!(forward(&form.bytes, 0, text, at), Fit::Short))
            })
            .unwrap_or(text.len())
    }

    #[inline]
    fn maybe(&self, gram: u32) -> bool {
        let bit = hash(gram);
        self.bitmap[bit / 64] & (1 << (bit % 64)) != 0
    }

    #[cold]
    fn verify(&self, gram: u32, text: &[u8], at: usize, hits: &mut Vec<Hit>) {
        for &(index, offset) in self.grams.get(&gram).into_iter().flatten() {
            let (name, form) = &self.forms[index];
            let Fit::Whole(mut end) = forward(&form.bytes, offset, text, at) else { continue };
            let Some(mut start) = backward(&form.bytes, offset, text, at) else { continue };
            if form.head && start.checked_sub(1).is_some_and(|i| is_base64(text[i])) {
                start -= 1;
            }
            if form.tail {
                end += usize::from(text.get(end).is_some_and(|b| is_base64(*b)));
                end += text[end..].iter().take(2).take_while(|b| **b == b'=').count();
            }
            // A text that matches everywhere must not make a list as long as itself.
            let near = hits.iter_mut().rev().take(NEAR);
            match near.into_iter().find(|hit| hit.name == *name && (hit.start..hit.end).contains(&start)) {
                Some(hit) => hit.end = hit.end.max(end),
                None => hits.push(Hit { start, end, name: *name }),
            }
        }
    }
}

enum Fit {
    Whole(usize),
    /// The text ended first; so far it fits.
    Short,
    No,
}

/// Line breaks that a form of this length may have in it.
fn breaks(length: usize) -> usize {
    length / COLUMN + 2
}

fn key(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |key, b| (key << 8) | u32::from(*b))
}

#[inline]
fn hash(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

/// Compares `form[offset..]` with the text from `at` on, over line breaks. Gives where it ends.
fn forward(form: &[u8], offset: usize, text: &[u8], mut at: usize) -> Fit {
    let mut left = breaks(form.len());
    for (i, &want) in form.iter().enumerate().skip(offset) {
        match text.get(at) {
            Some(&b) if b == want => {}
            None => return Fit::Short,
            Some(b'\n' | b'\r') if i > offset && left > 0 => {
                left -= 1;
                if text[at] == b'\r' {
                    at += 1;
                }
                match text.get(at) {
                    None => return Fit::Short,
                    Some(b'\n') => at += 1,
                    Some(_) => return Fit::No,
                }
                let blanks = text[at..].iter().take(BREAK - 2);
                at += blanks.take_while(|b| matches!(b, b' ' | b'\t') && **b != want).count();
                match text.get(at) {
                    None => return Fit::Short,
                    Some(&b) if b == want => {}
                    Some(_) => return Fit::No,
                }
            }
            Some(_) => return Fit::No,
        }
        at += 1;
    }
    Fit::Whole(at)
}

/// Compares `form[..offset]` with the text before `at`, over line breaks. Gives where it begins.
fn backward(form: &[u8], offset: usize, text: &[u8], mut at: usize) -> Option<usize> {
    let mut left = breaks(offset);
    for &want in form[..offset].iter().rev() {
        if text[..at].last() != Some(&want) {
            left = left.checked_sub(1)?;
            let blanks = text[..at].iter().rev().take(BREAK - 2);
            let line = at - blanks.take_while(|b| matches!(b, b' ' | b'\t')).count();
            let before = text[..line].strip_suffix(b"\n")?;
            let before = before.strip_suffix(b"\r").unwrap_or(before);
            at = before.len();
            if before.last() != Some(&want) {
                return None;
            }
        }
        at -= 1;
    }
    Some(at)
}
