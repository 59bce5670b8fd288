//! Table tests for [`super::resolve`].

use super::*;

fn around(env: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        home: Some(PathBuf::from("/nowhere")),
        user: Some("login".to_owned()),
        clusters: PathBuf::from("/nowhere/etc"),
    }
}

fn target(text: &str) -> Target {
    Target { postgres: Some(text.to_owned()), ..Target::default() }
}

fn get(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    resolve(&target(text), None, &around(env)).map_err(|error| error.message)
}

fn tcp(name: &str, port: u16) -> (Place, u16) {
    (Place::Tcp(name.to_owned(), None), port)
}

#[test]
fn defaults_are_psqls() {
    let plain = get("host=h", &[]).unwrap();
    assert_eq!((plain.user.as_str(), plain.database.as_str()), ("login", "login"));
    assert_eq!(plain.places, [tcp("h", 5432)]);
    assert_eq!(plain.tls.mode, SslMode::Prefer);
    assert_eq!(plain.passfile.as_deref(), Some(Path::new("/nowhere/.pgpass")));
    assert_eq!(get("host=h user=u", &[]).unwrap().database, "u");
    assert!(matches!(&get("port=59999", &[]).unwrap().places[..], [(Place::Socket(dir), 59999)]
        if dir == Path::new("/var/run/postgresql")));
    assert_eq!(resolve(&target("dbname=a"), Some("b"), &around(&[])).unwrap().database, "b");
}

#[test]
fn what_is_written_beats_the_environment() {
    let env =
        [("PGHOST", "e"), ("PGPORT", "6"), ("PGDATABASE", "ed"), ("PGUSER", "eu"), ("PGPASSWORD", "ep")];
    let all = get("", &env).unwrap();
    assert_eq!((&all.places[0], &*all.database, &*all.user), (&tcp("e", 6), "ed", "eu"));
    assert_eq!(all.password.as_deref(), Some("ep"));
    let some = get("host=w dbname=wd", &env).unwrap();
    assert_eq!((&some.places[0], &*some.database, &*some.user), (&tcp("w", 6), "wd", "eu"));
    assert_eq!(get("host=''", &env).unwrap().places[0], tcp("e", 6), "an empty value is no value");
    let set = get("host=w", &[("PGHOSTADDR", "192.0.2.1")]).unwrap();
    assert_eq!(
        set.places[0],
        tcp("w", 5432),
        "an address from elsewhere does not redirect a host that is written"
    );
}

#[test]
fn the_service_file_stands_between() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("services");
    std::fs::write(&file, "[s]\nhost=service\nport=7\ndbname=sd\n[odd]\nhots=x\n").unwrap();
    let file = file.to_str().unwrap();
    let env = [("PGSERVICEFILE", file), ("PGPORT", "6"), ("PGUSER", "eu")];
    let found = get("service=s dbname=wd", &env).unwrap();
    assert_eq!((&found.places[0], &*found.database, &*found.user), (&tcp("service", 7), "wd", "eu"));
    let by_env = get("", &[("PGSERVICEFILE", file), ("PGSERVICE", "s")]).unwrap();
    assert_eq!(by_env.database, "sd");
    assert!(get("service=none", &env).unwrap_err().contains("there is no service `none` in"));
    assert!(get("service=odd", &env).unwrap_err().contains("`hots` is not supported; did you mean `host`?"));
    assert!(get("service=s", &[("PGSERVICEFILE", "/nowhere/x")]).unwrap_err().contains("is not there"));
    let system = dir.path().join("pg_service.conf");
    std::fs::write(system, "[t]\nhost=system\n").unwrap();
    let env = [("PGSYSCONFDIR", dir.path().to_str().unwrap())];
    assert_eq!(get("service=t", &env).unwrap().places[0], tcp("system", 5432));
}

#[test]
fn several_places() {
    let three = get("host=a,/run/b,c port=1,,3", &[]).unwrap();
    assert_eq!(three.places, [tcp("a", 1), (Place::Socket("/run/b".into()), 5432), tcp("c", 3)]);
    assert_eq!(get("host=a,b port=9", &[]).unwrap().places, [tcp("a", 9), tcp("b", 9)]);
    let both = get("host=name hostaddr=192.0.2.7", &[]).unwrap();
    assert_eq!(both.places[0].0, Place::Tcp("name".into(), Some([192, 0, 2, 7].into())));
    for wrong in [
        "host=a,b port=1,2,3",
        "host=a,b hostaddr=192.0.2.1",
        "port=0",
        "port=x",
        "port=70000",
        "hostaddr=name",
        "host=@a",
    ] {
        assert!(get(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_not_supported_is_refused_in_words() {
    for (text, words) in [
        ("requirepeer=postgres", "is not supported"),
        ("gssencmode=require", "GSSAPI"),
        ("sslpassword=x", "without a passphrase"),
        ("sslnegotiation=direct", "only `postgres`"),
        ("sslmod=require", "did you mean `sslmode`?"),
        ("wibble=1", "`wibble` is not supported"),
        ("sslmode=maybe", "verify-full"),
        ("target_session_attrs=master", "primary"),
        ("channel_binding=x", "require"),
        ("connect_timeout=soon", "number of seconds"),
        ("keepalives_idle=x", "must be a number"),
        ("sslmode=verify-full", "sslrootcert"),
        ("sslrootcert=/nowhere/ca.crt", "is not there"),
        ("sslrootcert=system sslmode=require", "verify-full"),
        ("sslcert=/nowhere/c.crt", "is not there"),
    ] {
        let why = get(&format!("host=h {text}"), &[]).unwrap_err();
        assert!(why.contains(words), "{text}: {why}");
    }
    assert!(get("host=h", &[("PGREQUIREPEER", "x")]).unwrap_err().contains("requirepeer"));
    for fine in
        ["gssencmode=prefer", "sslsni=1", "client_encoding=UTF8", "application_name=x", "sslrootcert=system"]
    {
        get(&format!("host=h {fine}"), &[]).unwrap();
    }
    let remote = Target { ssh: Some("db1".into()), ..target("") };
    assert!(resolve(&remote, None, &around(&[])).unwrap_err().message.contains("not supported"));
}

#[test]
fn a_cluster_gives_host_port_and_data_directory() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("13/main")).unwrap();
    let conf = "port=5433\nunix_socket_directories='/run/x'\ndata_directory='/data/13'\n";
    std::fs::write(root.path().join("13/main/postgresql.conf"), conf).unwrap();
    let around =
        Surroundings { clusters: root.path().to_owned(), ..around(&[("PGHOST", "other"), ("PGPORT", "1")]) };
    let target = |text: &str| Target { cluster: Some("13/main".to_owned()), ..target(text) };
    let found = resolve(&target("dbname=d user=u"), None, &around).unwrap();
    assert_eq!(found.places, [(Place::Socket("/run/x".into()), 5433)]);
    assert_eq!((found.database.as_str(), found.user.as_str()), ("d", "u"));
    let (data, who) = found.data_directory.unwrap();
    assert_eq!(data, Path::new("/data/13"));
    assert!(who.ends_with("13/main/postgresql.conf"));
    assert!(resolve(&target("port=5433"), None, &around).is_ok(), "says the same");
    let why = resolve(&target("port=5432"), None, &around).unwrap_err().message;
    assert!(why.contains("port=5432") && why.contains("5433"), "{why}");
}
