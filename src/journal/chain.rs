//! One line of a journal as bytes, and the hash that links it to the next. Pure: no disk, no clock.
//!
//! The hash is taken over the bytes of a line as they stand in the file, without the newline, so that `sha256sum` gives
//! the same answer. Nothing is ever encoded again to be compared.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::fast;
use super::kind::KINDS;
use super::record::{Event, FORMAT, Line};
use crate::base::{Digest, Moment, RunId, text};

/// A SHA-256 as bytes: what the chain works with.
pub type Hash = [u8; 32];

/// Why a line cannot be understood. Each reads after `line 7: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not one JSON object with the fields that every line has.
    #[error("it is not a journal line ({why})")]
    NotALine {
        /// What the parser says.
        why: String,
    },
    /// A kind of event that a newer version writes.
    #[error("it records `{what}`, which this version of Holdpoint does not know; a newer version wrote it")]
    UnknownEvent {
        /// Its `what`.
        what: String,
    },
    /// A known kind with fields that do not fit.
    #[error("it is not a proper `{what}` event ({why})")]
    Malformed {
        /// Its `what`.
        what: String,
        /// What the parser says.
        why: String,
    },
    /// The journal has a newer format than this program reads.
    #[error(
        "the journal has format {format}, this version reads up to {FORMAT}; \
         use Holdpoint {engine} or newer, which wrote it"
    )]
    NewerFormat {
        /// The journal's format.
        format: u32,
        /// The version that began it.
        engine: String,
    },
}

/// The `prev` of the first line: the hash of the run's id.
pub fn first_prev(run: &RunId) -> Digest {
    Digest::of(run.as_str().as_bytes())
}

/// The hash of a line, for people and for the next line's `prev`.
pub fn line_hash(line: &[u8]) -> Digest {
    Digest::of(line)
}

/// The same as bytes.
pub(super) fn raw_hash(line: &[u8]) -> Hash {
    Sha256::digest(line).into()
}

/// A hash as people write it.
pub(super) fn digest(hash: &Hash) -> Digest {
    Digest(crate::base::ids::hex(hash))
}

/// 64 lower-case hexadecimal characters as bytes.
pub(super) fn unhex(text: &[u8]) -> Option<Hash> {
    /// The value of each character; 0xff for one that is no digit.
    const VALUES: [u8; 256] = {
        let mut values = [0xff; 256];
        let mut n = 0;
        while n < 16 {
            values[b"0123456789abcdef"[n] as usize] = n as u8;
            n += 1;
        }
        values
    };
    let (mut hash, mut seen) = ([0; 32], 0);
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (text.len() == 64 && seen < 16).then_some(hash)
}

/// A line as one JSON object without its newline; the keys come in the order of [`Line`]'s fields. What a terminal would
/// obey stands there escaped, so that the file can be shown with `cat`.
pub fn encode(line: &Line) -> Result<String, DecodeError> {
    let text = serde_json::to_string(line)
        .map_err(|error| DecodeError::Malformed { what: "line".into(), why: error.to_string() })?;
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(text);
    }
    // Characters beyond ASCII stand only inside strings, where JSON allows the escape.
    let mut plain = String::with_capacity(text.len() + 64);
    let mut units = [0; 2];
    for c in text.chars() {
        if text::neutral(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            plain.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| plain.push_str(&format!("\\u{unit:04x}")));
        }
    }
    Ok(plain)
}

/// What every line has, whatever it records.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Envelope<'a> {
    /// Its number.
    pub seq: u64,
    /// Its fencing token; 0 for people who do not drive.
    pub epoch: u64,
    /// Its kind.
    #[serde(borrow)]
    pub what: Cow<'a, str>,
    /// Hash of the line before.
    #[serde(borrow)]
    pub prev: Cow<'a, str>,
}

/// Reads what every line has, and skips the rest.
pub fn envelope(line: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    match quick(line) {
        Some(Quick { seq, epoch, what, prev, .. }) => {
            Ok(Envelope { seq, epoch, what: what.into(), prev: prev.into() })
        }
        None => parse(line),
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(line).map_err(|error| DecodeError::NotALine { why: error.to_string() })
}

/// A line of exactly our shape, taken apart without parsing what lies between its ends.
#[derive(Debug, PartialEq)]
struct Quick<'a> {
    seq: u64,
    wall: &'a str,
    boot_ms: u64,
    by: &'a str,
    epoch: u64,
    what: &'a str,
    prev: &'a str,
    /// From `"what"` to the last of the event's own fields.
    event: &'a [u8],
}

/// Takes a line apart as we write it; `None` when it has another shape. `verify` runs at the speed of the hash because
/// of this.
fn quick(line: &[u8]) -> Option<Quick<'_>> {
    fn number<'a>(rest: &'a [u8], key: &[u8]) -> Option<(u64, &'a [u8])> {
        let rest = rest.strip_prefix(key)?;
        let end = rest.iter().position(|c| !c.is_ascii_digit())?;
        Some((std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?, &rest[end..]))
    }
    fn string<'a>(rest: &'a [u8], key: &[u8]) -> Option<(&'a str, &'a [u8])> {
        let rest = rest.strip_prefix(key)?;
        let end = rest.iter().position(|c| matches!(c, b'"' | b'\\'))?;
        (rest[end] == b'"').then_some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
    }
    let (seq, rest) = number(line, b"{\"seq\":")?;
    let (wall, rest) = string(rest, b",\"wall\":\"")?;
    let (boot_ms, rest) = number(rest, b",\"boot_ms\":")?;
    let (by, rest) = string(rest, b",\"by\":\"")?;
    let (epoch, rest) = number(rest, b",\"epoch\":")?;
    let event = rest.strip_prefix(b",")?;
    let (what, _) = string(event, b"\"what\":\"")?;
    let cut = event.len().checked_sub(b",\"prev\":\"\"}".len() + 64)?;
    let (prev, rest) = string(&event[cut..], b",\"prev\":\"")?;
    (rest == b"}").then_some(Quick { seq, wall, boot_ms, by, epoch, what, prev, event: &event[..cut] })
}

