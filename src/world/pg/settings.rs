//! What a target's words mean, with psql's habits: what is written comes first, then the service file, then PG*
//! variables, then defaults. What is not supported is refused in a sentence, never ignored in silence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::conninfo::{self, Pairs};
use super::error::ConnectError;
use super::files;
use crate::base::text::nearest;
use crate::runbook::Target;

/// Debian's default directory of sockets, and PostgreSQL's own.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What surrounds the program; a parameter, so that tests need not change the process.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Home directory.
    pub home: Option<PathBuf>,
    /// Name of the user that we run as.
    pub user: Option<String>,
    /// Where Debian keeps clusters' configuration.
    pub clusters: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("PG") || name == "HOME" || name == "USER")
            .collect();
        let account = super::peer::account_of(rustix::process::geteuid().as_raw());
        let home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Surroundings {
            home: home.or_else(|| account.as_ref().map(|account| account.home.clone())),
            user: account.map(|account| account.name).or_else(|| env.get("USER").cloned()),
            clusters: PathBuf::from(
                env.get("PG_CLUSTER_CONF_ROOT").map_or("/etc/postgresql", String::as_str),
            ),
            env,
        }
    }
}

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

/// Keys that are understood, and the variable that stands in for each.
const KEYS: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcrl", "PGSSLCRL"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
];

/// Keys that change nothing for us when they have one of these values, and are refused otherwise.
const ONLY: &[(&str, &str, &[&str], &str)] = &[
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"], "GSSAPI encryption is not supported; use TLS"),
    (
        "krbsrvname",
        "PGKRBSRVNAME",
        &["postgres"],
        "Kerberos is not supported; use a password or a certificate",
    ),
    ("gsslib", "PGGSSLIB", &[], "Kerberos is not supported; use a password or a certificate"),
    (
        "gssdelegation",
        "PGGSSDELEGATION",
        &["0"],
        "Kerberos is not supported; use a password or a certificate",
    ),
    (
        "requirepeer",
        "PGREQUIREPEER",
        &[],
        "checking the socket's owner is not supported; give `data_directory` instead",
    ),
    ("require_auth", "PGREQUIREAUTH", &[], "choosing the authentication method is not supported"),
    ("sslcrldir", "PGSSLCRLDIR", &[], "a directory of revocation lists is not supported; use sslcrl"),
    ("sslpassword", "", &[], "encrypted keys are not supported; use a key without a passphrase, mode 0600"),
    ("sslcompression", "PGSSLCOMPRESSION", &["0"], "TLS compression is not supported"),
    ("sslsni", "PGSSLSNI", &["1"], "leaving the host's name out of TLS is not supported"),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"], "only `allow` is supported"),
    ("sslnegotiation", "PGSSLNEGOTIATION", &["postgres"], "only `postgres` is supported"),
    (
        "client_encoding",
        "PGCLIENTENCODING",
        &["utf8", "utf-8", "unicode", "auto"],
        "text is always exchanged as UTF8",
    ),
    (
        "load_balance_hosts",
        "PGLOADBALANCEHOSTS",
        &["disable"],
        "places are always tried in the order written",
    ),
    ("replication", "", &["0", "off", "no", "false"], "replication connections are not supported"),
];

/// Keys that are read and replaced by our own: the name says what Holdpoint does on the server.
const IGNORED: &[&str] = &["application_name", "fallback_application_name"];

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

