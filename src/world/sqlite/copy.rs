//! A private copy of a database with something changed in it, for a measurement that has to notice. The database itself
//! is only read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::{identifier, identity, open, words};

/// Pages that are copied at a time.
const PAGES: std::ffi::c_int = 1024;

/// What is changed in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One row goes.
    Row,
    /// One value becomes another.
    Value,
    /// A statement, and what it does in words.
    Statement(String, String),
}

/// Copies a database to `to`, which must not exist, and changes something in it. Says what; `None` when there is nothing
/// that could be changed. `wants` tells whether the check looks at a table.
pub async fn changed(
    file: &str,
    to: &Path,
    change: Change,
    wants: impl Fn(&str) -> bool + Send + 'static,
) -> Result<Option<String>, String> {
    let from = PathBuf::from(&identity(file)?.path);
    let to = to.to_owned();
    let work = move || {
        let (source, watch) = open(&from)?;
        let mut copy = Connection::open(&to).map_err(words)?;
        let backup = Backup::new(&source, &mut copy).map_err(words)?;
        backup.run_to_completion(PAGES, Duration::ZERO, None).map_err(words)?;
        drop(backup);
        watch.check()?;
        copy.execute_batch("pragma journal_mode = delete; pragma foreign_keys = off").map_err(words)?;
        match change {
            Change::Statement(sql, what) => {
                Ok(copy.execute(&sql, []).ok().filter(|rows| *rows > 0).map(|_| what))
            }
            Change::Row => one(&copy, &wants, false),
            Change::Value => one(&copy, &wants, true),
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("copying {file} broke down: {e}"))?
}

fn names(copy: &Connection, sql: &str) -> Result<Vec<String>, String> {
    let mut statement = copy.prepare(sql).map_err(words)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(words)?;
    rows.collect::<Result<_, _>>().map_err(words)
}

/// Deletes a row, or changes a value, of the first table where that can be done.
fn one(copy: &Connection, wants: &dyn Fn(&str) -> bool, value: bool) -> Result<Option<String>, String> {
    let tables = "select name from pragma_table_list where schema = 'main' and type = 'table' \
        and name not like 'sqlite\\_%' escape '\\' order by name";
    for table in names(copy, tables)?.into_iter().filter(|table| wants(table)) {
        let (it, quoted) = (identifier(&table), table.replace('\'', "''"));
        let first = format!("where rowid = (select rowid from {it} limit 1)");
        if !value {
            if copy.execute(&format!("delete from {it} {first}"), []).is_ok_and(|rows| rows == 1) {
                return Ok(Some(format!("a row of {table} deleted")));
            }
            continue;
        }
        // Columns outside the key first.
        let columns =
            format!("select name from pragma_table_info('{quoted}') order by pk > 0, type not like '%text%'");
        for name in names(copy, &columns)? {
            let column = identifier(&name);
            let other = format!(
                "case typeof({column}) when 'text' then {column} || '~' when 'null' then '~' \
                 when 'blob' then cast({column} || x'7e' as blob) else {column} + 1 end"
            );
            let changed = copy.execute(&format!("update {it} set {column} = {other} {first}"), []);
            if changed.is_ok_and(|rows| rows == 1) {
                return Ok(Some(format!("a value of {table}.{name} changed")));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_copy_is_changed_and_the_database_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let rows = "create table empty (a); create table t (a integer primary key, b text); insert into t values (1, 'x'), (2, 'y')";
        Connection::open(&file).unwrap().execute_batch(rows).unwrap();
        let before = std::fs::read(&file).unwrap();
        let name = file.display().to_string();
        let read = |path: &Path, sql: &str| {
            Connection::open(path).unwrap().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
        };
        let row = dir.path().join("row");
        let said = changed(&name, &row, Change::Row, |_| true).await.unwrap();
        assert_eq!(said.as_deref(), Some("a row of t deleted"));
        assert_eq!(read(&row, "select count(*) || '' from t"), "1");
        let value = dir.path().join("value");
        let said = changed(&name, &value, Change::Value, |_| true).await.unwrap();
        assert_eq!(said.as_deref(), Some("a value of t.b changed"));
        assert_eq!(read(&value, "select group_concat(b) from t"), "x~,y");
        let none = dir.path().join("none");
        assert_eq!(changed(&name, &none, Change::Row, |table| table == "empty").await.unwrap(), None);
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
