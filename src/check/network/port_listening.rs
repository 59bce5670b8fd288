//! What listens on a port of this machine, on which addresses, and whose is it?

mod serves;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::findings::Findings;
use crate::check::host::names::{self, Entry};
use crate::check::host::proc;
use crate::check::params::{Count, Flag};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::sockets::{self, Listener};

/// The largest table of sockets that is read.
const LARGEST: u64 = 256 << 20;

/// What listens on a port of this machine?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortListening {
    /// The port.
    port: Count,
    /// `tcp` (the default) or `udp`.
    #[serde(default)]
    protocol: Option<Protocol>,
    /// `true` (the default): something must listen. `false`: nothing may, on any address.
    #[serde(default)]
    listening: Option<Flag>,
    /// Addresses of this machine at which it must be reached: `10.0.0.5`, `127.0.0.1`. A socket for all addresses serves
    /// them, too.
    #[serde(default)]
    addresses: Vec<String>,
    /// True when it may listen on loopback addresses only.
    #[serde(default)]
    only_loopback: Option<Flag>,
    /// The program that must hold it: the exact name of its executable, without the path. Needs root.
    #[serde(default)]
    process: Option<String>,
    /// The user that must have opened it, by name or number.
    #[serde(default)]
    user: Option<String>,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    /// TCP: sockets that accept connections.
    Tcp,
    /// UDP: sockets that are connected to nobody.
    Udp,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "port_listening",
    summary: "a port of this machine is listened on where it should be, by whom it should be, or not at all",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(PortListening),
    build,
};

const DOCS: &str = r"
Shows what listens on a port of this machine: on which addresses, of which user and program; or with `listening: false` that
nothing does.

**How it is measured.** The kernel's tables of sockets, IPv4 and IPv6 (`/proc/self/net/tcp`, `tcp6`, `udp`, `udp6`). Nothing is sent.
The program is the one that has the socket open. A socket for all IPv6 addresses may serve IPv4, too: where that matters, `ss` is
asked.

**Passes** when something listens and everything that is given holds for every socket on this port. With `listening: false`, when
neither table has one.

**Fails** when nothing listens, an address that is wanted is not served, it listens on more than loopback addresses with
`only_loopback`, or another user or program has it. With `listening: false`, when something listens.

**Unknown** when a table cannot be read, the holder of a socket cannot be seen (only root sees the programs of others), or it
cannot be told whether a socket for IPv6 serves IPv4.

**Traps.** Open on `0.0.0.0` where it should be loopback: without `only_loopback` that passes. What listens need not be reached
through a packet filter, and what Docker publishes may be forwarded without a socket: use `tcp_open` from the other side. The tables are
those of the network name space in which Holdpoint runs; a container has others.

