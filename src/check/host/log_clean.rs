//! Has a log nothing bad in it, since a time or since a line?

mod files;
mod scan;
mod stamp;
mod words;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Span, text};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::files::Stat;
use files::Start;
use scan::Scan;
use stamp::Reader;
use words::Words;

/// Has a log nothing bad in it?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogClean {
    /// The file, absolute. Its name may hold `*` and `?`: then the newest file counts, and older ones as far back as needed.
    #[schemars(length(min = 1))]
    path: String,
    /// How far back; a day when neither this nor `after` is given.
    #[serde(default)]
    within: Option<Span>,
    /// Only what comes after the last line that holds this text: what a step has written into the log.
    #[serde(default)]
    after: Option<String>,
    /// Text that no line may hold; `*` stands for any text. Replaces what is looked for by default.
    #[serde(default)]
    patterns: Option<Vec<String>>,
    /// More text that no line may hold, besides what is looked for by default.
    #[serde(default)]
    also: Vec<String>,
    /// Lines that hold one of these are never bad.
    #[serde(default)]
    except: Vec<String>,
    /// The zone of times that do not tell theirs, or whose abbreviation means several: `Europe/Berlin`.
    #[serde(default)]
    timezone: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "log_clean",
    summary: "a log tells of no damage, no full disk and no crash, since a time or since a line",
    docs: DOCS,
    timeout: Some(Span::secs(600)),
    schema: || schema_for!(LogClean),
    build,
};

const DOCS: &str = r#"
Shows that a log has nothing bad in it: of PostgreSQL's, that it tells of no damage, no full disk and no crash.

**How it is measured.** The file is read backwards until a line is older than `within`, then forwards, line by line; of a pattern the
newest file first, then older ones as far as needed, 2 GiB at most. The times in the log decide, not those of the files. They are read
from PostgreSQL's usual prefix (`%m`, `%t` or `%n` first), ISO 8601, csvlog and jsonlog. Unless `patterns` is given, these lines of
PostgreSQL are bad: PANIC; FATAL, except when a client or an administrator brought it about (wrong password, too many clients);
words of damage (`invalid page`, `could not access status of transaction`, `found xmin`, `could not read block`), of a
disk (`No space left on device`, `could not fsync`), of a crash (`was terminated by signal`) and of wraparound; SQLSTATE XX001,
XX002, 53100 and 58030. The text of statements does not count.

**Passes** when at least one line is from that time, the log reaches back beyond its beginning, and none is bad. **Fails** when one is.

**Unknown** when the file is not there, cannot be read, is empty or has no line from that time (does the server still log here?);
when it does not reach back so far; when the times cannot be read, go backwards or lie in the future; when the line of `after` is not
there or nothing came after it; when messages are in another language (`lc_messages`); when an older file is needed that is packed.

**Traps.** A log that is clean proves nothing of pages that nobody read: `checksums_clean` and `heap_intact` read them. Damage is
told once and then again at each access: repair what was found before you shorten `within`. The journal of systemd is not
read: name a file. A full disk also stops the log, and a log that stopped within that time passes: the evidence tells its newest line.

```yaml
postconditions:
  - log_clean: { path: '/var/log/postgresql/postgresql-17-main.log*', within: 24h }
  - log_clean: { id: synapse, path: /var/log/matrix-synapse/homeserver.log, patterns: [' - ERROR - ', ' - CRITICAL - '],
      except: ['Failed to send'], timezone: UTC, after: 'Synapse now listening' }
```
"#;

/// Lines further ahead than this are from a clock that is wrong.
const CLOCK_SLACK_S: i64 = 120;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: LogClean = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if !check.path.starts_with('/') && !check.path.contains("${") {
        return Err(
            "`path` must begin at the root, as in /var/log/postgresql/postgresql-17-main.log".to_owned()
        );
    }
    let (dir, _) = check.path.rsplit_once('/').unwrap_or_default();
    if dir.contains(['*', '?']) {
        return Err("`*` and `?` may stand in the file's name only, not in its directories".to_owned());
    }
    let given = check.patterns.iter().flatten().chain(&check.also).chain(&check.except).chain(&check.after);
    if given.into_iter().any(|words| words.trim_matches(['*', ' ', '?']).is_empty()) {
        return Err("a text that is looked for is empty: every line holds it".to_owned());
    }
    if check.patterns.as_ref().is_some_and(Vec::is_empty) {
        return Err("`patterns` is empty: nothing would be bad".to_owned());
    }
    if check.within == Some(Span::secs(0)) {
        return Err("`within` is nothing".to_owned());
    }
    let zone = check.timezone.as_deref().filter(|zone| !zone.contains("${"));
    Reader::new(zone)?;
    Ok(Box::new(check))
}

