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

/// The host's name as the kernel has it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
