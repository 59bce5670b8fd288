//! Sessions in words: who they are and what they do, without the values that they work with.

use crate::base::Span;
use crate::base::text::neutral;
use crate::check::Outcome;
use crate::world::pg::{QueryError, Row, Session};

/// Longest piece of a query that evidence shows, in characters.
const SHOWN: usize = 70;

/// Detail lines that evidence carries.
const LINES: usize = 20;

/// A query as evidence shows it: on one line, cut, and with every quoted value and number replaced by `?`, since a value
/// may be a secret.
pub fn gist(query: &str) -> String {
    let mut out = String::new();
    let mut rest = query.trim_start();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let word = before.is_alphanumeric() || before == '_' || before == '"';
        if c == '\'' {
            let escapes = matches!(before, 'e' | 'E');
            rest = past_quoted(after, escapes);
            out.push('?');
        } else if let Some(inside) = (!word).then(|| dollar_quoted(rest)).flatten() {
            rest = inside;
            out.push('?');
        } else if c.is_ascii_digit() && !word {
            rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_');
            out.push('?');
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find('\n').map_or("", |at| &comment[at..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").map_or("", |at| &comment[at + 2..]);
        } else {
            out.push(if c.is_whitespace() { ' ' } else { c });
            rest = after;
        }
        before = c;
        if out.len() > 8 * SHOWN {
            break;
        }
    }
    let line = neutral(&out.split_whitespace().collect::<Vec<_>>().join(" "));
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Behind the closing quote; nothing is left when it is cut off.
fn past_quoted(mut rest: &str, escapes: bool) -> &str {
    while let Some(at) = rest.find(['\'', '\\']) {
        let c = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match c {
            b'\\' if escapes => {
                rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or("")
            }
            b'\\' => {}
            _ if rest.starts_with('\'') => rest = &rest[1..],
            _ => return rest,
        }
    }
    ""
}

/// Behind `$tag$...$tag$`, when that is what begins here.
fn dollar_quoted(text: &str) -> Option<&str> {
    let tag_end = text.strip_prefix('$')?.find('$')? + 2;
    let tag = &text[..tag_end];
    let name = &tag[1..tag.len() - 1];
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let inside = &text[tag_end..];
    Some(inside.find(tag).map_or("", |at| &inside[at + tag.len()..]))
}

/// A session, from what pg_stat_activity says of it.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// Process id.
    pub pid: String,
    /// Role.
    pub user: Option<String>,
    /// Application name.
    pub application: Option<String>,
    /// Database.
    pub database: Option<String>,
    /// `active`, `idle in transaction`.
    pub state: Option<String>,
    /// What it does or did last.
    pub query: Option<String>,
}

impl Who {
    /// `pid 4711 (synapse in matrix, application psql)`
    pub fn name(&self) -> String {
        let user = self.user.as_deref().filter(|name| !name.is_empty()).unwrap_or("the server itself");
        let place = self.database.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
        let application = match self.application.as_deref() {
            None | Some("") => String::new(),
            Some(name) => format!(", application {name}"),
        };
        neutral(&format!("pid {} ({user}{place}{application})", self.pid))
    }

    /// `idle in transaction: update rooms set latest = ?`
    pub fn does(&self) -> String {
        let state = self.state.as_deref().unwrap_or("no state");
        match self.query.as_deref().map(gist).filter(|query| !query.is_empty()) {
            Some(query) if state == "active" => format!("active: {query}"),
            Some(query) => format!("{state}, last: {query}"),
            None => state.to_owned(),
        }
    }
}

/// Seconds of the server, as a length of time; `None` when absent or negative, as after a step of its clock.
pub fn seconds(row: &Row, column: usize) -> Option<Span> {
    let text = row.get(column)?.as_deref()?;
    let seconds: f64 = text.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| {
        let millis = (seconds * 1000.0).min(9.0e15) as u64;
        // Below ten seconds a part of a second tells something; above it is noise.
        Span::millis(if millis < 10_000 { millis } else { millis / 1000 * 1000 })
    })
}

/// The text in a column, or nothing.
pub fn text(row: &Row, column: usize) -> Option<String> {
    row.get(column).cloned().flatten()
}

/// Adds lines as details, the first ones of many.
pub fn detailed(mut outcome: Outcome, lines: &[String]) -> Outcome {
    for line in lines.iter().take(LINES) {
        outcome = outcome.detail(line);
    }
    match lines.len().saturating_sub(LINES) {
        0 => outcome,
        more => outcome.detail(format!("and {more} more")),
    }
}

/// Whether our role sees what the sessions of others do. Without that, nothing found means nothing.
pub async fn sees_others(session: &Session) -> Result<bool, QueryError> {
    let may = "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')";
    Ok(session.value(may).await?.as_deref() == Some("t"))
}

/// What to say when it does not.
pub fn blind(expected: &str) -> Outcome {
    Outcome::unknown("the role may not see what the sessions of others do", expected)
        .help("let an administrator grant the role pg_monitor, then measure again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_query_is_shown() {
        for (query, shown) in [
            ("select  *\n from t where id = 17", "select * from t where id = ?"),
            ("alter role x password 'it''s s3cret' valid", "alter role x password ? valid"),
            (r"select E'a\'b' , 'c\', t1.c2", "select E? , ?, t1.c2"),
            ("select $tag$ secret $$ $tag$, $1, $$x$$", "select ?, $?, ?"),
            ("select 'cut off sec", "select ?"),
            ("select $$cut off sec", "select ?"),
            ("select 1 -- secret\n, /* secret */ 2e5", "select ? , ?"),
            ("select \"odd 'name\" from t", "select \"odd ?"),
            ("", ""),
        ] {
            assert_eq!(gist(query), shown, "{query}");
        }
        assert_eq!(gist(&"é".repeat(1000)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn an_age_from_a_stepped_clock_is_none() {
        let row = |value: &str| vec![Some(value.to_owned())];
        assert_eq!(seconds(&row("61.5"), 0), Some(Span::secs(61)));
        assert_eq!(seconds(&row("-3"), 0), None);
        assert_eq!(seconds(&row("NaN"), 0), None);
        assert_eq!(seconds(&vec![None], 0), None);
    }
}
