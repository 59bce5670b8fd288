//! Makes sessions: finds the server, gets in, pins the settings, proves what answered.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, SslMode as Wire};
use tokio_postgres::{Config, NoTls};

use super::error::{ConnectError, ConnectTrouble, QueryError, trouble};
use super::files::Password;
use super::session::{CancelBy, OpenLine, Options, Session, literal, start};
use super::settings::{Place, SessionAttrs, Settings, SslMode, Surroundings, resolve};
use super::{files, identity, peer, tls, undone};
use crate::runbook::Target;

/// Connects to a target. Settings that change how values look are pinned: UTC, ISO dates, `extra_float_digits=3`,
/// `bytea_output=hex`, `lc_monetary=C`, `search_path=pg_catalog` (see [`Options::own_search_path`]).
///
/// The target's service file, password file, environment variables and cluster configuration are read anew each time.
pub async fn connect(target: &Target, options: &Options) -> Result<Session, ConnectError> {
    let settings = resolve(target, options.database.as_deref(), &Surroundings::of_process())?;
    if let Some(number) = target.within
        && let Some(session) = undone::session(number, &settings.database)?
    {
        pin_settings(&OpenLine::of(&session), options).await?;
        return Ok(session);
    }
    connect_with(&settings, options).await
}

/// Connects with settings that were found before.
pub async fn connect_with(settings: &Settings, options: &Options) -> Result<Session, ConnectError> {
    let limit = settings.connect_timeout.unwrap_or(options.connect_timeout);
    let rounds: &[SessionAttrs] = match &settings.attrs {
        SessionAttrs::PreferStandby => &[SessionAttrs::Standby, SessionAttrs::Any],
        one => std::slice::from_ref(one),
    };
    let mut failures: Vec<ConnectError> = Vec::new();
    for wanted in rounds {
        failures.clear();
        for (place, port) in &settings.places {
            let at = where_is(place, *port, settings);
            let attempt = within(limit, place_attempt(settings, options, place, *port, *wanted));
            match attempt.await {
                Ok(session) => return Ok(session),
                Err(mut error) => {
                    error.message = format!("{at}: {}", error.message);
                    // As in libpq: a server that answers and says no ends the search.
                    let last = matches!(error.kind, ConnectTrouble::Denied | ConnectTrouble::Settings);
                    failures.push(error);
                    if last {
                        break;
                    }
                }
            }
        }
    }
    let Some(mut last) = failures.pop() else {
        return Err(ConnectError::settings("there is no host to connect to"));
    };
    for earlier in failures.iter().rev() {
        last.message = format!("{}; {}", earlier.message, last.message);
    }
    Err(last)
}

async fn within(
    limit: Duration,
    work: impl Future<Output = Result<Session, ConnectError>>,
) -> Result<Session, ConnectError> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let limit = crate::base::Span(limit);
        Err(ConnectError::new(ConnectTrouble::Timeout, format!("no connection within {limit}")))
    })
}

fn where_is(place: &Place, port: u16, settings: &Settings) -> String {
    let server = match place {
        Place::Socket(dir) => format!("{} port {port}", dir.display()),
        Place::Tcp(name, Some(address)) if *name != address.to_string() => {
            format!("{name} ({address}) port {port}")
        }
        Place::Tcp(name, _) => format!("{name} port {port}"),
    };
    format!("PostgreSQL at {server}, database {}, user {}", settings.database, settings.user)
}

