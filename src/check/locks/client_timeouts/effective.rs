//! Which of several settings a new session of a role starts with.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::check::locks::words::text;
use crate::runbook::Target;
use crate::world::pg::settings::{Surroundings, resolve};
use crate::world::pg::{QueryError, Row, Session};

/// A time limit of the server.
#[allow(clippy::enum_variant_names, reason = "the server's own names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// For a whole statement.
    StatementTimeout,
    /// For each wait for a lock.
    LockTimeout,
    /// For sitting idle within a transaction.
    IdleInTransactionSessionTimeout,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 3] =
        [Limit::StatementTimeout, Limit::LockTimeout, Limit::IdleInTransactionSessionTimeout];

    /// The setting's name.
    pub fn name(self) -> &'static str {
        match self {
            Limit::StatementTimeout => "statement_timeout",
            Limit::LockTimeout => "lock_timeout",
            Limit::IdleInTransactionSessionTimeout => "idle_in_transaction_session_timeout",
        }
    }
}

/// A setting of `ALTER ROLE` or `ALTER DATABASE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    for_role: bool,
    for_database: bool,
    name: String,
    value: String,
}

impl Entry {
    /// From a row: for a role, for a database, `name=value`.
    pub fn read(row: &Row) -> Option<Entry> {
        let (name, value) = text(row, 2)?.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()))?;
        let is = |column| text(row, column).as_deref() == Some("t");
        Some(Entry { for_role: is(0), for_database: is(1), name, value })
    }

    /// Which wins: a role's in a database, a role's, a database's, everybody's.
    fn rank(&self) -> u8 {
        2 * u8::from(self.for_role) + u8::from(self.for_database)
    }

    fn from(&self) -> &'static str {
        match (self.for_role, self.for_database) {
            (true, true) => "set for the role in this database",
            (true, false) => "set for the role",
            (false, true) => "set for the database",
            (false, false) => "set for all roles",
        }
    }
}

/// The value in milliseconds, and where it comes from.
pub fn effective(
    limit: Limit,
    entries: &[Entry],
    server: &[(Limit, Result<u64, String>)],
) -> Result<(u64, &'static str), String> {
    let own = entries.iter().filter(|entry| entry.name == limit.name()).max_by_key(|entry| entry.rank());
    if let Some(entry) = own {
        let ms = millis(&entry.value).ok_or_else(|| format!("`{}` cannot be read", entry.value))?;
        return Ok((ms, entry.from()));
    }
    match server.iter().find(|(one, _)| *one == limit) {
        Some((_, value)) => value.clone().map(|ms| (ms, "the server's own")),
        None => Err("the server does not tell its own value".to_owned()),
    }
}

/// What PostgreSQL reads: `600000`, `10min`, `1.5 h`. Without a unit, milliseconds.
pub fn millis(value: &str) -> Option<u64> {
    let value = value.trim();
    let unit = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let factor = match &value[unit..] {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1e3,
        "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return None,
    };
    let number = crate::check::params::decimal(value[..unit].trim())?;
    // A part of a millisecond is rounded, by PostgreSQL too.
    (number >= 0.0).then(|| (number * factor).round() as u64)
}

const OWN: &str = "\
select name, setting_of_us, reset_val, boot_val from (
  select p.name, p.reset_val, p.boot_val,
         exists (select from pg_catalog.pg_db_role_setting s
                 where s.setrole in (0, (select oid from pg_catalog.pg_roles where rolname = session_user))
                   and s.setdatabase in (0, (select oid from pg_catalog.pg_database
                                             where datname = pg_catalog.current_database()))
                   and exists (select from pg_catalog.unnest(s.setconfig) c
                               where c like pg_catalog.replace(p.name, '_', '\\_') || '=%')) as setting_of_us
  from pg_catalog.pg_settings p
  where p.name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')) p";

/// The server's own values. Our session shows them as its own defaults, unless something was set for our role, for all, or in
/// the target's own words: then the configuration files tell them, to a superuser.
pub async fn server_wide(
    session: &Session,
    target: &Target,
) -> Result<Vec<(Limit, Result<u64, String>)>, QueryError> {
    let words = resolve(target, None, &Surroundings::of_process()).ok().and_then(|settings| settings.options);
    let mut found = Vec::new();
    for row in session.query(OWN).await? {
        let Some(limit) = Limit::ALL.into_iter().find(|limit| text(&row, 0).as_deref() == Some(limit.name()))
        else {
            continue;
        };
        let ours = text(&row, 1).as_deref() != Some("f")
            || words.as_ref().is_some_and(|options| options.contains(limit.name()));
        let value = if ours {
            from_files(session, limit, text(&row, 3)).await
        } else {
            text(&row, 2).and_then(|value| millis(&value)).ok_or_else(|| "it is not told".to_owned())
        };
        found.push((limit, value));
    }
    Ok(found)
}

async fn from_files(session: &Session, limit: Limit, boot: Option<String>) -> Result<u64, String> {
    let sql = format!(
        "select setting from pg_catalog.pg_file_settings where name = '{}' and applied",
        limit.name()
    );
    let rows = session.query(&sql).await.map_err(|error| {
        format!("our own role has another value, and the server's files cannot be seen: {error}")
    })?;
    let value = rows.first().map_or(boot, |row| text(row, 0));
    value.and_then(|value| millis(&value)).ok_or_else(|| "it is not told".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_server_reads_them() {
        for (text, ms) in [
            ("0", 0),
            ("600000", 600_000),
            ("10min", 600_000),
            ("1.5 h", 5_400_000),
            ("2d", 172_800_000),
            ("1us", 0),
        ] {
            assert_eq!(millis(text), Some(ms), "{text}");
        }
        for wrong in ["", "10 minutes", "-1", "min", "0x10"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_narrowest_setting_wins() {
        let entry = |role: &str, database: &str, text: &str| {
            Entry::read(&vec![Some(role.to_owned()), Some(database.to_owned()), Some(text.to_owned())])
                .unwrap()
        };
        let all = [
            entry("f", "f", "statement_timeout=1s"),
            entry("t", "f", "statement_timeout=3s"),
            entry("f", "t", "statement_timeout=2s"),
            entry("t", "f", "lock_timeout=soon"),
        ];
        let server = vec![(Limit::LockTimeout, Ok(7)), (Limit::IdleInTransactionSessionTimeout, Ok(9))];
        assert_eq!(effective(Limit::StatementTimeout, &all, &server), Ok((3000, "set for the role")));
        assert!(
            effective(Limit::LockTimeout, &all, &server).is_err(),
            "what cannot be read is not passed over"
        );
        let idle = Limit::IdleInTransactionSessionTimeout;
        assert_eq!(effective(idle, &all, &server), Ok((9, "the server's own")));
        assert!(effective(idle, &all, &[(idle, Err("hidden".to_owned()))]).is_err());
        assert!(effective(idle, &all, &[]).is_err());
    }
}
