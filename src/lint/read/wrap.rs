//! Commands that run other commands: where the inner one begins, and which of their texts are code.

use super::options::{Parsed, Takes, parse};
use super::word::{LATER, UNKNOWN, Word, around, joined, plain};
use super::{Here, Reader, Stdin};

/// How a wrapper gives its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The words behind the options are a command.
    Words,
    /// The words behind the options, put together, are code.
    Code,
    /// The same, and without any a shell reads standard input.
    Remote,
}

/// A wrapper: its names, its options with values, how many words stand before the command, and how that is given.
struct Wrapper(&'static [&'static str], Takes, usize, How);

const fn takes(short: &'static str, long: &'static [&'static str]) -> Takes {
    Takes { short, long }
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper(
        &["sudo"],
        takes(
            "ugphCcDRTrt",
            &[
                "user",
                "group",
                "prompt",
                "host",
                "close-from",
                "chdir",
                "chroot",
                "command-timeout",
                "role",
                "type",
                "login-class",
            ],
        ),
        0,
        How::Words,
    ),
    Wrapper(&["doas"], takes("uC", &[]), 0, How::Words),
    Wrapper(&["pkexec"], takes("", &["user"]), 0, How::Words),
    Wrapper(
        &["gosu", "su-exec", "s6-setuidgid", "setuidgid", "chpst"],
        takes("ueEmdofcrtn/", &[]),
        1,
        How::Words,
    ),
    Wrapper(
        &["setpriv"],
        takes(
            "",
            &[
                "reuid",
                "regid",
                "groups",
                "inh-caps",
                "ambient-caps",
                "bounding-set",
                "securebits",
                "pdeathsig",
                "ruid",
                "euid",
                "rgid",
                "egid",
            ],
        ),
        0,
        How::Words,
    ),
    Wrapper(
        &[
            "nohup",
            "setsid",
            "fakeroot",
            "eatmydata",
            "unbuffer",
            "torsocks",
            "proxychains",
            "proxychains4",
            "dbus-run-session",
            "catchsegv",
            "linux32",
            "linux64",
            "setarch",
            "busybox",
            "toybox",
            "exec",
            "builtin",
            "command",
            "noglob",
            "rlwrap",
            "coproc",
            "caffeinate",
            "chronic",
            "ts",
            "firejail",
            "entr",
        ],
        takes("a", &[]),
        0,
        How::Words,
    ),
    Wrapper(&["systemd-cat"], takes("tp", &["identifier", "priority"]), 0, How::Words),
    Wrapper(&["time", "gtime"], takes("fo", &["format", "output"]), 0, How::Words),
    Wrapper(&["nice"], takes("n", &["adjustment"]), 0, How::Words),
    Wrapper(&["ionice"], takes("cnpPu", &["class", "classdata"]), 0, How::Words),
    Wrapper(&["timeout", "gtimeout"], takes("ks", &["kill-after", "signal"]), 1, How::Words),
    Wrapper(&["stdbuf"], takes("ioe", &["input", "output", "error"]), 0, How::Words),
    Wrapper(&["chrt"], takes("TPD", &[]), 1, How::Words),
    Wrapper(&["taskset", "faketime"], takes("f", &[]), 1, How::Words),
    Wrapper(&["numactl", "cgexec", "prlimit"], takes("NimpCg", &[]), 0, How::Words),
    Wrapper(&["chroot"], takes("", &[]), 1, How::Words),
    Wrapper(&["nsenter"], takes("tSG", &["target", "setuid", "setgid"]), 0, How::Words),
    Wrapper(
        &["unshare"],
        takes("RSGw", &["root", "wd", "setuid", "setgid", "propagation", "setgroups"]),
        0,
        How::Words,
    ),
    Wrapper(
        &["systemd-run"],
        takes(
            "pHMEut",
            &[
                "unit",
                "property",
                "uid",
                "gid",
                "setenv",
                "slice",
                "description",
                "working-directory",
                "host",
                "machine",
                "on-active",
                "on-boot",
                "on-calendar",
                "nice",
                "timer-property",
                "service-type",
            ],
        ),
        0,
        How::Words,
    ),
    Wrapper(&["strace", "ltrace", "perf"], takes("eopsuEaIOPSX", &[]), 0, How::Words),
    Wrapper(&["sshpass"], takes("pfdeP", &[]), 0, How::Words),
    Wrapper(&["systemd-inhibit"], takes("", &["what", "who", "why", "mode"]), 0, How::Words),
    Wrapper(
        &["xargs"],
        takes("IELdnPsai", &["arg-file", "delimiter", "max-args", "max-procs", "max-chars", "replace"]),
        0,
        How::Words,
    ),
    Wrapper(&["ssh", "autossh", "slogin"], takes("BbcDEeFIiJLlmOopQRSWwM", &[]), 1, How::Remote),
    Wrapper(
        &["pdsh", "clush", "dsh", "pssh", "parallel-ssh"],
        takes("wxglRutfhHpmo", &["nodes", "group"]),
        0,
        How::Code,
    ),
    Wrapper(&["watch"], takes("nq", &["interval"]), 0, How::Code),
];

const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish"];

/// Words that the parser may leave in front of a command.
const BEFORE: &[&str] = &["{", "(", "!", "if", "then", "else", "do", "while", "until", "&&"];

/// True for `NAME=value`.
fn assigns(word: &Word) -> bool {
    let name = word.text.split('=').next().unwrap_or_default();
    word.text.contains('=')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn skip_assignments(words: &[Word]) -> &[Word] {
    let count = words.iter().take_while(|word| assigns(word)).count();
    &words[count..]
}

impl Reader<'_> {
    /// Reads one command.
    pub(super) fn command(&mut self, words: &[Word], stdin: &Stdin, here: Here) {
        let Some((name, args)) = words.split_first() else { return };
        if self.left == 0 {
            return self.unreadable("it is too long to be read", name.at.clone());
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

    /// A command elsewhere that is nothing but a shell, or a client: it reads what comes in here.
    fn passed(&mut self, inner: &[Word], stdin: &Stdin) {
        let code = joined(inner);
        let words: Vec<Word> =
            code.text.split_whitespace().map(|text| Word::made(text, code.at.clone())).collect();
        if !matches!(stdin, Stdin::Nothing) && !code.text.contains(['|', ';', '&', '<', '\n', '(', '\'', '"'])
        {
            self.command(&words, stdin, Here::default());
        }
    }

    /// `xargs rm -r`: what is added is not known.
    fn xargs(&mut self, inner: &[Word], stdin: &Stdin, here: Here) {
        let Some(last) = inner.last() else { return };
        let mut words = inner.to_vec();
        let more = match stdin {
            Stdin::Text(text) if text.known() => text.text.split_whitespace().map(str::to_owned).collect(),
            _ => vec![UNKNOWN.to_string()],
        };
        words.extend(more.into_iter().map(|text| Word { open: true, ..Word::made(text, last.at.clone()) }));
        self.command(&words, &Stdin::Nothing, here);
    }

    fn env(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
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

    /// `su -c CODE`, `runuser -u NAME -- WORDS`.
    fn su(&mut self, program: &str, args: &[Word], stdin: &Stdin, here: Here) {
        let list = takes(
            "ucgGswT",
            &["command", "session-command", "user", "group", "supp-group", "shell", "whitelist-environment"],
        );
        let parsed = parse(args, list, true);
        let mut any = false;
        for code in parsed.values(&["c", "command", "session-command"]) {
            self.nested(code, false, None);
            any = true;
        }
        if any {
            return;
        }
        if program == "runuser" && parsed.has(&["u", "user"]) {
            let parsed = parse(args, list, false);
            return self.command(&parsed.rest, stdin, here);
        }
        // What stands behind the user's name goes to the shell.
        let rest: Vec<Word> = parsed.rest.into_iter().filter(|word| word.text != "-").skip(1).collect();
        self.shell(&rest, stdin);
    }

    fn eval(&mut self, args: &[Word], here: Here) {
        if args.is_empty() {
            return;
        }
        let code = joined(args);
        if !code.known() {
            // Whatever it is, the part that is known may be worse.
            self.unreadable(
                "what `eval` runs shows only when it runs",
                around(&args[0], &args[args.len() - 1]),
            );
            return;
        }
        self.nested(&code, here.pipefail, None);
    }

    /// `trap CODE SIGNAL`, `alias name=CODE`.
    fn handler(&mut self, program: &str, args: &[Word], here: Here) {
        if program == "alias" {
            for word in args.iter().filter(|word| word.text.contains('=')) {
                let at = word.text.find('=').map_or(0, |at| at + 1);
                self.nested(&word.from(at), here.pipefail, None);
            }
            return;
        }
        let args = if args.first().is_some_and(|word| word.text == "--") { &args[1..] } else { args };
        if let [code, _, ..] = args {
            if !matches!(code.text.as_str(), "-" | "-p" | "-l" | "") {
                match code.blank() {
                    true => self.unreadable("what `trap` runs shows only when it runs", code.at.clone()),
                    false => self.nested(code, here.pipefail, None),
                }
            }
        }
    }

    fn flock(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
        let parsed = parse(args, takes("wE", &["timeout", "wait", "conflict-exit-code"]), false);
        match parsed.rest.get(1..).unwrap_or_default() {
            [flag, code, ..] if flag.text == "-c" || flag.text == "--command" => {
                self.nested(code, false, None)
            }
            words => self.command(words, stdin, here),
        }
    }

    fn code_option(&mut self, args: &[Word], list: Takes, names: &[&str]) {
        let parsed = parse(args, list, true);
        for code in parsed.values(names) {
            self.nested(code, false, None);
        }
    }

    fn parallel(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
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
                self.nested(&code, false, None);
            }
        }
    }

    /// A command, or keys, for a terminal of its own.
    fn terminal(&mut self, program: &str, args: &[Word], here: Here) {
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
    fn find_exec(&mut self, args: &[Word], here: Here) {
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
    fn container(&mut self, args: &[Word], stdin: &Stdin, here: Here) {
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

    /// `at`, `batch`, `crontab`: what they read runs later.
    fn later(&mut self, program: &str, args: &[Word], stdin: &Stdin, words: &[Word]) {
        let parsed = parse(args, takes("qftu", &[]), true);
        if program == "crontab" {
            if parsed.has(&["r"]) {
                self.destroys("crontab -r", false, around(&words[0], &words[words.len() - 1]));
            }
            if let Stdin::Text(text) = stdin {
                for line in text.text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                    let fields: Vec<&str> = line.split_whitespace().skip(5).collect();
                    self.nested(&Word::made(fields.join(" "), text.at.clone()), false, None);
                }
            }
            return;
        }
        let file: Vec<Word> = parsed.values(&["f"]).cloned().collect();
        match file.first() {
            Some(file) => self.shell(std::slice::from_ref(file), stdin),
            None if parsed.has(&["l", "r", "d", "c"]) => {}
            None => self.shell(&[], stdin),
        }
    }

    /// `sh -c CODE`, `sh FILE`, `… | sh`.
    pub(super) fn shell(&mut self, args: &[Word], stdin: &Stdin) {
        let args: Vec<Word> = args
            .iter()
            .map(|word| match word.text.strip_prefix('+') {
                Some(rest) if rest.chars().all(|c| c.is_ascii_alphabetic()) => {
                    Word { text: format!("-{rest}"), ..word.clone() }
                }
                _ => word.clone(),
            })
            .collect();
        let parsed = parse(&args, takes("oO", &["rcfile", "init-file"]), false);
        let pipefail = parsed.values(&["o"]).any(|value| value.text == "pipefail");
        for file in parsed.values(&["rcfile", "init-file"]) {
            self.unreadable("a file that a shell reads first is not read here", file.at.clone());
        }
        let code = parsed.has(&["c"]) || (parsed.has(&["lc", "ic"]));
        match parsed.rest.first() {
            Some(code_word) if code => {
                if code_word.blank() {
                    return self
                        .unreadable("what this shell runs shows only when it runs", code_word.at.clone());
                }
                let given: Vec<Word> = parsed.rest.iter().skip(2).cloned().collect();
                self.nested(code_word, pipefail, Some(given));
            }
            Some(file) if !parsed.has(&["s"]) => {
                if matches!(file.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
                    return self.stdin_code(stdin, pipefail);
                }
                self.file_code(file, &parsed);
            }
            _ => self.stdin_code(stdin, pipefail),
        }
    }

    fn file_code(&mut self, file: &Word, parsed: &Parsed) {
        let args = parsed.rest.get(1..).unwrap_or_default();
        if file.text.contains(UNKNOWN) {
            return self.unreadable("which file this shell runs shows only when it runs", file.at.clone());
        }
        if file.text.contains(LATER) {
            return;
        }
        let path = match file.text.contains('/') {
            true => file.clone(),
            false => Word { text: format!("./{}", file.text), ..file.clone() },
        };
        self.local(&path, args, true);
    }

    fn stdin_code(&mut self, stdin: &Stdin, pipefail: bool) {
        match stdin {
            Stdin::Nothing => {}
            Stdin::Text(text) if text.blank() => {
                self.unreadable("what this shell runs shows only when it runs", text.at.clone());
            }
            Stdin::Text(text) => self.nested(&text.clone(), pipefail, None),
            Stdin::File(file) => {
                let path = match file.text.contains('/') {
                    true => file.clone(),
                    false => Word { text: format!("./{}", file.text), ..file.clone() },
                };
                if !file.known() || !self.local(&path, &[], true) {
                    self.unreadable("what this shell reads is not known", file.at.clone());
                }
            }
            Stdin::Dump | Stdin::Unknown => {
                self.unreadable("what is piped into this shell is not known", self.at.clone());
            }
        }
    }
}

/// `ssh host -p 22 cmd`: options may stand behind the host.
fn remote(inner: &[Word], takes: Takes) -> &[Word] {
    let mut rest = inner;
    while let Some(first) = rest.first().filter(|word| word.text.starts_with('-') && word.text.len() > 1) {
        let letter = first.text.chars().last().unwrap_or_default();
        let more = first.text.len() == 2 && takes.short.contains(letter);
        rest = rest.get(1 + usize::from(more)..).unwrap_or_default();
    }
    rest
}

/// The command inside of wrappers that take words.
fn bare(words: &[Word]) -> Vec<Word> {
    let mut words = words.to_vec();
    for _ in 0..8 {
        let Some((name, args)) = words.split_first() else { break };
        if BEFORE.contains(&name.text.as_str()) || assigns(name) {
            words = args.to_vec();
            continue;
        }
        let program = name.base().to_owned();
        let inner = match WRAPPERS.iter().find(|wrapper| wrapper.0.contains(&program.as_str())) {
            Some(Wrapper(_, takes, before, How::Words)) if program != "xargs" => {
                let parsed = parse(args, *takes, false);
                skip_assignments(parsed.rest.get(*before..).unwrap_or_default()).to_vec()
            }
            _ if program == "env" => skip_assignments(&parse(args, takes("uCS", &[]), false).rest).to_vec(),
            _ if program == "runuser" => parse(args, takes("ugG", &["user", "group"]), false).rest,
            _ => break,
        };
        words = inner;
    }
    words
}

/// What a command prints, as far as that is plain.
pub(super) fn output(words: &[Word]) -> Stdin {
    let words = bare(words);
    let Some((name, args)) = words.split_first() else { return Stdin::Unknown };
    match name.base() {
        "echo" => {
            let skip = args
                .iter()
                .take_while(|word| matches!(word.text.as_str(), "-n" | "-e" | "-E" | "-ne" | "-en"))
                .count();
            let escapes = args[..skip].iter().any(|word| word.text.contains('e'));
            let text = joined(&args[skip..]);
            match escapes || !text.text.contains('\\') {
                _ if args.len() == skip => Stdin::Text(Word::made("\n", name.at.clone())),
                true if text.text.contains('\\') => {
                    Stdin::Text(Word::made(unescape(&text.text), text.at.clone()))
                }
                _ => Stdin::Text(text),
            }
        }
        "printf" => {
            let skip = args.iter().take_while(|word| word.text == "--").count();
            match args.get(skip..).unwrap_or_default() {
                [] => Stdin::Nothing,
                [format, values @ ..] => {
                    let text = formatted(&unescape(&format.text), values);
                    let verbatim = format.verbatim.filter(|_| text == format.text);
                    Stdin::Text(Word {
                        text,
                        at: around(format, values.last().unwrap_or(format)),
                        verbatim,
                        ..Word::default()
                    })
                }
            }
        }
        "true" | ":" | "sleep" | "set" | "cd" | "test" => Stdin::Nothing,
        "cat" => match args {
            [file] if !file.text.starts_with('-') => Stdin::File(file.clone()),
            _ => Stdin::Unknown,
        },
        "pg_dump" | "pg_dumpall" => {
            let clean = args.iter().any(|word| {
                word.text == "--clean"
                    || word.open
                    || (word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('c'))
            });
            if clean { Stdin::Unknown } else { Stdin::Dump }
        }
        _ => Stdin::Unknown,
    }
}

/// True for commands that print nothing at all, so that a redirection only empties its file.
pub(super) fn prints_nothing(words: &[Word]) -> bool {
    match output(words) {
        _ if words.is_empty() => true,
        Stdin::Nothing => true,
        Stdin::File(file) => file.text == "/dev/null",
        Stdin::Text(text) => text.text.trim().is_empty(),
        _ => false,
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('c') => break,
            Some('x') => out.push(number(&mut chars, 16, 2)),
            Some(c @ '0'..='7') => {
                let mut digits = c.to_string();
                while digits.len() < 4 && chars.peek().is_some_and(|c| c.is_digit(8)) {
                    digits.extend(chars.next());
                }
                let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(UNKNOWN));
            }
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some('a' | 'b' | 'e' | 'f' | 'r' | 'v') => out.push(UNKNOWN),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    plain(&out)
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize) -> char {
    let mut digits = String::new();
    while digits.len() < most && chars.peek().is_some_and(|c| c.is_digit(radix)) {
        digits.extend(chars.next());
    }
    u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32).unwrap_or(UNKNOWN)
}

/// `printf`'s format with its values: only whole `%s`, `%b`, `%q`, `%d` are known.
fn formatted(format: &str, values: &[Word]) -> String {
    if !format.contains('%') {
        return format.to_owned();
    }
    let mut values = values.iter().peekable();
    let mut out = String::new();
    loop {
        let mut chars = format.chars();
        let before = values.len();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('s' | 'q' | 'd' | 'i') => out.push_str(values.next().map_or("", |word| &word.text)),
                Some('b') => out.push_str(&values.next().map_or(String::new(), |word| unescape(&word.text))),
                _ => out.push(UNKNOWN),
            }
        }
        if values.peek().is_none() || values.len() == before {
            return out;
        }
    }
}
