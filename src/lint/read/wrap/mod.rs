//! Commands that run other commands: where the inner one begins, and which of their texts are code.

mod others;
mod shells;
pub(super) mod table;

use super::options::{parse, takes};
use super::word::{LATER, UNKNOWN, Word, around, joined};
use super::{Here, Reader, Stdin};
use shells::remote;
use table::{BEFORE, How, SHELLS, WRAPPERS, Wrapper};

/// True for `NAME=value`.
pub(super) fn assigns(word: &Word) -> bool {
    let name = word.text.split('=').next().unwrap_or_default();
    word.text.contains('=')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn skip_assignments(words: &[Word]) -> &[Word] {
    let count = words.iter().take_while(|word| assigns(word)).count();
    &words[count..]
}

impl Reader<'_> {
    /// Reads one command.
    pub(super) fn command(&mut self, words: &[Word], stdin: &Stdin, here: Here) {
        let Some((name, args)) = words.split_first() else { return };
        if self.left == 0 {
            return self.too_long(&name.at);
        }
        self.left -= 1;
        if matches!(name.text.as_str(), "fi" | "done" | "esac" | "elif") {
            return self.unreadable("this is not understood as a script", name.at.clone());
        }
        if name.text.is_empty() || BEFORE.contains(&name.text.as_str()) || assigns(name) {
            return self.command(args, stdin, here);
        }
        if let Some(program) = self.program(name, args) {
            let at = around(name, words.last().unwrap_or(name));
            self.at = at.clone();
            self.deeper(&at, |reader| reader.known_program(&program, words, stdin, here));
        }
    }

    /// The program's bare name; `None` when there is nothing more to read.
    fn program(&mut self, name: &Word, args: &[Word]) -> Option<String> {
        let base = name.base();
        let known = !base.is_empty() && !base.contains([UNKNOWN, LATER]);
        if !name.known() && !known {
            // A runbook's own variable has its value when the run starts; then it is read again.
            if !name.text.contains(LATER) {
                self.unreadable("which command this is shows only when it runs", name.at.clone());
            }
            return None;
        }
        let script = [".sh", ".bash", ".py", ".pl", ".rb"].iter().any(|end| base.ends_with(end));
        if name.text.contains(UNKNOWN) && script {
            self.unreadable("where this script stands shows only when it runs", name.at.clone());
            return None;
        }
        if name.known() && name.text.contains('/') && self.local(name, args, false) {
            return None;
        }
        Some(base.to_owned())
    }

    fn known_program(&mut self, program: &str, words: &[Word], stdin: &Stdin, here: Here) {
        let args = words.get(1..).unwrap_or_default();
        if SHELLS.contains(&program) {
            return self.shell(args, stdin);
        }
        if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.0.contains(&program)) {
            self.wrapped(program, wrapper, args, stdin, here);
            return;
        }
        match program {
            "env" => self.env(args, stdin, here),
            "su" | "runuser" => self.su(program, args, stdin, here),
            "eval" => self.eval(args, here),
            "trap" | "alias" => self.handler(program, args, here),
            "flock" => self.flock(args, stdin, here),
            "script" => self.code_option(
                args,
                takes("cIOBEmoT", &["command", "log-in", "log-out", "log-io", "log-timing"]),
                &["c", "command"],
            ),
            "vagrant" => self.code_option(args, takes("c", &["command"]), &["c", "command"]),
            "ansible" => self.code_option(
                args,
                takes("amiuefMlt", &["args", "module-name", "inventory"]),
                &["a", "args"],
            ),
            "parallel" => self.parallel(args, stdin, here),
            "screen" | "tmux" | "byobu" => self.terminal(program, args, here),
            "find" | "fd" | "fdfind" => self.find_exec(args, here),
            "docker" | "podman" | "nerdctl" | "docker-compose" | "podman-compose" | "kubectl" | "oc"
            | "k3s" | "microk8s" | "lxc" | "incus" | "pct" | "machinectl" | "crictl" => {
                self.container(args, stdin, here);
            }
            "at" | "batch" | "crontab" => self.later(program, args, stdin, words),
            _ => {}
        }
        self.client(program, words, stdin);
        self.destruction(program, words, stdin);
    }

    fn wrapped(&mut self, program: &str, wrapper: &Wrapper, args: &[Word], stdin: &Stdin, here: Here) {
        let &Wrapper(_, takes, before, how) = wrapper;
        let parsed = parse(args, takes, false);
        if program == "command" && parsed.has(&["v", "V"]) {
            return;
        }
        let rest = skip_assignments(&parsed.rest);
        let inner = skip_assignments(rest.get(before..).unwrap_or_default());
        match how {
            How::Words if program == "xargs" => self.xargs(inner, stdin, here),
            How::Words
                if inner.is_empty() && program == "sudo" && parsed.has(&["s", "i", "shell", "login"]) =>
            {
                self.shell(&[], stdin);
            }
            How::Words if inner.is_empty() && matches!(program, "nsenter" | "unshare" | "chroot") => {
                self.shell(&[], stdin);
            }
            How::Words => self.command(inner, stdin, here),
            How::Remote if inner.is_empty() => self.shell(&[], stdin),
            // What stands behind the host may still have options in front of it.
            How::Remote | How::Code => {
                let inner = if how == How::Remote { remote(inner, takes) } else { inner };
                self.nested(&joined(inner), false, Some(Vec::new()));
                self.passed(inner, stdin);
            }
        }
    }
}
