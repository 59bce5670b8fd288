//! The rules about destruction: what it relies on is verified, guarded, proved to exist elsewhere, and measurable.

use super::Places;
use super::proof::{Known, Proofs, holds, is_file};
use crate::problem::Problem;
use crate::runbook::containers::{ELSEWHERE, elsewhere};
use crate::runbook::graph::{self, Section};
use crate::runbook::model::{Destroys, Repeat, Rerun, Run};
use crate::runbook::{CheckSpec, Runbook, Step, Work};

/// Adds what breaks the rules.
pub(super) fn judge(runbook: &Runbook, known: &Proofs<'_>, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let steps = &runbook.steps;
    let index = graph::positions(runbook);
    // How many postconditions stand when a step begins, from what each step leaves and releases.
    let mut released = vec![0_usize; steps.len() + 1];
    let mut standing = 0_usize;
    let mut pending: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        standing -= released[at].min(standing);
        if let Some(destroys) = &step.destroys {
            for earlier in pending.drain(..) {
                unverified(earlier, &steps[earlier], at, step, places, problems);
            }
            let own = step.preconditions.iter().filter(|check| !check.common.advisory).count();
            if own + standing == 0 {
                let help = "add preconditions that prove that it can go now";
                let message = format!("nothing guards `{}`, and it destroys", step.id);
                problems.push(Problem::error("HP042", message, places.key(at, "destroys")).help(help));
            }
            work(at, step, destroys, places, problems);
            declared(at, "destroys", destroys, runbook, places, problems);
            advisory(at, step, Section::Pre, places, problems);
            let is_released = |one: &Known<'_>| graph::released(one.spec, one.at, at, &index);
            copy(at, destroys, runbook, known, &is_released, places, problems);
        }
        if let Some(destroys) = step.destroying(true) {
            undoing(at, step, destroys, known, &index, places, problems);
            declared(at, "rollback.destroys", destroys, runbook, places, problems);
            advisory(at, step, Section::UndoPre, places, problems);
        }
        let verified = step.postconditions.iter().any(|check| !check.common.advisory);
        // A person's word may say that nothing changed; of a command or a statement it is measured.
        let mechanical = matches!(step.work(), Some(Work::Run(_) | Work::Sql(_)));
        if !verified && (mechanical || step.changes_something()) {
            pending.push(at);
        }
        for check in step.postconditions.iter().filter(|check| !check.common.advisory) {
            standing += 1;
            let until = check.common.until.as_deref().and_then(|id| index.get(id).copied());
            if let Some(until) = until.filter(|until| *until > at) {
                released[until + 1] += 1;
            }
        }
    }
    for at in pending.into_iter().filter(|at| steps[*at].changes_something()) {
        let message =
            format!("`{}` changes something, and nothing measures afterwards that it did", steps[at].id);
        let help = "add a postcondition that measures its result";
        problems.push(Problem::warning("HP060", message, places.step(at)).help(help));
    }
}

fn unverified(
    at: usize,
    step: &Step,
    later: usize,
    destroyer: &Step,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let message = format!("`{}` has no postcondition, and `{}` destroys after it", step.id, destroyer.id);
    problems.push(
        Problem::error("HP040", message, places.step(at))
            .label("exit status 0 is not proof that it worked")
            .also(places.key(later, "destroys"), "relies on it")
            .help("add a postcondition that measures its result"),
    );
}

/// An undoing that destroys. What it removes is usually the copy: the original has to be shown to be there, by data where
/// the runbook names it in `survives_in`, by other checks where it may stand still.
fn undoing(
    at: usize,
    step: &Step,
    destroys: &Destroys,
    known: &Proofs<'_>,
    index: &graph::Positions<'_>,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let rollback = step.rollback.as_ref();
    if rollback.is_some_and(|r| r.rerun == Repeat::Safe) {
        let message = format!("undoing `{}` destroys, so it cannot be repeated without asking", step.id);
        problems.push(
            Problem::error("HP045", message, places.key(at, "rollback.rerun")).help("leave `rerun` out"),
        );
    }
    let own = rollback.is_some_and(|r| r.preconditions.iter().any(|check| !check.common.advisory));
    if !own {
        let message = format!("nothing guards the undoing of `{}`, and it destroys", step.id);
        let help = "add preconditions to its `rollback` that prove that what stays is whole";
        problems.push(Problem::error("HP042", message, places.key(at, "rollback.destroys")).help(help));
    }
    let Some(survivor) = destroys.survives_in.as_deref() else { return };
    if destroys.target.as_deref() == Some(survivor) {
        return;
    }
    let over = |spec: &CheckSpec, left_at: usize| {
        spec.common.until.as_deref() == Some(step.id.as_str()) || graph::released(spec, left_at, at, index)
    };
    let in_front = |one: &&Known<'_>| match one.section {
        Section::UndoPre => one.at == at,
        Section::Post => one.at < at && !over(one.spec, one.at),
        Section::Pre | Section::Inv | Section::Undo => false,
    };
    let counts =
        |one: &&Known<'_>| in_front(one) && one.proof.held_by == survivor && !one.spec.common.advisory;
    let maybe = |(open_at, section): &(usize, Section)| {
        (*section == Section::UndoPre && *open_at == at) || (*section == Section::Post && *open_at < at)
    };
    if known.of.values().flatten().any(|one| counts(&one)) || known.open.iter().any(maybe) {
        return;
    }
    let message =
        format!("nothing proves that `{survivor}` still holds its data when `{}` is undone", step.id);
    problems.push(
        Problem::error("HP043", message, places.key(at, "rollback.destroys.survives_in")).help(
            "add a data check of it (`data_matches` with `recorded`) to the rollback's preconditions; of a target that \
             stands still by then, leave `survives_in` out and add other checks",
        ),
    );
}

