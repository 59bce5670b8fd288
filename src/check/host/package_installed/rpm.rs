//! What rpm knows of a package.

use super::{Found, run};
use crate::check::Context;

const FORMAT: &str = "%{NAME}\\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n";

/// Every installed version of a package: of some, such as the kernel, there may be several.
pub(super) async fn find(package: &str, cx: &Context) -> Result<Vec<Found>, String> {
    let done = run(&["rpm", "-q", "--qf", FORMAT, "--", package], cx).await?;
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    match done.status {
        Some(0) => parse(&said),
        // The words are those of LC_ALL=C.
        Some(1) if said == format!("package {package} is not installed") => {
            match run(&["rpm", "-q", "rpm"], cx).await?.status {
                Some(0) => Ok(Vec::new()),
                _ => Err("rpm's database does not even know rpm: it is empty or another one".to_owned()),
            }
        }
        _ => Err(format!("rpm gave no answer: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}

fn parse(text: &str) -> Result<Vec<Found>, String> {
    let line = |line: &str| {
        let (name, version) = line.split_once('\t')?;
        // Epoch 0 is never written.
        let version = version.strip_prefix("0:").unwrap_or(version);
        Some(Found {
            name: name.to_owned(),
            state: "installed".to_owned(),
            whole: true,
            gone: false,
            version: version.to_owned(),
            held: None,
        })
    };
    text.lines()
        .map(|one| line(one).ok_or_else(|| format!("the answer of rpm cannot be read: {one}")))
        .collect()
}

/// Epoch, version, release; a part that was not given is not compared.
fn parts(version: &str) -> (&str, &str, Option<&str>) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    match rest.split_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// By rpm's own rules, part by part.
pub(super) async fn compare(
    version: &str,
    relation: &str,
    other: &str,
    cx: &Context,
) -> Result<bool, String> {
    let (ours, theirs) = (parts(version), parts(other));
    let mut pairs = vec![(ours.0, theirs.0), (ours.1, theirs.1)];
    pairs.extend(ours.2.zip(theirs.2));
    let mut order = 0;
    for (a, b) in pairs {
        // Nothing in these can end the text or begin a macro: the parameters were looked at, and rpm allows no more.
        let ask = format!("%{{lua:print(rpm.vercmp(\"{a}\", \"{b}\"))}}");
        let done = run(&["rpm", "--eval", &ask], cx).await?;
        let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        order =
            said.parse::<i32>().map_err(|_| format!("{version} and {other} cannot be compared: {said}"))?;
        if order != 0 {
            break;
        }
    }
    Ok(match relation {
        "ge" => order >= 0,
        "le" => order <= 0,
        _ => order == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let found = parse("kernel\t0:5.14.0-1.el9\nkernel\t0:5.14.0-2.el9").unwrap();
        assert_eq!(found[1].version, "5.14.0-2.el9");
        assert_eq!(parts("1:2.3-4.el9"), ("1", "2.3", Some("4.el9")));
        assert_eq!(parts("2.3"), ("0", "2.3", None));
    }
}
