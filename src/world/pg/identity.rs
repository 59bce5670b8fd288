//! What a server or a stopped cluster is.

use std::net::IpAddr;

use super::error::{ConnectError, ConnectTrouble, QueryError};
use super::extent::where_it_rests;
use super::session::{OpenLine, Options};
use super::settings::Surroundings;
use super::stopped;
use crate::runbook::Target;
use crate::world::host;
use crate::world::identity::PostgresIdentity;

/// One round trip. A superuser setting that we may not see gives NULL here instead of an error.
const IDENTITY: &str = "\
select (select system_identifier::text from pg_catalog.pg_control_system()),
       (select setting from pg_catalog.pg_settings where name = 'data_directory'),
       pg_catalog.current_setting('port'),
       pg_catalog.pg_postmaster_start_time()::text,
       case when pg_catalog.pg_is_in_recovery()
            then (select timeline_id from pg_catalog.pg_control_checkpoint())::text
            else 'x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) end,
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('server_version_num'),
       pg_catalog.host(pg_catalog.inet_server_addr()),
       current_user,
       pg_catalog.pg_backend_pid()";

/// Asks a server what it is; also whether it runs on this machine, and for the number of the process that answers.
pub(super) async fn ask(
    line: &OpenLine,
    socket: bool,
) -> Result<(PostgresIdentity, bool, Option<u32>), ConnectError> {
    let rows = line.query(IDENTITY).await.map_err(refused)?;
    let mut facts = rows.into_iter().next().unwrap_or_default().into_iter();
    let mut fact = || facts.next().flatten();
    let missing =
        |what: &str| ConnectError::new(ConnectTrouble::Denied, format!("the server does not say its {what}"));
    let system_identifier = fact().ok_or_else(|| missing("system identifier"))?;
    let data_directory = fact();
    let port = fact().and_then(|port| port.parse().ok()).ok_or_else(|| missing("port"))?;
    let server_start = fact().ok_or_else(|| missing("start time"))?;
    let timeline = fact()
        .and_then(|text| match text.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        })
        .ok_or_else(|| missing("timeline"))?;
    let in_recovery = fact().as_deref() == Some("t");
    let version = fact().and_then(|text| text.parse().ok()).ok_or_else(|| missing("version"))?;
    let address = fact();
    let user = fact().unwrap_or_default();
    let pid = fact().and_then(|text| text.parse().ok());
    let Some(data_directory) = data_directory else {
        return Err(ConnectError {
            message: format!(
                "role `{user}` may not see the server's data directory, so that its identity cannot be proved; \
                 use a role that has pg_read_all_settings (pg_monitor has it)"
            ),
            sqlstate: Some("42501".to_owned()),
            kind: ConnectTrouble::Denied,
        });
    };
    let own = |text: &String| text.parse::<IpAddr>().is_ok_and(host::is_own_address);
    let local = socket || address.as_ref().is_some_and(own);
    let host = if local { host::machine_id() } else { address.unwrap_or_else(|| "unknown".to_owned()) };
    let identity = PostgresIdentity {
        system_identifier,
        data_directory: if local { real(data_directory) } else { data_directory },
        port,
        server_start,
        timeline,
        in_recovery,
        version,
        host,
    };
    Ok((identity, local, pid))
}

/// The directory with its links resolved, so that it is called the same when the cluster is stopped.
fn real(directory: String) -> String {
    std::fs::canonicalize(&directory).map_or(directory, |path| path.display().to_string())
}

/// What a target is: the server is asked; when none runs, the files of `cluster` or `data_directory` are read.
pub async fn identity(target: &Target) -> Result<PostgresIdentity, String> {
    let options = Options { application_name: "holdpoint identity".to_owned(), ..Options::default() };
    match super::connect(target, &options).await {
        Ok(session) => Ok(session.identity().clone()),
        Err(error) if error.kind == ConnectTrouble::Refused => {
            let target = target.clone();
            let read = move || {
                let (directory, port) = where_it_rests(&target, &Surroundings::of_process())
                    .map_err(|why| format!("{}; {why}", error.message))?;
                stopped::identity_from_files(&directory, port)
            };
            tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
        }
        Err(error) => Err(error.message),
    }
}

fn refused(error: QueryError) -> ConnectError {
    let kind = if error.sqlstate.as_deref() == Some("42501") {
        ConnectTrouble::Denied
    } else {
        ConnectTrouble::Other
    };
    ConnectError {
        message: format!("the server's identity could not be read: {}", error.message),
        sqlstate: error.sqlstate,
        kind,
    }
}