impl LogClean {
    fn window(&self) -> Option<Span> {
        self.within.or_else(|| self.after.is_none().then(|| Span::secs(86_400)))
    }

    fn expected(&self) -> String {
        let what = match &self.patterns {
            Some(patterns) => format!("no line with {}", patterns.join(" or ")),
            None => "no word of damage".to_owned(),
        };
        let since = self.window().map(|within| format!(" within {within}")).unwrap_or_default();
        let after = self.after.as_ref().map(|marker| format!(" after {marker:?}")).unwrap_or_default();
        format!("{what} in {}{since}{after}", self.path)
    }

    /// Which files are read, oldest first, each from where.
    async fn places(
        &self,
        cutoff: Option<Timestamp>,
        reader: &Reader,
        cx: &Context,
    ) -> Result<Vec<(Stat, u64)>, String> {
        let all = files::find(&self.path, cx).await?;
        let mut places = Vec::new();
        let (mut oldest, mut read) = (None, 0);
        for stat in all {
            if files::packed(&stat) {
                return Err(format!("{} would be needed, and is packed", stat.path.display()));
            }
            read += stat.size;
            if read > files::MOST {
                return Err("more than 2 GiB would have to be read".to_owned());
            }
            let marked = match &self.after {
                Some(marker) => files::after(&stat, marker, cx).await?,
                None => None,
            };
            let start = match cutoff {
                Some(cutoff) => files::back_to(&stat, cutoff, reader, cx).await?,
                None => Start::TooShort(None),
            };
            let from = match (marked, &start) {
                (Some(mark), Start::At(begin)) => Some(mark.max(*begin)),
                (Some(mark), Start::TooShort(_)) => Some(mark),
                (None, Start::At(begin)) if self.after.is_none() => Some(*begin),
                (None, Start::At(_)) => {
                    return Err(format!(
                        "no line from that time holds {:?}",
                        self.after.as_deref().unwrap_or_default()
                    ));
                }
                (None, Start::TooShort(first)) => {
                    oldest = (*first).or(oldest);
                    None
                }
            };
            places.push((stat, from.unwrap_or(0)));
            if from.is_some() {
                places.reverse();
                return Ok(places);
            }
        }
        Err(match (&self.after, oldest) {
            (Some(marker), _) => format!("no line holds {marker:?}"),
            (None, Some(at)) => format!("the log reaches back to {} only", shown(at)),
            (None, None) if places.iter().all(|(stat, _)| stat.size == 0) => "the log is empty".to_owned(),
            (None, None) => {
                let words = Words::default();
                let mut scan = Scan::new(None, reader, &words);
                if let Some((stat, _)) = places.first() {
                    files::lines(stat, 0, cx, |line| scan.line(line)).await?;
                }
                format!("no line has a time that can be read{}", scan.why_unclear())
            }
        })
    }

