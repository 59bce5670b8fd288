//! Programs whose arguments have to be looked at: files, folders, disks.

use super::super::options::{Takes, parse};
use super::super::path::{Class, class};
use super::super::word::Word;
use super::{Verdict, destroys};

const NOTHING: Takes = Takes { short: "", long: &[] };

/// What the program does with these arguments.
pub(super) fn judge(program: &str, args: &[Word]) -> Option<Verdict> {
    match program {
        "rm" | "grm" | "srm" | "unlink" | "trash" | "rimraf" => remove(program, args),
        "find" => found(args),
        "dd" => args.iter().find(|word| word.text.starts_with("of=")).and_then(|word| {
            match class(&word.from(3)) {
                Class::Device => destroys("dd onto a disk", true),
                Class::Data => destroys("dd onto data", false),
                Class::Unknown => destroys("dd onto something unknown", false),
                _ => None,
            }
        }),
        "truncate" => {
            let parsed = parse(args, Takes { short: "sr", long: &["size", "reference"] }, true);
            let grows =
                parsed.values(&["s", "size"]).all(|size| size.text.trim_start().starts_with(['+', '>']));
            let kept = |word: &Word| matches!(class(word), Class::Scratch | Class::Temporary);
            if grows && !parsed.has(&["r", "reference"]) || parsed.rest.iter().all(kept) {
                return None;
            }
            destroys("truncate", false)
        }
        "fallocate" => {
            let parsed = parse(args, Takes { short: "lo", long: &["length", "offset"] }, true);
            let cuts = ["p", "punch-hole", "z", "zero-range", "c", "collapse-range"];
            parsed.has(&cuts).then(|| Verdict::Destroys { what: "fallocate".to_owned(), certain: false })
        }
        "tee" => {
            let parsed = parse(args, NOTHING, true);
            if parsed.has(&["a", "append"]) {
                return None;
            }
            let worst =
                parsed.rest.iter().map(class).find(|class| matches!(class, Class::Data | Class::Device))?;
            destroys("overwriting data", worst == Class::Device)
        }
        "cp" | "mv" | "install" | "ln" => copied(program, args),
        "rsync"
            if parse(
                args,
                Takes { short: "efTBM", long: &["rsh", "filter", "exclude", "include"] },
                true,
            )
            .has(&["n", "dry-run"]) =>
        {
            None
        }
        "rsync" => args
            .iter()
            .find(|word| {
                word.text.starts_with("--del")
                    || word.text == "--remove-source-files"
                    || word.text == "--delete"
            })
            .and_then(|word| destroys(format!("rsync {}", word.text), false)),
        "fdisk" | "sfdisk" | "cfdisk" | "gdisk" | "cgdisk" => {
            let reads = [
                "-l",
                "--list",
                "-d",
                "--dump",
                "-s",
                "--show-size",
                "-V",
                "--verify",
                "-J",
                "--json",
                "-F",
                "-h",
                "--help",
                "-v",
            ];
            let reading = args.iter().any(|word| reads.contains(&word.text.as_str()));
            (!reading).then(|| Verdict::Destroys { what: program.to_owned(), certain: true })
        }
        "sgdisk" => {
            let reads = [
                "-p",
                "--print",
                "-i",
                "--info",
                "-v",
                "--verify",
                "-L",
                "--list-types",
                "-b",
                "--backup",
                "-h",
                "--help",
            ];
            let reading = |word: &Word| {
                !word.text.starts_with('-') || reads.iter().any(|known| word.text.starts_with(known))
            };
            (!args.iter().all(reading))
                .then(|| Verdict::Destroys { what: "sgdisk".to_owned(), certain: true })
        }
        "parted" => {
            let verbs = ["mklabel", "mktable", "mkpart", "rm", "resizepart", "rescue"];
            let writes =
                args.iter().flat_map(|word| word.text.split_whitespace()).find(|word| verbs.contains(word));
            writes.and_then(|verb| destroys(format!("parted {verb}"), true))
        }
        "lvresize" | "lvextend" | "resize2fs" | "xfs_repair" => {
            let shrinks = match program {
                "lvresize" => {
                    args.iter().zip(args.iter().skip(1)).any(|(flag, size)| {
                        matches!(flag.text.as_str(), "-L" | "-l" | "--size" | "--extents")
                            && !size.text.starts_with('+')
                    }) || args.iter().any(|word| {
                        word.text.starts_with("-L-")
                            || word.text.starts_with("--size=") && !word.text.contains('+')
                    })
                }
                "resize2fs" => args.iter().any(|word| word.text == "-M"),
                "xfs_repair" => args.iter().any(|word| word.text == "-L"),
                _ => false,
            };
            shrinks.then(|| Verdict::Destroys { what: program.to_owned(), certain: false })
        }
        "git" => git(args),
        "curl" | "wget" | "http" | "https" | "xh" => {
            let deletes = args.iter().zip(args.iter().skip(1)).any(|(flag, verb)| {
                matches!(flag.text.as_str(), "-X" | "--request" | "--method")
                    && verb.text.eq_ignore_ascii_case("DELETE")
            });
            let glued = args.iter().any(|word| {
                let text = word.text.to_ascii_uppercase();
                matches!(text.as_str(), "-XDELETE" | "--REQUEST=DELETE" | "--METHOD=DELETE")
                    || program.starts_with("http") && text == "DELETE"
            });
            (deletes || glued).then(|| Verdict::Destroys { what: "HTTP DELETE".to_owned(), certain: false })
        }
        "rmdir" => None,
        _ => None,
    }
}

