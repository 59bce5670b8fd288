//! The options that stand for more than one word: places to try, and TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Place, SslMode, Surroundings, Tls};
use crate::world::pg::conninfo::Pairs;

/// Debian's default directory of sockets, and PostgreSQL's own.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

pub(super) fn places(pairs: &Pairs) -> Result<Vec<(Place, u16)>, String> {
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

pub(super) fn tls(pairs: &Pairs, around: &Surroundings) -> Result<Tls, String> {
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
