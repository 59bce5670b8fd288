//! Where a path of a container lies: under which mount, at which place on the host, and whether the host's file and the
//! container's are one and the same.

use std::path::{Path, PathBuf};

use super::shape::{Container, Mount};
use crate::check::Context;
use crate::world::files::Stat;

/// More links than this on one path are a loop.
const MAX_LINKS: usize = 40;

/// A path without `.`, `..` and doubled slashes; `None` when it is not absolute.
pub(super) fn normal(path: &str) -> Option<String> {
    path.starts_with('/').then_some(())?;
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// What remains of a path below a directory: empty when they are the same, `None` when it is not below it. Whole names
/// only: /data2 is not below /data.
pub(super) fn below(path: &str, directory: &str) -> Option<String> {
    let (path, directory) = (normal(path)?, normal(directory)?);
    let rest = match directory.as_str() {
        "/" => &path,
        _ => path.strip_prefix(&directory)?,
    };
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
}

/// The mount that a path lies on: the one with the longest destination above it; and the rest of the path below that.
pub(super) fn mount_of<'a>(mounts: &'a [Mount], path: &str) -> Option<(&'a Mount, String)> {
    let all = mounts.iter().filter_map(|mount| Some((mount, below(path, &mount.destination)?)));
    // The last one wins among equals: it was mounted over the others.
    all.max_by_key(|(mount, _)| normal(&mount.destination).map_or(0, |path| path.len()))
}

/// A place on the host.
pub(super) fn joined(source: &str, rest: &str) -> PathBuf {
    if rest.is_empty() { PathBuf::from(source) } else { Path::new(source).join(rest) }
}

/// A container's own root as this machine sees it, when its process can be looked at here; else why not.
pub(super) async fn inside(cx: &Context, container: &Container) -> Result<PathBuf, String> {
    if !container.state.running || container.state.pid <= 0 {
        return Err("the container does not run".to_owned());
    }
    let process = PathBuf::from(format!("/proc/{}", container.state.pid));
    let groups = cx.world.files.read(&process.join("cgroup"), 65_536).await?;
    // The number could be another process here: of another machine, or of another name space.
    if !String::from_utf8_lossy(&groups).contains(&container.id) {
        return Err(format!("process {} is not the container's here", container.state.pid));
    }
    let root = process.join("root");
    cx.world.files.list(&root).await.map(|_| root)
}

/// What is at a path of the container, all links resolved before. Not asked with `stat`, which resolves the link
/// /proc/PID/root itself and so would land on this machine's own root.
pub(super) async fn within(cx: &Context, root: &Path, path: &str) -> Result<Option<Stat>, String> {
    let mut here = root.to_owned();
    let mut found = None;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let entries = cx.world.files.list(&here).await?;
        here.push(part);
        found = entries.into_iter().find(|entry| entry.path == here);
        if found.is_none() {
            break;
        }
    }
    Ok(found)
}

/// A path of the container with all links resolved inside it: an absolute link leads to the container's own root.
pub(super) async fn resolved(cx: &Context, root: &Path, path: &str) -> Result<String, String> {
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => {
                done.pop();
            }
            _ => {
                let here = root.join(done.join("/")).join(&part);
                match cx.world.files.read_link(&here).await? {
                    None => done.push(part),
                    Some(_) if links == MAX_LINKS => return Err(format!("{path}: too many links")),
                    Some(target) => {
                        links += 1;
                        let target = target.display().to_string();
                        if target.starts_with('/') {
                            done.clear();
                        }
                        left.extend(target.split('/').rev().map(str::to_owned));
                    }
                }
            }
        }
    }
    Ok(format!("/{}", done.join("/")))
}

/// Is it one and the same file?
pub(super) fn same(a: &Stat, b: &Stat) -> bool {
    (a.device, a.inode) == (b.device, b.inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn at(destination: &str) -> Mount {
        Mount { destination: destination.to_owned(), ..Mount::default() }
    }

    #[test]
    fn the_longest_destination_counts_and_only_whole_names() {
        let mounts =
            [at("/var/lib/postgresql/"), at("/"), at("/var/lib/postgresql/data"), at("/var/lib/postgres")];
        let on = |path: &str| mount_of(&mounts, path).map(|(mount, rest)| (mount.destination.clone(), rest));
        assert_eq!(
            on("/var/lib/postgresql/data"),
            Some(("/var/lib/postgresql/data".to_owned(), String::new()))
        );
        assert_eq!(
            on("/var/lib/postgresql/18/docker"),
            Some(("/var/lib/postgresql/".to_owned(), "18/docker".to_owned()))
        );
        assert_eq!(
            on("/var/lib/postgresql/data2"),
            Some(("/var/lib/postgresql/".to_owned(), "data2".to_owned()))
        );
        assert_eq!(
            on("/var/lib/postgresql-old"),
            Some(("/".to_owned(), "var/lib/postgresql-old".to_owned()))
        );
        assert_eq!(mount_of(&[at("/data")], "/data2").map(|(_, rest)| rest), None);
        assert_eq!(normal("//a/./b/../c/").as_deref(), Some("/a/c"));
        assert_eq!(normal("a"), None);
    }

    #[tokio::test]
    async fn links_stay_inside_the_container() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("var/lib/pg/15")).unwrap();
        symlink("/var/lib/pg", root.join("data")).unwrap();
        symlink("../var/./lib", root.join("var/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let cx = Context::local(World::local());
        assert_eq!(resolved(&cx, root, "/data/15").await.unwrap(), "/var/lib/pg/15");
        assert_eq!(resolved(&cx, root, "/var/up/pg/../x").await.unwrap(), "/var/lib/x");
        assert!(resolved(&cx, root, "/loop").await.unwrap_err().contains("too many links"));
        assert_eq!(
            within(&cx, root, "/var/lib/pg/15").await.unwrap().map(|found| found.kind),
            Some("directory")
        );
        assert_eq!(within(&cx, root, "/var/nothing/here").await.unwrap(), None);
    }
}
