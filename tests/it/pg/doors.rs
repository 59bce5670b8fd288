//! Getting in: passwords, several hosts, peer authentication, servers that are somebody else or never answer.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use holdpoint::runbook::Target;
use holdpoint::world::pg::{self, ConnectError, ConnectTrouble, Options};

use super::target;
use crate::harness::{Cluster, Major, Need, Port, Registry, Sandbox, block_on};

pub fn register(r: &mut Registry) {
    r.add("pg::passwords_come_from_the_conninfo_or_a_private_file", &[Need::Pg15], passwords);
    r.add("pg::root_may_use_peer_authentication", &[Need::Pg15, Need::Root], peer);
    r.add("pg::hosts_are_tried_in_order", &[Need::Pg15], hosts);
    r.add("pg::another_cluster_is_refused", &[Need::Pg15], another);
    r.add("pg::silence_ends_in_time", &[], silence);
    r.add("pg::a_server_that_starts_up_says_so", &[], starts_up);
    r.add("pg::a_role_that_may_not_see_the_data_directory", &[Need::Pg15], blind);
}

fn refusal(conninfo: &str) -> ConnectError {
    block_on(pg::connect(&target(conninfo), &Options::default())).unwrap_err()
}

fn passwords() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(
        "set password_encryption = 'scram-sha-256'; create role app login superuser password 'p4ss w0rd'",
    );
    cluster.hba("local all postgres trust\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n");
    cluster.reload();
    let sandbox = Sandbox::new();
    let file = sandbox.write("pgpass", &format!("*:{}:*:app:p4ss w0rd\n", cluster.port()));
    let at = format!("host=127.0.0.1 port={} user=app dbname=postgres", cluster.port());
    let with_file = format!("{at} passfile={}", file.display());

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    for good in [format!("{at} password='p4ss w0rd'"), with_file.clone()] {
        block_on(pg::connect(&target(good), &Options::default())).unwrap();
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = refusal(&with_file);
    assert_eq!(refused.kind, ConnectTrouble::Denied);
    assert!(refused.message.contains("mode 0644") && refused.message.contains("chmod 0600"), "{refused}");
    let wrong = refusal(&format!("{at} password=s3cret"));
    assert_eq!((wrong.kind, wrong.sqlstate.as_deref()), (ConnectTrouble::Denied, Some("28P01")));
    assert!(!wrong.message.contains("s3cret") && wrong.message.contains("user app"), "{wrong}");
    let none = refusal(&format!("{at} passfile=/nowhere"));
    assert!(none.message.contains("none is given"), "{none}");
}

fn peer() {
    let cluster = Cluster::start(Major::V15);
    cluster.hba("local all all peer\n");
    cluster.reload();
    block_on(async {
        let session = pg::connect(&cluster.target("postgres"), &Options::default()).await.unwrap();
        assert_eq!(session.value("select current_user").await.unwrap().as_deref(), Some("postgres"));
        let cancelled =
            tokio::time::timeout(Duration::from_millis(200), session.query("select pg_sleep(30)")).await;
        assert!(cancelled.is_err());
        assert_eq!(session.value("select 1").await.unwrap().as_deref(), Some("1"));
    });
    assert!(rustix::process::geteuid().is_root(), "the process itself is still root");
    let nobody = refusal(&format!(
        "host={} port={} user=app dbname=postgres",
        cluster.socket_dir().display(),
        cluster.port()
    ));
    assert_eq!((nobody.kind, nobody.sqlstate.as_deref()), (ConnectTrouble::Denied, Some("28000")));
}

fn hosts() {
    let cluster = Cluster::start(Major::V15);
    let empty = Sandbox::new();
    let (dir, port) = (cluster.socket_dir(), cluster.port());
    let both = format!(
        "host={},{} port=1,{port} user=postgres dbname=postgres",
        empty.path().display(),
        dir.display()
    );
    let found = block_on(pg::connect(&target(&both), &Options::default())).unwrap();
    assert_eq!(found.identity().port, port);
    let url =
        format!("postgres://postgres@{}:{port}/postgres", dir.display().to_string().replace('/', "%2F"));
    block_on(pg::connect(&target(url), &Options::default())).unwrap();
    let standby = refusal(&format!("{both} target_session_attrs=standby"));
    assert!(
        standby.message.contains("there is no socket") && standby.message.contains("not a standby"),
        "{standby}"
    );
    block_on(pg::connect(&target(format!("{both} target_session_attrs=primary")), &Options::default()))
        .unwrap();
    block_on(pg::connect(
        &target(format!("{both} target_session_attrs=prefer-standby")),
        &Options::default(),
    ))
    .unwrap();
    let none = refusal(&format!("host={} user=postgres", empty.path().display()));
    assert_eq!(none.kind, ConnectTrouble::Refused);
}

fn another() {
    let cluster = Cluster::start(Major::V15);
    let wrong =
        Target { data_directory: Some("/var/lib/postgresql/13/main".into()), ..cluster.target("postgres") };
    let error = block_on(pg::connect(&wrong, &Options::default())).unwrap_err();
    assert_eq!(error.kind, ConnectTrouble::WrongServer);
    let words =
        format!("its data directory is {}, not /var/lib/postgresql/13/main", cluster.data().display());
    assert!(error.message.contains(&words), "{error}");
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink(cluster.data(), sandbox.join("link")).unwrap();
    let link = sandbox.join("link").display().to_string();
    let right = Target { data_directory: Some(link), ..cluster.target("postgres") };
    block_on(pg::connect(&right, &Options::default())).unwrap();
}

fn silence() {
    let port = Port::free();
    let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    let at = format!("host=127.0.0.1 port={} user=u sslmode=disable", port.number());
    let options = Options { connect_timeout: Duration::from_millis(300), ..Options::default() };
    let error = block_on(pg::connect(&target(at.as_str()), &options)).unwrap_err();
    assert_eq!(error.kind, ConnectTrouble::Timeout);
    assert!(
        error.message.contains("127.0.0.1") && error.message.contains("no connection within 300ms"),
        "{error}"
    );
    drop(listener);
    assert_eq!(refusal(&at).kind, ConnectTrouble::Refused);
}

fn starts_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut startup).unwrap();
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let mut message = vec![b'E'];
        message.extend((fields.len() as u32 + 4).to_be_bytes());
        message.extend(fields);
        stream.write_all(&message).unwrap();
    });
    let error = refusal(&format!("host=127.0.0.1 port={port} user=u sslmode=disable"));
    server.join().unwrap();
    assert_eq!((error.kind, error.sqlstate.as_deref()), (ConnectTrouble::NotServing, Some("57P03")));
    assert!(error.message.contains("starting up"), "{error}");
}

fn blind() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create role app login");
    let at = cluster.conninfo_tcp("postgres").replace("user=postgres", "user=app");
    let error = refusal(&at);
    assert_eq!(error.kind, ConnectTrouble::Denied);
    assert!(error.message.contains("pg_read_all_settings"), "{error}");
    cluster.psql("grant pg_monitor to app");
    block_on(pg::connect(&target(at), &Options::default())).unwrap();
}
