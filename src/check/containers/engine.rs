//! How a check asks a container engine: its own command line program, JSON only, never a change. What was not answered
//! is kept apart by its reason: no program, nobody there, no right, no such thing, too slow.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::shape::{Container, Image, Volume};
use crate::base::Span;
use crate::base::text::neutral;
use crate::check::{Context, Outcome};
use crate::world::process::{PATH, Probe};

/// The longest that one question may take; the check's own `timeout` may be shorter.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are kept: eleven thousand published ports make about one and a half million.
const KEEP: usize = 64 << 20;
/// Names given to one call.
const BATCH: usize = 200;

/// A container engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    /// Each whose program is installed.
    #[default]
    Auto,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// An engine's program, and the address it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// `docker` or `podman`.
    pub(super) program: &'static str,
    host: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The program is not installed.
    Absent(String),
    /// Nobody answers there.
    Down(String),
    /// We may not ask.
    Denied(String),
    /// There is no container, image or volume of this name.
    Missing(String),
    /// It did not answer in time.
    Slow(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Absent(why)
            | Trouble::Down(why)
            | Trouble::Denied(why)
            | Trouble::Missing(why)
            | Trouble::Slow(why)
            | Trouble::Other(why) => f.write_str(why),
        }
    }
}

impl Trouble {
    /// The safe next thing to do.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Trouble::Absent(_) => "install the engine's program here, or run this where the containers are",
            Trouble::Down(_) => "find out why the engine does not run (its log says), then measure again",
            Trouble::Denied(_) => "measure as a user who may talk to the engine (often: root)",
            Trouble::Missing(_) => "correct the name: `docker ps -a` or `podman ps -a` shows all of them",
            Trouble::Slow(_) => {
                "wait until the engine is quiet (its log says what it does), then measure again"
            }
            Trouble::Other(_) => "run the same question by hand and read what the engine says",
        }
    }

    /// As evidence: not measured.
    pub(super) fn unknown(&self, expected: &str) -> Outcome {
        Outcome::unknown(self.to_string(), expected).help(self.help())
    }
}

