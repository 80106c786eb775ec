//! The commands' way to the store: one connection, one verb, beside a daemon or without one.

use rusqlite::Connection;
use std::fs::File;
use std::path::Path;

use super::held::{self, TokenAnswer};
use super::import::{self, Import, Imported};
use super::medium::{self, Medium};
use super::open_error::{OpenError, sql_error};
use super::overview::{self, AppStatus};
use super::slots::Slots;
use super::vendor::AtVendors;
use super::view::{self, HistoryEntry, OaStatus};
use super::writer::{StoreError, classify};
use super::{connection, file, links, read_only, resolve, vendor, wal};
use crate::clock::Reading;
use crate::failpoint;
use crate::id::{AttemptId, Fleet, OaId};
use crate::rotation::Timing;
use crate::secret::Secret;

/// A store opened by a command.
pub struct Direct {
    conn: Option<Connection>,
    slots: Option<Slots>,
}

impl Direct {
    /// Opens the store to look at it. A store that is not there yet looks like one without rows.
    ///
    /// # Errors
    /// When there is one that cannot or must not be opened.
    pub fn open_to_read(path: &Path) -> Result<Direct, OpenError> {
        if !file::check_file(path)? {
            return Ok(Direct { conn: None, slots: None });
        }
        let conn = read_only::open(path)?;
        let slots = File::open(file::beside(path, "-slots")).ok().map(|file| Slots::over(Box::new(file)));
        Ok(Direct { conn, slots })
    }

    /// Looks whether a store may stand where it is to stand; makes nothing.
    ///
    /// # Errors
    /// When others may write into its directory, or it is not this user's.
    pub fn check_place(path: &Path) -> Result<(), OpenError> {
        let directory = path.parent().filter(|parent| parent.exists());
        directory.map_or(Ok(()), |_| file::check_directory(path))
    }

    /// Opens the store to change it, and makes it where there is none.
    ///
    /// # Errors
    /// When it cannot or must not be opened.
    pub fn open_to_write(path: &Path) -> Result<Direct, OpenError> {
        file::ensure_database(path)?;
        let conn = connection::open(path)?;
        wal::leave(&conn).map_err(|error| sql_error(path, error))?;
        Ok(Direct { conn: Some(conn), slots: None })
    }

    /// Opens the store on such a disk, to look at it and to change it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_on(medium: Medium) -> Result<Direct, OpenError> {
        let Medium { path, vfs, slots } = medium;
        let conn = medium::connect(&path, &vfs)?;
        wal::leave(&conn).map_err(|error| sql_error(&path, error))?;
        Ok(Direct { conn: Some(conn), slots: Some(Slots::over(slots)) })
    }

    /// Takes in a set that a person brings, in one durable transaction.
    ///
    /// # Errors
    /// When the store does not take it; nothing is changed then.
    pub fn import(
        &mut self,
        import: &Import,
        timing: &Timing,
        now: &Reading,
    ) -> Result<Imported, StoreError> {
        self.write(|tx| import::import(tx, import, timing, now))
    }

    /// Does it in one durable transaction.
    pub(super) fn write<T>(
        &mut self,
        verb: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let conn = self.conn.as_mut().ok_or(StoreError::Closed)?;
        let transact = |conn: &mut Connection| {
            let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let done = verb(&tx)?;
            failpoint::pass("import.committing");
            tx.commit()?;
            failpoint::pass("import.committed");
            Ok(done)
        };
        transact(conn).map_err(|error| classify(&error))
    }

    /// The status of all OAs of the store and of the config.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn statuses(
        &self,
        managed: &Fleet,
        at_vendors: &AtVendors,
        now: &Reading,
    ) -> Result<Vec<OaStatus>, StoreError> {
        let whole = view::Page::WHOLE;
        let shown = self.read(|conn| view::statuses(conn, self.slots.as_ref(), managed, whole, now))?;
        Ok(vendor::as_configured(shown, managed, at_vendors, now))
    }

    /// The apps that are held back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn held_apps(&self) -> Result<Vec<AppStatus>, StoreError> {
        self.read(overview::held_apps)
    }

    /// The OA's access token, if it can be used now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn token(&self, managed: &Fleet, oa_id: &OaId, now: &Reading) -> Result<TokenAnswer, StoreError> {
        self.read(|conn| held::token(conn, self.slots.as_ref(), managed, oa_id, now))
    }

    /// The OA's attempts, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self, oa_id: &OaId) -> Result<Vec<HistoryEntry>, StoreError> {
        self.read(|conn| view::history(conn, oa_id))
    }

    /// What our own links are signed with; `None`: the store is of an older version, or there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn link_key(&self) -> Result<Option<Secret>, StoreError> {
        // Without a store there would be a new key with each question.
        if self.conn.is_none() { Ok(None) } else { self.read(links::key) }
    }

    /// The raw answer that was kept with an attempt of this OA.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn kept_answer(&self, oa_id: &OaId, attempt: AttemptId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|conn| resolve::kept_answer(conn, oa_id, attempt))
    }

    /// Reads in one snapshot. Where there is no store, an empty one in memory answers.
    fn read<T>(&self, verb: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let read = || match &self.conn {
            Some(conn) => {
                let snapshot = conn.unchecked_transaction()?;
                verb(&snapshot)
            }
            None => {
                let empty = Connection::open_in_memory()?;
                super::schema::migrate(&empty)?;
                verb(&empty)
            }
        };
        read().map_err(|error| classify(&error))
    }
}
