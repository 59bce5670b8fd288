//! Real sockets: on loopback, on all addresses, for both families, UDP, and those whose holder cannot be seen.

use std::net::{TcpListener, UdpSocket};

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{is, verdict};
use super::{AS_NOBODY, ask, inside_of};
use crate::harness::{Need, Port, Registry};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "port_listening", Pass, &[], || {
        let (loopback, all, both) = (tcp("127.0.0.1:0"), tcp("0.0.0.0:0"), tcp("[::]:0"));
        let (udp, quiet) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Port::free());
        let uid = rustix::process::geteuid().as_raw().to_string();
        let whole =
            json!({ "only_loopback": true, "addresses": ["127.0.0.1"], "process": program(), "user": uid });
        let seen = port(&loopback, whole);
        is(&seen, Pass, &format!("127.0.0.1:{} by ", number(&loopback)));
        vec![
            seen,
            port(&all, json!({ "addresses": ["127.0.0.1", "10.9.9.9"] })),
            // One socket for both families.
            port(&both, json!({ "addresses": ["127.0.0.1", "::1"] })),
            ask("port_listening", json!({ "port": udp.local_addr().unwrap().port(), "protocol": "udp" })),
            ask("port_listening", json!({ "port": quiet.number(), "listening": false })),
        ]
    });
    verdict(r, "port_listening", Fail, &[], || {
        let (loopback, all, both) = (tcp("127.0.0.1:0"), tcp("0.0.0.0:0"), tcp("[::]:0"));
        let quiet = Port::free();
        let nothing = ask("port_listening", json!({ "port": quiet.number() }));
        is(&nothing, Fail, "nothing listens on tcp port");
        let open = port(&all, json!({ "only_loopback": true }));
        is(&open, Fail, "it also listens on 0.0.0.0:");
        let six = port(&both, json!({ "only_loopback": true }));
        is(&six, Fail, "it also listens on [::]:");
        let elsewhere = port(&loopback, json!({ "addresses": ["10.9.9.9"] }));
        is(&elsewhere, Fail, "at 10.9.9.9");
        let other = port(&loopback, json!({ "process": "postgres" }));
        is(&other, Fail, ", not postgres");
        let user = port(&loopback, json!({ "user": "4711" }));
        is(&user, Fail, ", not 4711");
        // TCP only.
        let udp = port(&loopback, json!({ "protocol": "udp" }));
        vec![
            nothing,
            open,
            six,
            elsewhere,
            other,
            user,
            udp,
            port(&all, json!({ "listening": false })),
            // A socket for IPv6 only counts, too.
            port(&both, json!({ "listening": "false" })),
        ]
    });
    verdict(r, "port_listening", Unknown, &[Need::Root], || {
        let both = tcp("[::]:0");
        let check = |more: Value| json!({ "port_listening": params(number(&both), more) });
        let no_ss = "mount --bind /etc/hostname \"$(readlink -f \"$(command -v ss)\")\"";
        let four = inside_of(&["--mount"], no_ss, "", check(json!({ "addresses": ["127.0.0.1"] })));
        is(&four, Unknown, "serves IPv4, too, cannot be told");
        let hidden = inside_of(&["--mount"], "true", AS_NOBODY, check(json!({ "process": program() })));
        is(&hidden, Unknown, "cannot be seen");
        let nobody = port(&both, json!({ "user": "no-user-of-this-name" }));
        vec![four, hidden, nobody]
    });
}

fn tcp(at: &str) -> TcpListener {
    TcpListener::bind(at).unwrap()
}

fn number(socket: &TcpListener) -> u16 {
    socket.local_addr().unwrap().port()
}

/// The file name of this very program.
fn program() -> String {
    std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

fn params(port: u16, mut more: Value) -> Value {
    more["port"] = json!(port);
    more
}

fn port(socket: &TcpListener, more: Value) -> Outcome {
    ask("port_listening", params(number(socket), more))
}
