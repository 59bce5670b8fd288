//! The pages on record: who sent one, when, by which way, and who acknowledged it with the code that it carried. The code
//! itself is never stored, only its salted digest.
//!
//! `ID.json` is written by whoever sends, before the page goes out; `ID.ack` by whoever acknowledges it, once. Neither
//! proves who somebody is: whoever may write to the store may write these files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::hex;
use crate::base::{Digest, Moment};
use crate::world::{Files, host};

/// The format that this program writes.
const FORMAT: u32 = 1;
/// So many pages are looked at, the newest.
const MOST: usize = 500;
/// A page is small.
const LIMIT: u64 = 64 << 10;

/// A page on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Format version.
    pub page: u32,
    /// Its name: when it was made, and eight characters.
    pub id: String,
    /// Digest of what sends it: pages that go the same way have the same.
    pub way: Digest,
    /// What sends it, for people.
    pub via: String,
    /// In whose name: `alice@db1`.
    pub by: String,
    /// When it was made.
    pub sent: Moment,
    /// The boot of the machine that it was made on.
    pub boot: String,
    /// How long its acknowledgement may take.
    pub within_ms: u64,
    /// Somebody else than its sender must acknowledge it.
    pub by_other: bool,
    /// Makes the digest of the code one of a kind.
    pub salt: String,
    /// Digest of salt and code.
    pub code: Digest,
    /// Why it could not be sent, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who, as claimed: `bob@db1`.
    pub by: String,
    /// When.
    pub at: Moment,
    /// The boot of the machine that it was made on.
    pub boot: String,
}

/// A page and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The page.
    pub page: Page,
    /// Its acknowledgement.
    pub ack: Option<Ack>,
}

/// What a new page is about.
#[derive(Debug, Clone)]
pub struct New<'a> {
    /// Digest of what sends it.
    pub way: Digest,
    /// What sends it, for people.
    pub via: String,
    /// In whose name.
    pub by: &'a str,
    /// How long its acknowledgement may take.
    pub within: Duration,
    /// Somebody else must acknowledge it.
    pub by_other: bool,
}

/// A person without the machine: `alice` of `alice@db1`.
pub fn person(by: &str) -> &str {
    by.rsplit_once('@').map_or(by, |(name, _)| name)
}

/// Time from one moment to a later one: by the boot clock within one boot, which nobody can set; else by the wall clock. An
/// error when the later one is earlier by it.
pub fn between(from: &Moment, boot: &str, to: &Moment, other: &str) -> Result<Duration, String> {
    if boot == other && !boot.is_empty() && to.boot_ms >= from.boot_ms {
        return Ok(to.since(from));
    }
    let millis = to.wall.as_millisecond() - from.wall.as_millisecond();
    u64::try_from(millis).map(Duration::from_millis).map_err(|_| {
        format!("{:.0} lies in the future: a clock was set, so nobody knows how long ago that was", from.wall)
    })
}

fn digest(salt: &str, code: &str) -> Digest {
    Digest::of(format!("{salt}:{code}").as_bytes())
}

impl Page {
    /// A new page, and the code that it carries: six digits.
    pub fn new(new: &New<'_>, now: Moment) -> Result<(Page, String), String> {
        let number = u64::from_le_bytes(host::random::<8>()?) % 1_000_000;
        let code = format!("{number:06}");
        let salt = hex(&host::random::<16>()?);
        let page = Page {
            page: FORMAT,
            id: format!("{}-{}", now.wall.strftime("%Y%m%dT%H%M%S"), &salt[..8]),
            way: new.way.clone(),
            via: new.via.clone(),
            by: new.by.to_owned(),
            sent: now,
            boot: host::boot_id(),
            within_ms: new.within.as_millis() as u64,
            by_other: new.by_other,
            code: digest(&salt, &code),
            salt,
            failed: None,
        };
        Ok((page, code))
    }

    /// True when this is the code that it carried.
    pub fn carries(&self, code: &str) -> bool {
        digest(&self.salt, code) == self.code
    }

    /// True when somebody may acknowledge it.
    pub fn may_acknowledge(&self, by: &str) -> bool {
        !self.by_other || person(by) != person(&self.by)
    }

    /// Its file.
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.id))
    }

    /// The file of its acknowledgement.
    pub fn ack_file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.ack", self.id))
    }

    /// Puts it on record.
    pub async fn save(&self, folder: &Path, files: &dyn Files) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| e.to_string())?;
        files.replace(&self.file(folder), &text).await
    }

    /// Its acknowledgement, if there is one.
    pub async fn ack(&self, folder: &Path, files: &dyn Files) -> Result<Option<Ack>, String> {
        let path = self.ack_file(folder);
        if files.stat(&path).await?.is_none() {
            return Ok(None);
        }
        let bytes = files.read(&path, LIMIT).await?;
        serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("{} is damaged: {e}", path.display()))
    }
}

/// Every page on record, newest first. None when the folder is not there.
pub async fn all(folder: &Path, files: &dyn Files) -> Result<Vec<Entry>, String> {
    if files.stat(folder).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<PathBuf> = files
        .list(folder)
        .await?
        .into_iter()
        .map(|entry| entry.path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort_unstable();
    let mut found = Vec::new();
    for path in paths.iter().rev().take(MOST) {
        let bytes = files.read(path, LIMIT).await?;
        let page: Page =
            serde_json::from_slice(&bytes).map_err(|e| format!("{} is damaged: {e}", path.display()))?;
        if page.page != FORMAT {
            return Err(format!(
                "{} has format {}, which this program does not read",
                path.display(),
                page.page
            ));
        }
        let ack = page.ack(folder, files).await?;
        found.push(Entry { page, ack });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: &str, boot_ms: u64) -> Moment {
        Moment { wall: wall.parse().unwrap(), boot_ms }
    }

    #[test]
    fn a_code_is_kept_as_a_digest_only() {
        let new =
            New { way: Digest::of(b"x"), via: "x".into(), by: "a@h", within: Duration::ZERO, by_other: true };
        let (page, code) = Page::new(&new, at("2026-11-20T10:00:00Z", 5)).unwrap();
        assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
        assert!(page.carries(&code) && !page.carries("nonsense") && !page.carries(""));
        let text =
            serde_json::to_string(&Page { salt: String::new(), code: Digest::from(""), ..page.clone() });
        assert!(!text.unwrap().contains(&format!("\"{code}\"")));
        assert!(!page.may_acknowledge("a@other") && page.may_acknowledge("b@h"));
        let (other, _) = Page::new(&new, at("2026-11-20T10:00:00Z", 5)).unwrap();
        assert!(other.id != page.id && other.code != page.code);
    }

    #[test]
    fn time_is_the_boot_clocks_within_one_boot() {
        let from = at("2026-11-20T10:00:00Z", 1_000);
        // Somebody set the clock back by an hour.
        let set = at("2026-11-20T09:00:10Z", 11_000);
        assert_eq!(between(&from, "b", &set, "b"), Ok(Duration::from_secs(10)));
        assert!(between(&from, "b", &set, "c").unwrap_err().contains("in the future"));
        let later = at("2026-11-20T10:01:00Z", 7);
        assert_eq!(between(&from, "b", &later, "c"), Ok(Duration::from_secs(60)));
        assert_eq!(between(&from, "", &later, ""), Ok(Duration::from_secs(60)));
    }
}
