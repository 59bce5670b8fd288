//! What the engines show of containers, images and volumes, as far as it is used. Docker and Podman agree on the names,
//! and differ in what they leave out: every field may be missing or null.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Docker's label on a volume without a name, since version 23.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A container, as `inspect` shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    #[serde(deserialize_with = "or_none")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_none")]
    name: String,
    /// Bytes written into it; only where `--size` asked for them.
    pub(super) size_rw: Option<i64>,
    /// The image's id.
    #[serde(deserialize_with = "or_none")]
    pub(super) image: String,
    #[serde(deserialize_with = "or_none")]
    pub(super) state: State,
    #[serde(deserialize_with = "or_none")]
    config: Config,
    #[serde(deserialize_with = "or_none")]
    pub(super) host_config: HostConfig,
    #[serde(deserialize_with = "or_none")]
    network_settings: NetworkSettings,
    #[serde(deserialize_with = "or_none")]
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    #[serde(deserialize_with = "or_none")]
    pub(super) running: bool,
    #[serde(deserialize_with = "or_none")]
    pub(super) pid: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    #[serde(deserialize_with = "or_none")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_none")]
    volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_none")]
    exposed_ports: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    #[serde(deserialize_with = "or_none")]
    pub(super) auto_remove: bool,
    #[serde(deserialize_with = "or_none")]
    tmpfs: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_none")]
    port_bindings: Bindings,
    #[serde(deserialize_with = "or_none")]
    publish_all_ports: bool,
    #[serde(deserialize_with = "or_none")]
    pub(super) network_mode: String,
    #[serde(deserialize_with = "or_none")]
    mounts: Vec<Declared>,
}

/// A mount as it was asked for with `--mount`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Declared {
    #[serde(deserialize_with = "or_none")]
    target: String,
    #[serde(deserialize_with = "or_none")]
    volume_options: VolumeOptions,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptions {
    #[serde(deserialize_with = "or_none")]
    subpath: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    #[serde(deserialize_with = "or_none")]
    ports: Bindings,
}

/// `20000/udp` and where it is published; null or empty when it is only exposed.
type Bindings = BTreeMap<String, Option<Vec<Binding>>>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Binding {
    #[serde(deserialize_with = "or_none")]
    host_ip: String,
    #[serde(deserialize_with = "or_none")]
    host_port: String,
}

