//! Is every volume that an image declares covered by a mount that lasts? Known before the first start.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::bytes::{below, normal};
use super::compose::Compose;
use super::engine::{Client, Engine, Trouble, clients, valid};
use super::shape::Image;
use crate::base::text;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Is every volume that an image declares covered by a mount that lasts?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerVolumesCovered {
    /// A container that exists, by name or id.
    #[serde(default)]
    container: Option<String>,
    /// A compose file, before it is started: `{ file: /srv/matrix/docker-compose.yml, service: db }`.
    #[serde(default)]
    compose: Option<Compose>,
    /// An image, with the `mounts` that it will be started with.
    #[serde(default)]
    image: Option<String>,
    /// With `image`: the paths in the container at which bind mounts and named volumes will be.
    #[serde(default)]
    mounts: Vec<String>,
    /// Paths whose contents may be lost with the container, such as a cache.
    #[serde(default)]
    except: Vec<String>,
    /// `docker`, `podman`, or `auto` (the default): the first whose program is installed and that has the image.
    #[serde(default)]
    engine: Engine,
    /// The engine's address, when it is not its own default: `unix:///run/user/1000/docker.sock`. Needs `engine`.
    #[serde(default)]
    host: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "container_volumes_covered",
    summary: "every volume that an image declares, and its PGDATA, is covered by a bind mount or a named volume",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ContainerVolumesCovered),
    build,
};

const DOCS: &str = r"
Shows that everything an image keeps in volumes is on storage of its own, without starting it: before the first `up`, and after each
change of the image or the compose file.

**How it is measured.** The image's declared volumes (`image inspect`) and its PGDATA, or the service's own, are compared with the
mounts: those of the compose file as the compose program reads it, those of a container, or `mounts`.

**Passes** when every declared volume has a bind mount or a named volume at exactly its path, and PGDATA lies on one. **Fails** when one is
not covered: the engine then makes an anonymous volume, which goes with the container; a mount above it does not help.
A tmpfs covers nothing. **Unknown** when the image is not on this machine, declares neither volumes nor PGDATA (then there is nothing to
compare: use `container_data_persistent` on the running container), or when the engine, compose or a variable is missing.

**Traps.** A path that fits one major version is wrong for another: PostgreSQL's images declare `/var/lib/postgresql/data` up to 17, and
`/var/lib/postgresql` with PGDATA in `/var/lib/postgresql/18/docker` from 18 on. `docker compose` carries anonymous volumes over when it
makes a container again, so that nothing seems to be wrong until `down`. Whether the bytes are really there only
`container_data_persistent` can tell.

