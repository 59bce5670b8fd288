//! A destructive step that no backup guards. The data check of [`super::law`] shows that another copy is there now; it does
//! not help when that copy turns out to be wrong tomorrow. Only a backup does, so one should stand among the guards.
//!
//! A warning, not an error: what goes may be a copy of a copy, and only its owner knows. Undoing is left out, because what
//! goes there is the copy that the run itself made.

use super::Places;
use crate::check::registry;
use crate::problem::Problem;
use crate::runbook::graph;
use crate::runbook::{CheckSpec, Runbook};

/// Checks of other families that speak of backups, too.
const ALSO: [&str; 1] = ["container_volumes_covered"];
/// A command of one's own counts when it speaks of one of these.
const WORDS: [&str; 8] = ["backup", "dump", "restore", "snapshot", "restic", "borg", "barman", "pgbackrest"];

/// Adds destructive steps whose guards hold no check of a backup.
pub(super) fn judge(runbook: &Runbook, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let index = graph::positions(runbook);
    // The last step in front of which a backup check of an earlier step still has to hold.
    let mut covered: Option<usize> = None;
    for (at, step) in runbook.steps.iter().enumerate() {
        let target = step.destroys.as_ref().and_then(|destroys| destroys.data_of());
        if let Some(target) = target
            && covered.is_none_or(|until| until < at)
            && !step.preconditions.iter().any(speaks_of_backup)
        {
            let message = format!("no backup guards `{}`, which destroys `{target}`", step.id);
            problems.push(Problem::warning("HP070", message, places.key(at, "destroys")).help(
                "add a check of a backup (`backup_fresh`, `backup_restores`) to its preconditions, or to the \
                 postconditions of an earlier step",
            ));
        }
        for check in step.postconditions.iter().filter(|check| speaks_of_backup(check)) {
            let until = check.common.until.as_deref().map_or(Some(usize::MAX), |id| index.get(id).copied());
            covered = covered.max(until);
        }
    }
}

fn speaks_of_backup(check: &CheckSpec) -> bool {
    if check.common.advisory {
        return false;
    }
    let family = registry::FAMILIES.iter().find(|family| family.name == "backups");
    let known = family.is_some_and(|family| family.kinds.iter().any(|kind| kind.name == check.kind));
    if known || ALSO.contains(&check.kind.as_str()) {
        return true;
    }
    let says = |text: &str| {
        let text = text.to_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    };
    check.kind == "command"
        && (check.common.title.as_deref().is_some_and(says)
            || check.params.get("run").is_some_and(|run| says(&run.to_string())))
}
