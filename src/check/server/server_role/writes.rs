//! Could new sessions write? `default_transaction_read_only`, as the server, its databases and its roles have it.

use crate::check::findings::Findings;
use crate::check::survey::cell;
use crate::world::pg::{QueryError, Session};

/// The default of all roles, the server's own, and whether our role or database has another one, so that we see only that.
const SERVER: &str = "select (select split_part(c, '=', 2) from pg_db_role_setting s, unnest(s.setconfig) c \
        where s.setdatabase = 0 and s.setrole = 0 and c like 'default\\_transaction\\_read\\_only=%'), reset_val, \
    exists (select from pg_db_role_setting s, unnest(s.setconfig) c where c like 'default\\_transaction\\_read\\_only=%' \
        and (s.setrole <> 0 or s.setdatabase <> 0) \
        and s.setdatabase in (0, (select oid from pg_database where datname = current_database())) \
        and s.setrole in (0, (select oid from pg_roles where rolname = session_user))) \
    from pg_settings where name = 'default_transaction_read_only'";

/// Databases that take connections, each with its own default.
const DATABASES: &str = "select d.datname, (select split_part(c, '=', 2) from pg_db_role_setting s, unnest(s.setconfig) c \
        where s.setdatabase = d.oid and s.setrole = 0 and c like 'default\\_transaction\\_read\\_only=%') \
    from pg_database d where d.datallowconn and not d.datistemplate order by 1";

/// Roles with a default of their own, and in which database.
const ROLES: &str = "select r.rolname, d.datname, split_part(c, '=', 2) from pg_db_role_setting s cross join lateral unnest(s.setconfig) c \
    join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase \
    where c like 'default\\_transaction\\_read\\_only=%' order by 1, 2";

/// Is it `wanted` that new sessions are read-only, and are they?
pub async fn judge(
    session: &Session,
    target: &str,
    wanted: bool,
    findings: &mut Findings,
) -> Result<(), QueryError> {
    let (rows, databases, roles) =
        (session.query(SERVER).await?, session.query(DATABASES).await?, session.query(ROLES).await?);
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let (all, own, hidden) = (cell(row, 0), cell(row, 1), cell(row, 2) == "t");
    let server = match (all, hidden) {
        ("", true) => None,
        ("", false) => read(own),
        (all, _) => read(all),
    };
    let (is, help) = match wanted {
        true => (
            "could write",
            "`alter database NAME set default_transaction_read_only = on`, then end the sessions that are there",
        ),
        false => (
            "could not write",
            "take the hold away: `alter database NAME reset default_transaction_read_only` (or the role's, or the server's)",
        ),
    };
    for row in &databases {
        let default = match cell(row, 1) {
            "" => server,
            own => read(own),
        };
        match default {
            Some(on) if on == wanted => {}
            Some(_) => {
                findings.fail(format!("a new session in database {} of {target} {is}", cell(row, 0)), help)
            }
            None => findings.unknown(
                format!(
                    "the default of database {} of {target} cannot be seen: our own role has another one",
                    cell(row, 0)
                ),
                "measure as a role without a default of its own",
            ),
        }
    }
    if databases.is_empty() {
        findings.unknown(format!("no database of {target} takes connections"), "look into its catalogue");
    }
    for row in &roles {
        let place =
            if cell(row, 1).is_empty() { String::new() } else { format!(" in database {}", cell(row, 1)) };
        if read(cell(row, 2)) != Some(wanted) {
            findings.fail(format!("new sessions of role {}{place} {is}", cell(row, 0)), help);
        }
    }
    Ok(())
}

/// A switch as people write it in settings; `None` when it is none.
fn read(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}
