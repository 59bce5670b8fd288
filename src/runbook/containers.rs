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
