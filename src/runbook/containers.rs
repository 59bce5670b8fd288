//! Containers that a step removes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The engine whose containers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// Containers that go, on this machine: all of a compose project, or some by name. What was written into them goes with
/// them; what lies in volumes and directories of the host does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Containers {
    /// The engine: `docker` or `podman`.
    pub engine: ContainerEngine,
    /// All containers of this compose project, stopped ones too.
    #[serde(default)]
    pub project: Option<String>,
    /// These containers.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Variables that send an engine's program to another engine than this machine's.
pub const ELSEWHERE: [&str; 4] = ["DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION"];

/// Options that do the same.
const OPTIONS: [&str; 5] = ["--host", "--context", "--url", "--connection", "--remote"];
const PROGRAMS: [&str; 5] = ["docker", "podman", "nerdctl", "docker-compose", "podman-compose"];

/// What in a text sends an engine's program elsewhere, as far as it can be read.
pub fn elsewhere(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let trimmed = line.split_whitespace().map(|word| word.trim_matches(['"', '\'', '(', ')', ';']));
        let words: Vec<&str> = trimmed.collect();
        let set =
            |word: &&&str| ELSEWHERE.iter().any(|name| word.split_once('=').is_some_and(|w| w.0 == *name));
        if let Some(word) = words.iter().find(set) {
            return Some(*word);
        }
        let at = words.iter().position(|word| PROGRAMS.contains(&word.rsplit('/').next().unwrap_or(word)))?;
        let first = words.get(at + 1).filter(|word| ["-H", "-c", "-r"].contains(word));
        let option = |word: &&&str| OPTIONS.contains(&word.split('=').next().unwrap_or(word));
        first.or_else(|| words[at + 1..].iter().find(option)).copied()
    })
}

impl Containers {
    /// What they are called together, one by one: `docker project demo`, `docker container db`.
    pub fn called(&self) -> Vec<String> {
        let engine = match self.engine {
            ContainerEngine::Docker => "docker",
            ContainerEngine::Podman => "podman",
        };
        let project = self.project.iter().map(|name| format!("{engine} project {name}"));
        project.chain(self.names.iter().map(|name| format!("{engine} container {name}"))).collect()
    }
}