async fn place_attempt(
    settings: &Settings,
    options: &Options,
    place: &Place,
    port: u16,
    wanted: SessionAttrs,
) -> Result<Session, ConnectError> {
    let mut config = Config::new();
    config
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name(&options.application_name)
        .port(port);
    if let Some(given) = &settings.options {
        config.options(given);
    }
    config.channel_binding(match settings.channel_binding.as_str() {
        "disable" => ChannelBinding::Disable,
        "require" => ChannelBinding::Require,
        _ => ChannelBinding::Prefer,
    });
    let note = add_password(&mut config, settings, place, port);
    let opened = match place {
        Place::Socket(directory) => by_socket(&config, settings, directory, port).await,
        Place::Tcp(name, address) => {
            config.host(name.as_str());
            if let Some(address) = address {
                config.hostaddr(*address);
            }
            by_tcp(config, settings).await
        }
    };
    let line = opened.map_err(|mut error| {
        if let (ConnectTrouble::Denied, Some(note)) = (error.kind, note) {
            error.message = format!("{}; {note}", error.message);
        }
        error
    })?;
    suits(&line, wanted).await?;
    pin_settings(&line, options).await?;
    let (identity, local, pid) = identity::ask(&line, matches!(place, Place::Socket(_))).await?;
    if let Some((wanted, who)) = &settings.data_directory
        && !same_directory(wanted, Path::new(&identity.data_directory), local)
    {
        return Err(ConnectError::new(
            ConnectTrouble::WrongServer,
            format!(
                "another cluster answers there: its data directory is {}, not {} as {who} says",
                identity.data_directory,
                wanted.display()
            ),
        ));
    }
    if identity.version >= 140_000 {
        // Lets the server notice that we are gone while a statement runs; not on every platform.
        let _ = line.query("set client_connection_check_interval = '2s'").await;
    }
    if let Some(pid) = pid.filter(|_| options.read_only) {
        line.measures(&identity, pid);
    }
    Ok(line.identified(identity, local))
}

/// Sets the password; returns why the password file was not used, if it was not.
fn add_password(config: &mut Config, settings: &Settings, place: &Place, port: u16) -> Option<String> {
    if let Some(password) = &settings.password {
        config.password(password);
        return None;
    }
    let host = match place {
        Place::Socket(directory) if directory == Path::new("/var/run/postgresql") => "localhost".to_owned(),
        Place::Socket(directory) => directory.display().to_string(),
        Place::Tcp(name, _) => name.clone(),
    };
    match files::password(settings.passfile.as_ref()?, &host, port, &settings.database, &settings.user) {
        Password::Found(password) => {
            config.password(password);
            None
        }
        Password::None => None,
        Password::Refused(why) => Some(why),
    }
}

async fn by_socket(
    config: &Config,
    settings: &Settings,
    directory: &Path,
    port: u16,
) -> Result<OpenLine, ConnectError> {
    let path = directory.join(format!(".s.PGSQL.{port}"));
    let stream = UnixStream::connect(&path).await.map_err(|error| io_trouble(&error))?;
    let error = match handshake(config, stream, &path).await {
        Ok(line) => return Ok(line),
        Err(error) => error,
    };
    // 28000 on a socket: peer authentication, which asks who knocks.
    if error.sqlstate.as_deref() == Some("28000")
        && let Some(account) = peer::may_act_for(&settings.user)
    {
        let stream = peer::connect_as(&account, directory, port)
            .await
            .map_err(|why| ConnectError::new(ConnectTrouble::Other, format!("as {}: {why}", account.name)))?;
        return handshake(config, stream, &path).await;
    }
    Err(error)
}

async fn handshake(config: &Config, stream: UnixStream, path: &Path) -> Result<OpenLine, ConnectError> {
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|error| trouble(&error))?;
    Ok(start(client, connection, CancelBy::Socket(PathBuf::from(path))))
}

fn io_trouble(error: &std::io::Error) -> ConnectError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => {
            ConnectError::new(ConnectTrouble::Refused, "there is no socket; no server runs there")
        }
        ErrorKind::ConnectionRefused => {
            ConnectError::new(ConnectTrouble::Refused, "connection refused; no server runs there")
        }
        ErrorKind::PermissionDenied => {
            ConnectError::new(ConnectTrouble::Denied, "the socket may not be used by this user")
        }
        ErrorKind::TimedOut => ConnectError::new(ConnectTrouble::Timeout, "no answer in time"),
        _ => ConnectError::new(ConnectTrouble::Other, error.to_string()),
    }
}