```yaml
preconditions:
  - container_volumes_covered: { compose: { file: /srv/matrix/docker-compose.yml, service: db } }
  - container_volumes_covered: { id: next, image: postgres:18, mounts: [/var/lib/postgresql] }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ContainerVolumesCovered =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    valid(check.engine, check.host.as_deref())?;
    let given = [check.container.is_some(), check.compose.is_some(), check.image.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err("say one of `container`, `compose` and `image`".to_owned());
    }
    if !check.mounts.is_empty() && check.image.is_none() {
        return Err("`mounts` belongs to `image`; a container and a compose file have their own".to_owned());
    }
    if let Some(compose) = &check.compose {
        compose.valid()?;
    }
    let wrong = check.mounts.iter().chain(&check.except).find(|path| normal(path).is_none());
    match wrong {
        Some(path) => {
            Err(format!("`{path}` is not a path from the container's root, as in /var/lib/postgresql/data"))
        }
        None => Ok(Box::new(check)),
    }
}

/// Something with an image and mounts.
#[derive(Debug, Clone, Default)]
struct Subject {
    /// `service db`.
    name: String,
    /// Volumes that the image declares.
    declared: Vec<String>,
    /// PGDATA.
    data: Option<String>,
    /// Where storage that lasts is mounted.
    lasting: Vec<String>,
    /// Where something else is mounted, and what: `a tmpfs`.
    passing: Vec<(String, String)>,
}

#[async_trait]
impl Check for ContainerVolumesCovered {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected =
            "a bind mount or a named volume at every volume that the image declares, and for PGDATA";
        match self.subjects(cx).await {
            Ok(subjects) => self.judge(&subjects, expected),
            Err(trouble @ Trouble::Missing(_)) if self.container.is_none() => trouble
                .unknown(expected)
                .help("pull or build the image first, without starting it, then measure again"),
            Err(trouble) => trouble.unknown(expected),
        }
    }
}

impl ContainerVolumesCovered {
    /// By the first engine that knows it.
    async fn subjects(&self, cx: &Context) -> Result<Vec<Subject>, Trouble> {
        let mut first = None;
        for client in clients(cx, self.engine, self.host.as_deref()).await? {
            match self.of(cx, &client).await {
                Ok(subjects) => return Ok(subjects),
                Err(trouble) => first = first.or(Some(trouble)),
            }
        }
        Err(first.unwrap_or_else(|| Trouble::Absent("no engine was asked".to_owned())))
    }

    async fn of(&self, cx: &Context, client: &Client) -> Result<Vec<Subject>, Trouble> {
        if let Some(name) = &self.container {
            return Ok(vec![of_container(cx, client, name).await?]);
        }
        if let Some(name) = &self.image {
            let image = client.image(cx, name).await?;
            let mut subject = of_image(format!("image {name}"), &image);
            subject.lasting.clone_from(&self.mounts);
            return Ok(vec![subject]);
        }
        let Some(compose) = &self.compose else { return Ok(Vec::new()) };
        let (project, services) = compose.read(cx, client).await?;
        let mut all = Vec::new();
        for (name, service) in services {
            let image = client.image(cx, &service.image(&project, &name)).await?;
            let mut subject = of_image(format!("service {name}"), &image);
            subject.data = service.env("PGDATA").or(subject.data);
            for mount in service.mounts() {
                match mount.kind.as_str() {
                    "bind" => subject.lasting.push(mount.target),
                    "volume" if !mount.source.is_empty() => subject.lasting.push(mount.target),
                    "volume" => subject.passing.push((mount.target, "an anonymous volume".to_owned())),
                    other => subject.passing.push((mount.target, format!("a {other}"))),
                }
            }
            all.push(subject);
        }
        Ok(all)
    }

    fn judge(&self, subjects: &[Subject], expected: &str) -> Outcome {
        let excepted = |path: &str| self.except.iter().any(|other| normal(other) == normal(path));
        let (mut wrong, mut covered, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for subject in subjects {
            let (bad, good) = subject.judged(&excepted);
            if bad.is_empty() && good.is_empty() {
                empty.push(subject.name.clone());
            }
            wrong.extend(bad);
            covered.extend(good);
        }
        let mut outcome = match (wrong.first(), covered.len()) {
            (Some((path, why)), _) => Outcome::fail(
                match wrong.len() {
                    1 => why.clone(),
                    more => format!("{why}; and {} more", more - 1),
                },
                expected,
            )
            .help(format!("before it is started: mount a named volume or a directory at exactly {path}")),
            (None, 0) => Outcome::unknown(
                format!(
                    "{}: no declared volume and no PGDATA, so there is nothing to compare",
                    empty.join(", ")
                ),
                expected,
            )
            .help("measure the running container with container_data_persistent"),
            (None, many) => {
                let observed = format!("{} covered", text::count(many as u64, "path is", "paths are"));
                Outcome::pass(observed, expected)
            }
        };
        outcome.details.extend(wrong.into_iter().map(|(_, why)| why).chain(covered).take(20));
        if outcome.verdict == crate::check::Verdict::Pass && !empty.is_empty() {
            outcome = outcome.detail(format!("no declared volume and no PGDATA: {}", empty.join(", ")));
        }
        outcome
    }
}

fn of_image(name: String, image: &Image) -> Subject {
    let data = image.env("PGDATA").map(str::to_owned);
    Subject { name, declared: image.volumes(), data, ..Subject::default() }
}

async fn of_container(cx: &Context, client: &Client, name: &str) -> Result<Subject, Trouble> {
    let container = client.container(cx, name).await?;
    let image = client.image(cx, &container.image).await?;
    let mut subject = of_image(format!("container {}", container.name()), &image);
    subject.data = container.env("PGDATA").map(str::to_owned);
    for mount in container.mounts() {
        match mount.kind.as_str() {
            "bind" => subject.lasting.push(mount.destination),
            "volume" => match client.volume(cx, &mount.name).await? {
                volume if volume.anonymous() => {
                    subject.passing.push((mount.destination, "an anonymous volume".to_owned()));
                }
                volume if volume.file_system() == Some("tmpfs") => {
                    subject.passing.push((mount.destination, "a tmpfs".to_owned()));
                }
                _ => subject.lasting.push(mount.destination),
            },
            other => subject.passing.push((mount.destination, format!("a {other}"))),
        }
    }
    Ok(subject)
}

impl Subject {
    /// Paths that are not covered with the reason, and those that are.
    fn judged(&self, excepted: &dyn Fn(&str) -> bool) -> (Vec<(String, String)>, Vec<String>) {
        let (mut wrong, mut covered) = (Vec::new(), Vec::new());
        let at = |path: &str| self.lasting.iter().any(|mount| normal(mount) == normal(path));
        for path in self.declared.iter().filter(|path| !excepted(path)) {
            match at(path) {
                true => covered.push(format!("{}: {path} has a mount of its own", self.name)),
                false => wrong.push((path.clone(), format!("{}: {}", self.name, self.why(path)))),
            }
        }
        if let Some(data) = self.data.as_ref().filter(|data| !excepted(data)) {
            let anywhere =
                self.lasting.iter().chain(&self.declared).chain(self.passing.iter().map(|(path, _)| path));
            let nearest = anywhere.filter(|path| below(data, path).is_some()).max_by_key(|path| path.len());
            match nearest {
                Some(path) if at(path) => {
                    covered.push(format!("{}: PGDATA {data} lies on the mount {path}", self.name))
                }
                // Said already of the declared volume itself.
                Some(path) if self.declared.contains(path) && !excepted(path) => {}
                _ => wrong.push((data.clone(), format!("{}: PGDATA {}", self.name, self.why(data)))),
            }
        }
        (wrong, covered)
    }

    fn why(&self, path: &str) -> String {
        if let Some((_, kind)) = self.passing.iter().find(|(passing, _)| normal(passing) == normal(path)) {
            return format!("{path} is on {kind}, which goes with the container");
        }
        let above =
            self.lasting.iter().filter(|mount| below(path, mount).is_some()).max_by_key(|mount| mount.len());
        let within = self.lasting.iter().find(|mount| below(mount, path).is_some());
        match (above, within) {
            (Some(above), _) => {
                format!("{path} has no mount of its own; the one above it, {above}, will hold none of it")
            }
            (None, Some(within)) => {
                format!("{path} has no mount of its own; {within} covers only a part of it")
            }
            (None, None) => format!("{path} has no mount: it goes with the container"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(declared: &[&str], data: Option<&str>, lasting: &[&str]) -> Vec<String> {
        let all = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
        let subject = Subject {
            name: "db".to_owned(),
            declared: all(declared),
            data: data.map(str::to_owned),
            lasting: all(lasting),
            passing: Vec::new(),
        };
        subject.judged(&|_| false).0.into_iter().map(|(_, why)| why).collect()
    }

    #[test]
    fn both_layouts_and_both_mistakes() {
        let (old, old_data) = (["/var/lib/postgresql/data"], Some("/var/lib/postgresql/data"));
        let (new, new_data) = (["/var/lib/postgresql"], Some("/var/lib/postgresql/18/docker"));
        assert!(judged(&old, old_data, &["/var/lib/postgresql/data/"]).is_empty());
        assert!(judged(&new, new_data, &["/var/lib/postgresql"]).is_empty());
        let parent = judged(&old, old_data, &["/var/lib/postgresql"]);
        assert_eq!(
            parent,
            [
                "db: /var/lib/postgresql/data has no mount of its own; the one above it, /var/lib/postgresql, will hold none of it"
            ]
        );
        let part = judged(&new, new_data, &["/var/lib/postgresql/data"]);
        assert_eq!(
            part,
            [
                "db: /var/lib/postgresql has no mount of its own; /var/lib/postgresql/data covers only a part of it"
            ]
        );
        let elsewhere = judged(&old, Some("/srv/pg"), &["/var/lib/postgresql/data"]);
        assert_eq!(elsewhere, ["db: PGDATA /srv/pg has no mount: it goes with the container"]);
        assert!(judged(&[], Some("/srv/pg/15"), &["/srv/pg"]).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |params: Value| build(params.as_object().cloned().unwrap()).map(|_| ()).unwrap_err();
        assert!(refused(json!({})).contains("say one of"));
        assert!(refused(json!({ "container": "a", "image": "b" })).contains("say one of"));
        assert!(refused(json!({ "container": "a", "mounts": ["/b"] })).contains("belongs to `image`"));
        assert!(refused(json!({ "image": "a", "mounts": ["b"] })).contains("not a path"));
    }
}
