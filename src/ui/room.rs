//! The part of `plan` that says whether the room on disks lasts.

use crate::base::Size;
use crate::report::Tone;
use crate::report::room::{At, FileSystem, Part, Room, Row, Verdict};
use crate::ui::page::Page;

/// Columns of the verdicts.
const VERDICT: usize = 10;
/// Columns of the steps.
const STEP: usize = 18;

/// Adds the forecast.
pub(super) fn room(page: &mut Page<'_>, room: &Room) {
    page.heading("Room");
    for fs in &room.file_systems {
        file_system(page, fs);
    }
    let sentence = match room.verdict {
        Verdict::Fits if room.file_systems.iter().any(|fs| fs.doubt.is_some()) => {
            (Tone::Doubt, "There is room for every step, as far as free space can be believed.")
        }
        Verdict::Fits => (Tone::Good, "There is room for every step, if nothing else writes there."),
        Verdict::RunsOut => (Tone::Bad, "There is not enough room for all steps."),
        Verdict::Unknown => (Tone::Doubt, "Nobody can say yet whether there is room for every step."),
    };
    page.say(sentence.0, sentence.1);
}

fn file_system(page: &mut Page<'_>, fs: &FileSystem) {
    let paths = fs.paths.join(", ");
    match (fs.bytes_available, fs.bytes_total) {
        (Some(available), Some(total)) => {
            let place = fs.measured_at.as_deref().unwrap_or_default();
            let kind = fs.kind.as_deref().unwrap_or("unknown type");
            let at = if fs.paths == [place] { String::new() } else { format!(", at {place}") };
            page.text(2, &format!("{paths} ({kind}{at}): {} available of {}", Size(available), Size(total)));
        }
        _ => page.text(2, &paths),
    }
    fs.steps.iter().for_each(|row| self::row(page, row));
    match (fs.verdict, &fs.runs_out_at, &fs.unknown_from) {
        (Verdict::RunsOut, Some(at), _) => {
            let short = match fs.bytes_short {
                Some(short) if short > 0 => format!(": {} are missing", size(short)),
                _ => String::new(),
            };
            page.item(4, (Tone::Bad, "RUNS OUT"), VERDICT, &format!("at step {}{short}", name(at)));
        }
        (Verdict::Unknown, _, Some(at)) => {
            let what = match &fs.why_unknown {
                Some(why) => format!("the file system cannot be measured: {why}"),
                None => format!("from step {} on: not all of it could be measured", name(at)),
            };
            page.item(4, (Tone::Doubt, "UNKNOWN"), VERDICT, &what);
        }
        _ => {}
    }
    if let (Some(peak), Some(at)) = (fs.bytes_peak, &fs.peak_at) {
        let known = if fs.steps.iter().all(|row| row.known) { "" } else { "at least " };
        page.item(4, (Tone::Plain, "peak"), VERDICT, &format!("{known}{}, at step {}", size(peak), name(at)));
    }
    if let Some(doubt) = &fs.doubt {
        page.item(4, (Tone::Doubt, "but"), VERDICT, &format!("its free space may not be there: {doubt}"));
    }
}

/// `6. copy          + 45.2 GiB the new cluster; 15.0 GiB left`
fn row(page: &mut Page<'_>, row: &Row) {
    let mut parts: Vec<String> = row.takes.iter().map(|part| self::part("+", part)).collect();
    if !row.takes.is_empty() {
        let least = if row.known { "" } else { "at most " };
        parts.extend(row.bytes_left.map(|left| match left < 0 {
            true => format!("{} short", size(-left)),
            false => format!("{least}{} left", size(left)),
        }));
    }
    parts.extend(row.gives_back.iter().map(|part| self::part("then -", part)));
    let bad = row.bytes_left.is_some_and(|left| left < 0);
    let tone = if bad { Tone::Bad } else { Tone::Plain };
    page.item(4, (tone, &name(&row.at)), STEP, &parts.join("; "));
}

fn part(sign: &str, part: &Part) -> String {
    match (part.bytes, &part.why_unknown) {
        (Some(bytes), _) => format!("{sign} {} {}", Size(bytes), part.what),
        (None, why) => {
            let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("{sign} UNKNOWN {}{why}", part.what)
        }
    }
}

fn name(at: &At) -> String {
    format!("{}. {}", at.number, at.step)
}

/// A size that may be less than nothing: room that was freed before.
fn size(bytes: i128) -> String {
    let size = Size(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    if bytes < 0 { format!("-{size}") } else { size.to_string() }
}
