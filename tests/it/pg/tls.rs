//! TLS against a server with a certificate from a certificate authority of our own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdpoint::world::pg::{self, ConnectError, Options, Session};

use super::target;
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, block_on, must};

pub fn register(r: &mut Registry) {
    r.add("pg::tls_verifies_what_sslmode_says", &[Need::Pg15], verifies);
}

/// A certificate authority with a server's certificate for `localhost` and a client's for `app`.
fn authority(sandbox: &Sandbox, name: &str) {
    sandbox.write("server.ext", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
    sandbox.write("client.ext", "basicConstraints=CA:FALSE\n");
    let openssl =
        |line: &str| must(Command::new("openssl").args(line.split(' ')).current_dir(sandbox.path()));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"));
    for (who, subject) in [("server", "localhost"), ("client", "app")] {
        openssl(&format!("req {key} -keyout {name}-{who}.key -out {who}.csr -subj /CN={subject}"));
        openssl(&format!(
            "x509 -req -in {who}.csr -CA {name}.crt -CAkey {name}.key -CAcreateserial -days 2 -extfile {who}.ext \
             -out {name}-{who}.crt"
        ));
    }
}

fn install(sandbox: &Sandbox, cluster: &Cluster, file: &str, to: &str, mode: &str) {
    let to = cluster.data().join(to);
    std::fs::copy(sandbox.join(file), &to).unwrap();
    must(Command::new("chown").arg("--reference").arg(cluster.data()).arg(&to));
    must(Command::new("chmod").arg(mode).arg(&to));
}

fn open(at: &str) -> Result<Session, ConnectError> {
    block_on(pg::connect(&target(at), &Options::default()))
}

fn tls(at: &str) -> bool {
    block_on(async {
        let session = pg::connect(&target(at), &Options::default()).await.unwrap();
        let seen = session.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()").await.unwrap();
        seen.as_deref() == Some("t")
    })
}

fn verifies() {
    let sandbox = Sandbox::new();
    authority(&sandbox, "good");
    authority(&sandbox, "other");
    let cluster = Cluster::create(Major::V15, "ssl = on\nssl_ca_file = 'ca.crt'");
    install(&sandbox, &cluster, "good-server.crt", "server.crt", "0644");
    install(&sandbox, &cluster, "good-server.key", "server.key", "0600");
    install(&sandbox, &cluster, "good.crt", "ca.crt", "0644");
    cluster.restart();
    cluster.psql("create role app login superuser");

    let file = |name: &str| sandbox.join(name).display().to_string();
    let at = |host: &str, more: &str| {
        let port = cluster.port();
        format!("host={host} hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres {more}")
    };
    let good = format!("sslrootcert={}", file("good.crt"));
    let other = format!("sslrootcert={}", file("other.crt"));

    assert!(tls(&at("localhost", &format!("sslmode=verify-full {good}"))));
    assert!(tls(&at("wrong.example", &format!("sslmode=verify-ca {good}"))));
    assert!(
        tls(&at("wrong.example", &format!("sslmode=require {good}"))),
        "require with a root is verify-ca"
    );
    assert!(tls(&at("wrong.example", "sslmode=require")), "require alone encrypts");
    assert!(tls(&at("localhost", "")), "prefer takes what there is");
    assert!(!tls(&at("localhost", "sslmode=disable")) && !tls(&at("localhost", "sslmode=allow")));
    for (host, more) in [
        ("wrong.example", format!("sslmode=verify-full {good}")),
        ("127.0.0.1", format!("sslmode=verify-full {good}")),
        ("localhost", format!("sslmode=verify-full {other}")),
        ("localhost", format!("sslmode=verify-ca {other}")),
        ("localhost", format!("sslmode=require {other}")),
        ("localhost", format!("sslmode=verify-full sslrootcert={}", file("server.ext"))),
        ("localhost", format!("sslmode=verify-full {good} ssl_max_protocol_version=TLSv1.1")),
    ] {
        let error = open(&at(host, &more)).unwrap_err();
        assert!(
            error.message.to_lowercase().contains("certificate") || error.message.contains("TLS"),
            "{more}: {error}"
        );
    }

    // Client certificates, and a dropped query over TLS.
    cluster.hba("local all all trust\nhostssl all all all cert\n");
    cluster.reload();
    must(Command::new("chmod").arg("0600").arg(sandbox.join("good-client.key")));
    let app = at("localhost", &format!("sslmode=verify-full {good}")).replace("user=postgres", "user=app");
    let with_cert = format!("{app} sslcert={} sslkey={}", file("good-client.crt"), file("good-client.key"));
    assert!(open(&app).is_err());
    block_on(async {
        let session = pg::connect(&target(&*with_cert), &Options::default()).await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(200), session.query("select pg_sleep(30)"))
                .await
                .is_err()
        );
        assert_eq!(session.value("select 1").await.unwrap().as_deref(), Some("1"));
    });
    must(Command::new("chmod").arg("0644").arg(sandbox.join("good-client.key")));
    assert!(open(&with_cert).unwrap_err().message.contains("chmod 0600"));
    assert!(Path::new(&file("good-client.key")).exists());

    // A server that wants no TLS, and a client that wants nothing else.
    cluster.hba("local all all trust\nhostnossl all all all trust\n");
    cluster.reload();
    assert!(!tls(&at("localhost", "sslmode=prefer")), "prefer goes on without");
    assert_eq!(open(&at("localhost", "sslmode=require")).unwrap_err().sqlstate.as_deref(), Some("28000"));
}
