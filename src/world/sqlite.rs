//! SQLite files, read-only. Nothing here can change a database: no lock file appears beside a file that nobody has
//! open, and no journal is rolled back. Work runs on a blocking thread and is interrupted when its future is dropped.

pub mod copy;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, InterruptHandle, OpenFlags};

use super::host;
use super::identity::FileIdentity;

/// How long a reader waits for a writer's lock.
const BUSY: Duration = Duration::from_secs(5);

/// A value as SQLite stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A float.
    Real(f64),
    /// Text: bytes, UTF-8 unless the writer was careless.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Cell<'_> {
    /// About how many bytes it takes in the file.
    pub fn bytes(&self) -> u64 {
        match self {
            Cell::Text(content) | Cell::Blob(content) => content.len() as u64,
            _ => 4,
        }
    }

    /// As text for people; blobs in hexadecimal.
    pub fn show(&self) -> String {
        match self {
            Cell::Null => "NULL".to_owned(),
            Cell::Integer(n) => n.to_string(),
            Cell::Real(n) => n.to_string(),
            Cell::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Cell::Blob(bytes) => format!("x'{}'", crate::base::ids::hex(bytes)),
        }
    }
}

/// A database in one read transaction.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// All rows of a query, as text; NULL is `None`.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let mut rows = Vec::new();
        self.scan(sql, |cells| {
            rows.push(cells.iter().map(|cell| (*cell != Cell::Null).then(|| cell.show())).collect());
        })?;
        Ok(rows)
    }

    /// Gives each row of a query to `each`, one at a time.
    pub fn scan(&self, sql: &str, mut each: impl FnMut(&[Cell<'_>])) -> Result<(), String> {
        self.scan_while(sql, |cells| {
            each(cells);
            ControlFlow::Continue(())
        })
    }

    /// The same, until `each` breaks it off.
    pub fn scan_while(
        &self,
        sql: &str,
        mut each: impl FnMut(&[Cell<'_>]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut statement = self.connection.prepare(sql).map_err(words)?;
        let columns = statement.column_count();
        let mut rows = statement.query([]).map_err(words)?;
        while let Some(row) = rows.next().map_err(words)? {
            let mut cells = Vec::with_capacity(columns);
            for column in 0..columns {
                cells.push(match row.get_ref(column).map_err(words)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(n) => Cell::Integer(n),
                    ValueRef::Real(n) => Cell::Real(n),
                    ValueRef::Text(bytes) => Cell::Text(bytes),
                    ValueRef::Blob(bytes) => Cell::Blob(bytes),
                });
            }
            if each(&cells).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn words(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message)) => {
            format!("{message} (SQLite error {})", code.extended_code)
        }
        other => other.to_string(),
    }
}

/// The version of SQLite that reads.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// A name as a quoted SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Which file it is.
pub fn identity(file: &str) -> Result<FileIdentity, String> {
    use std::os::unix::fs::MetadataExt as _;
    let why = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {file}"),
        std::io::ErrorKind::PermissionDenied => format!("no right to look at {file}"),
        _ => format!("cannot look at {file}: {e}"),
    };
    let path = std::fs::canonicalize(file).map_err(why)?;
    let meta = std::fs::metadata(&path).map_err(why)?;
    if !meta.is_file() {
        return Err(format!("{file} is not a file"));
    }
    Ok(FileIdentity {
        path: path.display().to_string(),
        device: meta.dev(),
        inode: meta.ino(),
        host: host::machine_id(),
    })
}

/// Runs `work` on a database inside one read transaction. Dropping the future interrupts it.
pub async fn read<T: Send + 'static>(
    file: &str,
    work: impl FnOnce(&Reader) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let path = PathBuf::from(&identity(file)?.path);
    let (connection, watch) = open(&path)?;
    let guard = Interrupt(connection.get_interrupt_handle());
    let reader = Reader { connection };
    let done = tokio::task::spawn_blocking(move || {
        // The first read takes the snapshot; without it `begin` alone promises nothing.
        reader.connection.execute_batch("begin; select count(*) from sqlite_schema").map_err(words)?;
        let result = work(&reader);
        watch.check()?;
        result
    });
    let result = done.await.map_err(|e| format!("reading {file} broke down: {e}"))?;
    drop(guard);
    result
}