async fn by_tcp(mut config: Config, settings: &Settings) -> Result<OpenLine, ConnectError> {
    let tls = tls::connector(&settings.tls).map_err(ConnectError::settings)?;
    config.tcp_user_timeout(settings.tcp_user_timeout);
    match settings.keepalives {
        None => {
            config.keepalives(false);
        }
        Some((idle, interval, count)) => {
            config.keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(count);
        }
    }
    let modes: &[Wire] = match settings.tls.mode {
        SslMode::Disable => &[Wire::Disable],
        SslMode::Allow => &[Wire::Disable, Wire::Require],
        SslMode::Prefer => &[Wire::Prefer, Wire::Disable],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Wire::Require],
    };
    let mut first = None;
    for mode in modes {
        config.ssl_mode(*mode);
        match config.connect(tls.clone()).await {
            Ok((client, connection)) => return Ok(start(client, connection, CancelBy::Tls(tls))),
            Err(error) => {
                let error = trouble(&error);
                // pg_hba.conf may let in only with or only without TLS; a TLS handshake may fail.
                let again = error.sqlstate.as_deref() == Some("28000") || error.kind == ConnectTrouble::Other;
                let error = first.get_or_insert(error);
                if !again {
                    return Err(error.clone());
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| ConnectError::settings("there is no way to connect")))
}

/// Is it a server that `target_session_attrs` wants?
async fn suits(line: &OpenLine, wanted: SessionAttrs) -> Result<(), ConnectError> {
    if wanted == SessionAttrs::Any {
        return Ok(());
    }
    let sql =
        "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')";
    let rows = line.query(sql).await.map_err(|error| set_up(&error))?;
    let standby = rows.first().and_then(|row| row.first()?.as_deref()) == Some("t");
    let read_only = standby || rows.first().and_then(|row| row.get(1)?.as_deref()) == Some("on");
    let (fits, is) = match wanted {
        SessionAttrs::Any | SessionAttrs::PreferStandby => (true, ""),
        SessionAttrs::ReadWrite => (!read_only, "it takes no writes (target_session_attrs=read-write)"),
        SessionAttrs::ReadOnly => (read_only, "it takes writes (target_session_attrs=read-only)"),
        SessionAttrs::Primary => (!standby, "it is a standby (target_session_attrs=primary)"),
        SessionAttrs::Standby => (standby, "it is not a standby (target_session_attrs=standby)"),
    };
    if fits { Ok(()) } else { Err(ConnectError::new(ConnectTrouble::WrongServer, is)) }
}

fn set_up(error: &QueryError) -> ConnectError {
    ConnectError {
        message: format!("the session could not be set up: {}", error.message),
        sqlstate: error.sqlstate.clone(),
        kind: ConnectTrouble::Other,
    }
}

async fn pin_settings(line: &OpenLine, options: &Options) -> Result<(), ConnectError> {
    let ms = |time: Duration| time.as_millis().min(i32::MAX as u128).to_string();
    let mut settings = vec![
        ("timezone", "UTC".to_owned()),
        ("datestyle", "ISO".to_owned()),
        ("intervalstyle", "postgres".to_owned()),
        ("extra_float_digits", "3".to_owned()),
        ("bytea_output", "hex".to_owned()),
        ("lc_monetary", "C".to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
        ("statement_timeout", ms(options.statement_timeout)),
        ("lock_timeout", ms(options.lock_timeout)),
        ("default_transaction_read_only", if options.read_only { "on" } else { "off" }.to_owned()),
    ];
    if !options.own_search_path {
        settings.push(("search_path", "pg_catalog".to_owned()));
    }
    let sql: String =
        settings.iter().map(|(name, value)| format!("set {name} = {};", literal(value))).collect();
    line.query(&sql).await.map(drop).map_err(|error| set_up(&error))
}

/// One directory, links resolved where we can look.
pub(super) fn same_directory(one: &Path, other: &Path, local: bool) -> bool {
    let plain = |path: &Path| path.components().collect::<PathBuf>();
    if plain(one) == plain(other) {
        return true;
    }
    local
        && matches!((std::fs::canonicalize(one), std::fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}