fn advisory(at: usize, step: &Step, section: Section, places: &Places<'_>, problems: &mut Vec<Problem>) {
    for (nth, check) in section.of(step).iter().enumerate().filter(|(_, check)| check.common.advisory) {
        let what = if section == Section::Pre { "a destructive step" } else { "a destructive undoing" };
        let message = format!("`{}` guards {what}, so it cannot be advisory", check.kind);
        let range = places.check(at, section, nth, Some("advisory"));
        problems.push(Problem::error("HP041", message, range).help("leave `advisory` out"));
    }
}

/// What the work itself must not be beside destroying.
fn work(at: usize, step: &Step, destroys: &Destroys, places: &Places<'_>, problems: &mut Vec<Problem>) {
    if step.rerun == Rerun::Safe {
        let message = format!("`{}` destroys, so it cannot be repeated without asking", step.id);
        problems.push(
            Problem::error("HP045", message, places.key(at, "rerun"))
                .help("leave `rerun` out, or write `never`"),
        );
    }
    if let Some(doomed) = destroys.target.as_ref().filter(|doomed| step.creates.contains(doomed)) {
        let message = format!("`{}` creates and destroys `{doomed}`", step.id);
        problems.push(
            Problem::error("HP050", message, places.key(at, "creates"))
                .also(places.key(at, "destroys"), "destroyed here")
                .help("make two steps of it, with a check between them"),
        );
    }
}

/// What a `destroys` says, of a step or of its rollback.
fn declared(
    at: usize,
    key: &str,
    destroys: &Destroys,
    runbook: &Runbook,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    if destroys.unnamed() {
        problems.push(Problem::error("HP044", "what goes cannot be measured", places.key(at, key)).help(
            "write `destroys: { what: …, target: … }`, or `paths` for files and directories, or `containers`",
        ));
    }
    containers(at, key, destroys, runbook, places, problems);
    part(at, key, destroys, runbook, places, problems);
    let survivor_place = || places.key(at, &format!("{key}.survives_in"));
    if destroys.target.is_some() && destroys.target == destroys.survives_in {
        let message = "what goes cannot be what the data survives in";
        problems.push(Problem::error("HP055", message, survivor_place()).help("name the target that stays"));
    }
    if let (Some(survivor), Some(target)) = (&destroys.survives_in, &destroys.target)
        && survivor != target
        && let (Some(one), Some(other)) = (runbook.targets.get(survivor), runbook.targets.get(target))
        && (&one.postgres, &one.sqlite, &one.cluster) == (&other.postgres, &other.sqlite, &other.cluster)
    {
        let message = format!("`{survivor}` and `{target}` have one and the same address");
        problems.push(Problem::error("HP055", message, survivor_place()).help("correct one of the targets"));
    }
}

/// What a `destroys` says of containers: they are measured on this machine, so they have to go here.
fn containers(
    at: usize,
    key: &str,
    destroys: &Destroys,
    runbook: &Runbook,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(of) = &destroys.containers else { return };
    let place = || places.key(at, &format!("{key}.containers"));
    let message = match (&of.project, of.names.is_empty()) {
        (None, true) => Some("which containers go is not said"),
        (Some(_), false) => Some("either a whole project goes, or containers by name"),
        _ => None,
    };
    if let Some(message) = message {
        problems.push(Problem::error("HP044", message, place()).help("write either `project` or `names`"));
    }
    let Some(step) = runbook.steps.get(at) else { return };
    let undo = step.rollback.as_ref().filter(|_| key.starts_with("rollback"));
    let (env, user, run) = match undo {
        Some(undo) => (&undo.env, &undo.user, &undo.run),
        None => (&step.env, &step.user, &step.run),
    };
    let text = match run {
        Some(Run::Argv(argv)) => argv.join(" "),
        Some(Run::Script(script)) => script.clone(),
        None => String::new(),
    };
    let given = |name: &&&str| env.contains_key(**name) || runbook.vars.contains_key(**name);
    if let Some(name) = ELSEWHERE.iter().find(given).copied().or_else(|| elsewhere(&text)) {
        let message = format!("`{name}` sends the command to another engine than the one that is measured");
        problems.push(
            Problem::error("HP044", message, place())
                .help("go on where the containers are, and leave it out"),
        );
    }
    if let Some(user) = user {
        let message =
            format!("`{user}` may have an engine, or containers, of their own, which are not measured");
        problems.push(
            Problem::error("HP044", message, place())
                .help("leave `user` out, and run holdpoint as whoever the containers belong to"),
        );
    }
}