    async fn judge(&self, cx: &Context) -> Result<Outcome, String> {
        let expected = self.expected();
        let reader = Reader::new(self.timezone.as_deref())?;
        let now = cx.world.clock.now().wall;
        let back = |within: Span| now.checked_sub(within.0).unwrap_or(Timestamp::MIN);
        let cutoff = self.window().map(back);
        let words =
            Words { own: self.patterns.clone(), also: self.also.clone(), except: self.except.clone() };
        let places = self.places(cutoff, &reader, cx).await?;
        let mut scan = Scan::new(cutoff, &reader, &words);
        for (stat, from) in &places {
            scan.next_file();
            files::lines(stat, *from, cx, |line| scan.line(line)).await?;
        }
        let help = "find out what is damaged before anything is changed or removed (`checksums_clean`, `heap_intact`)";
        if let Some(first) = scan.bad.first() {
            let observed = match scan.found {
                1 => first.clone(),
                n => format!("{} bad lines, the first: {first}", text::thousands(n)),
            };
            let outcome = Outcome::fail(observed, expected).help(help).fact("bad_lines", scan.found);
            return Ok(scan.bad.iter().skip(1).fold(outcome, |outcome, line| outcome.detail(line.clone())));
        }
        if let Some(line) = &scan.unsure {
            return Err(format!("a bad line may be from that time: {line}"));
        }
        if scan.lines == 0 {
            return Err(match scan.newest {
                Some(at) => format!("no line is from that time: the newest is of {}", shown(at)),
                None => format!("no line is from that time{}", scan.why_unclear()),
            });
        }
        if let Some(at) = scan.newest.filter(|at| at.as_second() > now.as_second() + CLOCK_SLACK_S) {
            return Err(format!("a line is from the future: {}", shown(at)));
        }
        if let Some(step) = &scan.stepped {
            return Err(format!("the times in the log go back, {step}: the clock was set"));
        }
        if let Some(line) = &scan.foreign {
            return Err(format!("its messages are in another language: {line}"));
        }
        if self.patterns.is_none() && scan.messages() == 0 {
            return Err("no line looks like one of PostgreSQL's".to_owned());
        }
        let newest = scan.newest.map(|at| format!(", the newest of {}", shown(at))).unwrap_or_default();
        let lines = text::count(scan.lines, "line", "lines");
        let outcome =
            Outcome::pass(format!("none of {lines} is bad{newest}"), expected).fact("lines", scan.lines);
        Ok(places
            .iter()
            .fold(outcome, |outcome, (stat, _)| outcome.detail(format!("read {}", stat.path.display()))))
    }
}

fn shown(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

/// The one thing to do about a reason.
fn help(why: &str) -> &'static str {
    match why {
        _ if why.contains("does not exist")
            || why.contains("no file is called")
            || why.contains("not a file") =>
        {
            "correct `path`: see where the server logs (`show log_directory`, `select pg_current_logfile()`)"
        }
        _ if why.contains("reaches back") => {
            "give a pattern that finds the older files, too, or a shorter `within`"
        }
        _ if why.contains("no line is from that time") || why.contains("is empty") => {
            "see where the server logs (`show log_directory`, `select pg_current_logfile()`), or give a longer `within`"
        }
        _ if why.contains("a time that can be read") => "begin `log_line_prefix` with %m, or give `timezone`",
        _ if why.contains("packed") => "unpack it beside the others, or give a shorter `within`",
        _ if why.contains("another language") => {
            "set `lc_messages` to C, or give `patterns` in that language"
        }
        _ if why.contains("PostgreSQL's") => "give `patterns` for the log of another program",
        _ if why.contains("holds") => "have the step write its marker into this log, or correct `after`",
        _ if why.contains("the times in the log") || why.contains("future") => {
            "see `clock_steady`, and read these lines yourself"
        }
        _ if why.contains("may be from") => "read this line and those around it yourself",
        _ => "look as root, then measure again",
    }
}

#[async_trait]
impl Check for LogClean {
    async fn measure(&self, cx: &Context) -> Outcome {
        self.judge(cx).await.unwrap_or_else(|why| {
            let help = help(&why);
            Outcome::unknown(why, self.expected()).help(help)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contradictions_are_found_before_measuring() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "path": "a.log" })).contains("root"));
        assert!(refused(json!({ "path": "/var/*/a.log" })).contains("name only"));
        assert!(refused(json!({ "path": "/a", "patterns": [] })).contains("nothing would be bad"));
        assert!(refused(json!({ "path": "/a", "except": ["*"] })).contains("every line"));
        assert!(refused(json!({ "path": "/a", "after": "" })).contains("every line"));
        assert!(refused(json!({ "path": "/a", "within": "0s" })).contains("nothing"));
        assert!(refused(json!({ "path": "/a", "timezone": "Mars/Olympus" })).contains("no time zone"));
        assert_eq!(refused(json!({ "path": "/a/b*.log" })), "");
    }
}