/// Reads a line in full.
pub fn decode(line: &[u8]) -> Result<Line, DecodeError> {
    #[derive(Deserialize)]
    struct Header<'a> {
        seq: u64,
        wall: Timestamp,
        boot_ms: u64,
        by: String,
        epoch: u64,
        #[serde(borrow)]
        what: Cow<'a, str>,
        prev: Digest,
    }
    let quick = quick(line).and_then(|quick| Some((quick.wall.parse().ok()?, quick)));
    let (header, own) = match quick {
        Some((wall, Quick { seq, boot_ms, by, epoch, what, prev, event, .. })) => {
            let (by, prev) = (by.to_owned(), Digest(prev.to_owned()));
            let own = [b"{", event, b"}"].concat();
            (Header { seq, wall, boot_ms, by, epoch, what: what.into(), prev }, Cow::Owned(own))
        }
        None => (parse(line)?, Cow::Borrowed(line)),
    };
    if !KINDS.contains(&&*header.what) {
        return Err(DecodeError::UnknownEvent { what: header.what.into_owned() });
    }
    if header.what == "opened" {
        check_format(line)?;
    }
    let short = if header.what == "measured" { fast::measured(&own) } else { None };
    let event = short.map_or_else(|| serde_json::from_slice::<Event>(&own), Ok).map_err(|error| {
        DecodeError::Malformed { what: (*header.what).to_owned(), why: error.to_string() }
    })?;
    let at = Moment { wall: header.wall, boot_ms: header.boot_ms };
    Ok(Line { seq: header.seq, at, by: header.by, epoch: header.epoch, event, prev: header.prev })
}

/// Refuses a first line of a newer format, in words, before anything else in it is looked at.
pub(super) fn check_format(line: &[u8]) -> Result<(), DecodeError> {
    #[derive(Deserialize)]
    struct First {
        format: u32,
        #[serde(default)]
        engine: String,
    }
    let First { format, engine } = parse(line)?;
    let engine = if engine.is_empty() { "of a later version".to_owned() } else { engine };
    if format > FORMAT { Err(DecodeError::NewerFormat { format, engine }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::verify::samples;

    #[test]
    fn every_sample_survives_a_round_trip_and_the_quick_reader_agrees() {
        for line in samples::lines() {
            let text = encode(&line).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(decode(text.as_bytes()).unwrap(), line);
            let slow: Envelope<'_> = parse(text.as_bytes()).unwrap();
            assert_eq!(envelope(text.as_bytes()).unwrap(), slow, "{text}");
            assert!(quick(text.as_bytes()).is_some(), "{text}");
            // The same line in another shape goes through the parser, with the same result.
            let spaced = text.replacen("{\"seq\":", "{ \"seq\": ", 1);
            assert!(quick(spaced.as_bytes()).is_none());
            assert_eq!(decode(spaced.as_bytes()).unwrap(), line);
        }
    }

    #[test]
    fn the_quick_reader_leaves_other_shapes_to_the_parser() {
        let mut line = samples::lines().remove(0);
        line.by = "o'\"brien\\@db1".into();
        let text = encode(&line).unwrap();
        assert_eq!(quick(text.as_bytes()), None);
        assert_eq!(envelope(text.as_bytes()).unwrap().seq, line.seq);
        let spaced = text.replacen("{\"seq\":", "{ \"seq\": ", 1);
        assert_eq!(envelope(spaced.as_bytes()).unwrap().seq, line.seq);
    }

    #[test]
    fn a_line_can_be_shown_on_a_terminal() {
        let mut line = samples::lines().remove(3);
        let evil = "\u{1b}[2J \u{9b}31m \u{7f} \u{202e}gnp \u{200b} \u{e0041} \r\n\t caf\u{e9} \u{1f600}";
        line.event = Event::Note { text: evil.into() };
        let text = encode(&line).unwrap();
        assert_eq!(text::neutral(&text), text);
        assert!(text.contains("caf\u{e9} \u{1f600}"), "{text}");
        assert_eq!(decode(text.as_bytes()).unwrap(), line);
    }

    #[test]
    fn the_first_link_is_the_hash_of_the_run_id() {
        let want = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(first_prev(&RunId::from("foo")).as_str(), want);
        assert_eq!(unhex(want.as_bytes()).map(|h| digest(&h)).unwrap().as_str(), want);
        assert_eq!(unhex(b"zz"), None);
        assert_eq!(unhex(want.to_uppercase().as_bytes()), None);
        assert_eq!(unhex(format!("{want}00").as_bytes()), None);
        assert_eq!(unhex(want.replace('9', "g").as_bytes()), None);
    }

    #[test]
    fn unknown_kinds_and_newer_formats_are_told_apart() {
        let text = encode(&samples::lines()[0]).unwrap();
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert!(matches!(decode(newer.as_bytes()), Err(DecodeError::NewerFormat { format: 2, .. })));
        let unknown = text.replace("\"what\":\"opened\"", "\"what\":\"teleported\"");
        assert_eq!(decode(unknown.as_bytes()), Err(DecodeError::UnknownEvent { what: "teleported".into() }));
        let bad = text.replace("\"runbook\":", "\"runbok\":");
        assert!(matches!(decode(bad.as_bytes()), Err(DecodeError::Malformed { .. })));
    }
}
