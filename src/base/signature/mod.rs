//! Signatures made with SSH keys (`ssh-keygen -Y sign`), verified without any other program.
//!
//! The form is OpenSSH's own (`PROTOCOL.sshsig`); the cryptography is `ring`'s. Keys: Ed25519, ECDSA on P-256 and P-384,
//! RSA from 2048 bits, and Ed25519 and P-256 held in a security key, touched. Certificates and P-521 are refused in words.
//! What a name stands for is said by an allowed signers file ([`Allowed`]), as for git.

mod allowed;
mod blob;
mod key;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256, Sha512};

pub use allowed::Allowed;
use blob::Reader;
use key::Key;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";

/// Longest signature that is read, in bytes. RSA keys of 8192 bits stay far below.
const LONGEST: usize = 16 * 1024;

/// Who signed, as the allowed signers file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Names that the file gives this key, in its order.
    pub principals: Vec<String>,
    /// The key: `SHA256:…`, as ssh-keygen prints it.
    pub fingerprint: String,
}

impl Signer {
    /// The first name.
    pub fn name(&self) -> &str {
        self.principals.first().map_or("", String::as_str)
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not one.
    #[error("this is not an SSH signature: {0}")]
    Malformed(String),
    /// It was made for something else.
    #[error("the signature was made for `{seen}`, not for `{wanted}`")]
    Namespace {
        /// What it was made for.
        seen: String,
        /// What is wanted.
        wanted: String,
    },
    /// The content is another, or the signature was altered.
    #[error("the signature by key {0} is not one of this content")]
    Forged(String),
    /// A kind of key or signature that is not verified here.
    #[error("a signature that cannot be verified: {0}")]
    Unsupported(String),
    /// The key is good, but nobody's.
    #[error("key {fingerprint} is not allowed: {why}")]
    NotAllowed {
        /// The key.
        fingerprint: String,
        /// Why.
        why: String,
    },
}

/// Verifies that `armored` is a signature of `content` for `namespace`, by a key that the file allows for it at that time.
///
/// # Errors
/// [`Refused`] says why it does not count.
pub fn verify(
    content: &[u8],
    armored: &str,
    namespace: &str,
    allowed: &Allowed,
    at: Timestamp,
) -> Result<Signer, Refused> {
    let (key, fingerprint) = checked(content, armored, namespace)?;
    match allowed.names(&key, namespace, at) {
        Ok(principals) => Ok(Signer { principals, fingerprint }),
        Err(why) => Err(Refused::NotAllowed { fingerprint, why }),
    }
}

/// The fingerprint of the key that signed, whoever that is: the signature is one of this content and namespace.
///
/// # Errors
/// As [`verify`], but never [`Refused::NotAllowed`].
pub fn fingerprint(content: &[u8], armored: &str, namespace: &str) -> Result<String, Refused> {
    checked(content, armored, namespace).map(|(_, fingerprint)| fingerprint)
}

/// `SHA256:…` of a public key in its wire form.
fn printed(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

fn checked(content: &[u8], armored: &str, namespace: &str) -> Result<(Vec<u8>, String), Refused> {
    let bytes = unwrapped(armored).map_err(Refused::Malformed)?;
    let parts = Parts::read(&bytes).map_err(|why| Refused::Malformed(why.to_owned()))?;
    let fingerprint = printed(parts.key);
    if parts.namespace != namespace.as_bytes() {
        let seen = String::from_utf8_lossy(parts.namespace);
        return Err(Refused::Namespace { seen: super::text::neutral(&seen), wanted: namespace.to_owned() });
    }
    let digest = match parts.hash {
        b"sha256" => Sha256::digest(content).to_vec(),
        b"sha512" => Sha512::digest(content).to_vec(),
        other => {
            let name = super::text::neutral(&String::from_utf8_lossy(other));
            return Err(Refused::Unsupported(format!("hash `{name}`")));
        }
    };
    let mut signed = MAGIC.to_vec();
    for part in [parts.namespace, parts.reserved, parts.hash, &digest] {
        blob::put(&mut signed, part);
    }
    let key = Key::read(parts.key).map_err(Refused::Unsupported)?;
    match key.verifies(&signed, parts.signature).map_err(Refused::Unsupported)? {
        true => Ok((parts.key.to_vec(), fingerprint)),
        false => Err(Refused::Forged(fingerprint)),
    }
}

/// The bytes between the two lines.
fn unwrapped(armored: &str) -> Result<Vec<u8>, String> {
    if armored.len() > LONGEST {
        return Err("it is too long".to_owned());
    }
    let inner = armored.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let inner = inner.ok_or_else(|| format!("it does not stand between `{BEGIN}` and `{END}`"))?;
    let text: String = inner.split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| "its text is not base64".to_owned())
}

/// A signature, taken apart.
struct Parts<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Parts<'a>, &'static str> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin with SSHSIG")?;
        let mut reader = Reader::new(rest);
        if reader.number().ok_or("it is cut off")? != 1 {
            return Err("it has another version than 1");
        }
        let mut part = || reader.bytes().ok_or("it is cut off");
        let parts =
            Parts { key: part()?, namespace: part()?, reserved: part()?, hash: part()?, signature: part()? };
        if reader.done() { Ok(parts) } else { Err("something follows it") }
    }
}
