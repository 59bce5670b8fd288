//! Wrappers that need a function of their own: `xargs`, `env`, `find -exec`, `parallel`, containers, terminals.

use super::super::options::{Takes, parse, takes};
use super::super::word::{UNKNOWN, Word, joined};
use super::super::{Here, Reader, Stdin};
use super::skip_assignments;

impl Reader<'_> {
    /// `xargs rm -r`: what is added is not known.
    pub(super) fn xargs(&mut self, inner: &[Word], stdin: &Stdin, here: Here) {
        let Some(last) = inner.last() else { return };
        let mut words = inner.to_vec();
        let more = match stdin {
            Stdin::Text(text) if text.known() => text.text.split_whitespace().map(str::to_owned).collect(),
            _ => vec![UNKNOWN.to_string()],
        };
        words.extend(more.into_iter().map(|text| Word { open: true, ..Word::made(text, last.at.clone()) }));
        self.command(&words, &Stdin::Nothing, here);
    }

    pub(super) fn env(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
        let parsed = parse(args, takes("uCSP", &["unset", "chdir", "split-string"]), false);
        let code: Vec<&Word> = parsed.values(&["S", "split-string"]).collect();
        if let Some(code) = code.first() {
            let mut words: Vec<Word> =
                code.text.split_whitespace().map(|text| Word::made(text, code.at.clone())).collect();
            words.extend(parsed.rest.iter().cloned());
            return self.command(&words, stdin, here);
        }
        self.command(skip_assignments(&parsed.rest), stdin, here);
    }

    pub(super) fn flock(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
        let parsed = parse(args, takes("wE", &["timeout", "wait", "conflict-exit-code"]), false);
        match parsed.rest.get(1..).unwrap_or_default() {
            [flag, code, ..] if flag.text == "-c" || flag.text == "--command" => {
                self.nested(code, false, None)
            }
            words => self.command(words, stdin, here),
        }
    }

    pub(super) fn code_option(&mut self, args: &[Word], list: Takes, names: &[&str]) {
        let parsed = parse(args, list, true);
        for code in parsed.values(names) {
            self.nested(code, false, None);
        }
    }

    pub(super) fn parallel(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
        let list = takes(
            "jINnaSdP",
            &[
                "jobs",
                "colsep",
                "delay",
                "timeout",
                "retries",
                "joblog",
                "results",
                "sshlogin",
                "halt",
                "arg-file",
                "max-procs",
            ],
        );
        let parsed = parse(args, list, false);
        let end =
            parsed.rest.iter().position(|word| word.text.starts_with(":::")).unwrap_or(parsed.rest.len());
        let inner = &parsed.rest[..end];
        match inner {
            [] if end < parsed.rest.len() => {
                for word in &parsed.rest[end + 1..] {
                    self.nested(word, here.pipefail, None);
                }
            }
            [] => self.shell(&[], stdin),
            _ => {
                let mut code = joined(inner);
                code.text = format!("{} {UNKNOWN}", code.text);
                code.verbatim = None;
                self.nested(&code, false, None);
            }
        }
    }

    /// A command, or keys, for a terminal of its own.
    pub(super) fn terminal(&mut self, program: &str, args: &[Word], here: Here) {
        if program == "screen" {
            let parsed = parse(args, takes("ScpheTtX", &[]), false);
            if let Some(stuff) =
                parsed.rest.iter().chain(parsed.values(&["X"])).position(|word| word.text == "stuff")
            {
                for word in parsed.rest.iter().skip(stuff.min(parsed.rest.len())) {
                    self.nested(word, false, None);
                }
                return;
            }
            return self.command(&parsed.rest, &Stdin::Nothing, here);
        }
        let starts = [
            "new",
            "new-session",
            "neww",
            "new-window",
            "split-window",
            "splitw",
            "respawn-pane",
            "respawn-window",
            "send",
            "send-keys",
            "run",
            "run-shell",
            "if-shell",
            "pipe-pane",
        ];
        let Some(at) = args.iter().position(|word| starts.contains(&word.text.as_str())) else { return };
        let parsed = parse(&args[at + 1..], takes("stnFxycel", &[]), false);
        match parsed.rest.as_slice() {
            [one] => self.nested(one, false, None),
            many if args[at].text.starts_with("send") => {
                for word in many {
                    self.nested(word, false, None);
                }
            }
            many => self.command(many, &Stdin::Nothing, here),
        }
    }

    /// `find … -exec CMD {} +`.
    pub(super) fn find_exec(&mut self, args: &[Word], here: Here) {
        let starts = ["-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"];
        let mut from = 0;
        while let Some(at) = args[from..].iter().position(|word| starts.contains(&word.text.as_str())) {
            let begin = from + at + 1;
            let end = args[begin..].iter().position(|word| word.text == ";" || word.text == "+");
            let end = end.map_or(args.len(), |end| begin + end);
            self.command(&args[begin..end], &Stdin::Nothing, here);
            from = end;
        }
    }

    /// `docker exec NAME CMD`, `docker run IMAGE CMD`, `kubectl exec POD -- CMD`: every place where a command could begin.
    pub(super) fn container(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
        let verbs = ["exec", "run", "debug", "shell"];
        let Some(at) = args.iter().position(|word| verbs.contains(&word.text.as_str())) else { return };
        let list = takes(
            "ehlmpuvwcna",
            &[
                "env",
                "env-file",
                "name",
                "network",
                "net",
                "user",
                "volume",
                "workdir",
                "mount",
                "publish",
                "entrypoint",
                "hostname",
                "label",
                "memory",
                "cpus",
                "restart",
                "device",
                "add-host",
                "cap-add",
                "volumes-from",
                "pull",
                "platform",
                "index",
                "ip",
                "log-driver",
                "pod",
                "container",
                "namespace",
                "context",
                "image",
                "tmpfs",
                "shm-size",
                "ulimit",
                "security-opt",
                "cidfile",
                "pid",
                "userns",
                "uts",
                "ipc",
                "detach-keys",
            ],
        );
        let parsed = parse(&args[at + 1..], list, false);
        let mut rest = parsed.rest.get(1..).unwrap_or_default();
        if let Some(end) = rest.iter().position(|word| word.text == "--") {
            rest = &rest[end + 1..];
        }
        // The image's own command is not known; a given entry point is the program.
        let entry: Vec<Word> = parsed.values(&["entrypoint"]).cloned().collect();
        let words: Vec<Word> = entry.into_iter().chain(rest.iter().cloned()).collect();
        self.command(&words, stdin, here);
    }
}
