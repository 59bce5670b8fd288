//! How large a target is now: what a copy of it would take.

use std::time::Duration;

use crate::base::Size;
use crate::check::Context;
use crate::runbook::Target;
use crate::world::identity::Identity;
use crate::world::pg::{self, ConnectTrouble, Options};
use crate::world::sqlite;

/// The parts of a stopped cluster that a copy copies, as [`pg::extent`] names them.
const COPIED: [&str; 3] = ["data directory", "WAL", "tablespace"];

/// A size with where it comes from.
pub struct TargetSize {
    /// Bytes.
    pub bytes: u64,
    /// What was measured.
    pub identity: Identity,
    /// Where the number comes from, one line each.
    pub details: Vec<String>,
}

/// Measures the target called `name`; an error is a sentence.
pub async fn measure(name: &str, cx: &Context) -> Result<TargetSize, String> {
    let target = cx.target(name)?;
    match &target.sqlite {
        Some(file) => sqlite(file),
        None => server(target).await,
    }
}

async fn server(target: &Target) -> Result<TargetSize, String> {
    let options = Options {
        application_name: "holdpoint size".to_owned(),
        statement_timeout: Duration::from_secs(120),
        ..Options::default()
    };
    let session = match pg::connect(target, &options).await {
        Ok(session) => session,
        // A stopped cluster has a size, too; its files tell.
        Err(error) if error.kind == ConnectTrouble::Refused => return stopped(target).await,
        Err(error) => return Err(error.message),
    };
    let sql = "select sum(pg_database_size(oid))::bigint::text, count(*)::text from pg_database";
    let rows = session.query(sql).await.map_err(|e| e.to_string())?;
    let row = rows.first().ok_or("the server listed no databases")?;
    let cell = |i: usize| row.get(i).and_then(Option::as_deref).and_then(|text| text.parse::<u64>().ok());
    let (Some(bytes), Some(count)) = (cell(0), cell(1)) else {
        return Err("the server gave no number for the size of its databases".to_owned());
    };
    Ok(TargetSize {
        bytes,
        identity: Identity::Postgres(session.identity().clone()),
        details: vec![format!("{} in {count} databases, templates included; WAL not included", Size(bytes))],
    })
}

async fn stopped(target: &Target) -> Result<TargetSize, String> {
    let extent = pg::extent(target).await?;
    let mut bytes = 0;
    let mut details = vec!["the server is stopped, so its files were measured".to_owned()];
    for part in extent.parts.iter().filter(|part| COPIED.contains(&part.kind)) {
        let size = part.bytes.ok_or_else(|| format!("the size of {} could not be measured", part.name))?;
        bytes += size;
        details.push(format!("{} in its {} {}", Size(size), part.kind, part.name));
    }
    match extent.unmeasured.first() {
        Some(why) => Err(format!("not all of it could be measured: {why}")),
        None => Ok(TargetSize { bytes, identity: Identity::Postgres(extent.identity), details }),
    }
}

fn sqlite(file: &str) -> Result<TargetSize, String> {
    let identity = sqlite::identity(file)?;
    // The log's pages end up in the copy; the shared-memory index does not.
    let files = sqlite::files(file)?;
    let copied: Vec<_> = files.iter().filter(|(path, _)| !path.to_string_lossy().ends_with("-shm")).collect();
    Ok(TargetSize {
        bytes: copied.iter().map(|(_, bytes)| bytes).sum(),
        identity: Identity::Sqlite(identity),
        details: copied
            .iter()
            .map(|(path, bytes)| format!("{} in {}", Size(*bytes), path.display()))
            .collect(),
    })
}