/// Something that is mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mount {
    /// `bind`, `volume`, `tmpfs`.
    #[serde(rename = "Type", deserialize_with = "or_none")]
    pub(super) kind: String,
    /// A volume's name.
    #[serde(deserialize_with = "or_none")]
    pub(super) name: String,
    /// The directory on the host.
    #[serde(deserialize_with = "or_none")]
    pub(super) source: String,
    /// The directory in the container.
    #[serde(deserialize_with = "or_none")]
    pub(super) destination: String,
    /// A volume's driver.
    #[serde(deserialize_with = "or_none")]
    pub(super) driver: String,
}

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Image {
    #[serde(deserialize_with = "or_none")]
    config: Config,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Volume {
    #[serde(deserialize_with = "or_none")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_none")]
    pub(super) driver: String,
    #[serde(deserialize_with = "or_none")]
    pub(super) mountpoint: String,
    #[serde(deserialize_with = "or_none")]
    labels: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_none")]
    options: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_none")]
    anonymous: bool,
}

/// A missing field and null are the same.
fn or_none<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// True for a name as the engines make them up: 64 hexadecimal digits.
pub(super) fn made_up(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A name for people: one that the engine made up is cut.
pub(super) fn short(name: &str) -> &str {
    if made_up(name) { &name[..12] } else { name }
}

impl Container {
    /// Its name, without Docker's slash.
    pub(super) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// What is mounted in it. Podman lists no tmpfs among the mounts; Docker lists only some.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mut all = self.mounts.clone();
        for mount in &mut all {
            let asked = self.host_config.mounts.iter().find(|asked| asked.target == mount.destination);
            if let Some(asked) = asked.filter(|asked| !asked.volume_options.subpath.is_empty()) {
                mount.source = format!("{}/{}", mount.source, asked.volume_options.subpath.trim_matches('/'));
            }
        }
        for path in self.host_config.tmpfs.keys() {
            if !all.iter().any(|mount| mount.destination == *path) {
                let tmpfs = Mount { kind: "tmpfs".to_owned(), destination: path.clone(), ..Mount::default() };
                all.push(tmpfs);
            }
        }
        all
    }

    /// The value of an environment variable that it was made with.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        self.config.env(name)
    }

    /// `20000/udp -> 0.0.0.0:20000`: what it publishes, or will when it is started, each host port once.
    pub(super) fn published(&self) -> Vec<String> {
        let mut all = std::collections::BTreeSet::new();
        for (port, bindings) in self.host_config.port_bindings.iter().chain(&self.network_settings.ports) {
            for binding in bindings.iter().flatten() {
                // "", 0.0.0.0 and :: are one port at all addresses.
                let any = matches!(binding.host_ip.as_str(), "" | "0.0.0.0" | "::");
                let address = if any { "*" } else { binding.host_ip.as_str() };
                let chosen = matches!(binding.host_port.as_str(), "" | "0");
                let host = if chosen { "?" } else { binding.host_port.as_str() };
                all.insert((port.clone(), address.to_owned(), host.to_owned()));
            }
        }
        // A port chosen at the start stands as `?` where it was asked for, and with its number where it is bound.
        let bound: Vec<(String, String)> = all
            .iter()
            .filter(|(_, _, host)| host != "?")
            .map(|(port, address, _)| (port.clone(), address.clone()))
            .collect();
        all.retain(|(port, address, host)| host != "?" || !bound.contains(&(port.clone(), address.clone())));
        if self.host_config.publish_all_ports {
            let missing: Vec<&String> = self
                .config
                .exposed_ports
                .keys()
                .filter(|port| !all.iter().any(|(p, ..)| p == *port))
                .collect();
            all.extend(missing.into_iter().map(|port| (port.clone(), "*".to_owned(), "?".to_owned())));
        }
        all.into_iter().map(|(port, address, host)| format!("{address}:{host}->{port}")).collect()
    }
}

impl Config {
    fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Image {
    /// The paths that it declares as volumes.
    pub(super) fn volumes(&self) -> Vec<String> {
        self.config.volumes.keys().cloned().collect()
    }

    /// The value of an environment variable that it sets.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        self.config.env(name)
    }
}

impl Volume {
    /// True when nobody gave it a name: it goes with its container, or with the next prune.
    pub(super) fn anonymous(&self) -> bool {
        // Docker before 23 sets no label: there only the name tells.
        self.anonymous || self.labels.contains_key(ANONYMOUS) || made_up(&self.name)
    }

