//! What a target's words mean, with psql's habits: what is written comes first, then the service file, then PG*
//! variables, then defaults. What is not supported is refused in a sentence, never ignored in silence.

mod keys;
mod parts;
mod sources;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::keys::{refuse_unsupported, understood};
use self::parts::{places, tls};
pub use self::sources::Surroundings;
use self::sources::{add_environment, add_service, cluster};
use super::conninfo;
use super::error::ConnectError;
use crate::runbook::Target;

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory with the server's socket.
    Socket(PathBuf),
    /// A name or address, and perhaps the address to use for it.
    Tcp(String, Option<IpAddr>),
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS when the server wants it.
    Allow,
    /// TLS when the server has it.
    Prefer,
    /// TLS; the certificate is verified only when there is a root certificate.
    Require,
    /// TLS, and the certificate must come from a root that we trust.
    VerifyCa,
    /// The same, and it must be for the host's name.
    VerifyFull,
}

/// What TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`.
    pub mode: SslMode,
    /// Root certificates; `system` for the machine's own.
    pub root: Option<PathBuf>,
    /// Revocation list.
    pub crl: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Lowest and highest version as written.
    pub versions: (Option<String>, Option<String>),
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAttrs {
    /// Any server.
    Any,
    /// Takes writes by default.
    ReadWrite,
    /// Takes no writes by default.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery if there is one, else any.
    PreferStandby,
}

/// How to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Places to try, in order.
    pub places: Vec<(Place, u16)>,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Password, unless it comes from the password file.
    pub password: Option<String>,
    /// Password file.
    pub passfile: Option<PathBuf>,
    /// Command-line options for the server.
    pub options: Option<String>,
    /// TLS.
    pub tls: Tls,
    /// Which server will do.
    pub attrs: SessionAttrs,
    /// `connect_timeout`, for each place.
    pub connect_timeout: Option<Duration>,
    /// `disable`, `prefer` or `require`.
    pub channel_binding: String,
    /// Keepalive: idle, interval, count; `None` when switched off.
    pub keepalives: Option<(Duration, Duration, u32)>,
    /// `tcp_user_timeout`.
    pub tcp_user_timeout: Duration,
    /// The data directory that the server must have, and who says so.
    pub data_directory: Option<(PathBuf, String)>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({:?}, database {}, user {})", self.places, self.database, self.user)
    }
}

/// Finds out how to connect to a target. `database` replaces the target's own.
pub fn resolve(
    target: &Target,
    database: Option<&str>,
    around: &Surroundings,
) -> Result<Settings, ConnectError> {
    settle(target, database, around).map_err(ConnectError::settings)
}

fn settle(target: &Target, database: Option<&str>, around: &Surroundings) -> Result<Settings, String> {
    if target.ssh.is_some() {
        return Err("targets on other hosts (`ssh`) are not supported; connect with host= instead".to_owned());
    }
    if target.sqlite.is_some() {
        return Err("the target is an SQLite file, not a PostgreSQL server".to_owned());
    }
    let mut pairs = conninfo::parse(target.postgres.as_deref().unwrap_or_default())?;
    pairs.retain(|_, value| !value.is_empty());
    for key in pairs.keys() {
        understood(key)?;
    }
    let clustered = target.cluster.as_deref().map(|name| cluster(name, &mut pairs, around)).transpose()?;
    add_service(&mut pairs, around)?;
    add_environment(&mut pairs, around);
    refuse_unsupported(&pairs)?;

    let take = |key: &str| pairs.get(key).map(String::as_str);
    let user = take("user")
        .map(str::to_owned)
        .or_else(|| around.user.clone())
        .ok_or("no user is given, and the name of the user that we run as is not known; write user=...")?;
    let data_directory = match (&target.data_directory, clustered) {
        (Some(given), _) => Some((PathBuf::from(given), "the target".to_owned())),
        (None, Some((data, place))) => data.map(|data| (data, place)),
        (None, None) => None,
    };
    let switched_off = |key: &str| take(key).is_some_and(|value| value == "0");
    let seconds = |key: &str, default: u64| -> Result<Duration, String> {
        match take(key).map(|text| number(key, text)).transpose()? {
            None | Some(0) => Ok(Duration::from_secs(default)),
            Some(n) => Ok(Duration::from_secs(n)),
        }
    };
    let attrs = match take("target_session_attrs").unwrap_or("any") {
        "any" => SessionAttrs::Any,
        "read-write" => SessionAttrs::ReadWrite,
        "read-only" => SessionAttrs::ReadOnly,
        "primary" => SessionAttrs::Primary,
        "standby" => SessionAttrs::Standby,
        "prefer-standby" => SessionAttrs::PreferStandby,
        other => {
            return Err(format!(
                "target_session_attrs `{other}` is not known; write any, read-write, read-only, primary, standby or \
                 prefer-standby"
            ));
        }
    };
    let channel_binding = take("channel_binding").unwrap_or("prefer").to_owned();
    if !["disable", "prefer", "require"].contains(&channel_binding.as_str()) {
        return Err(format!(
            "channel_binding `{channel_binding}` is not known; write disable, prefer or require"
        ));
    }
    Ok(Settings {
        places: places(&pairs)?,
        database: database.or(take("dbname")).unwrap_or(&user).to_owned(),
        password: take("password").map(str::to_owned),
        passfile: take("passfile").map(PathBuf::from).or_else(|| Some(around.home.as_ref()?.join(".pgpass"))),
        options: take("options").map(str::to_owned),
        tls: tls(&pairs, around)?,
        attrs,
        connect_timeout: match take("connect_timeout").map(|text| text.trim().parse::<i64>()) {
            None => None,
            Some(Ok(n)) if n <= 0 => None,
            Some(Ok(n)) => Some(Duration::from_secs(n.unsigned_abs().max(2))),
            Some(Err(_)) => return Err("connect_timeout must be a number of seconds".to_owned()),
        },
        channel_binding,
        keepalives: if switched_off("keepalives") {
            None
        } else {
            let count = take("keepalives_count").map(|text| number("keepalives_count", text)).transpose()?;
            let count = count.filter(|n| *n > 0).unwrap_or(3).min(100) as u32;
            Some((seconds("keepalives_idle", 15)?, seconds("keepalives_interval", 5)?, count))
        },
        tcp_user_timeout: match take("tcp_user_timeout")
            .map(|text| number("tcp_user_timeout", text))
            .transpose()?
        {
            None | Some(0) => Duration::from_secs(30),
            Some(ms) => Duration::from_millis(ms),
        },
        data_directory,
        user,
    })
}

fn number(key: &str, text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("{key} must be a number, not `{text}`"))
}

#[cfg(test)]
mod tests;
