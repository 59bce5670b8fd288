//! The demo's copying tool, as treacherous as that night's: it copies table by table, says so, prints an error among its
//! other lines when the volume is full, and still exits with status 0.
//!
//! The lack of space is SQLite's own: the volume's size is its page limit, and it answers "database or disk is full".

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::seed;

const PAGE: u64 = 4096;

/// Copies the old database to the volume, as far as it fits.
pub fn copy(place: &Path, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    let (from, to) = (place.join("old/homeserver.db"), place.join("volume/homeserver.db"));
    let words = |e: rusqlite::Error| e.to_string();
    match std::fs::remove_file(&to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(format!("{}: {e}", to.display())),
        _ => {}
    }
    let new = Connection::open(&to).map_err(words)?;
    new.execute_batch(&format!("PRAGMA page_size = {PAGE}; PRAGMA journal_mode = DELETE;")).map_err(words)?;
    let pages = i64::try_from(seed::volume(place)? / PAGE).map_err(|e| e.to_string())?;
    new.pragma_update(None, "max_page_count", pages).map_err(words)?;
    new.execute("ATTACH ?1 AS old", [from.to_string_lossy()]).map_err(words)?;
    let mut find = new
        .prepare("SELECT name, sql FROM old.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL ORDER BY name DESC")
        .map_err(words)?;
    let tables: Vec<(String, String)> = find
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(words)?;
    for (name, sql) in tables {
        new.execute_batch(&sql).map_err(words)?;
        say(&format!("copying {name}"));
        if let Err(error) =
            new.execute_batch(&format!("INSERT INTO main.\"{name}\" SELECT * FROM old.\"{name}\""))
        {
            say(&format!("ERROR: {name}: {error}"));
            say("going on with the next table");
        }
    }
    let mut find = new
        .prepare("SELECT sql FROM old.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .map_err(words)?;
    let indexes: Vec<String> =
        find.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(words)?;
    for sql in indexes {
        if let Err(error) = new.execute_batch(&sql) {
            say(&format!("ERROR: {error}"));
        }
    }
    say("Success. Please check that the new database works; then you can remove the old one.");
    Ok(())
}

/// Backs up the new database with SQLite's own online backup.
pub fn backup(place: &Path, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    let words = |e: rusqlite::Error| e.to_string();
    let from = place.join("volume/homeserver.db");
    let name = seed::backup_name(jiff::Timestamp::now());
    let (part, whole) =
        (place.join("backups").join(format!("{name}.part")), place.join("backups").join(&name));
    let source = Connection::open_with_flags(&from, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(words)?;
    let mut target = Connection::open(&part).map_err(words)?;
    rusqlite::backup::Backup::new(&source, &mut target)
        .and_then(|backup| backup.run_to_completion(1000, std::time::Duration::ZERO, None))
        .map_err(words)?;
    target.close().map_err(|(_, e)| words(e))?;
    // Only a whole backup gets a backup's name.
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(|e| e.to_string())?;
    std::fs::rename(&part, &whole).map_err(|e| e.to_string())?;
    say(&format!("backed up to {name}"));
    Ok(())
}
