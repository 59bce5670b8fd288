//! How many connections a role, a database or the server allows, and how many are used.

use crate::base::text;
use crate::check::findings::Findings;
use crate::check::survey::cell;
use crate::world::pg::{QueryError, Session, literal};

/// One limit: what it is, how many it allows, how many are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// `of role app`
    pub of: String,
    /// How many it allows.
    pub all: u64,
    /// How many are used.
    pub used: u64,
}

impl Limit {
    /// How many are left.
    pub fn free(&self) -> u64 {
        self.all.saturating_sub(self.used)
    }

    /// `12 of 97 connections for ordinary roles are free`
    pub fn told(&self) -> String {
        let (free, all) = (text::thousands(self.free()), text::count(self.all, "connection", "connections"));
        let are = if self.free() == 1 { "is" } else { "are" };
        format!("{free} of {all} {} {are} free", self.of)
    }
}

/// How far into the reserves a role may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Not at all.
    Ordinary,
    /// Into that for pg_use_reserved_connections.
    Reserved,
    /// Into all.
    Superuser,
}

/// A limit of a role or database; `None` when it has none.
pub fn own_limit(of: String, limit: &str, used: &str, findings: &mut Findings) -> Option<Limit> {
    match (limit.parse::<i64>(), used.parse::<u64>()) {
        (Ok(-1), _) => None,
        (Ok(all), Ok(used)) if all >= 0 => Some(Limit { of, all: all.unsigned_abs(), used }),
        _ => {
            findings.unknown(
                format!("the limit {of} makes no sense: {limit}"),
                "look whether dropping the database was interrupted",
            );
            None
        }
    }
}

/// What the role is, and its own limit.
pub async fn of_role(
    session: &Session,
    role: &str,
    limits: &mut Vec<Limit>,
    findings: &mut Findings,
) -> Result<Rank, QueryError> {
    let sql = format!(
        "select rolcanlogin, rolconnlimit, rolsuper, exists (select from pg_roles where \
         rolname = 'pg_use_reserved_connections' and pg_has_role(r.oid, oid, 'usage')), \
         (select count(*) from pg_stat_activity where usesysid = r.oid and backend_type = 'client backend' \
         and application_name not like 'holdpoint %'), rolvaliduntil <= now() from pg_roles r where rolname = {}",
        literal(role)
    );
    let rows = session.query(&sql).await?;
    let Some(row) = rows.first() else {
        findings.unknown(format!("there is no role {role}"), "correct the name of the role");
        return Ok(Rank::Ordinary);
    };
    if cell(row, 0) != "t" {
        findings.fail(format!("role {role} may not log in"), "let the role log in, then measure again");
    }
    if cell(row, 5) == "t" {
        findings.note(format!("the password of role {role} is no longer valid"));
    }
    let rank = match (cell(row, 2), cell(row, 3)) {
        ("t", _) => return Ok(Rank::Superuser),
        (_, "t") => Rank::Reserved,
        _ => Rank::Ordinary,
    };
    let of = format!("of role {role}");
    limits.extend(own_limit(of, cell(row, 1), cell(row, 4), findings));
    Ok(rank)
}

/// The database's own limit, and whether it lets the role in.
pub async fn of_database(
    session: &Session,
    database: &str,
    role: Option<&str>,
    rank: Rank,
    limits: &mut Vec<Limit>,
    findings: &mut Findings,
) -> Result<(), QueryError> {
    // A role that is not there was told already.
    let may = role.map_or_else(
        || "true".to_owned(),
        |role| {
            format!(
                "coalesce((select has_database_privilege(r.oid, d.oid, 'connect') from pg_roles r where rolname = {}), true)",
                literal(role)
            )
        },
    );
    let sql = format!(
        "select datallowconn, datconnlimit, {may}, (select count(*) from pg_stat_activity where datid = d.oid and \
         backend_type = 'client backend' and application_name not like 'holdpoint %') from pg_database d where datname = {}",
        literal(database)
    );
    let rows = session.query(&sql).await?;
    let Some(row) = rows.first() else {
        findings.unknown(format!("there is no database {database}"), "correct the name of the database");
        return Ok(());
    };
    if cell(row, 0) != "t" {
        let help = format!("`alter database {database} allow_connections true` when the hold is over");
        findings.fail(format!("database {database} takes no connections"), help);
    }
    if cell(row, 2) != "t" {
        findings.fail(
            format!("role {} has no right to connect to database {database}", role.unwrap_or_default()),
            "grant connect on the database to the role, then measure again",
        );
    }
    if rank != Rank::Superuser {
        limits.extend(own_limit(format!("of database {database}"), cell(row, 1), cell(row, 3), findings));
    }
    Ok(())
}
