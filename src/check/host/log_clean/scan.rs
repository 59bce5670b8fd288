//! Goes through the lines of a log, oldest first: which are from the time that counts, and which of these are bad.

use jiff::Timestamp;

use super::stamp::{Reader, Stamp};
use super::words::{self, Before, Kind, Words};

/// Most bad lines in the evidence.
const MOST: usize = 10;
/// Processes that write at the same time are out of order by less than this.
const DISORDER_S: i64 = 60;

/// What was seen so far.
pub(super) struct Scan<'a> {
    cutoff: Option<Timestamp>,
    reader: &'a Reader,
    words: &'a Words,
    before: Before,
    last: Option<Timestamp>,
    /// Whether the last line with a time was from the time that counts.
    inside: bool,
    /// Why the time of some line could not be read.
    unclear: Option<String>,
    /// Lines from that time.
    pub lines: u64,
    /// The newest time of all.
    pub newest: Option<Timestamp>,
    /// Bad lines, and the first of them.
    pub found: u64,
    pub bad: Vec<String>,
    /// A bad line of which nobody knows when it was written.
    pub unsure: Option<String>,
    /// Where the times went backwards.
    pub stepped: Option<String>,
    /// A message in another language.
    pub foreign: Option<String>,
}

impl<'a> Scan<'a> {
    pub fn new(cutoff: Option<Timestamp>, reader: &'a Reader, words: &'a Words) -> Self {
        Scan {
            cutoff,
            reader,
            words,
            before: Before::default(),
            last: None,
            inside: cutoff.is_none(),
            unclear: None,
            lines: 0,
            newest: None,
            found: 0,
            bad: Vec::new(),
            unsure: None,
            stepped: None,
            foreign: None,
        }
    }

    /// What follows is from another file: its first lines go on with nothing.
    pub fn next_file(&mut self) {
        self.before.statement = false;
        self.inside = self.cutoff.is_none();
    }

    /// Lines that are messages of PostgreSQL.
    pub fn messages(&self) -> u64 {
        self.before.messages
    }

    /// `: its time has no zone`, or nothing.
    pub fn why_unclear(&self) -> String {
        self.unclear.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    }

    /// The next line.
    pub fn line(&mut self, line: &str) {
        let stamp = self.reader.read(line);
        match &stamp {
            Stamp::At(at) => self.at(*at),
            Stamp::Unclear(why) => {
                self.unclear.get_or_insert_with(|| why.clone());
            }
            Stamp::None => {}
        }
        let dated = matches!(stamp, Stamp::At(_));
        let known = self.before.messages;
        let kind = self.words.judge(line, stamp != Stamp::None, &mut self.before);
        if !self.inside {
            self.before.messages = known;
        }
        if self.inside && (dated || self.cutoff.is_none()) {
            self.lines += u64::from(!line.trim().is_empty());
        }
        match kind {
            Kind::Good => {}
            Kind::Foreign if self.inside => {
                self.foreign.get_or_insert_with(|| shortened(line));
            }
            Kind::Foreign => {}
            // A line without a time was written after those before it.
            Kind::Bad if self.inside => {
                self.found += 1;
                if self.bad.len() < MOST {
                    self.bad.push(shortened(line));
                }
            }
            Kind::Bad if dated => {}
            Kind::Bad => {
                self.unsure.get_or_insert_with(|| shortened(line));
            }
        }
    }

    fn at(&mut self, at: Timestamp) {
        if let Some(last) = self.last
            && at.as_second() + DISORDER_S < last.as_second()
        {
            self.stepped
                .get_or_insert_with(|| format!("from {} to {}", super::shown(last), super::shown(at)));
        }
        self.last = Some(at);
        self.newest = self.newest.max(Some(at));
        self.inside = self.cutoff.is_none_or(|cutoff| at >= cutoff);
    }
}

fn shortened(line: &str) -> String {
    let line = words::plain(line);
    match line.char_indices().nth(240) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(cutoff: &str, lines: &[&str]) -> (u64, u64, bool, bool) {
        let (reader, words) = (Reader::new(None).unwrap(), Words::default());
        let mut scan = Scan::new(Some(cutoff.parse().unwrap()), &reader, &words);
        lines.iter().for_each(|line| scan.line(line));
        (scan.lines, scan.found, scan.unsure.is_some(), scan.stepped.is_some())
    }

    #[test]
    fn only_lines_of_that_time_count() {
        let old = "2026-11-30 07:00:00 UTC [7] PANIC:  x";
        let new = "2026-11-30 09:00:00 UTC [7] LOG:  x";
        let bad = "2026-11-30 09:01:00 UTC [7] PANIC:  x";
        let bare = "cp: No space left on device";
        let of = |lines: &[&str]| scanned("2026-11-30T08:00:00Z", lines);
        assert_eq!(of(&[old, new]), (1, 0, false, false));
        assert_eq!(of(&[old, new, bad]), (2, 1, false, false));
        assert_eq!(of(&[old, new, bare]), (1, 1, false, false), "it is after a line of that time");
        assert_eq!(of(&[old, bare, new]), (1, 0, true, false), "before or after the beginning?");
        assert_eq!(of(&[old, "2026-11-30 09:00:00 XYZ [7] PANIC:  x"]), (0, 0, true, false));
        assert_eq!(of(&[bad, new]), (2, 1, false, false), "a minute is disorder");
        assert!(of(&[bad, "2026-11-30 08:30:00 UTC [7] LOG:  x"]).3);
    }
}
