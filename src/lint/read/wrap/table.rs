//! Wrappers that are a row of a table: their options with values, and where the command begins.

use super::super::options::{Takes, takes};

/// How a wrapper gives its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The words behind the options are a command.
    Words,
    /// The words behind the options, put together, are code.
    Code,
    /// The same, and without any a shell reads standard input.
    Remote,
}

/// A wrapper: its names, its options with values, how many words stand before the command, and how that is given.
pub(crate) struct Wrapper(pub &'static [&'static str], pub Takes, pub usize, pub How);

pub(crate) const WRAPPERS: &[Wrapper] = &[
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

pub(crate) const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish"];

/// Words that the parser may leave in front of a command.
pub(crate) const BEFORE: &[&str] = &["{", "(", "!", "if", "then", "else", "do", "while", "until", "&&"];
