//! How large a target is now: what a copy of it would take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Size;
use crate::check::Context;
use crate::runbook::Target;
use crate::world::host;
use crate::world::identity::{FileIdentity, Identity};
use crate::world::pg::{self, Options};

/// A size with where it comes from.
pub(super) struct TargetSize {
    pub bytes: u64,
    pub identity: Option<Identity>,
    pub details: Vec<String>,
}

/// Measures the target called `name`; an error is a sentence.
pub(super) async fn measure(name: &str, cx: &Context) -> Result<TargetSize, String> {
    let target = cx.target(name)?;
    if let Some(file) = &target.sqlite {
        return sqlite(file, cx).await;
    }
    match server(target).await {
        Ok(size) => Ok(size),
        // A stopped cluster has a size, too; its files tell.
        Err(why) => match &target.data_directory {
            Some(dir) => files(dir, cx).await.map_err(|files| format!("{why}; and its files: {files}")).map(
                |mut size| {
                    size.details
                        .push(format!("the server did not answer ({why}), so its files were measured"));
                    size
                },
            ),
            None => Err(why),
        },
    }
}

async fn server(target: &Target) -> Result<TargetSize, String> {
    let options = Options {
        application_name: "holdpoint disk_free".to_owned(),
        statement_timeout: Duration::from_secs(120),
        ..Options::default()
    };
    let session = pg::connect(target, &options).await.map_err(|e| e.to_string())?;
    let sql = "select sum(pg_database_size(oid))::bigint::text, count(*)::text from pg_database";
    let rows = session.query(sql).await.map_err(|e| e.to_string())?;
    let row = rows.first().ok_or("the server listed no databases")?;
    let cell = |i: usize| row.get(i).and_then(Option::as_deref).and_then(|text| text.parse::<u64>().ok());
    let (Some(bytes), Some(count)) = (cell(0), cell(1)) else {
        return Err("the server gave no number for the size of its databases".to_owned());
    };
    Ok(TargetSize {
        bytes,
        identity: Some(Identity::Postgres(session.identity().clone())),
        details: vec![format!("{} in {count} databases, templates included; WAL not included", Size(bytes))],
    })
}

/// The files of a cluster: its directory, and what pg_wal and pg_tblspc link to.
async fn files(dir: &str, cx: &Context) -> Result<TargetSize, String> {
    let files = &cx.world.files;
    let top = Path::new(dir);
    let version = files
        .read(&top.join("PG_VERSION"), 64)
        .await
        .map_err(|why| format!("{dir} is not a readable data directory: {why}"))?;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let mut bytes = files.tree_size(top).await?;
    let mut elsewhere: Vec<PathBuf> = Vec::new();
    for entry in files.list(&top.join("pg_tblspc")).await? {
        // Several clusters may share the place; each has a folder of its own, such as PG_15_202209061.
        elsewhere.extend(files.list(&entry.path).await?.into_iter().map(|found| found.path).filter(|path| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("PG_{version}_")))
        }));
    }
    if files.read_link(&top.join("pg_wal")).await?.is_some() {
        elsewhere.push(top.join("pg_wal"));
    }
    for place in &elsewhere {
        bytes += files.tree_size(place).await?;
    }
    let places =
        if elsewhere.is_empty() { String::new() } else { format!(" and {} linked places", elsewhere.len()) };
    Ok(TargetSize {
        bytes,
        identity: None,
        details: vec![format!("{} of files in {dir}{places}", Size(bytes))],
    })
}

async fn sqlite(file: &str, cx: &Context) -> Result<TargetSize, String> {
    let stat = cx.world.files.stat(Path::new(file)).await?.ok_or_else(|| format!("{file} does not exist"))?;
    if stat.kind != "file" {
        return Err(format!("{file} is a {}", stat.kind));
    }
    let wal = cx.world.files.stat(Path::new(&format!("{file}-wal"))).await?.map_or(0, |wal| wal.size);
    Ok(TargetSize {
        bytes: stat.size + wal,
        identity: Some(Identity::Sqlite(FileIdentity {
            path: stat.path.display().to_string(),
            device: stat.device,
            inode: stat.inode,
            host: host::machine_id(),
        })),
        details: vec![format!("{} in the file, {} in its write-ahead log", Size(stat.size), Size(wal))],
    })
}
