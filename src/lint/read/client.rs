//! Clients of databases: the statements that they get as arguments, from files and from standard input.

use super::options::{Parsed, Takes, parse};
use super::word::{Word, around};
use super::{Dialect, Reader, Stdin};

const PSQL: Takes = Takes {
    short: "cdfFhLopPRTUv",
    long: &[
        "command",
        "dbname",
        "file",
        "field-separator",
        "host",
        "log-file",
        "output",
        "port",
        "pset",
        "record-separator",
        "table-attr",
        "username",
        "set",
        "variable",
        "cluster",
    ],
};
const MYSQL: Takes = Takes {
    short: "ehuPDS",
    long: &["execute", "host", "user", "port", "database", "socket", "init-command"],
};
const MONGO: Takes = Takes { short: "uph", long: &["eval", "file", "host", "port", "username", "password"] };
const RESTORE: Takes = Takes {
    short: "dfFIjLnNPsStTUhp",
    long: &[
        "dbname",
        "file",
        "format",
        "index",
        "jobs",
        "use-list",
        "schema",
        "exclude-schema",
        "function",
        "section",
        "superuser",
        "trigger",
        "table",
        "username",
        "host",
        "port",
        "role",
    ],
};

impl Reader<'_> {
    /// Reads what a client is given.
    pub(super) fn client(&mut self, program: &str, words: &[Word], stdin: &Stdin) {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
        let whole = around(first, last);
        let args = words.get(1..).unwrap_or_default();
        match program {
            "psql" => self.psql(args, stdin, whole),
            "sqlite3" | "litecli" => self.sqlite(args, stdin, whole),
            "mysql" | "mariadb" | "mycli" => {
                let parsed = parse(args, MYSQL, true);
                let mut any = false;
                for code in parsed.values(&["e", "execute", "init-command"]) {
                    any = true;
                    self.argument(code, Dialect::Mysql);
                }
                if !any {
                    self.sql_stdin(stdin, Dialect::Mysql, whole);
                }
            }
            "pg_restore" => {
                let parsed = parse(args, RESTORE, true);
                let stops = parsed.has(&["e", "exit-on-error", "1", "single-transaction"]);
                if parsed.has(&["d", "dbname"]) && !stops {
                    self.lies("HP066", "`pg_restore` goes on after an error", whole);
                }
            }
            "mongo" | "mongosh" => {
                let parsed = parse(args, MONGO, true);
                for code in parsed.values(&["eval"]) {
                    self.foreign(super::code::MONGO, code);
                }
                match stdin {
                    Stdin::Nothing => {}
                    Stdin::Text(text) => self.foreign(super::code::MONGO, &text.clone()),
                    _ => self.unreadable("what is piped into it is not known", whole),
                }
            }
            "python" | "python2" | "python3" | "perl" | "ruby" | "node" | "nodejs" | "php" | "lua"
            | "awk" | "gawk" | "mawk" | "tclsh" | "osascript" | "deno" => {
                self.interpreter(program, args, stdin, whole)
            }
            "curl" | "wget" | "cp" | "mv" | "install" | "tee" | "dd" | "scp" | "rsync" | "aws" | "gsutil"
            | "unzip" => {
                // Where it may leave a file.
                let named = args.iter().filter(|word| !word.text.starts_with('-') || word.text.len() > 2);
                for word in named {
                    let text = word.text.trim_start_matches("-O").trim_start_matches("-o");
                    self.writes(text.trim_start_matches("of="));
                }
            }
            "tar" | "git" | "vim" | "vi" | "ex" => {
                let starts = |word: &Word, all: &[&str]| all.iter().any(|known| word.text.starts_with(known));
                let hides = |word: &&Word| match program {
                    "tar" => starts(word, &["--checkpoint-action=exec", "--to-command"]),
                    "git" => word.text.contains("=!") || starts(word, &["core.pager=", "core.sshCommand="]),
                    _ => word.text.contains('!'),
                };
                if let Some(word) = args.iter().find(hides) {
                    self.unreadable(format!("`{program}` runs a command from its options"), word.at.clone());
                }
            }
            _ if program.starts_with("python3.") => self.interpreter("python3", args, stdin, whole),
            _ => {}
        }
    }

    fn argument(&mut self, code: &Word, dialect: Dialect) {
        match code.blank() {
            true => self.unreadable("which statements these are shows only when it runs", code.at.clone()),
            false => self.sql(code, dialect),
        }
    }

    fn psql(&mut self, args: &[Word], stdin: &Stdin, whole: std::ops::Range<usize>) {
        let parsed = parse(args, PSQL, true);
        if parsed.has(&["l", "list", "version", "help", "?"]) {
            return;
        }
        let mut parts = 0;
        for code in parsed.values(&["c", "command"]) {
            parts += 1;
            self.argument(code, Dialect::Psql);
        }
        let mut scripts = 0;
        for file in parsed.values(&["f", "file"]) {
            scripts += 1;
            match file.text.as_str() {
                "-" | "/dev/stdin" => self.sql_stdin(stdin, Dialect::Psql, whole.clone()),
                _ => self.sql_file(file, Dialect::Psql),
            }
        }
        if parts + scripts == 0 {
            self.sql_stdin(stdin, Dialect::Psql, whole.clone());
            scripts += usize::from(!matches!(stdin, Stdin::Nothing));
        }
        let says = |word: &Word| word.text.to_uppercase().starts_with("ON_ERROR_STOP") && !off(&word.text);
        let stops = parsed.values(&["v", "set", "variable"]).any(says)
            || matches!(stdin, Stdin::Text(text) if text.text.contains("\\set ON_ERROR_STOP"))
            || args.iter().any(|word| word.open);
        if (scripts > 0 || parts > 1) && !stops {
            self.lies("HP065", "`psql` goes on after an error, and ends with status 0", whole);
        }
    }

    fn sqlite(&mut self, args: &[Word], stdin: &Stdin, whole: std::ops::Range<usize>) {
        // Options have one hyphen or two, and long names.
        const VALUES: &[&str] = &[
            "cmd",
            "init",
            "separator",
            "newline",
            "nullvalue",
            "maxsize",
            "mmap",
            "vfs",
            "A",
            "lookaside",
            "pagecache",
            "key",
            "hexkey",
            "textkey",
        ];
        let mut rest = Vec::new();
        let (mut bail, mut statements) = (false, 0);
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let Some(name) = word.text.strip_prefix('-').filter(|_| rest.is_empty() || rest.len() < 2) else {
                rest.push(word);
                continue;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            bail |= name == "bail";
            if !VALUES.contains(&name) {
                continue;
            }
            let Some(value) = words.next() else { break };
            match name {
                "cmd" => {
                    bail |= value.text.contains(".bail on");
                    self.argument(value, Dialect::Sqlite);
                }
                "init" => self.sql_file(value, Dialect::Sqlite),
                _ => {}
            }
        }
        for code in rest.iter().skip(1) {
            statements += 1;
            self.argument(code, Dialect::Sqlite);
        }
        if statements == 0 {
            self.sql_stdin(stdin, Dialect::Sqlite, whole.clone());
            bail |= matches!(stdin, Stdin::Text(text) if text.text.contains(".bail on"));
        }
        let script = statements == 0 && !matches!(stdin, Stdin::Nothing);
        if script && !bail {
            self.lies("HP067", "`sqlite3` goes on after an error", whole);
        }
    }

    /// `python3 -c CODE`, `perl -ne CODE`, `awk CODE`, a file, or standard input.
    fn interpreter(&mut self, program: &str, args: &[Word], stdin: &Stdin, whole: std::ops::Range<usize>) {
        let words = super::code::of_program(program);
        if matches!(program, "awk" | "gawk" | "mawk") {
            let parsed =
                parse(args, Takes { short: "fFviE", long: &["file", "assign", "field-separator"] }, false);
            match parsed.values(&["f", "file"]).next().cloned() {
                Some(file) => self.script_file(&file, program),
                None => {
                    if let Some(code) = parsed.rest.first() {
                        self.foreign(words, code);
                    }
                }
            }
            return;
        }
        let short = match program {
            "perl" => "eEIMm",
            "ruby" => "eIr",
            "node" | "nodejs" => "epr",
            "php" => "rBREcd",
            "lua" => "el",
            "osascript" => "el",
            _ => "cmWXQ",
        };
        let codes: &[&str] = match program {
            "perl" => &["e", "E"],
            "php" => &["r", "B", "R", "E"],
            "node" | "nodejs" => &["e", "p", "eval", "print"],
            "ruby" | "lua" | "osascript" => &["e"],
            _ => &["c"],
        };
        let parsed: Parsed = parse(args, Takes { short, long: &["eval", "print", "require"] }, false);
        let mut any = parsed.has(&["V", "version", "v", "h", "help"]);
        for code in parsed.values(codes) {
            any = true;
            match code.blank() {
                true => self.unreadable("what this program runs shows only when it runs", code.at.clone()),
                false => self.foreign(words, code),
            }
        }
        if any || program.starts_with("python") && parsed.has(&["m"]) {
            return;
        }
        match parsed.rest.first() {
            Some(file) if file.text != "-" => self.script_file(&file.clone(), program),
            _ => match stdin {
                Stdin::Nothing => {}
                Stdin::Text(text) => self.foreign(words, &text.clone()),
                Stdin::File(file) => self.script_file(&file.clone(), program),
                _ => self.unreadable(format!("what is piped into `{program}` is not known"), whole),
            },
        }
    }

    /// A script for an interpreter that is no shell.
    fn script_file(&mut self, file: &Word, program: &str) {
        if !file.known() {
            if file.text.contains(super::UNKNOWN) {
                self.unreadable(
                    format!("which file `{program}` runs shows only when it runs"),
                    file.at.clone(),
                );
            }
            return;
        }
        let path = match file.text.contains('/') {
            true => file.text.clone(),
            false => format!("./{}", file.text),
        };
        use super::files::Local;
        match self.files.find(&path, self.cwd.as_deref()) {
            Local::Outside => {}
            Local::Missing => {
                self.unreadable(format!("`{}` is not there to be read", file.text), file.at.clone())
            }
            Local::Refused { name, why } => {
                self.call(&name);
                self.unreadable(format!("`{name}` cannot be read: {why}"), file.at.clone());
            }
            Local::Text { name, text } => {
                self.call(&name);
                let before = self.via.replace((name, 1));
                self.foreign(
                    super::code::of_program(program),
                    &Word::made(super::word::plain(&text), file.at.clone()),
                );
                self.via = before;
            }
        }
    }
}

fn off(text: &str) -> bool {
    let value = text.split_once('=').map(|(_, value)| value.to_ascii_lowercase());
    matches!(value.as_deref(), Some("0" | "off" | "false" | "no"))
}