```yaml
postconditions:
  - port_listening: { port: 5432, only_loopback: true, process: postgres, user: postgres }
preconditions:
  - port_listening: { id: app-closed, port: 8008, listening: false }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: PortListening = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.port.0 == 0 || check.port.0 > u64::from(u16::MAX) {
        return Err("`port` is 1 to 65535".to_owned());
    }
    for address in check.addresses.iter().filter(|address| !address.contains("${")) {
        match address.parse::<IpAddr>() {
            Err(_) => return Err(format!("`{address}` is no IP address")),
            Ok(ip) if check.loopback() && !ip.is_loopback() => {
                return Err(format!("`only_loopback` cannot stand with the address {ip}"));
            }
            Ok(_) => {}
        }
    }
    let more = !check.addresses.is_empty()
        || check.only_loopback.is_some()
        || check.process.is_some()
        || check.user.is_some();
    if !check.wanted() && more {
        return Err("`listening: false` stands alone with `port` and `protocol`".to_owned());
    }
    if check.process.as_ref().is_some_and(|name| name.contains('/') || name.is_empty()) {
        return Err("`process` is a name without its path".to_owned());
    }
    Ok(Box::new(check))
}

impl PortListening {
    fn wanted(&self) -> bool {
        self.listening.is_none_or(|flag| flag.0)
    }

    fn loopback(&self) -> bool {
        self.only_loopback.is_some_and(|flag| flag.0)
    }

    fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::Tcp)
    }

    fn name(&self) -> String {
        format!("{} port {}", self.protocol().word(), self.port.0)
    }

    fn expected(&self) -> String {
        if !self.wanted() {
            return format!("nothing listens on {}", self.name());
        }
        let mut parts = vec![format!("{} listened on", self.name())];
        parts.extend((!self.addresses.is_empty()).then(|| format!("at {}", self.addresses.join(", "))));
        parts.extend(self.loopback().then(|| "on loopback only".to_owned()));
        parts.extend(self.process.as_ref().map(|process| format!("by {process}")));
        parts.extend(self.user.as_ref().map(|user| format!("as {user}")));
        parts.join(", ")
    }

    /// Every socket that waits on this port.
    async fn sockets(&self, cx: &Context) -> Result<Vec<Listener>, String> {
        let mut found = Vec::new();
        for version in ["", "6"] {
            let path = format!("/proc/self/net/{}{version}", self.protocol().word());
            let path = Path::new(&path);
            // The kernel has no table for IPv6 where it does not know IPv6.
            if version == "6" && cx.world.files.stat(path).await?.is_none() {
                continue;
            }
            let table = cx.world.files.read(path, LARGEST).await?;
            let all = sockets::listeners(&String::from_utf8_lossy(&table), self.protocol() == Protocol::Tcp)?;
            found.extend(all.into_iter().filter(|one| u64::from(one.at.port()) == self.port.0));
        }
        Ok(found)
    }

    async fn of_user(&self, user: &str, found: &[Listener], findings: &mut Findings, cx: &Context) {
        let uid = match user.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Some(user.to_owned())),
            false => match names::look_up("passwd", user, cx).await {
                Ok(Entry::Found(fields)) => Ok(fields.get(2).cloned()),
                Ok(Entry::Absent(why) | Entry::Unsure(why)) | Err(why) => Err(why),
            },
        };
        match uid {
            Err(why) => findings.unknown(why, format!("see what `getent passwd {user}` says")),
            Ok(uid) => {
                for one in found.iter().filter(|one| Some(one.uid.to_string()) != uid) {
                    findings.fail(
                        format!("{} is of user {}, not {user}", one.at, one.uid),
                        "find out what it is (`ss --listening --processes`) before it is stopped",
                    );
                }
            }
        }
    }

    async fn of_process(
        &self,
        name: &str,
        found: &[Listener],
        held: &BTreeMap<u64, Vec<u32>>,
        cx: &Context,
    ) -> Findings {
        let mut findings = Findings::default();
        for one in found {
            let (mut right, mut others, mut unseen) = (false, Vec::new(), false);
            for pid in held.get(&one.inode).into_iter().flatten() {
                match proc::by_pid(*pid, cx).await {
                    Ok(Some(process)) => match proc::called(&process, name, cx).await {
                        Some(true) => right = true,
                        Some(false) => others.push(format!("{} (process {pid})", process.name)),
                        None => unseen = true,
                    },
                    _ => unseen = true,
                }
            }
            if right {
                continue;
            }
            match others.first() {
                Some(other) if !unseen => findings.fail(
                    format!("{} is held by {other}, not {name}", one.at),
                    "find out who started it before it is stopped",
                ),
                _ => findings.unknown(
                    format!("who holds {} cannot be seen", one.at),
                    "look as root, on the machine itself",
                ),
            }
        }
        findings
    }

    async fn judge(&self, cx: &Context) -> Result<Outcome, String> {
        let expected = self.expected();
        let found = self.sockets(cx).await?;
        let held = sockets::holders(found.iter().map(|one| one.inode).collect()).await;
        let mut said = BTreeSet::new();
        for one in &found {
            let pid = held.get(&one.inode).and_then(|pids| pids.iter().min());
            let process = match pid {
                Some(pid) => proc::by_pid(*pid, cx).await.ok().flatten(),
                None => None,
            };
            let by = process.map(|process| format!(" by {} (process {})", process.name, process.pid));
            said.insert(format!("{}{}", one.at, by.unwrap_or_default()));
        }
        let said: Vec<String> = said.into_iter().collect();
        let observed =
            if said.is_empty() { format!("nothing listens on {}", self.name()) } else { said.join(", ") };
        if !self.wanted() || found.is_empty() {
            let help = match self.wanted() {
                true => "start what should listen there, or look at its configuration",
                false => "stop what listens there, and see that nothing starts it again",
            };
            return Ok(Outcome::judge(found.is_empty() != self.wanted(), observed, expected).help(help));
        }
        let mut findings = match &self.process {
            Some(name) => self.of_process(name, &found, &held, cx).await,
            None => Findings::default(),
        };
        if self.loopback() {
            for one in found.iter().filter(|one| !one.at.ip().to_canonical().is_loopback()) {
                findings.fail(
                    format!("it also listens on {}", one.at),
                    "correct the addresses that it listens on (PostgreSQL: `listen_addresses`), and restart it",
                );
            }
        }
        for address in &self.addresses {
            let wanted: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
            match serves::serves(&found, wanted, self.protocol() == Protocol::Tcp, cx).await {
                Ok(true) => {}
                Ok(false) => findings.fail(
                    format!("nothing listens on {} at {wanted}", self.name()),
                    "correct the addresses that it listens on, and restart it",
                ),
                Err(why) => findings.unknown(why, "see what `ss --listening --extended` says of `v6only`"),
            }
        }
        if let Some(user) = &self.user {
            self.of_user(user, &found, &mut findings, cx).await;
        }
        if !findings.clean() {
            findings.note(observed.clone());
        }
        Ok(findings.outcome(observed, expected).fact("sockets", found.len() as u64))
    }
}

#[async_trait]
impl Check for PortListening {
    async fn measure(&self, cx: &Context) -> Outcome {
        self.judge(cx).await.unwrap_or_else(|why| {
            Outcome::unknown(why, self.expected()).help("see what `ss --listening --numeric` says")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contradictions_are_found_before_measuring() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "port": 0 })).contains("65535"));
        assert!(refused(json!({ "port": "65536" })).contains("65535"));
        assert!(refused(json!({ "port": 1, "addresses": ["localhost"] })).contains("no IP address"));
        let both = json!({ "port": 1, "addresses": ["10.0.0.1"], "only_loopback": true });
        assert!(refused(both).contains("cannot stand"));
        assert!(refused(json!({ "port": 1, "listening": false, "user": "x" })).contains("alone"));
        assert!(refused(json!({ "port": 1, "process": "/usr/bin/x" })).contains("path"));
        assert_eq!(refused(json!({ "port": "5432", "listening": "false", "protocol": "udp" })), "");
    }
}
