//! The files of a log, newest first, and reading them in bounded memory: backwards to where the time or the marker is, then
//! forwards line by line.

use std::path::Path;

use jiff::Timestamp;

use super::stamp::{Reader, Stamp};
use crate::check::{Context, pattern};
use crate::world::files::Stat;

/// What is read at once.
const PIECE: u64 = 1 << 20;
/// The longest line that is searched.
const LONGEST_LINE: usize = 1 << 20;
/// The most that is read of all files.
pub(super) const MOST: u64 = 2 << 30;
/// Ends of names of files that are packed.
const PACKED: [&str; 5] = [".gz", ".xz", ".zst", ".bz2", ".lz4"];

/// The files that a path or a pattern names, newest first.
pub(super) async fn find(path: &str, cx: &Context) -> Result<Vec<Stat>, String> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    if !name.contains(['*', '?']) {
        return match cx.world.files.stat(Path::new(path)).await? {
            Some(stat) if stat.kind == "file" => Ok(vec![stat]),
            Some(stat) => Err(format!("{path} is a {}, not a file", stat.kind)),
            None => Err(format!("{path} does not exist")),
        };
    }
    let dir = if dir.is_empty() { "/" } else { dir };
    let mut found = Vec::new();
    for entry in cx.world.files.list(Path::new(dir)).await? {
        let fits = entry.path.file_name().is_some_and(|file| pattern::fits(name, &file.to_string_lossy()));
        if fits && let Some(stat) = cx.world.files.stat(&entry.path).await?.filter(|stat| stat.kind == "file")
        {
            found.push(stat);
        }
    }
    // A link to the newest one is that one.
    found.sort_by(|a, b| (b.modified, &a.path).cmp(&(a.modified, &b.path)));
    found.dedup_by(|a, b| (a.device, a.inode) == (b.device, b.inode));
    if found.is_empty() { Err(format!("no file is called {path}")) } else { Ok(found) }
}

pub(super) fn packed(stat: &Stat) -> bool {
    PACKED.iter().any(|end| stat.path.to_string_lossy().ends_with(end))
}

/// Where to begin in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Here; what is before is too old.
    At(u64),
    /// The file does not reach back so far. Its first time, if any can be read.
    TooShort(Option<Timestamp>),
}

/// Goes back to the first piece that begins before `cutoff`.
pub(super) async fn back_to(
    stat: &Stat,
    cutoff: Timestamp,
    reader: &Reader,
    cx: &Context,
) -> Result<Start, String> {
    let (mut end, mut first) = (stat.size, None);
    while end > 0 {
        let begin = end.saturating_sub(PIECE);
        let piece = cx.world.files.read_range(&stat.path, begin, (end - begin) as usize).await?;
        let text = String::from_utf8_lossy(&piece);
        // The first line of a piece began before it.
        let times =
            text.split('\n').skip(usize::from(begin > 0)).filter_map(|line| match reader.read(line) {
                Stamp::At(at) => Some(at),
                _ => None,
            });
        if let Some(at) = times.into_iter().next() {
            if at < cutoff {
                return Ok(Start::At(begin));
            }
            first = Some(at);
        }
        end = begin;
        if stat.size - end > MOST {
            return Err(format!("{} has more than 2 GiB of that time", stat.path.display()));
        }
    }
    Ok(Start::TooShort(first))
}

/// Goes back to the last line that holds `marker`; where the line after it begins.
pub(super) async fn after(stat: &Stat, marker: &str, cx: &Context) -> Result<Option<u64>, String> {
    let mut end = stat.size;
    let reach = marker.len() as u64 - 1;
    while end > 0 {
        let begin = end.saturating_sub(PIECE);
        // A marker that lies across two pieces is found in the earlier one.
        let length = (end - begin + reach).min(stat.size - begin);
        let piece = cx.world.files.read_range(&stat.path, begin, length as usize).await?;
        let last = piece.windows(marker.len()).rposition(|window| window == marker.as_bytes());
        if let Some(at) = last {
            return line_end(stat, begin + at as u64, cx).await.map(Some);
        }
        end = begin;
        if stat.size - end > MOST {
            return Err(format!("the last 2 GiB of {} do not hold the marker", stat.path.display()));
        }
    }
    Ok(None)
}

