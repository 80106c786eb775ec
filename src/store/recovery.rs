//! Opening the daemon's store, and taking up what an earlier run left.
//!
//! **Needs.** After a kill at any instruction the daemon has to know of every refresh token whether it may have
//! been presented, and must lose no answer that reached its predecessor. **The order**, under the lock: the
//! write-ahead log is checkpointed and seen to succeed, so that what is decided from is on the disk and not only
//! in its cache; answers in slots are taken in where their attempt is still open; what then remains open was
//! presented and has no answer, and leaves its OA uncertain; the slots are written anew. Each step is durable before
//! the next begins, and each finds nothing to do when it was done before: a start that is killed is simply begun
//! again. **Accepted.** A slot that was torn by the crash has no readable answer; its attempt is uncertain.

use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::conclude::{Attempted, Concluded, conclude};
use super::medium::{self, Medium};
use super::open_error::OpenError;
use super::place::Place;
use super::settle::{self, Abandoned};
use super::slots::{Content, Slots, SpilledAnswer};
use super::writer::{StoreError, Writer, classify};
use super::{
    AbandonedCode, CodeAttempted, ConsentStage, Store, connection, consent, day, file, journal, links, lock,
    soundness, wal,
};
use crate::clock::Reading;
use crate::failpoint;
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::{Roll, Timing};
use crate::secret::Secret;

/// How long readers have to close their connections before the store's own, which works the log in. One that hangs is not
/// waited for.
const READERS_FIRST: Duration = Duration::from_secs(1);

/// The daemon's store, locked and not yet recovered.
pub struct Opened {
    /// The database, as an absolute path.
    path: PathBuf,
    conn: Connection,
    slots: Slots,
    /// `None`: nobody else can reach the disk that it is on.
    lock: Option<File>,
}

/// What an earlier run had left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Answers that were taken in from slots.
    pub taken_in: Vec<TakenIn>,
    /// Attempts whose answer nobody waits for any more.
    pub abandoned: Vec<Abandoned>,
    /// Answers to codes that were taken in from slots, each with how far its consent is then.
    pub codes_taken_in: Vec<(OaId, AttemptId, ConsentStage)>,
    /// Codes whose answer nobody waits for any more.
    pub codes_abandoned: Vec<AbandonedCode>,
    /// Answers to attempts that the store has never heard of; they are kept.
    pub orphans: Vec<AttemptId>,
    /// Slots that held nothing readable.
    pub torn: usize,
}

/// An answer that was taken in from its slot.
#[derive(Debug)]
pub struct TakenIn {
    /// Whose it is.
    pub oa_id: OaId,
    /// The app whose endpoint gave it.
    pub app_id: AppId,
    /// The attempt that it answers.
    pub attempt: AttemptId,
    /// What kind of verdict it is.
    pub class: &'static str,
    /// The verdict in words.
    pub detail: String,
    /// What it changed.
    pub concluded: Concluded,
}

enum Taken {
    Refresh(Box<TakenIn>),
    Code((OaId, AttemptId, ConsentStage)),
}

/// `None`: it is no answer to a code.
fn take_in_code(
    tx: &Connection,
    spilled: &SpilledAnswer,
    now: &Reading,
) -> rusqlite::Result<Option<(OaId, AttemptId, ConsentStage)>> {
    let Some(found) = consent::of_attempt(tx, spilled.attempt)? else { return Ok(None) };
    let attempted = CodeAttempted {
        attempt: spilled.attempt,
        obtained: spilled.obtained.clone(),
        verdict: spilled.verdict(),
        status: Some(spilled.answer.status),
        answer: Some(spilled.answer.body.clone()),
    };
    let stage = consent::exchange::conclude(tx, &attempted, now)?;
    Ok(stage.map(|stage| (found.oa_id, spilled.attempt, stage)))
}

