//! Measures what a destructive step would destroy: directories, tablespaces, WAL, configuration, databases, rows, files,
//! containers.
//! What cannot be measured is said, and blocks.

use std::path::Path;

use crate::check::Context;
use crate::check::containers::{Going, going};
use crate::journal::record::{Blast, BlastItem, Gone};
use crate::runbook::Target;
use crate::runbook::model::Destroys;
use crate::world::{identify, pg, sqlite, users};

/// Measures everything that would go. `folder` is the run's own: a destruction that would take its journal along is one
/// that could not be put on record.
pub async fn measure(destroys: &Destroys, cx: &Context, folder: &Path) -> Blast {
    let mut blast = Blast {
        items: Vec::new(),
        identity: None,
        serving: Vec::new(),
        unmeasured: Vec::new(),
        gone: Vec::new(),
        at: cx.world.clock.now(),
    };
    if let Some(name) = &destroys.target {
        target(name, destroys, cx, &mut blast).await;
    }
    for path in &destroys.paths {
        self::path(Path::new(path), cx, &mut blast).await;
    }
    if let Some(of) = &destroys.containers {
        containers(going(of, cx).await, &mut blast);
    }
    if destroys.unnamed() {
        blast.unmeasured.push("the step names neither a target nor paths nor containers".to_owned());
    }
    own_folder(folder, &mut blast);
    blast.at = cx.world.clock.now();
    blast
}

fn own_folder(folder: &Path, blast: &mut Blast) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let holds = |item: &&BlastItem| item.name.starts_with('/') && folder.starts_with(&item.name);
    let holding: Vec<String> = blast.items.iter().filter(holds).map(|item| item.name.clone()).collect();
    for name in holding {
        blast.serving.push(format!("this run's own journal lies in {name} ({})", folder.display()));
    }
}

async fn target(name: &str, destroys: &Destroys, cx: &Context, blast: &mut Blast) {
    let target = match cx.target(name) {
        Ok(target) => target,
        Err(why) => return blast.unmeasured.push(why),
    };
    match identify::identity(target).await {
        Ok(identity) => blast.identity = Some(identity),
        Err(why) => match identify::gone(target).await {
            Some(why) => return blast.gone.push(Gone { name: name.to_owned(), why }),
            None => blast.unmeasured.push(format!("the identity of `{name}`: {why}")),
        },
    }
    match &target.sqlite {
        Some(_) if destroys.part() => {
            blast.unmeasured.push(format!("`{name}` is an SQLite file, which goes as a whole"));
        }
        Some(file) => sqlite_extent(name, file, blast).await,
        None if destroys.part() => portion(name, target, destroys, blast).await,
        None => cluster_extent(name, target, blast).await,
    }
}

async fn sqlite_extent(name: &str, file: &str, blast: &mut Blast) {
    match sqlite::extent(file).await {
        Ok(extent) => {
            for (path, _) in &extent.files {
                serving(path, blast).await;
            }
            let files = extent.files.into_iter();
            blast
                .items
                .extend(files.map(|(path, bytes)| item("database file", path.display(), Some(bytes), None)));
            let tables = extent.tables.into_iter();
            blast.items.extend(tables.map(|(table, rows)| item("table", table, None, Some(rows))));
        }
        Err(why) => blast.unmeasured.push(format!("what `{name}` holds: {why}")),
    }
}

async fn cluster_extent(name: &str, target: &Target, blast: &mut Blast) {
    match pg::extent::extent(target).await {
        Ok(extent) => add(extent, blast),
        Err(why) => blast.unmeasured.push(format!("what `{name}` holds: {why}")),
    }
}

async fn portion(name: &str, target: &Target, destroys: &Destroys, blast: &mut Blast) {
    match pg::portion(target, destroys).await {
        Ok(portion) => {
            add(portion.extent, blast);
            blast.gone.extend(portion.missing.into_iter().map(|(name, why)| Gone { name, why }));
        }
        Err(why) => blast.unmeasured.push(format!("the part of `{name}` that goes: {why}")),
    }
}

fn containers(going: Going, blast: &mut Blast) {
    let all = going.containers.into_iter();
    blast.items.extend(all.map(|one| item("container", one.name, Some(one.bytes), None)));
    blast.serving.extend(going.serving);
    blast.unmeasured.extend(going.unmeasured);
    blast.gone.extend(going.missing.into_iter().map(|(name, why)| Gone { name, why }));
}

fn add(extent: pg::Extent, blast: &mut Blast) {
    let parts = extent.parts.into_iter();
    blast.items.extend(parts.map(|part| item(part.kind, part.name, part.bytes, part.rows)));
    blast.serving.extend(extent.serving);
    blast.unmeasured.extend(extent.unmeasured);
}

fn item(kind: &str, name: impl ToString, bytes: Option<u64>, rows: Option<u64>) -> BlastItem {
    BlastItem { kind: kind.to_owned(), name: name.to_string(), bytes, rows }
}

async fn serving(path: &Path, blast: &mut Blast) {
    match users::of(path).await {
        Ok(users) => {
            // A file of a folder that goes as well is said once.
            let new = users.into_iter().filter(|user| !blast.serving.contains(user));
            let new: Vec<String> = new.collect();
            blast.serving.extend(new);
        }
        Err(why) if blast.unmeasured.contains(&why) => {}
        Err(why) => blast.unmeasured.push(why),
    }
}

async fn path(path: &Path, cx: &Context, blast: &mut Blast) {
    let shown = path.display().to_string();
    match cx.world.files.stat(path).await {
        Ok(None) => {
            let why = format!("there is no {shown}");
            blast.gone.push(Gone { name: shown, why });
        }
        Ok(Some(stat)) => {
            if stat.path != path {
                blast
                    .unmeasured
                    .push(format!("{shown} leads elsewhere, to {}; name the real path", stat.path.display()));
                return;
            }
            let bytes = match stat.kind {
                "directory" => cx.world.files.tree_size(path).await,
                _ => Ok(stat.size),
            };
            match bytes {
                Ok(bytes) => blast.items.push(item(stat.kind, shown, Some(bytes), None)),
                Err(why) => blast.unmeasured.push(why),
            }
            serving(path, blast).await;
        }
        Err(why) => blast.unmeasured.push(why),
    }
}
