//! Follows the output of a command, for a screen: complete lines, neutralised, in bounded memory. Reading never holds the
//! command up; who is far behind skips ahead, and says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::record::OUTPUT;
use crate::base::text::{neutral, thousands};

/// Bytes of one line that are shown; what comes after is counted.
const LINE: usize = 4 << 10;

/// Bytes of one read.
const CHUNK: u64 = 256 << 10;

/// Who is further behind than this skips to [`CHUNK`] before the end.
const BEHIND: u64 = 4 << 20;

/// A place in `output.log`.
#[derive(Debug)]
pub struct Tail {
    file: File,
    offset: u64,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Bytes of that line beyond [`LINE`].
    more: u64,
    /// After a skip: up to the next line break, nothing is shown.
    skipping: bool,
}

impl Tail {
    /// Follows the output in this folder from a byte on; 0 is the beginning.
    pub fn open(dir: &Path, offset: u64) -> io::Result<Tail> {
        Ok(Tail { file: File::open(dir.join(OUTPUT))?, offset, line: Vec::new(), more: 0, skipping: false })
    }

    /// How far it has read, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The lines that are complete since the last call, without their ends; empty when there is nothing new. One call reads
    /// a part only; call again until it is empty to catch up.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut shown = Vec::new();
        let end = self.file.metadata()?.len();
        if end < self.offset {
            // Somebody cut the log. What is there now is new.
            shown.push("… the output was cut by somebody".to_owned());
            (self.offset, self.more, self.skipping) = (0, 0, false);
            self.line.clear();
        }
        if end - self.offset > BEHIND {
            let to = end - CHUNK;
            shown.push(format!(
                "… {} bytes are not shown here; they are in the log",
                thousands(to - self.offset)
            ));
            (self.offset, self.more, self.skipping) = (to, 0, true);
            self.line.clear();
        }
        // A line break may be far away: go on until there is something to show or nothing to read.
        let mut chunk = vec![0; CHUNK as usize];
        loop {
            let n = self.file.read_at(&mut chunk, self.offset)?;
            self.offset += n as u64;
            self.take(&chunk[..n], &mut shown);
            if n == 0 || !shown.is_empty() {
                return Ok(shown);
            }
        }
    }

    /// The beginning of a line that is not complete: a prompt, or a progress bar that redraws itself (then its last state).
    pub fn partial(&self) -> Option<String> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let last = line.rsplit(|b| *b == b'\r').next().unwrap_or_default();
        (!last.is_empty()).then(|| clean(last, self.more))
    }

    /// The command has ended: the last line, if it has no end of its own.
    pub fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then(|| clean(&line, std::mem::take(&mut self.more)))
    }

    fn take(&mut self, mut bytes: &[u8], shown: &mut Vec<String>) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(at);
            bytes = &rest[1..];
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            self.grow(line);
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            shown.push(clean(line, self.more));
            self.line.clear();
            self.more = 0;
        }
        if !self.skipping {
            self.grow(bytes);
        }
    }

    fn grow(&mut self, bytes: &[u8]) {
        // A progress bar: only what it shows now counts.
        if self.line.len() + bytes.len() > LINE
            && let Some(at) = bytes.iter().rposition(|b| *b == b'\r').filter(|at| at + 1 < bytes.len())
        {
            self.line.clear();
            self.more = 0;
            return self.grow(&bytes[at + 1..]);
        }
        let fits = bytes.len().min(LINE - self.line.len().min(LINE));
        self.line.extend_from_slice(&bytes[..fits]);
        self.more += (bytes.len() - fits) as u64;
    }
}

fn clean(line: &[u8], more: u64) -> String {
    let mut text = neutral(&String::from_utf8_lossy(line));
    if more > 0 {
        text.push_str(&format!(" … ({} bytes more in this line)", thousands(more)));
    }
    text
}

/// The last `count` lines of the output, neutralised; the very last may be incomplete. Looks at the last 256 KiB.
pub fn last_lines(dir: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut tail = Tail::open(dir, 0)?;
    let end = tail.file.metadata()?.len();
    if end > CHUNK {
        tail.offset = end - CHUNK;
        tail.skipping = true;
    }
    let mut chunk = vec![0; CHUNK as usize];
    let mut filled = 0;
    while let n @ 1.. = tail.file.read_at(&mut chunk[filled..], tail.offset)? {
        filled += n;
        tail.offset += n as u64;
    }
    let mut lines = Vec::new();
    tail.take(&chunk[..filled], &mut lines);
    lines.extend(tail.finish());
    if lines.is_empty() && filled > 0 {
        // One enormous line: its end is better than nothing.
        let line = chunk[..filled].strip_suffix(b"\n").unwrap_or(&chunk[..filled]);
        lines.push(format!("… {}", clean(&line[line.len().saturating_sub(LINE)..], 0)));
    }
    Ok(lines.split_off(lines.len().saturating_sub(count)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(bytes: &[u8]) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join(OUTPUT)).unwrap();
        file.write_all(bytes).unwrap();
        (dir, file)
    }

    #[test]
    fn complete_lines_as_they_come() {
        let (dir, mut file) = log(b"one\ntw");
        let mut tail = Tail::open(dir.path(), 0).unwrap();
        assert_eq!(tail.lines().unwrap(), ["one"]);
        assert_eq!(tail.partial().as_deref(), Some("tw"));
        file.write_all(b"o\r\n\x1b[2Jthree\xff\n10%\r20%\r").unwrap();
        assert_eq!(tail.lines().unwrap(), ["two", "␛[2Jthree\u{fffd}"]);
        assert_eq!(tail.partial().as_deref(), Some("20%"));
        assert!(tail.lines().unwrap().is_empty());
        assert_eq!(tail.finish().as_deref(), Some("10%␍20%␍"));
        assert_eq!(tail.offset(), 28);
    }

    #[test]
    fn long_lines_are_cut_and_who_is_far_behind_skips() {
        let (dir, mut file) = log(&[b'x'; 1_000_000]);
        let mut tail = Tail::open(dir.path(), 0).unwrap();
        assert!(tail.lines().unwrap().is_empty());
        file.write_all(b"\nnext\n").unwrap();
        let lines = tail.lines().unwrap();
        assert!(lines[0].ends_with("xx … (995,904 bytes more in this line)"), "{}", &lines[0][4000..]);
        assert_eq!(lines[1], "next");
        file.write_all(&b"0123456\n".repeat(1 << 20)).unwrap();
        let lines = tail.lines().unwrap();
        assert_eq!(lines[0], "… 8,126,464 bytes are not shown here; they are in the log");
        assert!(lines[1..].iter().all(|line| line == "0123456"), "a line cut in two is not shown");
        assert!(lines.len() > 30_000);
    }

    #[test]
    fn the_last_lines() {
        let (dir, mut file) = log(b"a\nb\nc\nd");
        assert_eq!(last_lines(dir.path(), 2).unwrap(), ["c", "d"]);
        file.write_all(&[b'y'; 1 << 20]).unwrap();
        let last = last_lines(dir.path(), 2).unwrap();
        assert_eq!((last.len(), last[0].len()), (1, LINE + "… ".len()));
        file.write_all(b"end\n").unwrap();
        let last = last_lines(dir.path(), 2).unwrap();
        assert!(last.len() == 1 && last[0].ends_with("yyyend"), "its line break is the last byte");
    }
}
