//! Packages in every state that dpkg knows, in a database of their own that is put over the machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::network::inside;
use super::super::{is, verdict};
use crate::harness::{Need, Registry, must};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "package_installed", Pass, &[Need::Root], || {
        let packages = Packages::new();
        let whole = packages.ask(json!({ "package": "hp-whole" }));
        is(&whole, Pass, "hp-whole 1:9.10~rc1-1 installed");
        vec![
            whole,
            // 9.10 is later than 9.9, and ~rc1 earlier than 9.10.
            packages.ask(json!({ "package": "hp-whole", "at_least": "1:9.9", "at_most": "1:9.10" })),
            packages.ask(json!({ "package": "hp-whole", "exactly": "1:9.10~rc1-1", "held": false })),
            packages.ask(json!({ "package": "hp-held", "held": true })),
            packages.ask(json!({ "package": "hp-removed", "installed": false })),
            packages.ask(json!({ "package": "hp-nowhere", "installed": "false" })),
        ]
    });
    verdict(r, "package_installed", Fail, &[Need::Root], || {
        let packages = Packages::new();
        let unpacked = packages.ask(json!({ "package": "hp-unpacked" }));
        is(&unpacked, Fail, "hp-unpacked is unpacked");
        let half = packages.ask(json!({ "package": "hp-broken" }));
        is(&half, Fail, "hp-broken is half-configured");
        let removed = packages.ask(json!({ "package": "hp-removed" }));
        is(&removed, Fail, "its configuration files are left");
        let old = packages.ask(json!({ "package": "hp-whole", "at_least": "1:9.10" }));
        is(&old, Fail, "hp-whole is 1:9.10~rc1-1, not at least 1:9.10");
        let not_held = packages.ask(json!({ "package": "hp-whole", "held": true }));
        is(&not_held, Fail, "hp-whole is not on hold");
        vec![
            unpacked,
            half,
            removed,
            old,
            not_held,
            packages.ask(json!({ "package": "hp-held", "held": "false" })),
            packages.ask(json!({ "package": "hp-nowhere" })),
            packages.ask(json!({ "package": "hp-broken", "installed": false })),
            packages.ask(json!({ "package": "hp-unpacked", "installed": false })),
        ]
    });
    verdict(r, "package_installed", Unknown, &[Need::Root], || {
        let check = |params: Value| json!({ "package_installed": params });
        let none = "mount -t tmpfs none /var/lib/dpkg";
        let absent = json!({ "package": "hp-nowhere", "installed": false });
        let neither = inside(none, check(absent.clone()));
        is(&neither, Unknown, "neither dpkg nor rpm");
        let empty = inside(&format!("{none}; : > /var/lib/dpkg/status"), check(absent.clone()));
        is(&empty, Unknown, "it is empty or another one");
        let broken = inside(&format!("{none}; echo nonsense > /var/lib/dpkg/status"), check(absent));
        is(&broken, Unknown, "dpkg-query gave no answer");
        vec![neither, empty, broken]
    });
}

/// A database of packages, made by dpkg itself.
struct Packages {
    dir: tempfile::TempDir,
}

impl Packages {
    fn new() -> Packages {
        let packages = Packages { dir: tempfile::tempdir().unwrap() };
        let database = packages.root().join("var/lib/dpkg");
        for dir in ["info", "updates"] {
            std::fs::create_dir_all(database.join(dir)).unwrap();
        }
        let dpkg = must(Command::new("dpkg-query").args(["--status", "dpkg"]));
        std::fs::write(database.join("status"), dpkg.stdout).unwrap();
        packages.dpkg("--install", &packages.build("hp-whole", "1:9.10~rc1-1", ""));
        packages.dpkg("--install", &packages.build("hp-held", "1", ""));
        packages.dpkg("--unpack", &packages.build("hp-unpacked", "1", ""));
        packages.dpkg("--install", &packages.build("hp-removed", "1", ""));
        packages.dpkg("--remove", Path::new("hp-removed"));
        // Its script fails: there is nothing in that system that could run it.
        packages.dpkg("--install", &packages.build("hp-broken", "1", "#!/bin/sh\nexit 1\n"));
        let mut hold = packages.command();
        hold.arg("--set-selections").stdin(std::process::Stdio::piped());
        let mut hold = hold.spawn().unwrap();
        std::io::Write::write_all(&mut hold.stdin.take().unwrap(), b"hp-held hold\n").unwrap();
        assert!(hold.wait().unwrap().success());
        packages
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn build(&self, name: &str, version: &str, postinst: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(dir.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        std::fs::write(dir.join("etc").join(name), "x\n").unwrap();
        std::fs::write(dir.join("DEBIAN/conffiles"), format!("/etc/{name}\n")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
             Description: nothing\n"
        );
        std::fs::write(dir.join("DEBIAN/control"), control).unwrap();
        if !postinst.is_empty() {
            std::fs::write(dir.join("DEBIAN/postinst"), postinst).unwrap();
            must(Command::new("chmod").arg("755").arg(dir.join("DEBIAN/postinst")));
        }
        let deb = dir.with_extension("deb");
        must(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&dir).arg(&deb));
        deb
    }

    fn command(&self) -> Command {
        let mut command = Command::new("dpkg");
        // Not into the machine's own log.
        command
            .arg("--log=/dev/null")
            .arg(format!("--root={}", self.root().display()))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// What comes of it is seen by the check.
    fn dpkg(&self, action: &str, what: &Path) {
        self.command().args(["--force-depends", action]).arg(what).output().unwrap();
    }

    fn ask(&self, params: Value) -> Outcome {
        let over = format!("mount --bind {}/var/lib/dpkg /var/lib/dpkg", self.root().display());
        inside(&over, json!({ "package_installed": params }))
    }
}
