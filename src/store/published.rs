//! Which files tokens were published into.
//!
//! A path is noted before its file is made and forgotten after the file was removed, so that no file of an OA that is not
//! published any more is left behind, whatever the config says by then. By the names of files alone nobody could tell
//! which are ours.

use rusqlite::{Connection, params};

use super::reader::Reader;
use super::writer::StoreError;
use super::{Store, held, rows};
use crate::id::OaId;
use crate::store::Held;

/// A file that an OA's token was published into, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedFile {
    /// Where it is.
    pub path: String,
    /// Whose token is in it.
    pub oa_id: OaId,
}

impl Store {
    /// Was anything ever published, as far as that is not forgotten?
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn has_published(&self) -> Result<bool, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM published) OR EXISTS (SELECT 1 FROM webhook)";
        self.writer.call(false, move |conn| conn.prepare_cached(any)?.query_row([], |row| row.get(0))).await
    }

    /// Notes that tokens are about to be published into these files.
    ///
    /// # Errors
    /// When the store cannot be written, here and below.
    pub async fn note_published(&self, files: Vec<PublishedFile>) -> Result<(), StoreError> {
        self.writer.call(true, move |tx| note(tx, &files)).await
    }

    /// Forgets files that were removed.
    pub async fn forget_published(&self, paths: Vec<String>) -> Result<(), StoreError> {
        self.writer.call(true, move |tx| forget(tx, &paths)).await
    }
}

impl Reader {
    /// The next files that tokens were published into, by path.
    pub async fn published(&self, after: String, limit: usize) -> Result<Vec<PublishedFile>, StoreError> {
        self.look_at_all(move |conn| page(conn, &after, limit)).await
    }

    /// The sets of the next OAs, at most `limit` OAs, by id. Of an OA without a set there is `None`.
    pub async fn held_after(
        &self,
        after: Option<OaId>,
        limit: usize,
    ) -> Result<Vec<(OaId, Option<Held>)>, StoreError> {
        let slots = self.slots();
        self.look_at_all(move |conn| {
            let rows = rows::load_page(conn, after.as_ref(), limit)?;
            rows.into_iter()
                .map(|row| Ok((row.oa_id.clone(), held::held_by(conn, Some(&slots), &row)?)))
                .collect()
        })
        .await
    }
}

fn note(tx: &Connection, files: &[PublishedFile]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO published (path, oa_id) VALUES (?1, ?2)")?;
    for PublishedFile { path, oa_id } in files {
        insert.execute([path.as_str(), oa_id.as_str()])?;
    }
    Ok(())
}

fn forget(tx: &Connection, paths: &[String]) -> rusqlite::Result<()> {
    let mut delete = tx.prepare_cached("DELETE FROM published WHERE path = ?1")?;
    paths.iter().try_for_each(|path| delete.execute([path.as_str()]).map(drop))
}

fn page(conn: &Connection, after: &str, limit: usize) -> rusqlite::Result<Vec<PublishedFile>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached("SELECT path, oa_id FROM published WHERE path > ?1 ORDER BY path LIMIT ?2")?
        .query_map(params![after, limit], |row| {
            Ok(PublishedFile { path: row.get(0)?, oa_id: OaId::from(row.get::<_, String>(1)?) })
        })?
        .collect()
}
