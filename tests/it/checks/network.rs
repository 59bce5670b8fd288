//! Routes and leases in network name spaces of their own, ports, names, certificates and web services for real.

mod device;
mod ports;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::{context, is, look, verdict};
use crate::harness::{Need, Port, Registry, Sandbox, eventually, finish, must};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    device::register(r);
    ports::register(r);
    verdict(r, "route_to", Pass, &[Need::Root], || routes(true));
    verdict(r, "route_to", Fail, &[Need::Root], || routes(false));
    verdict(r, "route_to", Unknown, &[Need::Root], || {
        vec![inside(NO_IP, json!({ "route_to": { "address": "10.7.0.2", "device": "d0" } }))]
    });
    verdict(r, "dhcp_lease", Pass, &[Need::Root], || leases(true));
    verdict(r, "dhcp_lease", Fail, &[Need::Root], || leases(false));
    verdict(r, "dhcp_lease", Unknown, &[Need::Root], || {
        vec![inside(NO_IP, json!({ "dhcp_lease": { "device": "d0" } }))]
    });
    verdict(r, "tcp_open", Pass, &[], || {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap().to_string();
        vec![
            ask("tcp_open", json!({ "address": address })),
            ask("tcp_open", json!({ "address": closed(), "open": false })),
        ]
    });
    verdict(r, "tcp_open", Fail, &[], || {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap().to_string();
        let refused = ask("tcp_open", json!({ "address": closed() }));
        is(&refused, Fail, "refuses");
        vec![refused, ask("tcp_open", json!({ "address": address, "open": "false" }))]
    });
    verdict(r, "tcp_open", Unknown, &[Need::Root], || {
        // Nobody answers behind a device that leads nowhere, and a closed door cannot be told from a wall.
        let wall = "ip link add d0 type veth peer name p0; ip link set p0 up; ip address add 10.7.0.1/24 dev d0; ip link set d0 up";
        let silent = |open: bool| {
            let check =
                json!({ "tcp_open": { "address": "10.7.0.2:5432", "open": open, "within": "300ms" } });
            inside(wall, check)
        };
        vec![
            silent(true),
            silent(false),
            ask("tcp_open", json!({ "address": "no.such.name.invalid:1" })),
            ask("tcp_open", json!({ "address": "nonsense" })),
        ]
    });
    verdict(r, "dns_resolves", Pass, &[], || {
        vec![
            ask("dns_resolves", json!({ "name": "localhost" })),
            ask("dns_resolves", json!({ "name": "127.0.0.1", "addresses": ["127.0.0.1"], "only": true })),
        ]
    });
    verdict(r, "dns_resolves", Fail, &[Need::Root], || {
        let moved = ask("dns_resolves", json!({ "name": "localhost", "addresses": ["192.0.2.10"] }));
        is(&moved, Fail, "localhost leads to");
        // Without any name server the files still know that there is no such name.
        let files = "mount --bind /dev/null /etc/resolv.conf; printf 'hosts: files\\n' >nss && mount --bind \"$PWD/nss\" /etc/nsswitch.conf";
        let unknown = inside(files, json!({ "dns_resolves": { "name": "db2.example.org" } }));
        is(&unknown, Fail, "no such name");
        vec![moved, unknown]
    });
    verdict(r, "dns_resolves", Unknown, &[Need::Root], || {
        // The name server is another host that is not there.
        let dead = "printf 'nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n' >resolv && mount --bind \"$PWD/resolv\" /etc/resolv.conf";
        vec![inside(dead, json!({ "dns_resolves": { "name": "db2.example.org" } }))]
    });
    verdict(r, "http_answers", Pass, &[], || {
        let web = Web::start();
        vec![
            ask("http_answers", json!({ "url": web.url("/ok"), "contains": "\"versions\"" })),
            ask(
                "http_answers",
                json!({ "url": web.url("/ok"), "json": { "/versions/0": "v1.1", "/n": "3" } }),
            ),
            ask("http_answers", json!({ "url": web.url("/gone"), "status": [404, "410"] })),
        ]
    });
    verdict(r, "http_answers", Fail, &[], || {
        let web = Web::start();
        let secret = ask("http_answers", json!({ "url": web.url("/gone?token=sesame") }));
        is(&secret, Fail, "status 404");
        assert!(!format!("{secret:?}").contains("sesame"), "{secret:#?}");
        let slow = ask("http_answers", json!({ "url": web.url("/slow"), "within": "300ms" }));
        is(&slow, Fail, "no answer within 300ms");
        vec![
            secret,
            slow,
            ask("http_answers", json!({ "url": web.url("/ok"), "contains": "unstable" })),
            ask("http_answers", json!({ "url": web.url("/ok"), "json": { "/versions/0": "v1.2" } })),
            ask("http_answers", json!({ "url": web.url("/moved") })),
            ask("http_answers", json!({ "url": format!("http://{}/", closed()) })),
        ]
    });
    verdict(r, "http_answers", Unknown, &[], || {
        let web = Web::start();
        let long = ask("http_answers", json!({ "url": web.url("/long"), "contains": "at the end" }));
        is(&long, Unknown, "longer than what is read");
        vec![
            long,
            ask("http_answers", json!({ "url": "http://no.such.name.invalid/" })),
            ask("http_answers", json!({ "url": web.url("/broken"), "contains": "x" })),
            ask("http_answers", json!({ "url": "gopher://localhost/" })),
        ]
    });
    verdict(r, "tls_certificate", Pass, &[], || {
        let tls = Tls::start("90");
        vec![tls.ask(json!({})), tls.ask(json!({ "left": "80d" }))]
    });
    verdict(r, "tls_certificate", Fail, &[], || {
        let tls = Tls::start("10");
        let soon = tls.ask(json!({}));
        is(&soon, Fail, "days more)");
        let other = tls.ask(json!({ "name": "other.example.org" }));
        is(&other, Fail, "clients refuse it");
        let web = Web::start();
        let plain = json!({ "address": web.address.clone(), "name": "localhost", "ca_file": tls.ca() });
        vec![
            soon,
            other,
            tls.ask(json!({ "ca_file": null })),
            ask("tls_certificate", plain),
            ask("tls_certificate", json!({ "address": closed(), "name": "localhost", "ca_file": tls.ca() })),
        ]
    });
    verdict(r, "tls_certificate", Unknown, &[], || {
        let tls = Tls::start("90");
        vec![
            ask("tls_certificate", json!({ "address": "no.such.name.invalid:443" })),
            tls.ask(json!({ "ca_file": "/nowhere/ca.pem" })),
        ]
    });
}