/// Interrupts when dropped; harmless after the end.
struct Interrupt(InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// Opens without leaving a trace. A file in WAL mode that nobody has open is read as immutable, since an ordinary
/// reader would create `-wal` and `-shm` beside it; [`Watch`] then makes sure that it stayed as it was.
fn open(path: &Path) -> Result<(Connection, Watch), String> {
    let header = header(path)?;
    let quiet = header.wal && beside(path, "-wal").metadata().is_err();
    let encoded: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"/._-~".contains(b) {
                char::from(*b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    let uri = format!("file:{encoded}?mode=ro{}", if quiet { "&immutable=1" } else { "" });
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags).map_err(words)?;
    connection.busy_timeout(BUSY).map_err(words)?;
    connection.execute_batch("pragma query_only = on; pragma cell_size_check = on").map_err(words)?;
    Ok((connection, Watch { path: path.to_path_buf(), was: quiet.then_some(header) }))
}

/// What shows that somebody changed a file: its size, its time, and its own change counter.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    wal: bool,
    counter: [u8; 4],
    size: u64,
    modified: Option<std::time::SystemTime>,
}

fn header(path: &Path) -> Result<Header, String> {
    use std::io::Read as _;
    let why = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let mut file = std::fs::File::open(path).map_err(why)?;
    let meta = file.metadata().map_err(why)?;
    let mut bytes = [0; 100];
    if file.read_exact(&mut bytes).is_err() || !bytes.starts_with(b"SQLite format 3\0") {
        return Err(format!("{} is not an SQLite database", path.display()));
    }
    let counter = [bytes[24], bytes[25], bytes[26], bytes[27]];
    Ok(Header {
        wal: bytes[18] == 2 || bytes[19] == 2,
        counter,
        size: meta.len(),
        modified: meta.modified().ok(),
    })
}

/// Notices when a file that was read as immutable was written to.
struct Watch {
    path: PathBuf,
    was: Option<Header>,
}

impl Watch {
    fn check(&self) -> Result<(), String> {
        match &self.was {
            Some(was) if *was != header(&self.path)? || beside(&self.path, "-wal").metadata().is_ok() => {
                Err(format!("{} was written to while it was read", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What would go with a database: its files, and its tables with their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The file and those that belong to it (`-wal`, `-shm`, `-journal`), with their bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// Its tables with their exact rows.
    pub tables: Vec<(String, u64)>,
}

/// The files that belong to a database, with their bytes.
pub fn files(file: &str) -> Result<Vec<(PathBuf, u64)>, String> {
    let path = PathBuf::from(identity(file)?.path);
    Ok(["", "-wal", "-shm", "-journal"]
        .into_iter()
        .map(|suffix| beside(&path, suffix))
        .filter_map(|path| path.metadata().ok().map(|meta| (path, meta.len())))
        .collect())
}

/// Measures what would go with a database.
pub async fn extent(file: &str) -> Result<Extent, String> {
    let files = files(file)?;
    let tables = read(file, |reader| {
        let mut tables = Vec::new();
        for row in reader.query("select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name")? {
            let Some(name) = row.into_iter().next().flatten() else { continue };
            let count = reader.query(&format!("select count(*) from {} not indexed", identifier(&name)))?;
            let count = count.first().and_then(|row| row.first()).cloned().flatten();
            let count = count.and_then(|n| n.parse().ok()).ok_or_else(|| format!("table {name} gave no count"))?;
            tables.push((name, count));
        }
        Ok(tables)
    })
    .await?;
    Ok(Extent { files, tables })
}