/// Refuses a key that nobody knows.
fn understood(key: &str) -> Result<(), String> {
    let known = || {
        let first = KEYS.iter().map(|(key, _)| *key).chain(ONLY.iter().map(|(key, ..)| *key));
        first.chain(IGNORED.iter().copied()).chain(["service", "servicefile"])
    };
    if known().any(|name| name == key) {
        return Ok(());
    }
    let hint = nearest(key, known()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(format!("the connection option `{key}` is not supported{hint}"))
}

fn refuse_unsupported(pairs: &Pairs) -> Result<(), String> {
    for (key, _, allowed, why) in ONLY {
        if let Some(value) = pairs.get(*key)
            && !allowed.contains(&value.to_lowercase().as_str())
        {
            return Err(format!("the connection option `{key}` is set to `{value}`: {why}"));
        }
    }
    Ok(())
}

/// Fills in what the service file says.
fn add_service(pairs: &mut Pairs, around: &Surroundings) -> Result<(), String> {
    let env = |name: &str| around.env.get(name).filter(|value| !value.is_empty());
    let Some(name) = pairs.remove("service").or_else(|| env("PGSERVICE").cloned()) else { return Ok(()) };
    let explicit = pairs.remove("servicefile").or_else(|| env("PGSERVICEFILE").cloned()).map(PathBuf::from);
    let own = explicit.clone().or_else(|| Some(around.home.as_ref()?.join(".pg_service.conf")));
    let system = env("PGSYSCONFDIR").map_or("/etc/postgresql-common", String::as_str);
    let system = Path::new(system).join("pg_service.conf");
    for path in own.iter().chain([&system]) {
        let Some(content) = files::text(path)? else {
            if explicit.as_ref() == Some(path) {
                return Err(format!("the service file {} is not there", path.display()));
            }
            continue;
        };
        let Some(section) = files::service(path, &content, &name)? else { continue };
        for (key, value) in section {
            understood(&key).map_err(|why| format!("{why} (service `{name}` in {})", path.display()))?;
            if !value.is_empty() {
                pairs.entry(key).or_insert(value);
            }
        }
        return Ok(());
    }
    Err(format!(
        "there is no service `{name}` in {}",
        own.iter().chain([&system]).map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    ))
}

fn add_environment(pairs: &mut Pairs, around: &Surroundings) {
    let variables = KEYS.iter().copied().chain(ONLY.iter().map(|(key, variable, ..)| (*key, *variable)));
    for (key, variable) in variables {
        if let Some(value) = around.env.get(variable).filter(|value| !value.is_empty()) {
            // A host that is written down is not joined by another one's address, nor the other way round.
            let sibling = [("host", "hostaddr"), ("hostaddr", "host")].iter().find(|(k, _)| *k == key);
            if key == "hostaddr" && sibling.is_some_and(|(_, other)| pairs.contains_key(*other)) {
                continue;
            }
            pairs.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
}

/// Puts the cluster's socket and port in place; returns its data directory and the file that names it.
fn cluster(
    name: &str,
    pairs: &mut Pairs,
    around: &Surroundings,
) -> Result<(Option<PathBuf>, String), String> {
    let conf = files::cluster_conf(&around.clusters, name)?;
    let host = conf.socket.as_ref().map_or_else(|| "localhost".to_owned(), |dir| dir.display().to_string());
    for (key, value) in [("host", host), ("port", conf.port.to_string())] {
        if let Some(written) = pairs.insert(key.to_owned(), value.clone())
            && written != value
        {
            return Err(format!(
                "the target says both `cluster: {name}` and {key}={written}, but the cluster's configuration says \
                 {value}; leave host and port out"
            ));
        }
    }
    if pairs.contains_key("hostaddr") {
        return Err(format!("the target says both `cluster: {name}` and hostaddr; leave hostaddr out"));
    }
    Ok((conf.data_directory, conf.directory.join("postgresql.conf").display().to_string()))
}

fn places(pairs: &Pairs) -> Result<Vec<(Place, u16)>, String> {
    let list = |key: &str| -> Vec<String> {
        pairs
            .get(key)
            .map(|text| text.split(',').map(|item| item.trim().to_owned()).collect())
            .unwrap_or_default()
    };
    let (mut hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    hosts.resize(if hosts.is_empty() { count } else { hosts.len() }, String::new());
    if hosts.len() != count || (!addresses.is_empty() && addresses.len() != count) {
        return Err(format!("there are {} hosts and {} host addresses", hosts.len(), addresses.len()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("there are {} ports for {count} hosts", ports.len()));
    }
    let mut places = Vec::new();
    for (i, host) in hosts.into_iter().enumerate() {
        let port = match ports.get(i).or(ports.first()).map(String::as_str) {
            None | Some("") => 5432,
            Some(text) => text
                .parse()
                .ok()
                .filter(|port: &u16| *port > 0)
                .ok_or_else(|| format!("`{text}` is not a port; write 1 to 65535"))?,
        };
        let address = match addresses.get(i).map(String::as_str) {
            None | Some("") => None,
            Some(text) => {
                Some(text.parse::<IpAddr>().map_err(|_| format!("hostaddr `{text}` is not an IP address"))?)
            }
        };
        let place = match (host.as_str(), address) {
            ("", None) => Place::Socket(default_socket(port)),
            ("", Some(address)) => Place::Tcp(address.to_string(), Some(address)),
            (host, None) if host.starts_with('@') => {
                return Err(format!("abstract sockets (`{host}`) are not supported; name a directory"));
            }
            (host, None) if host.starts_with('/') => Place::Socket(PathBuf::from(host)),
            (host, address) => Place::Tcp(host.to_owned(), address),
        };
        places.push((place, port));
    }
    Ok(places)
}

fn default_socket(port: u16) -> PathBuf {
    let [first, _] = SOCKETS;
    let has = |dir: &&str| Path::new(dir).join(format!(".s.PGSQL.{port}")).exists();
    PathBuf::from(SOCKETS.iter().find(|dir| has(dir)).copied().unwrap_or(first))
}

fn tls(pairs: &Pairs, around: &Surroundings) -> Result<Tls, String> {
    let take = |key: &str| pairs.get(key);
    let own = |name: &str| {
        around.home.as_ref().map(|home| home.join(".postgresql").join(name)).filter(|p| p.exists())
    };
    let root = match take("sslrootcert").map(PathBuf::from) {
        Some(root) if root != Path::new("system") && !root.exists() => {
            return Err(format!("the root certificate {} is not there", root.display()));
        }
        Some(root) => Some(root),
        None => own("root.crt"),
    };
    let system = root.as_deref() == Some(Path::new("system"));
    let mode = match take("sslmode").map(String::as_str) {
        None if system => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(other) => {
            return Err(format!(
                "sslmode `{other}` is not known; write disable, allow, prefer, require, verify-ca or verify-full"
            ));
        }
    };
    if system && mode != SslMode::VerifyFull {
        return Err("sslrootcert=system goes only with sslmode=verify-full".to_owned());
    }
    if root.is_none() && matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
        return Err("sslmode verify-ca and verify-full need a root certificate: write sslrootcert=FILE, or \
                    sslrootcert=system for the machine's own"
            .to_owned());
    }
    let certificate = match take("sslcert").map(PathBuf::from) {
        Some(file) if !file.exists() => {
            return Err(format!("the certificate {} is not there", file.display()));
        }
        Some(file) => Some(file),
        None => own("postgresql.crt"),
    };
    let client = match certificate {
        None => None,
        Some(certificate) => {
            let key = take("sslkey").map(PathBuf::from).or_else(|| own("postgresql.key"));
            let key = key.filter(|key| key.exists()).ok_or_else(|| {
                format!(
                    "there is a certificate {} but no key for it; write sslkey=FILE",
                    certificate.display()
                )
            })?;
            Some((certificate, key))
        }
    };
    let crl = take("sslcrl").map(PathBuf::from).or_else(|| own("root.crl"));
    let version = |key: &str| take(key).cloned();
    Ok(Tls {
        mode,
        root,
        crl,
        client,
        versions: (version("ssl_min_protocol_version"), version("ssl_max_protocol_version")),
    })
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