/// As where iproute2 is not installed.
const NO_IP: &str = "mount --bind /etc/hostname \"$(readlink -f \"$(command -v ip)\")\"";

fn ask(kind: &str, params: Value) -> Outcome {
    look(&context([]), kind, params)
}

/// An address where nothing listens.
fn closed() -> String {
    static CLOSED: LazyLock<Port> = LazyLock::new(Port::free);
    format!("127.0.0.1:{}", CLOSED.number())
}

/// Measures with the program in a network and mount name space of its own, after a few shell commands.
pub fn inside(before: &str, check: Value) -> Outcome {
    inside_of(&["--net", "--mount"], &format!("ip link set lo up; {before}"), "", check)
}

/// The same in name spaces of one's choice, the program started through another (`setpriv …`) when `by` says so.
pub fn inside_of(spaces: &[&str], before: &str, by: &str, check: Value) -> Outcome {
    let sandbox = Sandbox::new();
    let site = json!({ "holdpoint": 1, "name": "inside", "checks": [check] });
    sandbox.write("site.yaml", &site.to_string());
    // Through an open descriptor, since the way to the program may be closed to another user.
    let program = env!("CARGO_BIN_EXE_holdpoint");
    let script = format!(
        "chmod 755 .; {before}\nexec 7<{program}; exec {by} /proc/self/fd/7 check \"$PWD/site.yaml\" --json"
    );
    let mut command = Command::new("unshare");
    command.args(spaces).args(["--", "bash", "-euc", &script]).current_dir(sandbox.path());
    let ran = finish(&mut command, Duration::from_secs(60));
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    serde_json::from_value(answer["evidence"][0].clone()).unwrap()
}

