//! Who is at work: the person behind sudo, else the login user; in CI the job's actor; else as claimed.

use crate::base::text;

/// The operator's name: `--operator`, else the CI job's actor, else SUDO_USER, else the login user.
pub fn operator(claimed: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> String {
    let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let ci = || ["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID"].into_iter().find_map(set);
    let name = claimed
        .map(str::to_owned)
        .or_else(|| set("CI").and_then(|_| ci()))
        .or_else(|| set("SUDO_USER"))
        .or_else(|| set("LOGNAME"))
        .or_else(|| set("USER"))
        .or_else(|| crate::supervise::env::Account::own().ok().map(|account| account.name))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    text::neutral(&name).replace(['\n', '@'], " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence() {
        let env = |pairs: &'static [(&'static str, &'static str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        assert_eq!(operator(Some("carol"), &env(&[("SUDO_USER", "bob")])), "carol");
        assert_eq!(operator(None, &env(&[("SUDO_USER", "bob"), ("USER", "root")])), "bob");
        assert_eq!(
            operator(None, &env(&[("CI", "true"), ("GITHUB_ACTOR", "dana"), ("USER", "runner")])),
            "dana"
        );
        assert_eq!(operator(None, &env(&[("GITHUB_ACTOR", "dana"), ("USER", "eve")])), "eve");
        assert_eq!(operator(Some("a@b\n\x1b[2J"), &env(&[])), "a b ␛[2J");
    }
}
