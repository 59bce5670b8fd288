//! Blockers for people: what says the same twice is said once, and nothing is lost. The journal keeps each by itself.

use crate::gate;
use crate::journal::record::Blocker;

/// Blockers as they are listed: those that want the same of several things are one; that the copy is not proved stands with
/// the check that does not prove it.
pub fn merged(all: &[Blocker]) -> Vec<Blocker> {
    let mut list: Vec<Blocker> = Vec::new();
    for blocker in all {
        let same = |b: &&mut Blocker| {
            b.title == blocker.title && b.expected == blocker.expected && b.next == blocker.next
        };
        match list.iter_mut().find(same) {
            Some(first) => {
                first.observed = format!("{}; {}", first.observed, blocker.observed);
                if !first.subject.split(", ").any(|subject| subject == blocker.subject) {
                    first.subject = format!("{}, {}", first.subject, blocker.subject);
                }
            }
            None => list.push(blocker.clone()),
        }
    }
    if let Some(at) = list.iter().position(|b| b.subject == gate::COPY)
        && let Some(ids) = list.get(at).and_then(|b| b.observed.strip_prefix(gate::NOT_SHOWN_BY))
    {
        let ids: Vec<String> = ids.split(", ").map(str::to_owned).collect();
        if ids.iter().all(|id| list.iter().any(|b| b.subject == *id)) {
            list.remove(at);
            for blocker in list.iter_mut().filter(|b| ids.contains(&b.subject)) {
                blocker.title = format!("{} (the proof that another copy is left)", blocker.title);
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker(subject: &str, title: &str, observed: &str) -> Blocker {
        let (expected, next) = ("done".to_owned(), "see to it".to_owned());
        Blocker { subject: subject.into(), title: title.into(), observed: observed.into(), expected, next }
    }

    #[test]
    fn what_is_said_twice_is_said_once_and_nothing_is_lost() {
        let all = [
            blocker("copy", "Every earlier step is done", "step `copy` is failed"),
            blocker("back-up", "Every earlier step is done", "step `back-up` is pending"),
            blocker("copy.post.rows", "The rows are there", "0 rows"),
            blocker(gate::COPY, "The only other copy is proved", "not shown by copy.post.rows"),
        ];
        let list = merged(&all);
        assert_eq!(list.len(), 2, "{list:?}");
        assert_eq!(list[0].observed, "step `copy` is failed; step `back-up` is pending");
        assert_eq!(list[0].subject, "copy, back-up");
        assert_eq!(list[1].title, "The rows are there (the proof that another copy is left)");
    }

    #[test]
    fn a_copy_that_nothing_else_speaks_of_stays() {
        let alone = [blocker(gate::COPY, "The only other copy is proved", "not shown by copy.post.rows")];
        assert_eq!(merged(&alone), alone);
        let none = [blocker(
            gate::COPY,
            "The only other copy is proved",
            "no guard compares what goes with what stays",
        )];
        assert_eq!(merged(&none), none);
    }
}
