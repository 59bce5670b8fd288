//! The files that set parameters of the kernel at boot: which of them count, and which has the last word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{normal, path_of};
use crate::check::{Context, pattern};

/// Where the files are; of two with one name that in the earlier directory counts.
const PLACES: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];
const OLD: &str = "/etc/sysctl.conf";
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl"];

/// What happens to a parameter at boot.
#[derive(Debug, Default)]
pub(super) struct AtBoot {
    /// The value that is set last, and where it stands.
    pub last: Option<(String, String)>,
    pub notes: Vec<String>,
}

/// One assignment to a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// By its full name.
    Exact(String),
    /// By a pattern that fits it.
    Glob(String),
    /// Patterns pass it over.
    Excluded,
}

/// Looks through all files for a parameter, given as a path below /proc/sys.
pub(super) async fn setting(path: &str, cx: &Context) -> Result<AtBoot, String> {
    let mut boot = AtBoot::default();
    let files = applied(cx).await?;
    let mut old_counts = true;
    for file in SYSTEMD {
        old_counts &= cx.world.files.stat(Path::new(file)).await?.is_none();
    }
    let mut texts = Vec::new();
    let mut linked = false;
    for (file, end) in &files {
        linked |= end.as_path() == Path::new(OLD);
        texts.push((file.display().to_string(), read(file, cx).await?));
    }
    if !linked && cx.world.files.stat(Path::new(OLD)).await?.is_some() {
        let text = read(Path::new(OLD), cx).await?;
        if old_counts {
            texts.push((OLD.to_owned(), text));
        } else if text.lines().any(|line| about(line, path).is_some()) {
            boot.notes.push(format!(
                "{OLD} sets it, which systemd does not read: no link in /etc/sysctl.d leads there"
            ));
        }
    }
    let all = texts.iter().flat_map(|(file, text)| {
        text.lines()
            .enumerate()
            .filter_map(move |(n, line)| Some((about(line, path)?, format!("{file}:{}", n + 1))))
    });
    boot.last = last(all);
    Ok(boot)
}

/// The last word: a full name counts before every pattern.
fn last(lines: impl Iterator<Item = (Line, String)>) -> Option<(String, String)> {
    let (mut exact, mut glob, mut excluded) = (None, None, false);
    for (line, place) in lines {
        match line {
            Line::Exact(value) => exact = Some((value, place)),
            Line::Glob(value) => glob = Some((value, place)),
            Line::Excluded => excluded = true,
        }
    }
    exact.or(glob.filter(|_| !excluded))
}

/// The files that are applied, in their order, each with where it leads.
async fn applied(cx: &Context) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let mut by_name = BTreeMap::new();
    for place in PLACES {
        if cx.world.files.stat(Path::new(place)).await?.is_none() {
            continue;
        }
        for entry in cx.world.files.list(Path::new(place)).await? {
            if let Some(name) = entry.path.file_name().and_then(|name| name.to_str())
                && name.ends_with(".conf")
            {
                by_name.entry(name.to_owned()).or_insert(entry.path.clone());
            }
        }
    }
    let mut files = Vec::new();
    for file in by_name.into_values() {
        // A link to /dev/null switches off a file of this name; a link to nowhere is passed over.
        match cx.world.files.stat(&file).await? {
            Some(stat) if stat.kind == "file" => files.push((file, stat.path)),
            _ => {}
        }
    }
    Ok(files)
}

async fn read(file: &Path, cx: &Context) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&cx.world.files.read(file, 1 << 20).await?).into_owned())
}

/// What a line does to a parameter; `None`: nothing.
fn about(line: &str, path: &str) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    // A hyphen in front: an error does not matter.
    let (hyphen, rest) = line.strip_prefix('-').map_or((false, line), |rest| (true, rest));
    let Some((key, value)) = rest.split_once('=') else {
        return (hyphen && path_of(rest.trim()) == path).then_some(Line::Excluded);
    };
    let key = path_of(key.trim());
    match key.contains(['*', '?']) {
        false => (key == path).then(|| Line::Exact(normal(value))),
        // A star does not reach over a slash.
        true => {
            let (pieces, parts) = (key.split('/'), path.split('/'));
            let same = key.split('/').count() == path.split('/').count();
            (same && pieces.zip(parts).all(|(piece, part)| pattern::fits(piece, part)))
                .then(|| Line::Glob(normal(value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let path = "net/ipv4/conf/eth0/rp_filter";
        let exact = |value: &str| Some(Line::Exact(value.to_owned()));
        assert_eq!(about(" net.ipv4.conf.eth0.rp_filter = 1 ", path), exact("1"));
        assert_eq!(about("-net/ipv4/conf/eth0/rp_filter=2", path), exact("2"));
        assert_eq!(about("net.ipv4.conf.*.rp_filter=0", path), Some(Line::Glob("0".to_owned())));
        assert_eq!(about("net.*.rp_filter=0", path), None);
        assert_eq!(about("-net.ipv4.conf.eth0.rp_filter", path), Some(Line::Excluded));
        for other in ["", "# net.ipv4.conf.eth0.rp_filter=1", "; x", "net.ipv4.conf.all.rp_filter=1"] {
            assert_eq!(about(other, path), None, "{other}");
        }
    }

    #[test]
    fn a_full_name_counts_before_a_pattern() {
        let at = |line: Line, n: u32| (line, n.to_string());
        let (exact, glob) = (|v: &str| Line::Exact(v.to_owned()), |v: &str| Line::Glob(v.to_owned()));
        let value = |lines: Vec<(Line, String)>| last(lines.into_iter()).map(|(value, _)| value);
        assert_eq!(value(vec![at(exact("1"), 1), at(exact("2"), 2), at(glob("3"), 3)]).as_deref(), Some("2"));
        assert_eq!(value(vec![at(glob("3"), 1)]).as_deref(), Some("3"));
        assert_eq!(value(vec![at(Line::Excluded, 1), at(glob("3"), 2)]), None);
    }
}
