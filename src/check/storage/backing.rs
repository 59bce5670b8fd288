//! Can the free space that a file system reports be believed? Not when it lies on a thin pool or a sparse image, over a
//! network, in an overlay, or shares its blocks with snapshots.

use std::path::Path;

use crate::base::Size;
use crate::check::Context;
use crate::world::files::Space;

/// Types over a network: the server's quotas and its other users do not show.
const REMOTE: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "lustre"];
/// Types that share blocks with snapshots and clones.
const SHARING: [&str; 3] = ["btrfs", "zfs", "bcachefs"];
/// Devices upon devices, at most.
const DEEP: usize = 8;

/// Why a file system's free space may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The word under which a runbook can trust it: its type, or `thin`.
    pub word: String,
    /// Why, as the rest of a sentence about it.
    pub why: String,
}

/// The reason to doubt a file system's free space; `None` when it can be believed.
pub async fn doubt(space: &Space, cx: &Context) -> Option<Doubt> {
    let by_kind = match space.kind.as_deref() {
        None => Some(("unknown".to_owned(), "its type is not known")),
        Some(kind) if REMOTE.contains(&kind) || kind.starts_with("fuse") => {
            Some((kind.to_owned(), "what lies behind it, and its quotas, do not show"))
        }
        Some("overlay") => Some(("overlay".to_owned(), "limits of the container do not show")),
        Some(kind) if SHARING.contains(&kind) => {
            Some((kind.to_owned(), "snapshots and metadata may take room that does not show"))
        }
        Some(_) => None,
    };
    match by_kind {
        Some((word, why)) => Some(Doubt { word, why: why.to_owned() }),
        None => thin(space.device, cx).await.map(|why| Doubt { word: "thin".to_owned(), why }),
    }
}

/// Looks beneath a device: thin pools of the device mapper, images that are not allocated in full.
async fn thin(device: u64, cx: &Context) -> Option<String> {
    // How Linux puts a device's two numbers into one.
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let mut open = vec![Path::new("/sys/dev/block").join(format!("{major}:{minor}"))];
    let mut seen = 0;
    while let Some(at) = open.pop() {
        seen += 1;
        if seen > DEEP {
            break;
        }
        let text = async |name: &str| {
            let bytes = cx.world.files.read(&at.join(name), 64 << 10).await.ok()?;
            Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        if text("dm/uuid").await.is_some_and(|uuid| uuid.ends_with("-tpool")) {
            return Some("it lies on a thin pool, whose own room does not show".to_owned());
        }
        if let Some(image) = text("loop/backing_file").await {
            return sparse(Path::new(&image), cx).await;
        }
        if let Ok(slaves) = cx.world.files.list(&at.join("slaves")).await {
            open.extend(slaves.into_iter().map(|slave| slave.path));
        }
    }
    None
}

async fn sparse(image: &Path, cx: &Context) -> Option<String> {
    let unseen = || Some(format!("its image {} cannot be seen from here", image.display()));
    let Ok(Some(stat)) = cx.world.files.stat(image).await else { return unseen() };
    let Ok(allocated) = cx.world.files.tree_size(image).await else { return unseen() };
    // A file's last block may be missing, and so may what was never written of a few headers.
    (allocated + (1 << 20) < stat.size).then(|| {
        format!(
            "its image {} has {} of its {} only: the rest has to be found elsewhere",
            image.display(),
            Size(allocated),
            Size(stat.size)
        )
    })
}
