//! The key that our own links are signed with. It is made with the store, and goes with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension};

use crate::secret::Secret;

/// `None`: the store is of an older version, and has none yet.
pub(super) fn key(conn: &Connection) -> rusqlite::Result<Option<Secret>> {
    let key = conn
        .prepare_cached("SELECT key FROM signing_key WHERE name = 'link'")?
        .query_row([], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    Ok(key.map(|key| Secret::new(URL_SAFE_NO_PAD.encode(key))))
}
