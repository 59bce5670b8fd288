//! The options of a connection: which are understood, which change nothing, which are refused and why.

use crate::base::text::nearest;
use crate::world::pg::conninfo::Pairs;

/// Keys that are understood, and the variable that stands in for each.
pub(super) const KEYS: &[(&str, &str)] = &[
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
pub(super) const ONLY: &[(&str, &str, &[&str], &str)] = &[
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

/// Refuses a key that nobody knows.
pub(super) fn understood(key: &str) -> Result<(), String> {
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

pub(super) fn refuse_unsupported(pairs: &Pairs) -> Result<(), String> {
    for (key, _, allowed, why) in ONLY {
        if let Some(value) = pairs.get(*key)
            && !allowed.contains(&value.to_lowercase().as_str())
        {
            return Err(format!("the connection option `{key}` is set to `{value}`: {why}"));
        }
    }
    Ok(())
}
