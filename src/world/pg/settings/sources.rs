//! Where options come from beside the target's own words: the cluster's configuration, the service file, the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keys::{KEYS, ONLY, understood};
use crate::world::pg::conninfo::Pairs;
use crate::world::pg::{debian, files, peer};

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
        let account = peer::account_of(rustix::process::geteuid().as_raw());
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

/// Fills in what the service file says.
pub(super) fn add_service(pairs: &mut Pairs, around: &Surroundings) -> Result<(), String> {
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

pub(super) fn add_environment(pairs: &mut Pairs, around: &Surroundings) {
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
pub(super) fn cluster(
    name: &str,
    pairs: &mut Pairs,
    around: &Surroundings,
) -> Result<(Option<PathBuf>, String), String> {
    let conf = debian::cluster_conf(&around.clusters, name)?;
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
