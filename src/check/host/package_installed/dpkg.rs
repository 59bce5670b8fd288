//! What dpkg knows of a package.

use super::{Found, run};
use crate::check::Context;

const FORMAT: &str =
    "${binary:Package}\\t${db:Status-Want}\\t${db:Status-Eflag}\\t${db:Status-Status}\\t${Version}\\n";

/// Every architecture of a package, also those that are not installed.
pub(super) async fn find(package: &str, cx: &Context) -> Result<Vec<Found>, String> {
    // dpkg itself is in every database that is worth asking: in an empty one nothing is installed, and all is absent.
    let done = run(&["dpkg-query", "-W", "-f", FORMAT, "--", "dpkg", package], cx).await?;
    let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match done.status {
        Some(0) => {}
        Some(1) if complaint.contains("no packages found matching") => {}
        _ => return Err(format!("dpkg-query gave no answer: {complaint}")),
    }
    let found = parse(&String::from_utf8_lossy(&done.stdout))?;
    let named = |one: &Found, name: &str| one.name == name || one.name.split(':').next() == Some(name);
    if !found.iter().any(|one| named(one, "dpkg") && one.whole) {
        return Err("dpkg's database does not even know dpkg: it is empty or another one".to_owned());
    }
    Ok(found.into_iter().filter(|one| named(one, package)).collect())
}

fn parse(text: &str) -> Result<Vec<Found>, String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, want, error, status, version] = fields.as_slice() else { return None };
        let (whole, gone) =
            (*status == "installed" && *error == "ok", matches!(*status, "not-installed" | "config-files"));
        let state = match (*status, *error) {
            ("config-files", _) => "removed, its configuration files are left".to_owned(),
            (status, "ok") => status.replace('-', " ").replace("half ", "half-"),
            (status, error) => format!("{status}, and marked {error}"),
        };
        Some(Found {
            name: (*name).to_owned(),
            state,
            whole,
            gone,
            version: (*version).to_owned(),
            held: Some(*want == "hold"),
        })
    };
    text.lines()
        .map(|one| line(one).ok_or_else(|| format!("the answer of dpkg-query cannot be read: {one}")))
        .collect()
}

/// By dpkg's own rules.
pub(super) async fn compare(
    version: &str,
    relation: &str,
    other: &str,
    cx: &Context,
) -> Result<bool, String> {
    let done = run(&["dpkg", "--compare-versions", version, relation, other], cx).await?;
    let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match done.status {
        // It goes on with a version that it complains of.
        Some(0) if complaint.is_empty() => Ok(true),
        Some(1) if complaint.is_empty() => Ok(false),
        _ => Err(format!("{version} and {other} cannot be compared: {complaint}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let text = "a:amd64\tinstall\tok\tinstalled\t1\nb\thold\tok\tinstalled\t2\nc\tdeinstall\tok\tconfig-files\t3\n\
                    d\tinstall\tok\thalf-configured\t4\ne\tunknown\tok\tnot-installed\t\nf\tinstall\treinstreq\tinstalled\t5\n";
        let found = parse(text).unwrap();
        let states: Vec<_> = found.iter().map(|f| (f.whole, f.gone, f.held == Some(true))).collect();
        let (yes, no) = (true, false);
        let wanted =
            [(yes, no, no), (yes, no, yes), (no, yes, no), (no, no, no), (no, yes, no), (no, no, no)];
        assert_eq!(states, wanted);
        assert_eq!(found[3].state, "half-configured");
        assert_eq!(found[5].state, "installed, and marked reinstreq");
        assert!(parse("nonsense\n").is_err());
    }
}
