//! The pages of `docs/incidents/` and `docs/synapse.md` show what Holdpoint really printed. A block there that is announced by
//! `<!-- shown: NAME -->` is compared with what a replay got to see; `UPDATE_DOCS=1` writes it anew.
//!
//! Numbers, times and ids differ from run to run, so they are compared as `#`; a line `…` stands for lines left out. How often
//! there was a sign of life depends on how busy the machine is: those lines are left out of both.

use std::path::PathBuf;
use std::sync::Mutex;

use regex::Regex;

use crate::harness::Registry;

/// One page.
pub struct Page {
    path: PathBuf,
    name: String,
}

/// Replays run side by side, and several may write to one page.
static WRITING: Mutex<()> = Mutex::new(());

impl Page {
    /// `docs/NAME.md`, such as `incidents/2018-05-nerdsin-space`.
    pub fn named(name: &str) -> Page {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.md"));
        Page { path, name: format!("docs/{name}.md") }
    }

    /// The page shows this output under this name. `places` are texts of this machine and what stands for them on the
    /// page, such as a test's own directory.
    #[track_caller]
    pub fn shows(&self, name: &str, output: &str, places: &[(&str, &str)]) {
        let mut output = output.trim_end().to_owned();
        for (here, there) in places {
            output = output.replace(here, there);
        }
        let output: Vec<&str> = output.lines().map(str::trim_end).collect();
        let _one = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = std::fs::read_to_string(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let (before, block, after) =
            cut(&text, name).unwrap_or_else(|| panic!("{} has no block `<!-- shown: {name} -->`", self.name));
        if let Err(why) = is_in(&block.lines().collect::<Vec<_>>(), &output) {
            if std::env::var_os("UPDATE_DOCS").is_some() {
                std::fs::write(&self.path, format!("{before}{}\n{after}", output.join("\n"))).unwrap();
                return;
            }
            panic!(
                "{}, block {name}: {why}\nIt was:\n{}\n(UPDATE_DOCS=1 writes it; then cut it to what matters, with `…` lines)",
                self.name,
                output.join("\n")
            );
        }
    }
}

/// The page up to the block, the block, and the rest.
fn cut<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mark = format!("<!-- shown: {name} -->");
    let fence = text.find(&mark)? + mark.len();
    let start = fence + text[fence..].find("```")?;
    let start = start + text[start..].find('\n')? + 1;
    let end = start + text[start..].find("```\n")?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// All words of the block are in the output, in this order, however the lines are wrapped; only where the block has a `…`
/// may something be missing.
fn is_in(block: &[&str], output: &[&str]) -> Result<(), String> {
    let joined = |lines: &[&str]| {
        let told: Vec<&str> = lines.iter().copied().filter(|line| !sign_of_life(line)).collect();
        format!(" {} ", masked(&told.join(" ")))
    };
    let output = joined(output);
    let parts: Vec<&[&str]> = block.split(|line| line.trim() == "…").collect();
    if block.iter().all(|line| matches!(line.trim(), "" | "…")) {
        return Err("it shows nothing".to_owned());
    }
    let mut at = 0;
    for (nth, part) in parts.iter().enumerate() {
        let wanted = joined(part);
        if wanted.trim().is_empty() {
            continue;
        }
        let gap = nth > 0;
        match output[at..].find(&wanted) {
            // The blank at the end of one part may be the one that the next begins with.
            Some(found) if gap || found == 0 => at += found + wanted.len() - 1,
            _ => return Err(format!("this was not printed there: {}", part.join("\n"))),
        }
    }
    let open = parts.last().is_some_and(|part| part.is_empty()) && parts.len() > 1;
    let more = output[at..].trim();
    if !open && !more.is_empty() {
        return Err(format!("more was printed: {more}"));
    }
    Ok(())
}

/// `16:08:50Z ...     copy runs: 31s`: it is still at work, or waits for a check to pass.
fn sign_of_life(line: &str) -> bool {
    let Some((time, rest)) = line.split_once("Z ... ") else { return false };
    rest.starts_with(' ') && time.len() == 8 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}

/// What differs from run to run is `#`. Blanks count as one, since columns and ends of lines move with the numbers.
fn masked(text: &str) -> String {
    // Ids, and places in a write-ahead log.
    let id = Regex::new(r"\b([0-9a-f]{8,}|[0-9A-F]+/[0-9A-F]{2,})\b").unwrap();
    let unit = r"\s?(B|KiB|MiB|GiB|ms|us|µs|s|min|h|d|days?|%)\b";
    // `1min 2s` is one length of time, as `58s` is.
    let number = format!(r"\d[\d,.:\u{{202f}}]*({unit})?(\s\d[\d,.]*{unit})*");
    let number = Regex::new(&number).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("just now", "0s ago");
    number.replace_all(&id.replace_all(&text, "#"), "#").into_owned()
}

pub fn register(r: &mut Registry) {
    r.add("page::a_block_is_what_was_printed", &[], compares);
    r.add("page::every_block_has_its_replay", &[], all_shown);
}

fn compares() {
    let output = ["FAIL  12.5 GiB free", "      wanted 1 h", "", "Blocked: 3"];
    is_in(&output, &output).unwrap();
    is_in(&["FAIL   9 MiB free", "…"], &output).unwrap();
    is_in(&["…", "Blocked: 17"], &output).unwrap();
    is_in(&["FAIL 1 GiB free", "…", "Blocked: 1"], &output).unwrap();
    assert!(is_in(&["FAIL 1 GiB free", "Blocked: 1"], &output).unwrap_err().contains("Blocked"));
    assert!(is_in(&["FAIL 1 GiB free"], &output).unwrap_err().contains("more was printed"));
    assert!(is_in(&["…", "Blocked: 1", "FAIL 1 GiB free"], &output).is_err());
    assert!(is_in(&["PASS 1 GiB free", "…"], &output).is_err());
    assert!(is_in(&["…"], &output).is_err() && is_in(&[], &output).is_err());
    // Only on a slow machine, and no line of somebody else's output.
    let slow = ["FAIL  12 GiB", "16:08:50Z ...     copy runs: 31s", "Blocked: 3"];
    is_in(&["FAIL  12 GiB", "Blocked: 3"], &slow).unwrap();
    is_in(&slow, &["FAIL  12 GiB", "Blocked: 3"]).unwrap();
    for line in ["  | 16:08:50Z ...  copy runs", "16:08:50Z [>]     copy ...  begins", "16:08:50Z ...?"] {
        assert!(is_in(&["Blocked: 3"], &[line, "Blocked: 3"]).is_err(), "{line}");
    }
    // Wrapped elsewhere, and no part of a word.
    is_in(&["FAIL  12 GiB", "free wanted", "…"], &output).unwrap();
    assert!(
        is_in(&["FAIL 12 GiB fre", "…"], &output).is_err() && is_in(&["…", "locked: 3"], &output).is_err()
    );
}

/// A block that no replay writes would be a drawing.
fn all_shown() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mark = Regex::new(r"<!-- shown: (\S+) -->").unwrap();
    let mut sources = String::new();
    let mut folders = vec![here.join("tests/replay")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => sources += &std::fs::read_to_string(entry).unwrap(),
            }
        }
    }
    let pages =
        ["docs", "docs/incidents"].into_iter().filter_map(|folder| std::fs::read_dir(here.join(folder)).ok());
    let pages = pages.flatten().map(|entry| entry.unwrap().path());
    for page in pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for name in mark.captures_iter(&text) {
            assert!(
                sources.contains(&format!("\"{}\"", &name[1])),
                "{}: no replay shows `{}`",
                page.display(),
                &name[1]
            );
        }
    }
}
