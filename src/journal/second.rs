//! What second persons put on record: who somebody is, what an approval is for, a signature.
//!
//! Invariant: two names, or two keys, that may belong to one person count as one person.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::record::Blast;
use crate::base::{CheckId, Digest, RunId, StepId};
use crate::world::Identity;

/// Somebody, by all names and keys that are known of them. Names are compared without the host and without regard to
/// capitals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Person {
    names: BTreeSet<String>,
    keys: BTreeSet<String>,
}

impl Person {
    /// Somebody by a name: `alice`, `Alice@db1`, `alice@example.org`.
    pub fn named(name: &str) -> Person {
        let mut person = Person::default();
        person.also(name);
        person
    }

    /// Another name of theirs.
    pub fn also(&mut self, name: &str) {
        let name = name.split('@').next().unwrap_or_default().trim().to_lowercase();
        if !name.is_empty() {
            self.names.insert(name);
        }
    }

    /// A key of theirs, by its fingerprint.
    pub fn key(&mut self, fingerprint: &str) {
        self.keys.insert(fingerprint.to_owned());
    }

    /// True when these are, or may be, one person: they share a name or a key.
    pub fn same(&self, other: &Person) -> bool {
        !self.names.is_disjoint(&other.names) || !self.keys.is_disjoint(&other.keys)
    }
}

/// Who last changed the runbook, as far as it could be found out when the run was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Their names: of the commit its name and address, of a file its owner. Empty when nobody knows.
    pub names: Vec<String>,
    /// How it is known, or why it is not: `commit 1f0c…`, `owner of the file`, `the file belongs to root`.
    pub how: String,
}

impl Author {
    /// Them, when they are known.
    pub fn person(&self) -> Option<Person> {
        let mut person = Person::default();
        for name in &self.names {
            person.also(name);
        }
        (!person.names.is_empty()).then_some(person)
    }
}

/// A signature by an SSH key, in OpenSSH's own form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The journal's last line, by its hash, when it was signed: what the signer had before them.
    pub head: Digest,
    /// The armoured signature, as `ssh-keygen -Y sign` makes it.
    pub ssh: String,
}

/// What an approval is for: what a permit would rest on, and no more. It says itself which run it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// Its undoing, rather than its work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
    /// The text that names what goes.
    pub text: String,
    /// Digest of the runbook.
    pub runbook: Digest,
    /// Digests of the scripts beside it that its steps call, by path from its folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, Digest>,
    /// Variables that are not secret, captured ones included.
    pub vars: BTreeMap<String, String>,
    /// Targets, as they were proved.
    pub targets: BTreeMap<String, Identity>,
    /// The checks that have to pass together.
    pub guards: Vec<CheckId>,
    /// Those of them that do not pass, and are waived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<CheckId>,
    /// What goes, as it was measured.
    pub blast: Blast,
}

impl Content {
    /// Its digest: what an approval names.
    pub fn digest(&self) -> Digest {
        // A map of texts and numbers always serialises; were it not so, no approval could name it.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_under_two_names_is_one_person() {
        let alice = Person::named("Alice@db1");
        assert!(alice.same(&Person::named("alice")) && alice.same(&Person::named("ALICE@db2")));
        assert!(!alice.same(&Person::named("bob@db1")), "a host is no name");
        let mut bob = Person::named("bob");
        bob.key("SHA256:x");
        let mut other = Person::named("robert");
        assert!(!bob.same(&other));
        other.key("SHA256:x");
        assert!(bob.same(&other));
        assert!(!Person::named(" @db1").same(&Person::named("@db1")), "no name is nobody's name");
    }

    #[test]
    fn an_author_without_a_name_is_unknown() {
        let author = |names: &[&str]| Author {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            how: String::new(),
        };
        assert!(author(&[]).person().is_none() && author(&["  "]).person().is_none());
        assert!(
            author(&["Alice Example", "alice@example.org"]).person().unwrap().same(&Person::named("alice"))
        );
    }
}
