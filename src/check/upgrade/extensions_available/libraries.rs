//! Are the library files there that functions in C name? Looked at as files: loading one would run it.

use std::collections::BTreeSet;

use crate::check::door::silent;
use crate::check::upgrade::survey::{Cluster, cell};
use crate::world::pg::literal;

/// Libraries that functions of the database are in: extensions' and others'.
pub const NEEDED: &str = "select distinct p.probin from pg_proc p join pg_language l on l.oid = p.prolang \
    where l.lanname = 'c' and p.probin is not null and p.oid >= 16384 order by 1";

const PLACES: &str = "select (select setting from pg_config() where name = 'PKGLIBDIR'), current_setting('dynamic_library_path')";

/// Those that the target does not have; an error when it may not be looked at.
pub async fn missing(target: &Cluster<'_>, needed: &BTreeSet<String>) -> Result<Vec<String>, String> {
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    let denied = |error: crate::world::pg::QueryError| {
        match error.sqlstate.as_deref() {
        Some("42501") => {
            "library files may not be looked at; it takes a superuser, or pg_read_server_files and the right to call \
             pg_config() and pg_stat_file()"
                .to_owned()
        }
        _ => format!("library files could not be looked at: {} ({})", error.message, silent(&error)),
    }
    };
    let rows = target.main.query(PLACES).await.map_err(denied)?;
    let row = rows.first().ok_or("the server does not say where its libraries are")?;
    let (own, path) = (cell(row, 0), cell(row, 1));
    if own.is_empty() {
        return Err("the server does not say where its libraries are".to_owned());
    }
    let mut missing = Vec::new();
    for library in needed {
        let places = candidates(library, own, path);
        let looks: Vec<String> = places
            .iter()
            .map(|place| format!("(pg_stat_file({}, true)).size is not null", literal(place)))
            .collect();
        let sql = format!("select {}", looks.join(" or "));
        if target.main.value(&sql).await.map_err(denied)?.as_deref() != Some("t") {
            missing.push(library.clone());
        }
    }
    Ok(missing)
}

/// The files that the server would try, in its order.
fn candidates(library: &str, own: &str, path: &str) -> Vec<String> {
    let bases: Vec<String> = match library.strip_prefix("$libdir") {
        Some(rest) => vec![format!("{own}{rest}")],
        None if library.contains('/') => vec![library.to_owned()],
        None => path
            .split(':')
            .map(|dir| dir.replace("$libdir", own))
            .filter(|dir| !dir.is_empty())
            .map(|dir| format!("{dir}/{library}"))
            .collect(),
    };
    let bases = if bases.is_empty() { vec![format!("{own}/{library}")] } else { bases };
    bases.into_iter().flat_map(|base| [format!("{base}.so"), base]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_for_where_the_server_looks() {
        let tried = |library: &str, path: &str| candidates(library, "/lib/pg", path).join(" ");
        assert_eq!(tried("$libdir/pg_trgm", "$libdir"), "/lib/pg/pg_trgm.so /lib/pg/pg_trgm");
        assert_eq!(tried("/opt/x.so", "$libdir"), "/opt/x.so.so /opt/x.so");
        assert_eq!(tried("x", "/a:$libdir"), "/a/x.so /a/x /lib/pg/x.so /lib/pg/x");
        assert_eq!(tried("x", ""), "/lib/pg/x.so /lib/pg/x");
    }
}
