//! The extension amcheck in one database: which of its functions there are. Only functions that belong to the extension
//! are called, with every argument given its declared type, so that nothing else of the same name can stand in.

use super::tally::Tally;
use super::walk::{Room, cell, number};
use crate::world::pg::{QueryError, Session, identifier};

/// What is installed.
#[derive(Debug, Default)]
pub struct Amcheck {
    /// The extension's version.
    pub version: String,
    schema: String,
    functions: Vec<(String, u32, bool)>,
}

const FUNCTIONS: &str = "\
select n.nspname, e.extversion, p.proname, p.pronargs, pg_catalog.has_function_privilege(p.oid, 'execute')
from pg_catalog.pg_extension e
join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.refobjid = e.oid
 and d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.deptype = 'e'
join pg_catalog.pg_proc p on p.oid = d.objid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where e.extname = 'amcheck'";

/// What to do about a missing extension; we never install it ourselves.
const INSTALL: &str =
    "let an administrator run `create extension amcheck` in each database, then measure again";

impl Amcheck {
    /// Looks it up; what lacks goes into the tally.
    pub async fn find(
        room: &Room,
        session: &Session,
        tally: &mut Tally,
    ) -> Result<Option<Amcheck>, QueryError> {
        let mut found = Amcheck::default();
        for row in session.query(FUNCTIONS).await? {
            found.schema = identifier(cell(&row, 0)?);
            cell(&row, 1)?.clone_into(&mut found.version);
            found.functions.push((cell(&row, 2)?.to_owned(), number(&row, 3)?, cell(&row, 4)? == "t"));
        }
        if !found.functions.is_empty() {
            return Ok(Some(found));
        }
        let line = format!("database {}: the extension amcheck is not installed", room.name);
        if room.template {
            tally.notes.push(format!("{line}; a template database, left out"));
        } else {
            tally.missed(line, INSTALL);
        }
        Ok(None)
    }

    /// The most arguments that one of its functions takes; `None` when there is none of that name.
    pub fn arguments(&self, function: &str) -> Option<u32> {
        self.functions.iter().filter(|(name, ..)| name == function).map(|(_, n, _)| *n).max()
    }

    /// The function's full name; without the right to run it, a gap in the tally.
    pub fn callable(&self, function: &str, room: &Room, tally: &mut Tally) -> Option<String> {
        let mut named = self.functions.iter().filter(|(name, ..)| name == function).peekable();
        if named.peek().is_none() {
            let line = format!("database {}: amcheck {} has no function {function}", room.name, self.version);
            tally.missed(
                line,
                "let an administrator run `alter extension amcheck update`, then measure again",
            );
            return None;
        }
        if named.any(|(.., may)| !may) {
            let line = format!("database {}: the role may not run amcheck's {function}", room.name);
            tally.missed(line, "let an administrator grant the role execute on it, then measure again");
            return None;
        }
        Some(format!("{}.{}", self.schema, identifier(function)))
    }
}
