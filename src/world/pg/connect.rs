//! Makes sessions: finds the server, gets in, pins the settings, proves what answered.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::{ConnectError, ConnectTrouble, deepest, sentence};
use super::session::{OpenLine, Options, Session, literal, start};
use super::{identity, tls};
use crate::runbook::Target;

/// Connects to a target. Settings that change how values look are pinned: UTC, ISO dates, `extra_float_digits=3`,
/// `bytea_output=hex`, `lc_monetary=C`, `search_path=pg_catalog` (see [`Options::own_search_path`]).
pub async fn connect(target: &Target, options: &Options) -> Result<Session, ConnectError> {
    match timeout(options.connect_timeout, attempt(target, options)).await {
        Ok(answer) => answer,
        Err(_) => Err(ConnectError::new(ConnectTrouble::Timeout, "no connection in time")),
    }
}

async fn attempt(target: &Target, options: &Options) -> Result<Session, ConnectError> {
    let text = target.postgres.as_deref().unwrap_or_default();
    let mut config: Config = text.parse().map_err(|e| ConnectError::settings(deepest(&e)))?;
    config.application_name(options.application_name.as_str());
    if let Some(database) = &options.database {
        config.dbname(database.as_str());
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host_path("/var/run/postgresql");
    }
    let socket = matches!(config.get_hosts().first(), Some(Host::Unix(_)));
    if socket {
        config.ssl_mode(SslMode::Disable);
    }
    let tls = tls::unverified().map_err(ConnectError::settings)?;
    let (client, connection) = config.connect(tls.clone()).await.map_err(|e| trouble(&e))?;
    let line = start(client, connection, tls);
    pin_settings(&line, options).await?;
    let (identity, local) = identity::ask(&line, socket).await?;
    Ok(line.identified(identity, local))
}

fn trouble(error: &tokio_postgres::Error) -> ConnectError {
    match error.as_db_error() {
        Some(db) => ConnectError {
            message: sentence(db),
            sqlstate: Some(db.code().code().to_owned()),
            kind: ConnectTrouble::Denied,
        },
        None => ConnectError::new(ConnectTrouble::Other, deepest(error)),
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
    line.query(&sql).await.map(drop).map_err(|error| ConnectError {
        message: format!("the session could not be set up: {}", error.message),
        sqlstate: error.sqlstate,
        kind: ConnectTrouble::Other,
    })
}
