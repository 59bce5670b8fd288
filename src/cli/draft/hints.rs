//! What a draft says about usual commands: what somebody who types them at a terminal does not notice, which checks show that
//! they have worked, and which may take hours.

/// Remarks about a script that was written for a person at a terminal.
pub(super) fn notes(text: &str) -> Vec<&'static str> {
    let asks = text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.iter().any(|word| ["apt", "apt-get", "yum", "dnf"].contains(word))
            && !words.iter().any(|word| ["-y", "-qqy", "-yq", "--yes", "--assume-yes"].contains(word))
            && words.iter().any(|word| {
                word.contains("upgrade")
                    || word.contains("install")
                    || ["autoremove", "remove", "purge"].contains(word)
            })
    });
    let notes = [
        (
            asks,
            "This asks at a terminal. Here it has none: add `-y`, and DEBIAN_FRONTEND=noninteractive under `env`.",
        ),
        (
            text.lines().any(|line| line.trim_start().trim_start_matches("sudo ").starts_with("reboot")),
            "This ends Holdpoint, too. Afterwards `holdpoint resume` goes on, and measures everything again.",
        ),
        (
            ["nano ", "vim ", "vi ", "less ", "top\n", "psql\n"].iter().any(|word| {
                text.lines().any(|line| {
                    format!("{}\n", line.trim_start().trim_start_matches("sudo ")).starts_with(word)
                })
            }),
            "This needs a person at a terminal. Make a `manual` step of it.",
        ),
    ];
    notes.into_iter().filter(|(fits, _)| *fits).map(|(_, note)| note).collect()
}

/// Checks that show whether usual commands have worked.
pub(super) fn candidates(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    for (verb, running) in [("stop", false), ("start", true), ("restart", true)] {
        let unit =
            text.split(&format!("systemctl {verb} ")).nth(1).and_then(|rest| rest.split_whitespace().next());
        if let Some(unit) = unit.filter(|unit| !unit.starts_with('-') && plain_word(unit)) {
            let unit = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
            let until = if running { "" } else { ", until: STEP" };
            found.push(format!("service_running: {{ unit: {unit}, running: {running}{until} }}"));
        }
    }
    if has(&["pg_upgradecluster", "pg_upgrade ", "pg_restore"]) {
        found.push("data_matches: { recorded: before, target: new, until: STEP }".to_owned());
        found.push("sequences_ahead: { target: new }".to_owned());
    }
    if has(&["pg_dump", "pg_basebackup"]) {
        found.push("backup_fresh: { path: /srv/dumps, max_age: 24h }".to_owned());
    }
    if has(&["apt ", "apt-get "]) {
        found.push("package_installed: { package: NAME }".to_owned());
    }
    if has(&["cp ", "rsync ", "mv ", "tar "]) {
        found.push("file: { path: /srv/new, at_least: 1MB }".to_owned());
    }
    if has(&["df ", "du "]) {
        found.push("disk_free: { path: /, at_least: 20GiB }".to_owned());
    }
    if has(&["curl ", "wget "]) {
        found.push("http_answers: { url: https://chat.example.org/ }".to_owned());
    }
    found
}

fn plain_word(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
}

/// Commands that may take hours.
pub(super) fn long(text: &str) -> bool {
    ["upgrade", "pg_dump", "pg_restore", "rsync", "basebackup", "cp -a", "tar ", "vacuum", "reindex"]
        .iter()
        .any(|word| text.to_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_fits() {
        assert!(notes("sudo apt-get upgrade\n")[0].contains("-y"));
        assert!(notes("apt-get -y upgrade\n").is_empty());
        assert!(notes("sudo reboot\n")[0].contains("resume"));
        assert!(notes("vim /etc/hosts\n")[0].contains("manual"));
        assert_eq!(
            candidates("systemctl stop a.service\n"),
            ["service_running: { unit: a.service, running: false, until: STEP }"]
        );
        assert!(candidates("pg_upgradecluster 9.6 main\n")[0].starts_with("data_matches"));
        assert!(candidates("echo x\n").is_empty());
        assert!(long("rsync -a /a /b") && !long("echo x"));
    }
}