impl Opened {
    /// Makes or opens the store and takes the lock that only one daemon has.
    ///
    /// # Errors
    /// When the store cannot or must not be opened.
    pub fn open(path: &Path) -> Result<Opened, OpenError> {
        file::ensure_database(path)?;
        // Before the lock, by which a command that looks takes the log for one that is settled.
        soundness::settle_log(path)?;
        let lock = lock::take(path)?;
        let conn = connection::open(path)?;
        soundness::check_integrity(&conn, path)?;
        let slots_path = file::beside(path, "-slots");
        if !file::check_file(&slots_path)? {
            file::create(&slots_path)?;
        }
        file::sync_directory(path)?;
        let slots = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&slots_path)
            .map_err(|error| OpenError::Unavailable(format!("{}: {error}", slots_path.display())))?;
        let unavailable = |error: std::io::Error| OpenError::Unavailable(error.to_string());
        let absolute = |path: &Path| std::path::absolute(path).map_err(unavailable);
        let place = Place::of(absolute(&slots_path)?, &slots).map_err(unavailable)?;
        Ok(Opened { path: absolute(path)?, conn, slots: Slots::at(place, Box::new(slots)), lock: Some(lock) })
    }

    /// Makes or opens the store on such a disk.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_on(medium: Medium) -> Result<Opened, OpenError> {
        let Medium { path, vfs, slots } = medium;
        let conn = medium::connect(&path, &vfs)?;
        soundness::check_integrity(&conn, &path)?;
        Ok(Opened { path, conn, slots: Slots::over(slots), lock: None })
    }

    /// Takes up what an earlier run left. May be repeated until it succeeds; what was done stays done, and is
    /// added to `recovered`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the disk does not let us.
    pub fn recover(
        &self,
        slot_count: usize,
        timing: &Timing,
        now: &Reading,
        roll: &mut dyn FnMut() -> Roll,
        recovered: &mut Recovered,
    ) -> Result<(), StoreError> {
        failpoint::pass("recovery.begun");
        self.checkpoint()?;
        failpoint::pass("recovery.checkpointed");
        // Before anything is stamped: a clock that is ahead, or jumps, finds a day that it cannot turn.
        self.transact(|tx| day::turn(tx, now.time, Duration::ZERO))?;
        let unavailable = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        for index in 0..self.slots.count().map_err(unavailable)? {
            match self.slots.read(index).map_err(unavailable)? {
                Content::Empty => continue,
                Content::Torn => {
                    self.slots.clear(index).map_err(unavailable)?;
                    recovered.torn += 1;
                }
                Content::Filled(spilled) | Content::Unmarked(spilled) => {
                    match self.take_in(&spilled, timing, now, roll())? {
                        Some(Taken::Refresh(taken_in)) => recovered.taken_in.push(*taken_in),
                        Some(Taken::Code(taken_in)) => recovered.codes_taken_in.push(taken_in),
                        None if recovered.orphans.contains(&spilled.attempt) => {}
                        None => recovered.orphans.push(spilled.attempt),
                    }
                    failpoint::pass("recovery.taken_in");
                    self.slots.clear(index).map_err(unavailable)?;
                }
            }
        }
        let abandoned = self.transact(|tx| settle::abandon_presenting(tx, timing, now, roll))?;
        recovered.abandoned.extend(abandoned);
        let codes = self.transact(|tx| consent::exchange::abandon_presenting(tx, now.time))?;
        recovered.codes_abandoned.extend(codes);
        failpoint::pass("recovery.abandoned");
        wal::size(&self.conn, slot_count).map_err(|error| classify(&error))?;
        failpoint::pass("recovery.sized");
        self.slots.prepare(slot_count).map_err(unavailable)?;
        failpoint::pass("recovery.prepared");
        Ok(())
    }

    /// What our own links are signed with; `None`: that cannot be read, and is no reason not to start.
    pub fn link_key(&self) -> Option<Secret> {
        links::key(&self.conn).ok().flatten()
    }

    /// Starts the thread that works on the store. It holds the lock until it ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self) -> std::io::Result<(Store, JoinHandle<()>)> {
        let Opened { path, conn, slots, lock } = self;
        let sides = ["-wal", "-shm", "-slots"].map(|suffix| Place::found(file::beside(&path, suffix)));
        let database = lock.as_ref().map(|lock| Place::of(path.clone(), lock)).transpose()?;
        let places: Vec<Place> = database.into_iter().chain(sides.into_iter().flatten()).collect();
        let is_on_disk = lock.is_some();
        let (readers, closed) = mpsc::channel();
        let (writer, thread) = Writer::start(
            conn,
            move || places.iter().try_for_each(Place::check),
            move || {
                if closed.recv_timeout(READERS_FIRST) == Err(mpsc::RecvTimeoutError::Timeout) {
                    tracing::debug!("a reader hangs");
                }
            },
        )?;
        let holder = std::thread::Builder::new().name("store-lock".to_owned()).spawn(move || {
            // After the database is closed: closing this file earlier would drop SQLite's own locks.
            let ended = thread.join();
            drop(lock);
            if let Err(panic) = ended {
                std::panic::resume_unwind(panic);
            }
        })?;
        Ok((Store::new(writer, slots, is_on_disk.then_some(&*path), readers), holder))
    }

    /// Goes on without a thread: each verb is done, and committed by itself, on the thread that asks for it, before that
    /// thread goes on. For a simulation, in which everything happens in an order of its choosing.
    pub fn on_this_thread(self) -> Store {
        Store::new(Writer::on_this_thread(self.conn, self.lock), self.slots, None, mpsc::channel().0)
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        let is_busy: bool = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| classify(&error))?;
        if is_busy {
            return Err(StoreError::Unavailable("another process is reading the store".to_owned()));
        }
        Ok(())
    }

    fn take_in(
        &self,
        spilled: &SpilledAnswer,
        timing: &Timing,
        now: &Reading,
        roll: Roll,
    ) -> Result<Option<Taken>, StoreError> {
        self.transact(|tx| {
            if let Some(taken_in) = take_in_code(tx, spilled, now)? {
                return Ok(Some(Taken::Code(taken_in)));
            }
            let Some(journalled) = journal::load(tx, spilled.attempt)? else {
                journal::keep_orphan(tx, spilled.attempt, &spilled.answer.body, now.time)?;
                return Ok(None);
            };
            let attempted = Attempted {
                attempt: spilled.attempt,
                claim: None,
                started_at: now.time,
                obtained: spilled.obtained.clone(),
                verdict: spilled.verdict(),
                status: Some(spilled.answer.status),
                answer: Some(spilled.answer.body.clone()),
            };
            let taken_in = TakenIn {
                concluded: conclude(tx, &attempted, timing, now, roll)?,
                oa_id: journalled.oa_id,
                app_id: journalled.app_id,
                attempt: spilled.attempt,
                class: attempted.verdict.class(),
                detail: attempted.verdict.detail(),
            };
            Ok(Some(Taken::Refresh(Box::new(taken_in))))
        })
    }

    fn transact<T>(&self, verb: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let transact = || {
            let tx =
                rusqlite::Transaction::new_unchecked(&self.conn, rusqlite::TransactionBehavior::Immediate)?;
            let result = verb(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        transact().map_err(|error| classify(&error))
    }
}
