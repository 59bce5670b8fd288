//! Sockets of this network name space as /proc shows them, and the processes that hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// TCP's state "listen".
const LISTEN: &str = "0A";
/// A UDP socket that is connected to nobody.
const UNCONNECTED: &str = "07";

/// A socket at which something waits for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Its own address and port.
    pub at: SocketAddr,
    /// The user that made it.
    pub uid: u32,
    /// Its inode, by which a process that holds it is found.
    pub inode: u64,
}

/// The sockets in the text of `/proc/net/{tcp,tcp6,udp,udp6}` that wait for others. An error when a line cannot be
/// understood: what is in it might be the one that is looked for.
pub fn listeners(table: &str, tcp: bool) -> Result<Vec<Listener>, String> {
    let mut lines = table.lines();
    if !lines.next().is_some_and(|heading| heading.contains("local_address")) {
        return Err("the kernel's table of sockets has no heading".to_owned());
    }
    let mut found = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let wrong = || format!("the kernel's table of sockets has a line that cannot be read: {line}");
        // number, own address, other's address, state, queues, timer, retries, user, timeout, inode
        let [_, at, _, state, _, _, _, uid, _, inode, ..] = fields.as_slice() else { return Err(wrong()) };
        if *state != if tcp { LISTEN } else { UNCONNECTED } {
            continue;
        }
        let at = address(at).ok_or_else(wrong)?;
        let (uid, inode) = (uid.parse().map_err(|_| wrong())?, inode.parse().map_err(|_| wrong())?);
        found.push(Listener { at, uid, inode });
    }
    Ok(found)
}

/// `0100007F:1538`: words of 32 bits in the machine's own order of bytes, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |n: usize| {
        let digits = ip.get(n * 8..n * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (n, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(n)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The processes that hold these sockets. Those that we may not look into are left out.
pub async fn holders(inodes: BTreeSet<u64>) -> BTreeMap<u64, Vec<u32>> {
    tokio::task::spawn_blocking(move || holding(&inodes)).await.unwrap_or_default()
}

fn holding(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u32>> {
    let mut found: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        for fd in std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = std::fs::read_link(fd.path()) else { continue };
            if let Some(inode) = socket(&link).filter(|inode| inodes.contains(inode)) {
                let pids = found.entry(inode).or_default();
                if !pids.contains(&pid) {
                    pids.push(pid);
                }
            }
        }
    }
    found
}

/// `socket:[12345]`
fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn own_sockets_are_found_and_ours() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::TcpListener::bind(at) else { continue };
            let at = socket.local_addr().unwrap();
            let table = if at.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
            let all = listeners(&std::fs::read_to_string(table).unwrap(), true).unwrap();
            let ours = all.iter().find(|listener| listener.at == at).unwrap();
            assert_eq!(ours.uid, rustix::process::geteuid().as_raw());
            let held = holders(BTreeSet::from([ours.inode])).await;
            assert!(held[&ours.inode].contains(&std::process::id()), "{held:?}");
        }
    }

    #[test]
    fn other_states_are_left_out_and_nonsense_is_an_error() {
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |at: &str, state: &str| {
            format!(
                "   0: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000   104        0 22 1 0 100 0\n"
            )
        };
        let table = format!("{heading}{}{}", line("00000000:1538", "0A"), line("00000000:1539", "01"));
        let found = listeners(&table, true).unwrap();
        assert_eq!((found.len(), found[0].at.to_string(), found[0].uid), (1, "0.0.0.0:5432".to_owned(), 104));
        assert_eq!(
            listeners(&format!("{heading}{}", line("00000000:0035", "07")), false).unwrap()[0].at.port(),
            53
        );
        for wrong in [String::new(), format!("{heading}  0: x\n"), format!("{heading}{}", line("zz:1", "0A"))]
        {
            assert!(listeners(&wrong, true).is_err(), "{wrong}");
        }
    }
}
