//! The receipt of a rehearsal that passed: what was rehearsed, where, with what, and what was left out.
//!
//! One JSON file. `digest` is the SHA-256 of the receipt in its canonical form, `signature` is made over the same bytes.
//! Canonical: the keys of every map in order, no blanks. It is made from what stands in the file, so that a version that
//! does not know a key still digests it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apart::Compared;
use crate::base::signature::{self, Allowed};
use crate::base::{CheckId, Digest, RunId, StepId};
use crate::world::Identity;

/// The format that this program writes.
pub const FORMAT: u32 = 1;
/// What its signature is made for.
pub const NAMESPACE: &str = crate::world::sign::RECEIPT;
/// Nothing that is larger is read.
pub const MAX_BYTES: u64 = 8 << 20;

/// What a rehearsal showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The runbook's name.
    pub name: String,
    /// Digest of the runbook file.
    pub runbook: Digest,
    /// Local files that its steps call, with their digests.
    pub called: Vec<Script>,
    /// Version of this program.
    pub engine: String,
    /// Where it was rehearsed.
    pub environment: String,
    /// The runbook's variables: their values differ from place to place, and are not compared.
    pub variables: Variables,
    /// The targets.
    pub targets: Vec<Rehearsed>,
    /// Facts of the host: system, kernel, SQLite.
    pub facts: BTreeMap<String, String>,
    /// The host.
    pub host: String,
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// Every permit, with the checks that passed together for it.
    pub guards: Vec<Guarded>,
    /// How targets were told apart from protected ones.
    pub compared: Vec<Compared>,
    /// Checks of the environment's own that proved it.
    pub proofs: u64,
    /// What weakens the proof that this was staging.
    pub weaknesses: Vec<String>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// Who, as claimed. A signature says who proved it.
    pub by: String,
    /// The run.
    pub run: RunId,
    /// Digest of the last line of its journal when the receipt was made.
    pub head: Digest,
    /// What was shown of its guards: that each of them can fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falsified: Option<Value>,
    /// What was shown with faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Value>,
    /// Every step was rehearsed, in whole.
    pub whole: bool,
    /// Why not.
    pub not_whole: Vec<String>,
}

/// A file that a step calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The step.
    pub step: String,
    /// Its path, from the runbook's folder.
    pub path: String,
    /// Its digest; `None` when it could not be read.
    pub digest: Option<Digest>,
}

/// The variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// Names, secret ones included.
    pub names: Vec<String>,
    /// Digest of names and values, secret ones left out.
    pub digest: Digest,
}

/// A target as it was rehearsed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// Its name.
    pub name: String,
    /// What it was before the first step; `None` when it was not there.
    pub before: Option<Identity>,
    /// What it was when the run last pinned it.
    pub pinned: Option<Identity>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// `whole`, `stand_in`, `shortened`, `not`.
    pub rehearsed: String,
    /// More on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// How long its work took.
    pub took_ms: Option<u64>,
}

/// A permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The step.
    pub step: StepId,
    /// The checks.
    pub checks: Vec<CheckId>,
}

/// A receipt as it came from a file.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// What it says.
    pub receipt: Receipt,
    /// Its digest.
    pub digest: Digest,
    /// Its signature.
    pub signature: Option<String>,
    bytes: Vec<u8>,
}

/// Signs the canonical bytes of a receipt.
pub type Signing<'a> = &'a dyn Fn(&[u8]) -> Result<String, String>;

/// The file of a receipt; `sign` is given the canonical bytes.
pub fn seal(receipt: &Receipt, sign: Option<Signing<'_>>) -> Result<(String, Digest), String> {
    let body = serde_json::to_value(receipt).map_err(|error| error.to_string())?;
    let bytes = canonical(&body);
    let signature = sign.map(|sign| sign(&bytes)).transpose()?;
    let digest = Digest::of(&bytes);
    let file = serde_json::json!({
        "holdpoint_receipt": FORMAT, "digest": digest, "signature": signature, "receipt": body,
    });
    Ok((format!("{file:#}\n"), digest))
}

/// Reads a receipt. An error says what is wrong with it in a sentence.
pub fn open(text: &[u8]) -> Result<Sealed, String> {
    let file: Value = serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let format = file.get("holdpoint_receipt").and_then(Value::as_u64);
    match format {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) if format > u64::from(FORMAT) => {
            return Err(format!("its format {format} is newer than this program, which reads {FORMAT}"));
        }
        _ => return Err("it is not the receipt of a rehearsal".to_owned()),
    }
    if again(text) {
        return Err("a key stands in it twice: two readers would read two receipts".to_owned());
    }
    let body = file.get("receipt").ok_or("it holds no receipt")?;
    let bytes = canonical(body);
    let digest = Digest::of(&bytes);
    if file.get("digest").and_then(Value::as_str) != Some(digest.as_str()) {
        return Err("it was altered: its digest is another".to_owned());
    }
    let signature = match file.get("signature") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err("its signature is not a text".to_owned()),
    };
    let receipt =
        serde_json::from_value(body.clone()).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Sealed { receipt, digest, signature, bytes })
}

impl Sealed {
    /// Who signed it: the first name that the allowed signers file gives the key at that time.
    pub fn signer(&self, allowed: &Allowed, at: Timestamp) -> Result<String, String> {
        let signature = self.signature.as_ref().ok_or("it is not signed")?;
        let signer = signature::verify(&self.bytes, signature, NAMESPACE, allowed, at)
            .map_err(|refused| refused.to_string())?;
        Ok(format!("{} ({})", signer.name(), signer.fingerprint))
    }

    /// The key that signed it, whosever it is.
    pub fn key(&self) -> Result<String, String> {
        let signature = self.signature.as_ref().ok_or("it is not signed")?;
        signature::fingerprint(&self.bytes, signature, NAMESPACE).map_err(|refused| refused.to_string())
    }
}

/// A JSON value with the keys of every map in order and no blanks.
pub fn canonical(value: &Value) -> Vec<u8> {
    fn put(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                out.push('{');
                for (nth, key) in keys.into_iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::String(key.clone()).to_string());
                    out.push(':');
                    put(&map[key], out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (nth, item) in items.iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    put(item, out);
                }
                out.push(']');
            }
            other => out.push_str(&other.to_string()),
        }
    }
    let mut out = String::new();
    put(value, &mut out);
    out.into_bytes()
}

/// True when a map of the text has a key twice. A reader that keeps the first would see another receipt than we do.
fn again(text: &[u8]) -> bool {
    use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
    struct Once;
    impl<'de> serde::de::DeserializeSeed<'de> for Once {
        type Value = ();
        fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
            from.deserialize_any(self)
        }
    }
    impl<'de> Visitor<'de> for Once {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut keys = std::collections::BTreeSet::new();
            while let Some(key) = map.next_key::<String>()? {
                if !keys.insert(key) {
                    return Err(serde::de::Error::custom("twice"));
                }
                map.next_value_seed(Once)?;
            }
            Ok(())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while seq.next_element_seed(Once)?.is_some() {}
            Ok(())
        }
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }
        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }
        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }
        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }
        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.deserialize_any(Once).is_err()
}
