//! Backups as a backup program lists them: judged the same way whichever program it is.

use crate::base::{Span, text};
use crate::check::door::Door;
use crate::check::{Context, Outcome};
use crate::world::Identity;
use crate::world::process::Probe;

/// A backup in a program's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// How the program calls it.
    pub label: String,
    /// When it ended, in seconds since 1970.
    pub ended: i64,
    /// The program says that it is complete; the reason when not.
    pub complete: Result<(), String>,
    /// Bytes of the data in it, when told.
    pub bytes: Option<u64>,
    /// System identifier of the cluster that it is of, when told.
    pub of: Option<String>,
}

/// What is wanted of the newest backup.
pub struct Wanted<'a> {
    /// The oldest that it may be.
    pub max_age: Span,
    /// The smallest that it may be.
    pub min_size: Option<crate::base::Size>,
    /// The cluster that it must be of: its target's name, and who that is.
    pub of: Option<(&'a str, &'a Identity)>,
}

/// The target's identity, when one is given.
pub async fn cluster<'a>(
    check: &str,
    target: Option<&'a String>,
    expected: &str,
    cx: &Context,
) -> Result<Option<(&'a str, Identity)>, Outcome> {
    let Some(name) = target else { return Ok(None) };
    let (_, identity) = Door::new(check, name, expected).open(cx).await?;
    Ok(Some((name, identity)))
}

/// Judges the newest backup of a list. An incomplete newest one fails: the last job did not do its work.
pub fn judge(mut listed: Vec<Listed>, wanted: &Wanted<'_>, now: i64, expected: &str) -> Outcome {
    listed.sort_by_key(|backup| std::cmp::Reverse(backup.ended));
    let Some(newest) = listed.first() else {
        return Outcome::fail("there is no backup", expected)
            .help("make a backup now, and find out why there is none");
    };
    let age = now - newest.ended;
    if age < -60 {
        return Outcome::unknown(format!("{} ended in the future", newest.label), expected)
            .help("put the clocks right, then measure again");
    }
    let age = Span::secs(age.max(0) as u64);
    let (mut wrong, mut unsure) = (Vec::new(), None);
    if let Err(why) = &newest.complete {
        wrong.push(format!("it is not complete: {why}"));
    }
    if age.0 > wanted.max_age.0 {
        wrong.push("too old".to_owned());
    }
    match (newest.bytes, wanted.min_size) {
        (Some(bytes), Some(least)) if bytes < least.0 => {
            wrong.push(format!("only {}", crate::base::Size(bytes)));
        }
        (None, Some(_)) => unsure = Some("its size is not told"),
        _ => {}
    }
    if let Some((target, Identity::Postgres(is))) = wanted.of {
        match &newest.of {
            Some(of) if *of == is.system_identifier => {}
            Some(of) => {
                wrong.push(format!("it is of the cluster {of}, and {target} is {}", is.system_identifier))
            }
            None => unsure = Some("it is not told of which cluster it is"),
        }
    }
    let about = format!("{}, {age} old", newest.label);
    let outcome = match (wrong.as_slice(), unsure) {
        ([], None) => Outcome::pass(about, expected),
        ([], Some(why)) => {
            Outcome::unknown(format!("{about}: {why}"), expected).help("ask the backup program itself")
        }
        (wrong, _) => Outcome::fail(format!("{about}: {}", wrong.join("; ")), expected)
            .help("find out why the last backup is not as it should be, and make one now"),
    };
    let outcome = outcome
        .detail(format!("{} in the list", text::count(listed.len() as u64, "backup", "backups")))
        .fact("age_seconds", age.0.as_secs())
        .fact("backups", listed.len() as u64);
    match newest.bytes {
        Some(bytes) => outcome.fact("bytes", bytes),
        None => outcome,
    }
}

/// Asks a backup program for JSON. Errors are sentences.
pub async fn ask(
    cx: &Context,
    argv: &[String],
    env: &[(&str, &str)],
    user: Option<&String>,
    timeout: Span,
) -> Result<serde_json::Value, String> {
    let program = argv.first().cloned().unwrap_or_default();
    let probe = Probe {
        argv: argv.to_vec(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: None,
        user: user.cloned(),
        timeout: timeout.0,
        keep: 32 << 20,
    };
    let done = cx.world.processes.probe(&probe).await?;
    if done.timed_out {
        return Err(format!("{program} gave no answer within {timeout}"));
    }
    if done.truncated {
        return Err(format!("the answer of {program} is too long"));
    }
    if done.status != Some(0) {
        let mut said = super::tools::complaint(&done);
        if said.starts_with("exit status") && !done.stdout.is_empty() {
            let told = String::from_utf8_lossy(&done.stdout);
            said = text::neutral(told.trim()).chars().take(300).collect();
        }
        return Err(format!("{program} says: {said}"));
    }
    serde_json::from_slice(&done.stdout)
        .map_err(|error| format!("the answer of {program} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn listed(ended: i64, complete: bool) -> Listed {
        let complete = if complete { Ok(()) } else { Err("FAILED".to_owned()) };
        Listed { label: format!("b{ended}"), ended, complete, bytes: Some(10), of: None }
    }

    #[test]
    fn only_the_newest_counts_and_no_older_one_stands_in_for_it() {
        let wanted = Wanted { max_age: Span::secs(100), min_size: None, of: None };
        let verdict = |all: Vec<Listed>| judge(all, &wanted, 1000, "").verdict;
        assert_eq!(verdict(vec![]), Verdict::Fail);
        assert_eq!(verdict(vec![listed(800, true), listed(950, true)]), Verdict::Pass);
        assert_eq!(verdict(vec![listed(899, true)]), Verdict::Fail);
        assert_eq!(verdict(vec![listed(910, true), listed(950, false)]), Verdict::Fail);
        assert_eq!(verdict(vec![listed(2000, true)]), Verdict::Unknown);
        let large = Wanted { min_size: Some(crate::base::Size(11)), ..wanted };
        assert_eq!(judge(vec![listed(950, true)], &large, 1000, "").verdict, Verdict::Fail);
        let untold = Listed { bytes: None, ..listed(950, true) };
        assert_eq!(judge(vec![untold], &large, 1000, "").verdict, Verdict::Unknown);
    }
}