/// An address belongs to one kind of engine.
pub(super) fn valid(engine: Engine, host: Option<&str>) -> Result<(), String> {
    match host {
        Some("") => Err("`host` is empty; leave it out for the engine's own address".to_owned()),
        Some(_) if engine == Engine::Auto => {
            Err("`host` is the address of one engine: say which, `engine: docker` or `engine: podman`"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// The engines to ask: the one that is named, or each whose program is installed.
pub(super) async fn clients(
    cx: &Context,
    engine: Engine,
    host: Option<&str>,
) -> Result<Vec<Client>, Trouble> {
    let wanted: &[&'static str] = match engine {
        Engine::Auto => &["docker", "podman"],
        Engine::Docker => &["docker"],
        Engine::Podman => &["podman"],
    };
    let mut found = Vec::new();
    for program in wanted {
        if installed(cx, program).await {
            found.push(Client { program, host: host.map(str::to_owned) });
        }
    }
    match found.is_empty() {
        true => Err(Trouble::Absent(format!("no program is called {} in {PATH}", wanted.join(" or ")))),
        false => Ok(found),
    }
}

/// Is a program in PATH?
pub(super) async fn installed(cx: &Context, program: &str) -> bool {
    for dir in PATH.split(':') {
        if let Ok(Some(stat)) = cx.world.files.stat(&Path::new(dir).join(program)).await
            && stat.kind == "file"
            && stat.mode & 0o111 != 0
        {
            return true;
        }
    }
    false
}

impl Client {
    /// Asks, and gives standard output of a success.
    pub(super) async fn ask(
        &self,
        cx: &Context,
        question: &[&str],
        limit: Duration,
    ) -> Result<Vec<u8>, Trouble> {
        let mut argv = vec![self.program.to_owned()];
        if let Some(host) = &self.host {
            argv.push(if self.program == "podman" { "--url".to_owned() } else { "--host".to_owned() });
            argv.push(host.clone());
        }
        argv.extend(question.iter().map(|&word| word.to_owned()));
        run(cx, argv, limit).await
    }

    /// Asks for JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        cx: &Context,
        question: &[&str],
        limit: Duration,
    ) -> Result<T, Trouble> {
        read(self.program, &self.ask(cx, question, limit).await?)
    }

    /// One container, by name or id.
    pub(super) async fn container(&self, cx: &Context, name: &str) -> Result<Container, Trouble> {
        self.one(cx, &["container", "inspect", "--", name], "container", name).await
    }

    /// One image.
    pub(super) async fn image(&self, cx: &Context, name: &str) -> Result<Image, Trouble> {
        self.one(cx, &["image", "inspect", "--", name], "image", name).await
    }

    /// One volume.
    pub(super) async fn volume(&self, cx: &Context, name: &str) -> Result<Volume, Trouble> {
        self.one(cx, &["volume", "inspect", "--", name], "volume", name).await
    }

    async fn one<T: DeserializeOwned>(
        &self,
        cx: &Context,
        question: &[&str],
        what: &str,
        name: &str,
    ) -> Result<T, Trouble> {
        let mut all: Vec<T> = self.json(cx, question, PATIENCE).await?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => Err(Trouble::Missing(format!("{}: no {what} is called `{name}`", self.program))),
            _ => Err(Trouble::Other(format!("{}: several answer to `{name}`", self.program))),
        }
    }

    /// All of these, as `inspect` shows them.
    pub(super) async fn inspect<T: DeserializeOwned>(
        &self,
        cx: &Context,
        what: &str,
        names: &[String],
    ) -> Result<Vec<T>, Trouble> {
        let mut all = Vec::with_capacity(names.len());
        for batch in names.chunks(BATCH) {
            let mut question = vec![what, "inspect", "--"];
            question.extend(batch.iter().map(String::as_str));
            let some: Vec<T> = self.json(cx, &question, PATIENCE).await?;
            if some.len() != batch.len() {
                return Err(Trouble::Other(format!(
                    "{} told of {} of {} {what}s",
                    self.program,
                    some.len(),
                    batch.len()
                )));
            }
            all.extend(some);
        }
        Ok(all)
    }

    /// The words of an answer: names or ids, one a line.
    pub(super) async fn names(
        &self,
        cx: &Context,
        question: &[&str],
        limit: Duration,
    ) -> Result<Vec<String>, Trouble> {
        let answer = self.ask(cx, question, limit).await?;
        let text = String::from_utf8_lossy(&answer);
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Where the engine listens, when it is not this machine: `ssh://…`, `tcp://…`.
    pub(super) async fn elsewhere(&self, cx: &Context) -> Result<Option<String>, Trouble> {
        let address = match (self.program, &self.host) {
            (_, Some(host)) => host.clone(),
            ("podman", None) => {
                let remote =
                    self.names(cx, &["info", "--format", "{{.Host.ServiceIsRemote}}"], PATIENCE).await?;
                return Ok((remote != ["false"]).then(|| "another machine or a virtual one".to_owned()));
            }
            _ => {
                let format = "{{.Endpoints.docker.Host}}";
                self.names(cx, &["context", "inspect", "--format", format], PATIENCE).await?.concat()
            }
        };
        Ok((!address.starts_with("unix://")).then_some(address))
    }
}

/// Runs a program for its output.
pub(super) async fn run(cx: &Context, argv: Vec<String>, limit: Duration) -> Result<Vec<u8>, Trouble> {
    let program = argv.first().cloned().unwrap_or_default();
    let probe = Probe { argv, env: Default::default(), cwd: None, user: None, timeout: limit, keep: KEEP };
    let seen = cx.world.processes.probe(&probe).await.map_err(Trouble::Absent)?;
    if seen.timed_out {
        return Err(Trouble::Slow(format!("{program} did not answer within {}", Span(limit))));
    }
    if seen.truncated {
        return Err(Trouble::Other(format!("{program} printed more than can be read here")));
    }
    if seen.status == Some(0) {
        return Ok(seen.stdout);
    }
    let said = complaint(&String::from_utf8_lossy(&seen.stderr));
    let said = match (said.is_empty(), seen.status) {
        (false, _) => said,
        (true, Some(status)) => format!("exit status {status}"),
        (true, None) => "ended by a signal".to_owned(),
    };
    Err(sorted(&program, &said))
}

/// JSON of an answer.
pub(super) fn read<T: DeserializeOwned>(program: &str, answer: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(answer)
        .map_err(|why| Trouble::Other(format!("{program}'s answer is not what was expected: {why}")))
}

/// What a program complains about, on one short line; its warnings left out.
pub(super) fn complaint(stderr: &str) -> String {
    let noise = |line: &str| line.is_empty() || line.starts_with("WARNING") || line.contains("level=warning");
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !noise(line)).collect();
    neutral(&lines[..lines.len().min(2)].join("; ")).chars().take(300).collect()
}

/// What kind of trouble a complaint tells of.
pub(super) fn sorted(program: &str, said: &str) -> Trouble {
    let low = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| low.contains(word));
    let text = format!("{program}: {said}");
    match () {
        () if has(&["permission denied"]) => Trouble::Denied(text),
        () if has(&[
            "no such container",
            "no such image",
            "no such volume",
            "no such object",
            "image not known",
        ]) =>
        {
            Trouble::Missing(text)
        }
        () if has(&[
            "cannot connect to",
            "is the docker daemon running",
            "connection refused",
            "unable to connect",
        ]) =>
        {
            Trouble::Down(text)
        }
        () => Trouble::Other(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_sorted_as_the_engines_word_them() {
        let said = |text: &str| sorted("docker", &complaint(text));
        let down = include_str!("../../../tests/fixtures/containers/docker-20/down-ls.err");
        assert!(matches!(said(down), Trouble::Down(_)));
        for denied in [
            include_str!("../../../tests/fixtures/containers/docker-26/denied.err"),
            include_str!("../../../tests/fixtures/containers/docker-28/denied.err"),
        ] {
            assert!(matches!(said(denied), Trouble::Denied(_)), "{denied}");
        }
        for missing in [
            include_str!("../../../tests/fixtures/containers/docker-20/missing.err"),
            include_str!("../../../tests/fixtures/containers/docker-28/missing.err"),
            include_str!("../../../tests/fixtures/containers/docker-28/missing-image.err"),
            include_str!("../../../tests/fixtures/containers/podman-4.3/missing.err"),
            include_str!("../../../tests/fixtures/containers/podman-4.3/missing-image.err"),
            include_str!("../../../tests/fixtures/containers/podman-5.8/missing.err"),
        ] {
            assert!(matches!(said(missing), Trouble::Missing(_)), "{missing}");
        }
        assert_eq!(
            said("time=\"x\" level=warning msg=\"old cgroups\"\n"),
            Trouble::Other("docker: ".to_owned())
        );
    }

    #[test]
    fn an_address_needs_its_engine() {
        assert!(
            valid(Engine::Auto, None).is_ok() && valid(Engine::Docker, Some("unix:///run/d.sock")).is_ok()
        );
        assert!(
            valid(Engine::Auto, Some("unix:///run/d.sock")).is_err()
                && valid(Engine::Docker, Some("")).is_err()
        );
    }
}