    /// The type of file system that the local driver mounts for it, when it was made with one: `tmpfs`, `nfs`.
    pub(super) fn file_system(&self) -> Option<&str> {
        self.options.get("type").map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! recorded {
        ($file:literal) => {
            [
                ("docker-20", include_str!(concat!("../../../tests/fixtures/containers/docker-20/", $file))),
                ("docker-26", include_str!(concat!("../../../tests/fixtures/containers/docker-26/", $file))),
                ("docker-28", include_str!(concat!("../../../tests/fixtures/containers/docker-28/", $file))),
                (
                    "podman-4.3",
                    include_str!(concat!("../../../tests/fixtures/containers/podman-4.3/", $file)),
                ),
                (
                    "podman-5.4",
                    include_str!(concat!("../../../tests/fixtures/containers/podman-5.4/", $file)),
                ),
                (
                    "podman-5.8",
                    include_str!(concat!("../../../tests/fixtures/containers/podman-5.8/", $file)),
                ),
            ]
        };
    }

    #[test]
    fn containers_of_every_engine() {
        for (engine, text) in recorded!("inspect.json") {
            let all: Vec<Container> = serde_json::from_str(text).unwrap();
            let named = |name: &str| all.iter().find(|container| container.name() == name).unwrap();
            let wrong = named("wrong");
            assert!(wrong.state.running && wrong.state.pid > 0 && wrong.id.len() == 64, "{engine}");
            assert_eq!(wrong.env("PGDATA"), Some("/var/lib/postgresql/data"), "{engine}");
            let mut mounts = wrong.mounts();
            mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
            let told: Vec<_> = mounts.iter().map(|m| (m.kind.as_str(), m.destination.as_str())).collect();
            let wanted = [("bind", "/var/lib/postgresql"), ("volume", "/var/lib/postgresql/data")];
            assert_eq!(told, wanted, "{engine}");
            assert_eq!(mounts[0].source, "/srv/wrong", "{engine}");
            assert!(made_up(&mounts[1].name), "{engine}: {mounts:?}");
            for memory in ["memory", "memory2"] {
                let mounts = named(memory).mounts();
                let at_data = mounts.iter().find(|m| m.destination == "/var/lib/postgresql/data").unwrap();
                assert_eq!(at_data.kind, "tmpfs", "{engine} {memory}: {mounts:?}");
            }
            let removed = named("named");
            assert!(removed.host_config.auto_remove && removed.mounts()[0].name == "kept", "{engine}");
        }
    }

    #[test]
    fn volumes_of_every_engine() {
        for (engine, text) in recorded!("volumes.json") {
            let all: Vec<Volume> = serde_json::from_str(text).unwrap();
            assert_eq!(all.len(), 5, "{engine}");
            for volume in &all {
                assert_eq!(volume.anonymous(), made_up(&volume.name), "{engine}: {volume:?}");
                assert!(
                    volume.mountpoint.starts_with('/') && volume.driver == "local",
                    "{engine}: {volume:?}"
                );
            }
        }
        for (engine, text) in recorded!("volumes.json") {
            let all: Vec<Volume> = serde_json::from_str(text).unwrap();
            let ram = all.iter().find(|volume| volume.name == "ram").unwrap();
            assert_eq!(ram.file_system(), Some("tmpfs"), "{engine}");
        }
    }

    #[test]
    fn images_of_every_engine() {
        for (engine, text) in recorded!("images.json") {
            let all: Vec<Image> = serde_json::from_str(text).unwrap();
            let volumes: Vec<Vec<String>> = all.iter().map(Image::volumes).collect();
            let none: Vec<String> = Vec::new();
            let wanted =
                [vec!["/var/lib/postgresql/data".to_owned()], vec!["/var/lib/postgresql".to_owned()], none];
            assert_eq!(volumes, wanted, "{engine}");
            assert_eq!(all[1].env("PGDATA"), Some("/var/lib/postgresql/18/docker"), "{engine}");
        }
    }

    #[test]
    fn ports_of_every_engine() {
        for (engine, text) in recorded!("inspect-ports.json") {
            let all: Vec<Container> = serde_json::from_str(text).unwrap();
            let counts: Vec<usize> = all.iter().map(|container| container.published().len()).collect();
            assert_eq!(counts, [6, 5, 0], "{engine}: {:?}", all[0].published());
            assert_eq!(all[2].host_config.network_mode, "host", "{engine}");
        }
    }

    #[test]
    fn a_part_of_a_volume_and_a_variable_said_twice() {
        let text = r#"{ "Config": { "Env": ["PGDATA=/a", "PGDATA=/b", "PGDATAX=/c"] },
            "Mounts": [{ "Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/d" }],
            "HostConfig": { "Mounts": [{ "Target": "/d", "VolumeOptions": { "Subpath": "pg" } }] } }"#;
        let container: Container = serde_json::from_str(text).unwrap();
        assert_eq!(container.mounts()[0].source, "/v/_data/pg");
        assert_eq!(container.env("PGDATA"), Some("/b"));
    }
}
