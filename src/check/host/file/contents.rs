//! Reading a file to its end in constant memory: its hash, and whether a text occurs. A file that changes meanwhile has
//! no contents that one could speak of, so that is an error.

use sha2::{Digest as _, Sha256};

use crate::check::Context;
use crate::check::context::Progress;
use crate::world::files::Stat;

/// The longest text that is searched for, in bytes.
pub(super) const LONGEST_TEXT: usize = 65_536;
const PIECE: usize = 1 << 20;

/// Calls `each` with one piece after the other until it says `false`.
async fn read(
    stat: &Stat,
    what: &str,
    cx: &Context,
    mut each: impl FnMut(&[u8]) -> bool + Send,
) -> Result<(), String> {
    let mut offset = 0;
    loop {
        let piece = cx.world.files.read_range(&stat.path, offset, PIECE).await?;
        let last = piece.len() < PIECE;
        offset += piece.len() as u64;
        if !each(&piece) {
            return Ok(());
        }
        if last {
            break;
        }
        if offset % (64 << 20) == 0 {
            (cx.progress)(Progress {
                what: what.to_owned(),
                done: offset,
                total: Some(stat.size),
                unit: "B",
            });
        }
    }
    let now = cx.world.files.stat(&stat.path).await?;
    match now {
        Some(now) if (now.size, now.modified, now.inode) == (stat.size, stat.modified, stat.inode) => Ok(()),
        _ => Err(format!("{} changed while it was read", stat.path.display())),
    }
}

/// The SHA-256 of the contents, in lower-case hexadecimal digits.
pub(super) async fn sha256(stat: &Stat, cx: &Context) -> Result<String, String> {
    let mut hash = Sha256::new();
    read(stat, "hashing", cx, |piece| {
        hash.update(piece);
        true
    })
    .await?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// True when `text` occurs.
pub(super) async fn contains(stat: &Stat, text: &str, cx: &Context) -> Result<bool, String> {
    let needle = text.as_bytes();
    let mut kept: Vec<u8> = Vec::new();
    let mut found = false;
    let whole = read(stat, "searching", cx, |piece| {
        kept.extend_from_slice(piece);
        found = occurs(needle, &kept);
        // What may be the beginning of the text stays for the next piece.
        kept.drain(..kept.len().saturating_sub(needle.len() - 1));
        !found
    })
    .await;
    if found { Ok(true) } else { whole.map(|()| false) }
}

fn occurs(needle: &[u8], hay: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn finds_text_across_pieces_and_hashes_like_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("f");
        let mut bytes = vec![b'a'; PIECE - 3];
        bytes.extend(b"needle and more");
        std::fs::write(&path, &bytes).unwrap();
        let cx = Context::local(World::local());
        let stat = cx.world.files.stat(&path).await.unwrap().unwrap();
        assert_eq!(contains(&stat, "needle", &cx).await, Ok(true));
        assert_eq!(contains(&stat, "needles", &cx).await, Ok(false));
        assert_eq!(contains(&stat, "aaaan", &cx).await, Ok(true));
        let theirs = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
        assert_eq!(sha256(&stat, &cx).await.unwrap(), String::from_utf8_lossy(&theirs.stdout)[..64]);
        std::fs::write(&path, "changed").unwrap();
        assert!(sha256(&stat, &cx).await.unwrap_err().contains("changed while"));
        assert!(contains(&Stat { path: Path::new("/absent").into(), ..stat }, "x", &cx).await.is_err());
    }
}