/// What a `destroys` says of a part of a target.
fn part(
    at: usize,
    key: &str,
    destroys: &Destroys,
    runbook: &Runbook,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut refuse = |code, message: String, part: &str, help: &str| {
        let range = places.key(at, &format!("{key}.{part}"));
        problems.push(Problem::error(code, message, range).help(help));
    };
    let lists = [("tables", &destroys.tables), ("indexes", &destroys.indexes)];
    let named = lists.iter().find(|(_, names)| !names.is_empty()).map(|(word, _)| *word);
    if let Some(word) = named.or(destroys.database.as_ref().map(|_| "database")) {
        match &destroys.target {
            None => refuse(
                "HP044",
                format!("`{word}` is a part of a target, and none is named"),
                word,
                "add `target`, the server that it is in",
            ),
            Some(target) if is_file(runbook, target) => refuse(
                "HP044",
                format!("`{word}` is a part of a PostgreSQL server, and `{target}` is an SQLite file"),
                word,
                "an SQLite file goes as a whole; leave it out",
            ),
            Some(_) => {}
        }
    }
    for (word, names) in lists {
        if let Some(name) = names.iter().find(|name| !name.contains(['.', '$'])) {
            let message = format!("`{name}` may be found in several schemas");
            refuse("HP044", message, word, "write `schema.name`, such as `public.events`");
        }
    }
    if destroys.survives_in.is_some() && destroys.target.is_some() && destroys.data_of().is_none() {
        let message = "`survives_in` has no effect where only indexes go".to_owned();
        refuse(
            "HP051",
            message,
            "survives_in",
            "leave it out: an index holds nothing that its table does not",
        );
    }
}

/// A guard has to prove that the data of what goes is held by something that stays.
fn copy(
    at: usize,
    destroys: &Destroys,
    runbook: &Runbook,
    known: &Proofs<'_>,
    released: &dyn Fn(&Known<'_>) -> bool,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(doomed) = destroys.data_of() else { return };
    let survives_in = destroys.survives_in.as_ref();
    if survives_in == Some(doomed) {
        return;
    }
    let file = is_file(runbook, doomed);
    let all = known.of.get(doomed).map(Vec::as_slice).unwrap_or_default();
    let in_front = |one: &&Known<'_>| match one.section {
        Section::Pre => one.at == at,
        Section::Post => one.at < at,
        Section::Inv | Section::UndoPre | Section::Undo => false,
    };
    let fits = |one: &&Known<'_>| holds(&one.proof, destroys) && one.proof.covers(destroys, file);
    let counts = |one: &&Known<'_>| in_front(one) && fits(one) && !one.spec.common.advisory && !released(one);
    let maybe = |(open_at, section): &(usize, Section)| {
        (*section == Section::Pre && *open_at == at) || (*section == Section::Post && *open_at < at)
    };
    if all.iter().any(|one| counts(&one)) || known.open.iter().any(maybe) {
        return;
    }
    let held = survives_in.map_or_else(|| "another target".to_owned(), |target| format!("`{target}`"));
    let message = format!("nothing proves that {held} holds the data of `{doomed}`");
    let mut problem = Problem::error("HP043", message, places.key(at, "destroys"));
    let near =
        all.iter().find(|one| in_front(one) && fits(one)).or_else(|| all.iter().find(|one| in_front(one)));
    if let Some(near) = near {
        let why = if !near.proof.covers(destroys, file) {
            "compares a part of it only".to_owned()
        } else if !fits(&near) {
            format!("proves it for `{}`", near.proof.held_by)
        } else if near.spec.common.advisory {
            "is only advisory".to_owned()
        } else {
            "no longer has to hold by then".to_owned()
        };
        problem = problem.also(places.check(near.at, near.section, near.nth, None), why);
    }
    problems.push(problem.help(
        "add a data check (`data_matches`) to its preconditions, or to the postconditions of an earlier step",
    ));
}
