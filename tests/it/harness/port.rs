//! Ports for servers that stop and start again, and for addresses where nothing may answer.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A TCP port that is ours until this is dropped, also while nothing listens on it.
///
/// Below those that the kernel gives to connections on their way out, or one of them gets it while its server is down.
/// Against other test programs of this machine it is held by a name in the same network name space.
pub struct Port {
    number: u16,
    _held: UnixListener,
}

impl Port {
    /// The next one that is free.
    pub fn free() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = (std::process::id() % 22_000) as u16;
        (0..22_000)
            .map(|_| 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed) % 22_000) % 22_000)
            .find_map(Port::hold)
            .expect("no port is free")
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn hold(number: u16) -> Option<Port> {
        let name = SocketAddr::from_abstract_name(format!("holdpoint-test-port-{number}")).unwrap();
        let held = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind(("0.0.0.0", number)).ok()?;
        Some(Port { number, _held: held })
    }
}
