//! Public keys, and whether one made a signature.

use ring::signature as ring;
use sha2::{Digest as _, Sha256};

use super::blob::Reader;

/// The person touched the security key.
const TOUCHED: u8 = 1;

/// A public key.
pub(super) struct Key<'a> {
    kind: Kind<'a>,
    /// For a key that a security key holds: what it was made for.
    application: Option<&'a [u8]>,
}

enum Kind<'a> {
    Ed25519(&'a [u8]),
    Ecdsa { name: &'static str, size: usize, point: &'a [u8], how: &'static ring::EcdsaVerificationAlgorithm },
    Rsa { e: &'a [u8], n: &'a [u8] },
}

impl<'a> Key<'a> {
    /// Reads a key in its wire form.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Key<'a>, String> {
        let mut reader = Reader::new(bytes);
        let cut = || "a public key that is cut off".to_owned();
        let kind = reader.bytes().ok_or_else(cut)?;
        let mut part = || reader.bytes().ok_or_else(cut);
        let (kind, held) = match kind {
            b"ssh-ed25519" => (Kind::Ed25519(part()?), false),
            b"sk-ssh-ed25519@openssh.com" => (Kind::Ed25519(part()?), true),
            b"ecdsa-sha2-nistp256" => (p256(part()?, part()?)?, false),
            b"sk-ecdsa-sha2-nistp256@openssh.com" => (p256(part()?, part()?)?, true),
            b"ecdsa-sha2-nistp384" => (p384(part()?, part()?)?, false),
            b"ssh-rsa" => {
                let (e, n) = reader.integer().zip(reader.integer()).ok_or_else(cut)?;
                (Kind::Rsa { e, n }, false)
            }
            other => {
                let name = crate::base::text::neutral(&String::from_utf8_lossy(other));
                return Err(format!("key of kind `{name}`"));
            }
        };
        let application = if held { Some(reader.bytes().ok_or_else(cut)?) } else { None };
        if !reader.done() {
            return Err("a public key with something behind it".to_owned());
        }
        Ok(Key { kind, application })
    }

    /// Whether this key signed the message. An error names a kind of signature that is not known.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> Result<bool, String> {
        let mut reader = Reader::new(signature);
        let Some((kind, value)) = reader.bytes().zip(reader.bytes()) else { return Ok(false) };
        let mut wrapped = Vec::new();
        let message = match self.application {
            None => message,
            Some(application) => {
                // What a security key signs (PROTOCOL.u2f): its application, flags, a counter, and the message's digest.
                let Some(flags) = reader.byte() else { return Ok(false) };
                let Some(counter) = reader.number() else { return Ok(false) };
                if flags & TOUCHED == 0 {
                    return Err("security key that nobody touched".to_owned());
                }
                wrapped.extend(Sha256::digest(application));
                wrapped.push(flags);
                wrapped.extend(counter.to_be_bytes());
                wrapped.extend(Sha256::digest(message));
                &wrapped
            }
        };
        if !reader.done() {
            return Ok(false);
        }
        let held = self.application.is_some();
        match &self.kind {
            Kind::Ed25519(key) => {
                same(kind, if held { "sk-ssh-ed25519@openssh.com" } else { "ssh-ed25519" })?;
                Ok(ring::UnparsedPublicKey::new(&ring::ED25519, key).verify(message, value).is_ok())
            }
            Kind::Ecdsa { name, size, point, how } => {
                same(kind, if held { "sk-ecdsa-sha2-nistp256@openssh.com" } else { name })?;
                let Some(fixed) = fixed(value, *size) else { return Ok(false) };
                Ok(ring::UnparsedPublicKey::new(*how, point).verify(message, &fixed).is_ok())
            }
            Kind::Rsa { e, n } => {
                let how = match kind {
                    b"rsa-sha2-256" => &ring::RSA_PKCS1_2048_8192_SHA256,
                    b"rsa-sha2-512" => &ring::RSA_PKCS1_2048_8192_SHA512,
                    _ => return Err(unknown(kind)),
                };
                Ok(ring::RsaPublicKeyComponents { n, e }.verify(how, message, value).is_ok())
            }
        }
    }
}

fn p256<'a>(curve: &[u8], point: &'a [u8]) -> Result<Kind<'a>, String> {
    let how = &ring::ECDSA_P256_SHA256_FIXED;
    same(curve, "nistp256").map(|()| Kind::Ecdsa { name: "ecdsa-sha2-nistp256", size: 32, point, how })
}

fn p384<'a>(curve: &[u8], point: &'a [u8]) -> Result<Kind<'a>, String> {
    let how = &ring::ECDSA_P384_SHA384_FIXED;
    same(curve, "nistp384").map(|()| Kind::Ecdsa { name: "ecdsa-sha2-nistp384", size: 48, point, how })
}

fn same(seen: &[u8], wanted: &str) -> Result<(), String> {
    if seen == wanted.as_bytes() { Ok(()) } else { Err(unknown(seen)) }
}

fn unknown(kind: &[u8]) -> String {
    format!("signature of kind `{}`", crate::base::text::neutral(&String::from_utf8_lossy(kind)))
}

/// Two numbers, each of full length: the form that has no second spelling.
fn fixed(value: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut reader = Reader::new(value);
    let mut out = Vec::with_capacity(2 * size);
    for _ in 0..2 {
        let number = reader.integer()?;
        out.resize(out.len() + size.checked_sub(number.len())?, 0);
        out.extend(number);
    }
    reader.done().then_some(out)
}
