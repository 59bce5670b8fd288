//! Does what lies at a path of a container outlive the container?

use std::path::PathBuf;

use super::Place;
use crate::check::Context;
use crate::check::containers::bytes::{joined, mount_of};
use crate::check::containers::engine::Client;
use crate::check::containers::shape::{Mount, made_up, short};

/// How a path stands.
pub(super) enum Standing {
    /// On storage that outlives the container.
    Kept {
        /// What it is.
        what: String,
        /// Its place on the host.
        here: PathBuf,
        /// Mounted only while a container uses it, and none does now.
        asleep: bool,
    },
    /// It goes with the container; how.
    Lost(String),
    /// Not known; why.
    Unclear(String),
}

/// True for a file system that lives in memory.
fn in_memory(kind: &str) -> bool {
    matches!(kind, "tmpfs" | "ramfs")
}

/// How a path of the container stands, links resolved.
pub(super) async fn stands(place: &Place<'_>, path: &str) -> Standing {
    let Some((mount, rest)) = mount_of(place.mounts, path) else {
        return Standing::Lost("in the container's own layer, which goes with the container".to_owned());
    };
    let mut asleep = false;
    let what = match mount.kind.as_str() {
        kind if in_memory(kind) => {
            return Standing::Lost(format!("on a {kind}, in memory: it goes when the container stops"));
        }
        "bind" => format!("the bind mount {}", mount.source),
        "volume" => match volume(place, mount).await {
            Ok((what, own)) => {
                asleep = own && !place.running;
                what
            }
            Err(standing) => return standing,
        },
        other => {
            return Standing::Unclear(format!(
                "it lies on a mount of the kind `{other}`, which is not known here"
            ));
        }
    };
    let here = joined(&mount.source, &rest);
    // The nearest parent that exists is measured; whether the directory is there is asked elsewhere.
    match place.cx.world.files.space(&here).await {
        Ok(space) if space.kind.as_deref().is_some_and(in_memory) => Standing::Lost(format!(
            "on {what}, which the host keeps in memory: it goes when the host restarts"
        )),
        Ok(_) => Standing::Kept { what, here, asleep },
        Err(why) => Standing::Unclear(format!("{what} cannot be looked at: {why}")),
    }
}

/// The volume in words, and whether it is a file system of its own.
async fn volume(place: &Place<'_>, mount: &Mount) -> Result<(String, bool), Standing> {
    let name = short(&mount.name);
    let lost = || {
        Standing::Lost(format!(
            "on the anonymous volume {name}, which `rm -v`, `--rm` and a prune delete with the container"
        ))
    };
    match place.client.volume(place.cx, &mount.name).await {
        Ok(volume) if volume.anonymous() => Err(lost()),
        Ok(volume) => match volume.file_system() {
            Some(kind) if in_memory(kind) => Err(Standing::Lost(format!(
                "on the volume {name}, which is a {kind}: it goes when the container stops"
            ))),
            own => Ok((format!("the named volume {name}"), own.is_some())),
        },
        Err(_) if made_up(&mount.name) => Err(lost()),
        Err(trouble) => Err(Standing::Unclear(format!("it lies on the volume {name}: {trouble}"))),
    }
}

/// What removing the container would do to a mount, for people.
pub(super) async fn fate(cx: &Context, client: &Client, mount: &Mount, auto_remove: bool) -> String {
    let at = &mount.destination;
    let anonymous = match mount.kind.as_str() {
        "bind" => return format!("{at}: bind mount {}, stays when the container is removed", mount.source),
        "volume" => match client.volume(cx, &mount.name).await {
            Ok(volume) => volume.anonymous(),
            Err(_) => made_up(&mount.name),
        },
        kind => return format!("{at}: {kind}, gone when the container stops"),
    };
    let name = &mount.name;
    match (anonymous, auto_remove) {
        (true, true) => format!("{at}: anonymous volume {name}, deleted when the container stops (`--rm`)"),
        (true, false) => {
            format!(
                "{at}: anonymous volume {name}, deleted by `rm -v`, and by a volume prune once the container is gone"
            )
        }
        (false, _) => format!(
            "{at}: named volume {name}, stays; `{} volume prune` {}",
            client.program,
            if client.program == "podman" {
                "deletes it once the container is gone"
            } else {
                "before Docker 23 deletes it once the container is gone"
            }
        ),
    }
}
