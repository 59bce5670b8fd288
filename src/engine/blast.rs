//! Measures what a destructive step would destroy: directories, tablespaces, WAL, configuration, databases, rows, files.
//! What cannot be measured is said, and blocks.

use std::path::Path;

use crate::check::Context;
use crate::journal::record::{Blast, BlastItem};
use crate::runbook::model::Destroys;
use crate::world::{identify, pg, process, sqlite};

/// Measures everything that would go.
pub async fn measure(destroys: &Destroys, cx: &Context) -> Blast {
    let mut blast = Blast {
        items: Vec::new(),
        identity: None,
        serving: Vec::new(),
        unmeasured: Vec::new(),
        at: cx.world.clock.now(),
    };
    if let Some(name) = &destroys.target {
        target(name, cx, &mut blast).await;
    }
    for path in &destroys.paths {
        self::path(Path::new(path), cx, &mut blast).await;
    }
    if destroys.target.is_none() && destroys.paths.is_empty() {
        blast.unmeasured.push("the step names neither a target nor paths".to_owned());
    }
    blast.at = cx.world.clock.now();
    blast
}

async fn target(name: &str, cx: &Context, blast: &mut Blast) {
    let target = match cx.target(name) {
        Ok(target) => target,
        Err(why) => return blast.unmeasured.push(why),
    };
    match identify::identity(target).await {
        Ok(identity) => blast.identity = Some(identity),
        Err(why) => blast.unmeasured.push(format!("the identity of `{name}`: {why}")),
    }
    let extent = if target.sqlite.is_some() {
        sqlite::extent(target).await
    } else {
        pg::extent::extent(target).await
    };
    match extent {
        Ok(extent) => {
            blast.items.extend(extent.items.into_iter().map(|item| BlastItem {
                kind: item.kind,
                name: item.name,
                bytes: item.bytes,
                rows: item.rows,
            }));
            blast.serving.extend(extent.serving);
            blast.unmeasured.extend(extent.unmeasured);
        }
        Err(why) => blast.unmeasured.push(format!("what `{name}` holds: {why}")),
    }
}

async fn path(path: &Path, cx: &Context, blast: &mut Blast) {
    let shown = path.display().to_string();
    match cx.world.files.stat(path).await {
        Ok(None) => {}
        Ok(Some(stat)) => {
            if stat.path != path {
                blast.unmeasured.push(format!(
                    "{shown} leads elsewhere, to {}; name the real path", stat.path.display()
                ));
                return;
            }
            let bytes = match stat.kind {
                "directory" => cx.world.files.tree_size(path).await,
                _ => Ok(stat.size),
            };
            match bytes {
                Ok(bytes) => blast.items.push(BlastItem {
                    kind: stat.kind.to_owned(),
                    name: shown,
                    bytes: Some(bytes),
                    rows: None,
                }),
                Err(why) => blast.unmeasured.push(why),
            }
            match process::users_of(path).await {
                Ok(users) => blast.serving.extend(users),
                Err(why) => blast.unmeasured.push(why),
            }
        }
        Err(why) => blast.unmeasured.push(why),
    }
}