/// As an ordinary user.
pub const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// May 2017: the specific route is lost, and the default one answers in its place.
fn routes(good: bool) -> Vec<Outcome> {
    let net = "ip link add d0 type veth peer name p0; ip link set p0 up; ip link add d1 type veth peer name p1; ip link set p1 up; ip address add 192.0.2.2/24 dev d0; \
               ip address add 10.7.0.1/24 dev d1; ip link set d0 up; ip link set d1 up; \
               ip route add default via 192.0.2.1; ";
    let via = "ip route add 10.9.0.0/16 via 10.7.0.9; ";
    let check = |params: Value| json!({ "route_to": params });
    let vpn = json!({ "address": "10.9.1.1", "device": "d1", "gateway": "10.7.0.9", "source": "10.7.0.1" });
    if good {
        let direct = json!({ "address": "10.7.0.2", "device": "d1", "gateway": "none" });
        return vec![inside(&format!("{net}{via}"), check(vpn)), inside(net, check(direct))];
    }
    let lost = inside(net, check(vpn.clone()));
    is(&lost, Verdict::Fail, "to 10.9.1.1 by d0, through 192.0.2.1");
    let none = inside("", check(vpn.clone()));
    is(&none, Verdict::Fail, "no route");
    let black = inside(&format!("{net}ip route add blackhole 10.9.0.0/16"), check(vpn));
    vec![lost, none, black]
}

fn leases(good: bool) -> Vec<Outcome> {
    let net = |addresses: &str| {
        format!("ip link add d0 type veth peer name p0; ip link set p0 up; ip link set d0 up; {addresses}")
    };
    let check = |device: &str| json!({ "dhcp_lease": { "device": device, "left": "1h" } });
    let leased = "ip address add 192.0.2.7/24 dev d0 valid_lft";
    if good {
        return vec![
            inside(&net("ip address add 192.0.2.2/24 dev d0"), check("d0")),
            inside(&net(&format!("{leased} 7200 preferred_lft 7200")), check("d0")),
        ];
    }
    let soon = inside(&net(&format!("{leased} 1800 preferred_lft 900")), check("d0"));
    is(&soon, Verdict::Fail, "192.0.2.7 is leased for");
    let none = inside(&net(""), check("d0"));
    is(&none, Verdict::Fail, "no address");
    let down = inside("ip link add d0 type veth peer name p0; ip link set p0 up", check("d0"));
    is(&down, Verdict::Fail, "d0 is down");
    vec![soon, none, down, inside("", check("eth7"))]
}

/// A web server with a few answers. Ends with the process; each request is answered by a thread of its own.
struct Web {
    address: String,
}

impl Web {
    fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        Web { address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn answer(mut stream: std::net::TcpStream) {
    let mut request = [0; 4096];
    let length = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split_whitespace().nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let say = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let text = match path {
        "/ok" => say("200 OK", "{\"versions\": [\"v1.1\"], \"n\": 3}"),
        "/slow" => {
            std::thread::sleep(Duration::from_secs(30));
            say("200 OK", "")
        }
        "/moved" => {
            "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
        "/long" => say("200 OK", &("x".repeat(2 << 20) + "at the end")),
        "/broken" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
        _ => say("404 Not Found", "no such page"),
    };
    let _ = stream.write_all(text.as_bytes());
}

/// A TLS server whose certificate for `localhost` ends after some days.
struct Tls {
    child: Child,
    dir: tempfile::TempDir,
    port: Port,
}

impl Tls {
    fn start(days: &str) -> Tls {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let openssl = |arguments: &[&str]| must(Command::new("openssl").args(arguments).stdin(Stdio::null()));
        let curve = "ec_paramgen_curve:P-256";
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            curve,
            "-nodes",
            "-days",
            "900",
            "-subj",
            "/CN=test ca",
            "-keyout",
            &at("ca.key"),
            "-out",
            &at("ca.pem"),
        ]);
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            curve,
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            &at("key"),
            "-out",
            &at("csr"),
        ]);
        std::fs::write(at("ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            &at("csr"),
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &at("ext"),
            "-out",
            &at("pem"),
        ]);
        let port = Port::free();
        let child = Command::new("openssl")
            .args([
                "s_server",
                "-quiet",
                "-accept",
                &format!("127.0.0.1:{}", port.number()),
                "-cert",
                &at("pem"),
                "-key",
                &at("key"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tls = Tls { child, dir, port };
        eventually(Duration::from_secs(10), "openssl listens", || {
            std::net::TcpStream::connect(("127.0.0.1", tls.port.number())).is_ok()
        });
        tls
    }

    fn ca(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }

    fn ask(&self, more: Value) -> Outcome {
        let address = format!("127.0.0.1:{}", self.port.number());
        let mut params = json!({ "address": address, "name": "localhost", "ca_file": self.ca() });
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        assert!(Path::new(&self.ca()).exists());
        ask("tls_certificate", params)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
