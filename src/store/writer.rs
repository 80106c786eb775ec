//! The one thread that works on the database: it commits together what waits together.
//!
//! Durability costs one sync a transaction, however many OAs are in it. One bad row does not fail its neighbours, and
//! each write is answered only after the COMMIT. A COMMIT that fails proves nothing about the disk: everything in it is
//! answered as failed, and whoever needs it durable repeats it on this same connection. Reads are answered in their
//! turn, before the writes that wait with them.

use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::wal;
use crate::failpoint;

/// How many writes are committed together at most.
const LARGEST_BATCH: usize = 256;

/// Why the store did not do what it was asked to, by what the caller must do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk does not take it now, or nobody knows whether it did: hold on and repeat.
    #[error("{0}")]
    Unavailable(String),
    /// This row cannot be worked with; repeating will not help.
    #[error("{0}")]
    Broken(String),
    /// The thread that works on the store is gone: end the process.
    #[error("the store is closed")]
    Closed,
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last transaction was committed.
    Well,
    /// The last transaction failed.
    Failed(String),
}

pub(super) trait Job: Send {
    fn is_write(&self) -> bool;
    fn run(&mut self, conn: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<T, V> {
    verb: V,
    is_write: bool,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, V> Job for Call<T, V>
where
    T: Send,
    V: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn is_write(&self) -> bool {
        self.is_write
    }

    fn run(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.verb)(conn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Call { result, reply, .. } = *self;
        let answer = committed.and_then(|()| result.ok_or(StoreError::Closed));
        // A caller that went away does not need to know; what it asked for is done all the same.
        drop(reply.send(answer));
    }
}

/// Sees how long each transaction took, and whether it was committed.
pub(super) type CommitObserver = Box<dyn Fn(Duration, bool) + Send + Sync>;

/// The way to who works on the database.
#[derive(Clone)]
pub(super) struct Writer {
    worker: Worker,
    health: watch::Receiver<Health>,
    observer: Arc<OnceLock<CommitObserver>>,
}

/// What is told of the transactions, and to whom.
struct Teller {
    health: watch::Sender<Health>,
    observer: Arc<OnceLock<CommitObserver>>,
}

#[derive(Clone)]
enum Worker {
    /// A thread of its own.
    Thread(mpsc::Sender<Box<dyn Job>>),
    /// Whoever asks, who has the answer when the call returns.
    Caller(Arc<Mutex<Locked>>, Arc<Teller>),
}

/// In this order: closing the locked file before the database would drop SQLite's own locks.
struct Locked {
    conn: Connection,
    _lock: Option<File>,
}

impl Writer {
    /// Starts the thread. It ends, and closes the database, when the last `Writer` is dropped. What is written while
    /// `is_reachable` says why not would be in a file that nobody finds any more: nothing is written then.
    pub(super) fn start(
        conn: Connection,
        is_reachable: impl Fn() -> Result<(), String> + Send + 'static,
        before_closing: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<(Writer, JoinHandle<()>)> {
        let (jobs, mut inbox) = mpsc::channel::<Box<dyn Job>>(1_024);
        let (teller, seen_health) = Teller::new();
        let observer = Arc::clone(&teller.observer);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            while let Some(first) = inbox.blocking_recv() {
                let mut waiting = vec![first];
                while waiting.len() < LARGEST_BATCH
                    && let Ok(job) = inbox.try_recv()
                {
                    waiting.push(job);
                }
                work(&conn, &is_reachable, waiting, &teller);
            }
            before_closing();
        })?;
        Ok((Writer { worker: Worker::Thread(jobs), health: seen_health, observer }, thread))
    }

    /// Has each call done by whoever makes it.
    pub(super) fn on_this_thread(conn: Connection, lock: Option<File>) -> Writer {
        let (teller, health) = Teller::new();
        let observer = Arc::clone(&teller.observer);
        let locked = Arc::new(Mutex::new(Locked { conn, _lock: lock }));
        Writer { worker: Worker::Caller(locked, Arc::new(teller)), health, observer }
    }

    fn observe_commits(&self, observer: CommitObserver) {
        if self.observer.set(observer).is_err() {
            tracing::debug!("somebody observes the commits already");
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Resolves when nobody works on it any more.
    pub(super) async fn closed(&self) {
        match &self.worker {
            Worker::Thread(jobs) => jobs.closed().await,
            Worker::Caller(..) => std::future::pending().await,
        }
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        is_write: bool,
        verb: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call { verb, is_write, result: None, reply });
        match &self.worker {
            Worker::Thread(jobs) => jobs.send(call).await.map_err(|_| StoreError::Closed)?,
            Worker::Caller(locked, teller) => {
                let locked = locked.lock().unwrap_or_else(PoisonError::into_inner);
                work(&locked.conn, &|| Ok(()), vec![call], teller);
            }
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl super::Store {
    /// Calls this for each transaction from now on, with how long it took and whether it was committed: it must not wait,
    /// and must not hold the store. Only the first observer counts.
    pub fn observe_commits(&self, observer: impl Fn(Duration, bool) + Send + Sync + 'static) {
        self.writer.observe_commits(Box::new(observer));
    }
}

impl Teller {
    fn new() -> (Teller, watch::Receiver<Health>) {
        let (health, seen) = watch::channel(Health::Well);
        (Teller { health, observer: Arc::default() }, seen)
    }

    fn tell(&self, outcome: &Result<(), StoreError>, took: Duration) {
        if let Some(observer) = self.observer.get() {
            observer(took, outcome.is_ok());
        }
        let news = match outcome {
            Ok(()) => Health::Well,
            Err(error) => Health::Failed(error.to_string()),
        };
        self.health.send_if_modified(|health| {
            let is_news = *health != news;
            *health = news;
            is_news
        });
    }
}

/// Does what waits: the reads one by one, the writes in one transaction.
fn work(
    conn: &Connection,
    is_reachable: &impl Fn() -> Result<(), String>,
    waiting: Vec<Box<dyn Job>>,
    teller: &Teller,
) {
    let (writes, reads): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|job| job.is_write());
    answer_reads(conn, reads);
    if writes.is_empty() {
        return;
    }
    let began = Instant::now();
    let (done, outcome) = match is_reachable() {
        Ok(()) => {
            let (done, outcome) = commit_together(conn, writes);
            // Also in the meantime.
            (done, outcome.and_then(|()| is_reachable().map_err(StoreError::Unavailable)))
        }
        Err(why) => {
            (writes.into_iter().map(|job| (job, Ok(()))).collect(), Err(StoreError::Unavailable(why)))
        }
    };
    teller.tell(&outcome, began.elapsed());
    let is_committed = outcome.is_ok();
    for (job, own_outcome) in done {
        job.answer(outcome.clone().and(own_outcome));
    }
    // What cannot be worked into the database now stays in the log, which is as durable.
    if is_committed && let Err(error) = wal::keep_short(conn) {
        tracing::debug!(%error, "the log of the store stays long");
    }
}

/// All of them see the same state, for which its lock is taken once.
fn answer_reads(conn: &Connection, reads: Vec<Box<dyn Job>>) {
    if reads.is_empty() {
        return;
    }
    let begun = conn.execute_batch("BEGIN");
    for mut read in reads {
        let outcome =
            begun.as_ref().map_err(classify).and_then(|()| read.run(conn).map_err(|error| classify(&error)));
        read.answer(outcome);
    }
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::debug!(%error, "the end of reading");
    }
}

type Done = Vec<(Box<dyn Job>, Result<(), StoreError>)>;

/// One transaction for all. The second value is the fate of the transaction, beside each job's own.
///
/// Nearly always all of them can be done, and a savepoint around each would have every page copied that it changes. So
/// only where one could not be done, all is undone, and done anew with each in a savepoint of its own.
fn commit_together(conn: &Connection, writes: Vec<Box<dyn Job>>) -> (Done, Result<(), StoreError>) {
    let mut done: Done = writes.into_iter().map(|job| (job, Ok(()))).collect();
    let mut outcome =
        in_transaction(conn, || done.iter_mut().try_for_each(|(job, _)| run_within(conn, job.as_mut())));
    if outcome.as_ref().is_err_and(|error| matches!(classify(error), StoreError::Broken(_))) {
        outcome = in_transaction(conn, || {
            done.iter_mut().try_for_each(|(job, own_outcome)| {
                *own_outcome = in_savepoint(conn, job.as_mut())?;
                Ok(())
            })
        });
    }
    (done, outcome.map_err(|error| StoreError::Unavailable(error.to_string())))
}

/// Runs one write. SQLite undoes a whole transaction by itself at some failures of the disk; should a job not pass one on,
/// those after it would be made durable one statement at a time.
fn run_within(conn: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    job.run(conn)?;
    if conn.is_autocommit() {
        let undone = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
        return Err(rusqlite::Error::SqliteFailure(undone, Some("the transaction was undone".to_owned())));
    }
    Ok(())
}

fn in_transaction(conn: &Connection, work: impl FnOnce() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let outcome = conn.execute_batch("BEGIN IMMEDIATE").and_then(|()| work()).and_then(|()| {
        failpoint::pass("store.committing");
        conn.execute_batch("COMMIT")?;
        failpoint::pass("store.committed");
        Ok(())
    });
    if !conn.is_autocommit() {
        // What could not be committed is undone, so that the next transaction starts from what is known.
        conn.execute_batch("ROLLBACK")?;
    }
    outcome
}

/// Runs one write. `Err` is the disk's failure and ends the transaction; the inner error is the job's own.
fn in_savepoint(conn: &Connection, job: &mut dyn Job) -> rusqlite::Result<Result<(), StoreError>> {
    conn.execute_batch("SAVEPOINT job")?;
    match job.run(conn) {
        Ok(()) => conn.execute_batch("RELEASE job").map(Ok),
        Err(error) => match classify(&error) {
            StoreError::Unavailable(_) => Err(error),
            own @ (StoreError::Broken(_) | StoreError::Closed) => {
                conn.execute_batch("ROLLBACK TO job; RELEASE job").map(|()| Err(own))
            }
        },
    }
}

/// Is it the row, or is it the disk?
pub(super) fn classify(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) | None => {
            StoreError::Broken(text)
        }
        Some(_) => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().expect("in memory");
        conn.execute_batch("CREATE TABLE t (x INTEGER UNIQUE) STRICT").expect("table");
        conn
    }

    async fn insert(writer: &Writer, x: i64) -> Result<usize, StoreError> {
        writer.call(true, move |conn| conn.execute("INSERT INTO t VALUES (?1)", [x])).await
    }

    async fn count(writer: &Writer) -> i64 {
        writer
            .call(false, |conn| conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)))
            .await
            .expect("counted")
    }

    #[tokio::test]
    async fn one_bad_row_does_not_fail_its_neighbours() {
        let (writer, _thread) = Writer::start(database(), || Ok(()), || ()).expect("started");
        let (a, b, c) = tokio::join!(insert(&writer, 1), insert(&writer, 1), insert(&writer, 2));
        assert!(a.is_ok() && c.is_ok());
        assert!(matches!(b, Err(StoreError::Broken(_))));
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn a_failed_commit_fails_all_and_leaves_nothing_and_the_next_one_works() {
        let conn = database();
        conn.execute_batch("PRAGMA max_page_count = 3").expect("limited");
        let (writer, _thread) = Writer::start(conn, || Ok(()), || ()).expect("started");
        let mut health = writer.health();
        let (tell, told) = std::sync::mpsc::channel();
        writer.observe_commits(Box::new(move |_, is_committed| tell.send(is_committed).expect("heard")));
        let too_much = writer.call(true, |conn| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            conn.execute_batch("CREATE TABLE big (b) ; INSERT INTO big VALUES (zeroblob(100000))")
        });
        assert!(matches!(too_much.await, Err(StoreError::Unavailable(_))));
        assert!(matches!(*health.borrow_and_update(), Health::Failed(_)));
        assert_eq!(count(&writer).await, 0);
        insert(&writer, 8).await.expect("the next transaction is committed");
        assert_eq!(*health.borrow_and_update(), Health::Well);
        assert_eq!(
            told.try_iter().collect::<Vec<_>>(),
            [false, true],
            "each transaction is told, and no reading"
        );
    }

    #[test]
    fn i4_where_a_transaction_was_undone_under_a_job_nothing_of_the_others_is_made_durable() {
        struct Statement(&'static str);
        impl Job for Statement {
            fn is_write(&self) -> bool {
                true
            }
            fn run(&mut self, conn: &Connection) -> rusqlite::Result<()> {
                conn.execute_batch(self.0)
            }
            fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
        }
        let conn = database();
        // As SQLite does by itself where the disk fails it, and some job goes on as if nothing had happened.
        let undone = Statement("INSERT INTO t VALUES (1); ROLLBACK");
        let (_, outcome) =
            commit_together(&conn, vec![Box::new(undone), Box::new(Statement("INSERT INTO t VALUES (2)"))]);
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        let count: i64 = conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counted");
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn the_thread_ends_with_the_last_writer() {
        let (writer, thread) = Writer::start(database(), || Ok(()), || ()).expect("started");
        insert(&writer, 1).await.expect("inserted");
        drop(writer);
        thread.join().expect("ended without panic");
    }
}
