//! Which machine this is, and which boot of it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The machine's id, from /etc/machine-id; survives reboots, and is not shared by machines unless an image was cloned
/// carelessly. Without that file `hostname:` and the host's name.
pub fn machine_id() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        .unwrap_or_else(|| format!("hostname:{}", hostname()))
}

/// The id of this boot: another one means that the machine was restarted. Empty when the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], String> {
    use std::io::Read as _;
    let mut bytes = [0; N];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|e| format!("the kernel gave no random numbers: {e}"))
}

/// The host's name as the kernel has it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the machine is, for whoever reads the log later: operating system, kernel, memory, processors. A fact that the
/// system does not tell is left out.
pub fn facts() -> std::collections::BTreeMap<String, String> {
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let memory = System::new_with_specifics(memory).ok().map(|system| system.total_memory());
    let processors = std::thread::available_parallelism().ok().map(|n| n.to_string());
    let facts = [
        ("system", System::long_os_version().ok()),
        ("kernel", System::kernel_version().ok()),
        ("memory", memory.map(|bytes| crate::base::Size(bytes).to_string())),
        ("processors", processors),
    ];
    facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?))).collect()
}

/// True when `address` is one of this machine's own, loopback included: only those can be bound.
pub fn is_own_address(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_machine_and_boot() {
        assert!(facts().contains_key("kernel"), "{:?}", facts());
        assert!(!machine_id().is_empty());
        assert_eq!(boot_id().len(), 36, "{}", boot_id());
        assert!(!hostname().is_empty());
    }

    #[test]
    fn knows_its_own_addresses() {
        assert!(is_own_address(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_own_address(IpAddr::from([192, 0, 2, 1])), "a documentation address");
    }
}