async fn line_end(stat: &Stat, mut from: u64, cx: &Context) -> Result<u64, String> {
    while from < stat.size {
        let length = PIECE.min(stat.size - from);
        let piece = cx.world.files.read_range(&stat.path, from, length as usize).await?;
        if let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        from += length;
    }
    Ok(stat.size)
}

/// Calls `each` with every line from `from` to the size that the file had when it was found. Lines that are longer than
/// what is searched are an error: nobody knows what is in the rest.
pub(super) async fn lines(
    stat: &Stat,
    from: u64,
    cx: &Context,
    mut each: impl FnMut(&str) + Send,
) -> Result<(), String> {
    let mut at = from;
    let mut kept: Vec<u8> = Vec::new();
    while at < stat.size {
        let length = PIECE.min(stat.size - at);
        let piece = cx.world.files.read_range(&stat.path, at, length as usize).await?;
        if (piece.len() as u64) < length {
            return Err(format!("{} became shorter while it was read", stat.path.display()));
        }
        at += length;
        kept.extend_from_slice(&piece);
        let whole = kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        String::from_utf8_lossy(&kept[..whole]).lines().for_each(&mut each);
        kept.drain(..whole);
        if kept.len() > LONGEST_LINE {
            return Err(format!("{} has a line of more than 1 MiB", stat.path.display()));
        }
    }
    // Being written just now, or a file without a newline at its end.
    if !kept.is_empty() {
        each(&String::from_utf8_lossy(&kept));
    }
    let now = cx.world.files.stat(&stat.path).await?;
    match now {
        Some(now) if now.inode == stat.inode && now.size >= stat.size => Ok(()),
        _ => Err(format!("{} was rotated while it was read", stat.path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn reads_backwards_and_across_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        let path = here.join("a.log");
        // Three pieces, with lines and a marker across their borders.
        let line = |n: i64| {
            format!(
                "{} UTC x {}\n",
                Timestamp::from_second(n * 60).unwrap().strftime("%F %T"),
                "y".repeat(1000)
            )
        };
        let text: String = (0..3000).map(line).collect();
        std::fs::write(&path, &text).unwrap();
        let cx = Context::local(World::local());
        let stat = find(path.to_str().unwrap(), &cx).await.unwrap().remove(0);
        let reader = Reader::new(None).unwrap();
        let cutoff = Timestamp::from_second(2500 * 60).unwrap();
        let Start::At(from) = back_to(&stat, cutoff, &reader, &cx).await.unwrap() else { panic!() };
        let mut seen = Vec::new();
        lines(&stat, from, &cx, |line| seen.push(line.to_owned())).await.unwrap();
        assert_eq!(seen.last().unwrap(), line(2999).trim_end());
        assert!(seen.iter().any(|seen| seen == line(2500).trim_end()) && seen.len() < 2500);
        let early = back_to(&stat, Timestamp::UNIX_EPOCH, &reader, &cx).await.unwrap();
        assert_eq!(early, Start::TooShort(Some(Timestamp::UNIX_EPOCH)));

        let border = text.len() - PIECE as usize;
        let begin = text[..border].rfind('\n').unwrap() + 1;
        let marker = text[begin..].lines().next().unwrap();
        assert!(begin + marker.len() > border);
        let at = after(&stat, marker, &cx).await;
        assert_eq!(at, Ok(Some((begin + marker.len() + 1) as u64)));
        assert_eq!(after(&stat, "nowhere", &cx).await, Ok(None));
        let pattern = here.join("*.log").display().to_string();
        std::os::unix::fs::symlink(&path, here.join("current.log")).unwrap();
        assert_eq!(find(&pattern, &cx).await.unwrap().len(), 1, "a link to it is it");
        std::fs::write(&path, "short").unwrap();
        assert!(lines(&stat, 0, &cx, |_| {}).await.unwrap_err().contains("shorter"));
    }
}
