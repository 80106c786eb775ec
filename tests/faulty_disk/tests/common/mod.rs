//! A database with one table, in the way that the program has its own.

use faulty_disk::Disk;
use rusqlite::{Connection, OpenFlags};

/// Where it is.
pub const PATH: &str = "/tokens.db";

/// Opens the database, or makes it.
pub fn connect(disk: &Disk) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags_and_vfs(PATH, flags, disk.vfs())?;
    conn.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch("CREATE TABLE IF NOT EXISTS t (x INTEGER UNIQUE, filler BLOB)")?;
    Ok(conn)
}

/// One transaction.
pub fn insert(conn: &Connection, x: i64) -> rusqlite::Result<usize> {
    conn.execute("INSERT INTO t VALUES (?1, randomblob(500))", [x])
}

/// How many rows there are.
pub fn count(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counted")
}

/// What SQLite finds wrong.
pub fn integrity(conn: &Connection) -> String {
    conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked")
}