/// `rm`: folders always; files when they look like data, or nobody knows what they are.
fn remove(program: &str, args: &[Word]) -> Option<Verdict> {
    let parsed = parse(args, NOTHING, true);
    let temporary = |word: &Word| class(word) == Class::Temporary;
    if !parsed.rest.is_empty() && parsed.rest.iter().all(temporary) {
        return None;
    }
    if parsed.has(&["r", "R", "recursive"])
        || program == "rimraf"
        || parsed.options.iter().any(|option| "recursive".starts_with(&option.name) && option.name.len() > 1)
    {
        return destroys(format!("{program} -r"), false);
    }
    if matches!(program, "srm" | "trash") {
        return destroys(program, false);
    }
    let loses = |word: &&Word| match class(word) {
        Class::Temporary | Class::Scratch => false,
        Class::Data | Class::Device | Class::Backup | Class::Unknown => true,
        Class::Plain => word.glob,
    };
    let lost = parsed.rest.iter().find(loses)?;
    let what = match class(lost) {
        Class::Unknown => "rm of files whose names are not known",
        _ if lost.glob => "rm of many files",
        _ => "rm of what looks like data",
    };
    destroys(what, false)
}

/// `find -delete`.
fn found(args: &[Word]) -> Option<Verdict> {
    let deletes = args.iter().any(|word| word.text == "-delete");
    let start = args.iter().take_while(|word| !word.text.starts_with(['-', '(', '!']));
    let mut start = start.peekable();
    let temporary = start.peek().is_some() && start.all(|word| class(word) == Class::Temporary);
    if args.iter().any(|word| word.text == "-fprint" || word.text == "-fls") {
        let target = args.iter().zip(args.iter().skip(1)).find(|(flag, _)| flag.text.starts_with("-f"));
        if target.is_some_and(|(_, file)| class(file) == Class::Data) {
            return destroys("overwriting data", false);
        }
    }
    if args.iter().any(|word| word.blank() && word.open) {
        return Some(Verdict::Unreadable("what `find` does shows only when it runs".to_owned()));
    }
    (deletes && !temporary).then(|| Verdict::Destroys { what: "find -delete".to_owned(), certain: false })
}

/// `cp /dev/null FILE`, `mv FILE /dev/null`, and copies onto a disk.
fn copied(program: &str, args: &[Word]) -> Option<Verdict> {
    let parsed = parse(
        args,
        Takes { short: "tSgmo", long: &["target-directory", "suffix", "group", "mode", "owner"] },
        true,
    );
    let (target, sources) = parsed.rest.split_last()?;
    if sources.is_empty() {
        return None;
    }
    if class(target) == Class::Device {
        return destroys(format!("{program} onto a disk"), true);
    }
    if target.text == "/dev/null" && program == "mv" {
        return destroys("mv to /dev/null", false);
    }
    let empty = sources.iter().any(|word| matches!(word.text.as_str(), "/dev/null" | "/dev/zero"));
    let kept = matches!(class(target), Class::Scratch | Class::Temporary);
    (empty && !kept && program != "ln")
        .then(|| Verdict::Destroys { what: "emptying a file".to_owned(), certain: false })
}

fn git(args: &[Word]) -> Option<Verdict> {
    let parsed = parse(args, Takes { short: "Cc", long: &["git-dir", "work-tree"] }, false);
    let (verb, rest) = parsed.rest.split_first()?;
    let flags = parse(rest, Takes { short: "e", long: &["exclude"] }, true);
    match verb.text.as_str() {
        "clean" if flags.has(&["f", "force"]) && !flags.has(&["n", "dry-run"]) => {
            destroys("git clean -f", false)
        }
        "reset" if flags.has(&["hard"]) => destroys("git reset --hard", false),
        "checkout" | "switch" if flags.has(&["f", "force"]) => {
            destroys(format!("git {} -f", verb.text), false)
        }
        "push" if flags.has(&["f", "force", "delete", "d", "mirror", "prune"]) => {
            destroys("git push --force", false)
        }
        "stash" if flags.rest.first().is_some_and(|word| matches!(word.text.as_str(), "drop" | "clear")) => {
            destroys("git stash drop", false)
        }
        "branch" if flags.has(&["D"]) => destroys("git branch -D", false),
        _ => None,
    }
}
