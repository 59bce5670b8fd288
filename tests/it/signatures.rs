//! Signatures made by the real ssh-keygen, verified by us; and what it refuses, we refuse.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdpoint::base::signature::{Allowed, Refused, fingerprint, verify};
use holdpoint::world::sign;

use crate::harness::{Need, Registry, must};

pub fn register(r: &mut Registry) {
    r.add("signatures::every_kind_of_key", &[Need::SshKeygen], every_kind_of_key);
    r.add("signatures::what_cannot_sign", &[Need::SshKeygen], troubles);
}

fn key(dir: &Path, kind: &str, bits: &str, phrase: &str) -> (PathBuf, String) {
    let path = dir.join(format!("{kind}-{bits}"));
    must(
        Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-b", bits, "-N", phrase, "-C", "", "-f"])
            .arg(&path),
    );
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public.trim().to_owned())
}

fn every_kind_of_key() {
    let dir = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now();
    let content = b"{\"a\":1}\n".as_slice();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "3072")] {
        let (path, public) = key(dir.path(), kind, bits, "");
        let allowed = Allowed::parse(&format!("carol {public}")).unwrap();
        // Numbers in an ECDSA signature may be short: one in some hundred.
        for round in 0..if kind == "ecdsa" { 40 } else { 2 } {
            let content = [content, format!("{round}").as_bytes()].concat();
            let signature = sign::sign(&path, sign::RECEIPT, &content).unwrap();
            let signer = verify(&content, &signature, sign::RECEIPT, &allowed, now).unwrap();
            assert_eq!(signer.name(), "carol");
            let listed = must(Command::new("ssh-keygen").arg("-lf").arg(path.with_extension("pub"))).stdout;
            assert!(String::from_utf8(listed).unwrap().contains(&signer.fingerprint), "{kind}");
            assert!(
                matches!(
                    fingerprint(b"other", &signature, sign::RECEIPT),
                    Err(Refused::Forged(print)) if print == signer.fingerprint
                ),
                "{kind} {bits}"
            );
            // Both agree, and ssh-keygen refuses the other namespace as we do.
            assert!(theirs(dir.path(), &public, &signature, &content, sign::RECEIPT));
            assert!(!theirs(dir.path(), &public, &signature, &content, sign::APPROVAL));
            assert!(fingerprint(&content, &signature, sign::APPROVAL).is_err());
        }
    }
    let (path, public) = key(dir.path(), "ecdsa", "521", "");
    let signature = sign::sign(&path, sign::RECEIPT, content).unwrap();
    let allowed = Allowed::parse(&format!("carol {public}")).unwrap();
    let refused = verify(content, &signature, sign::RECEIPT, &allowed, now).unwrap_err();
    assert!(refused.to_string().contains("key of kind `ecdsa-sha2-nistp521`"), "{refused}");
}

fn theirs(dir: &Path, public: &str, signature: &str, content: &[u8], namespace: &str) -> bool {
    let at = |name: &str, text: &[u8]| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    let (signers, signature) =
        (at("signers", format!("carol {public}\n").as_bytes()), at("sig", signature.as_bytes()));
    let content = std::fs::File::open(at("content", content)).unwrap();
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-I", "carol", "-n", namespace, "-f"]).arg(signers).arg("-s").arg(signature);
    verify.stdin(content).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn troubles() {
    let dir = tempfile::tempdir().unwrap();
    let missing = sign::sign(&dir.path().join("none"), sign::RECEIPT, b"x").unwrap_err();
    assert!(missing.contains("none") && missing.contains("No such file"), "{missing}");
    let text = dir.path().join("text");
    std::fs::write(&text, "no key").unwrap();
    assert!(sign::sign(&text, sign::RECEIPT, b"x").is_err());
}
