//! Is another server a primary of the same cluster, too?

use crate::check::Context;
use crate::check::findings::Findings;
use crate::world::Identity;
use crate::world::identity::PostgresIdentity;
use crate::world::pg;

/// What a peer is; an error says why nobody knows.
pub async fn ask(name: &str, cx: &Context) -> Result<PostgresIdentity, String> {
    let target = cx.target(name)?;
    if target.postgres.is_none() {
        return Err("it is no PostgreSQL server".to_owned());
    }
    pg::identity::identity(target).await
}

/// Judges a peer of `primary`, given by name and by what it is.
pub fn judge(
    name: &str,
    peer: &Result<PostgresIdentity, String>,
    (primary, is): (&str, &PostgresIdentity),
    findings: &mut Findings,
) {
    let peer = match peer {
        Ok(peer) => peer,
        Err(why) => {
            return findings.unknown(
                format!("{name} may be a primary, too: {why}"),
                format!("make sure that {name} is stopped or a standby, in a way that can be seen from here, then measure again"),
            );
        }
    };
    let same = |peer: &PostgresIdentity| {
        Identity::Postgres(peer.clone()).same_object(&Identity::Postgres(is.clone()))
    };
    match peer {
        peer if same(peer) => findings.unknown(
            format!("{name} is {primary} itself"),
            "correct the addresses of the targets: a server cannot be its own peer",
        ),
        peer if peer.system_identifier != is.system_identifier => findings.unknown(
            format!("{name} is another cluster (system identifier {})", peer.system_identifier),
            "correct the target, or find out who put another cluster there",
        ),
        peer if peer.server_start.is_empty() => findings.note(match peer.in_recovery {
            true => format!("{name} is stopped, and would start as a standby"),
            false => format!("{name} is stopped; it would start as a primary: make sure that nothing starts it"),
        }),
        peer if peer.in_recovery => findings.note(format!("{name} is a standby on timeline {}", peer.timeline)),
        peer => findings.fail(
            format!("split brain: {name} is a primary, too, on timeline {}", peer.timeline),
            format!(
                "keep the application away from both, and stop the wrong one; what was written to it is not in the other \
                 ({primary} is on timeline {})",
                is.timeline
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn server(place: &str, identifier: &str) -> PostgresIdentity {
        PostgresIdentity {
            system_identifier: identifier.to_owned(),
            data_directory: place.to_owned(),
            port: 5432,
            server_start: "2026-01-01".to_owned(),
            timeline: 1,
            in_recovery: false,
            version: 150_000,
            host: "m".to_owned(),
        }
    }

    #[test]
    fn only_a_peer_that_is_surely_no_primary_lets_it_pass() {
        let judged = |peer: Result<PostgresIdentity, String>| {
            let mut findings = Findings::default();
            judge("old", &peer, ("new", &server("/new", "7")), &mut findings);
            findings.outcome("fine", "wanted").verdict
        };
        assert_eq!(judged(Ok(server("/old", "7"))), Verdict::Fail);
        assert_eq!(judged(Ok(PostgresIdentity { in_recovery: true, ..server("/old", "7") })), Verdict::Pass);
        let stopped = PostgresIdentity { server_start: String::new(), ..server("/old", "7") };
        assert_eq!(judged(Ok(stopped)), Verdict::Pass);
        assert_eq!(judged(Ok(server("/old", "8"))), Verdict::Unknown, "nothing is known of the peer");
        assert_eq!(judged(Ok(server("/new", "7"))), Verdict::Unknown, "the server itself");
        assert_eq!(judged(Err("no route".to_owned())), Verdict::Unknown);
    }
}
