//! Is an address of this machine served by one of these sockets? One for all addresses serves each of its family; one for
//! all of IPv6 serves IPv4 too, unless its program said otherwise, which only `ss` tells.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::check::Context;
use crate::world::process::Probe;
use crate::world::sockets::Listener;

/// Whether `wanted` is served. An error says why it cannot be told.
pub(super) async fn serves(
    found: &[Listener],
    wanted: IpAddr,
    tcp: bool,
    cx: &Context,
) -> Result<bool, String> {
    let direct = found.iter().any(|one| {
        let at = one.at.ip();
        // ::ffff:10.0.0.5 is 10.0.0.5.
        at.to_canonical() == wanted.to_canonical()
            || (at.is_unspecified() && at.is_ipv4() == wanted.is_ipv4())
            || (at.to_canonical().is_unspecified() && at.to_canonical().is_ipv4() && wanted.is_ipv4())
    });
    let for_all = found.iter().find(|one| one.at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    match for_all {
        _ if direct => Ok(true),
        Some(one) if wanted.is_ipv4() => both(one.at.port(), tcp, cx).await,
        _ => Ok(false),
    }
}

/// Whether a socket for all IPv6 addresses on this port serves IPv4.
async fn both(port: u16, tcp: bool, cx: &Context) -> Result<bool, String> {
    let kind = if tcp { "--tcp" } else { "--udp" };
    let argv = ["ss", "--no-header", "--listening", "--numeric", "--extended", "--ipv6", kind];
    let probe = Probe {
        argv: argv.map(str::to_owned).to_vec(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: Duration::from_secs(10),
        keep: 4 << 20,
    };
    let unsure = |why: String| format!("whether [::]:{port} serves IPv4, too, cannot be told: {why}");
    let done = cx.world.processes.probe(&probe).await.map_err(unsure)?;
    if done.status != Some(0) || done.truncated {
        return Err(unsure(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
    }
    only_v6(&String::from_utf8_lossy(&done.stdout), port)
        .map(|only| !only)
        .ok_or_else(|| unsure("`ss` does not say".to_owned()))
}

/// What `ss` says of the socket for all addresses on a port: `v6only:1`, or `v6only:0`. It shows one that serves both
/// families as `*:PORT`.
fn only_v6(said: &str, port: u16) -> Option<bool> {
    let lines = said.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let at = *fields.get(3)?;
        (at == format!("[::]:{port}") || at == format!("*:{port}")).then_some(fields)
    });
    let mut answers = lines.filter_map(|fields| {
        fields.iter().find_map(|field| field.strip_prefix("v6only:")).map(|value| value == "1")
    });
    let first = answers.next()?;
    // Of several (SO_REUSEPORT), one that serves both is enough.
    Some(answers.fold(first, |all, one| all && one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ss_says() {
        let said = "LISTEN 0 128 [::]:5999 [::]:* ino:229998 sk:1 cgroup:/ v6only:1 <->\n\
                    LISTEN 0 128 *:5432 *:* ino:5 sk:2 cgroup:/ v6only:0 <->\n\
                    LISTEN 0 128 [::1]:6000 [::]:* ino:6 sk:3 v6only:0 <->\n";
        assert_eq!(only_v6(said, 5999), Some(true));
        assert_eq!(only_v6(said, 5432), Some(false));
        assert_eq!(only_v6(said, 6000), None);
    }
}
