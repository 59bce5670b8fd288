//! The demo's world: a chat server's database, a new volume that is too small, and one backup, five months old.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

/// Messages in the old database.
pub const MESSAGES: u32 = 40_000;
/// Messages that the old backup holds.
const BACKED_UP: u32 = 21_000;
/// Size of the volume at first, in bytes: too small.
const SMALL: u64 = 4 << 20;
/// Size of the volume once somebody has made it larger.
const LARGE: u64 = 64 << 20;
/// Age of the only backup, in days: from 4 January to 6 June 2021.
const BACKUP_AGE: u64 = 153;

/// Makes everything that the runbook needs.
pub fn set_up(place: &Path) -> Result<(), String> {
    for dir in ["old", "volume", "backups"] {
        fs::create_dir_all(place.join(dir)).map_err(|e| format!("{}: {e}", place.join(dir).display()))?;
    }
    fs::write(place.join("runbook.yaml"), super::RUNBOOK).map_err(|e| e.to_string())?;
    database(&place.join("old/homeserver.db"), MESSAGES)?;
    std::os::unix::fs::symlink(place.join("old/homeserver.db"), place.join("current.db"))
        .map_err(|e| e.to_string())?;
    resize(place, SMALL)?;
    let then = SystemTime::now() - Duration::from_secs(BACKUP_AGE * 86_400);
    let backup = place.join("backups").join(backup_name(then.try_into().unwrap_or_default()));
    database(&backup, BACKED_UP)?;
    let file = fs::File::options().write(true).open(&backup).map_err(|e| e.to_string())?;
    file.set_modified(then).map_err(|e| e.to_string())
}

/// A backup's name, with the time of its making.
pub fn backup_name(at: jiff::Timestamp) -> String {
    format!("homeserver-{}.db", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// Somebody makes the volume larger.
pub fn grow(place: &Path) -> Result<(), String> {
    resize(place, LARGE)
}

/// Size of the volume in bytes.
pub fn volume(place: &Path) -> Result<u64, String> {
    let path = place.join("volume/size");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.trim().parse().map_err(|e| format!("{}: {e}", path.display()))
}

fn resize(place: &Path, bytes: u64) -> Result<(), String> {
    fs::write(place.join("volume/size"), format!("{bytes}\n")).map_err(|e| e.to_string())
}

fn database(path: &Path, messages: u32) -> Result<(), String> {
    let fill = || -> rusqlite::Result<()> {
        let mut db = Connection::open(path)?;
        db.execute_batch(
            "CREATE TABLE users (name TEXT PRIMARY KEY, joined INTEGER NOT NULL);
             CREATE TABLE rooms (id TEXT PRIMARY KEY, topic TEXT);
             CREATE TABLE messages (
               id INTEGER PRIMARY KEY, room TEXT NOT NULL, sender TEXT NOT NULL, sent INTEGER NOT NULL, body TEXT NOT NULL);
             CREATE INDEX messages_by_room ON messages (room, sent);",
        )?;
        let tx = db.transaction()?;
        {
            let mut users = tx.prepare("INSERT INTO users VALUES (?1, ?2)")?;
            let mut rooms = tx.prepare("INSERT INTO rooms VALUES (?1, ?2)")?;
            let mut insert = tx.prepare("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for n in 0..200_u32 {
                users.execute(params![format!("@user{n}:mesh.example"), 1_600_000_000 + n])?;
            }
            for n in 0..40_u32 {
                let topic = (n % 3 != 0).then(|| format!("about matter {n}"));
                rooms.execute(params![format!("!room{n}:mesh.example"), topic])?;
            }
            for n in 1..=messages {
                let (room, sender) =
                    (format!("!room{}:mesh.example", n % 40), format!("@user{}:mesh.example", n * 7 % 200));
                let body =
                    format!("message {n}: {}", "we meet again on Thursday. ".repeat(1 + (n % 5) as usize));
                insert.execute(params![n, room, sender, 1_600_000_000 + n * 400, body])?;
            }
        }
        tx.commit()
    };
    fill().map_err(|e| format!("{}: {e}", path.display()))
}
