//! What goes with containers that are removed: what was written into each of them, and nowhere else.

use super::engine::{self, Client, Engine, PATIENCE, Trouble};
use super::shape::{Container, short};
use crate::check::Context;
use crate::runbook::containers::{ContainerEngine, Containers};

/// A container that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct One {
    /// Its name and the beginning of its id: `demo-db-1 (0123456789ab)`.
    pub name: String,
    /// Bytes of files that were written or changed in it.
    pub bytes: u64,
}

/// What is there of what a step removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Going {
    /// The containers.
    pub containers: Vec<One>,
    /// Those that run, with a sentence each.
    pub serving: Vec<String>,
    /// What could not be measured.
    pub unmeasured: Vec<String>,
    /// What was named and is not there, with a sentence each.
    pub missing: Vec<(String, String)>,
}

/// Measures them.
pub async fn going(of: &Containers, cx: &Context) -> Going {
    let mut going = Going::default();
    if let Err(why) = measure(of, cx, &mut going).await {
        going.unmeasured.push(format!("the containers: {why}"));
    }
    going
}

async fn measure(of: &Containers, cx: &Context, going: &mut Going) -> Result<(), Trouble> {
    let engine = match of.engine {
        ContainerEngine::Docker => Engine::Docker,
        ContainerEngine::Podman => Engine::Podman,
    };
    for client in engine::clients(cx, engine, None).await? {
        if let Some(where_) = client.elsewhere(cx).await? {
            let why = format!("{} runs elsewhere ({where_}); go on where the containers are", client.program);
            return Err(Trouble::Other(why));
        }
        let ids = ids(of, &client, cx, going).await?;
        if ids.is_empty() {
            continue;
        }
        let mut question = vec!["container", "inspect", "--size", "--"];
        question.extend(ids.iter().map(String::as_str));
        let all: Vec<Container> = client.json(cx, &question, PATIENCE).await?;
        if all.len() != ids.len() {
            let why = format!("{} told of {} of {}", client.program, all.len(), ids.len());
            return Err(Trouble::Other(why));
        }
        add(&all, going);
    }
    Ok(())
}

/// The ids of what is there.
async fn ids(
    of: &Containers,
    client: &Client,
    cx: &Context,
    going: &mut Going,
) -> Result<Vec<String>, Trouble> {
    let mut ids = Vec::new();
    if let Some(project) = &of.project {
        let label = format!("label=com.docker.compose.project={project}");
        let question = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &label];
        ids = client.names(cx, &question, PATIENCE).await?;
        if ids.is_empty() {
            going.missing.push((
                format!("containers of {project}"),
                format!("{} has no container of project {project}", client.program),
            ));
        }
    }
    for name in &of.names {
        match client.container(cx, name).await {
            Ok(found) if !ids.contains(&found.id) => ids.push(found.id),
            Ok(_) => {}
            Err(Trouble::Missing(why)) => going.missing.push((format!("container {name}"), why)),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(ids)
}

fn add(all: &[Container], going: &mut Going) {
    for container in all {
        let name = format!("{} ({})", container.name(), short(&container.id));
        if container.state.running {
            going.serving.push(format!("container {name} runs; stop it first"));
        }
        match container.size_rw.map(u64::try_from) {
            Some(Ok(bytes)) => going.containers.push(One { name, bytes }),
            _ => going.unmeasured.push(format!("what was written into container {name}")),
        }
    }
    going.containers.sort_by(|a, b| a.name.cmp(&b.name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_one_is_in_use_and_one_without_a_size_is_not_measured() {
        let id = |digit: &str| digit.repeat(64);
        let shown = format!(
            r#"[{{ "Id": "{}", "Name": "/demo-db-1", "State": {{ "Running": true }}, "SizeRw": 63 }},
                {{ "Id": "{}", "Name": "demo-app-1", "State": {{ "Running": false }}, "SizeRw": 0 }},
                {{ "Id": "{}", "Name": "/odd" }}]"#,
            id("a"),
            id("b"),
            id("c")
        );
        let all: Vec<Container> = serde_json::from_str(&shown).unwrap();
        let mut going = Going::default();
        add(&all, &mut going);
        let one = |name: &str, bytes| One { name: name.to_owned(), bytes };
        assert_eq!(
            going.containers,
            [one("demo-app-1 (bbbbbbbbbbbb)", 0), one("demo-db-1 (aaaaaaaaaaaa)", 63)]
        );
        assert_eq!(going.serving, ["container demo-db-1 (aaaaaaaaaaaa) runs; stop it first"]);
        assert_eq!(going.unmeasured, ["what was written into container odd (cccccccccccc)"]);
    }
}
