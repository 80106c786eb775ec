//! Looking at the store beside the thread that works on it: nobody who reads waits for a commit.
//!
//! Two threads with connections of their own answer what is quick (one OA), a third what looks at the whole fleet, so that
//! a long list delays no token. What was read of a set is remembered until that OA changes: most reads of a token ask
//! nobody.

use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use super::changes::Changes;
use super::held::{self, Held};
use super::overview::{self, AppStatus, Overview};
use super::read_only;
use super::reauthorization;
use super::slots::Slots;
use super::view::{self, HistoryEntry, OaStatus};
use super::writer::{StoreError, classify};
use crate::clock::{Reading, Time};
use crate::id::{Fleet, Managed, OaId};

/// How many threads answer what is quick: one. While a herd is refreshed a second one takes more from the thread that commits,
/// and so from all who read, than a page that has to come from the disk takes from those behind it.
const QUICK_THREADS: usize = 1;
/// How many questions wait at most.
const MOST_WAITING: usize = 8_192;

/// A way to look at the store. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct Reader {
    quick: Lane,
    whole: Lane,
    slots: Arc<Slots>,
    changes: Changes,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Threads that take questions out of one queue.
#[derive(Clone)]
struct Lane(mpsc::SyncSender<Job>);

impl Lane {
    fn start(name: &str, path: &Path, threads: usize, alive: &mpsc::Sender<()>) -> Result<Lane, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let (jobs, inbox) = mpsc::sync_channel::<Job>(MOST_WAITING);
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..threads {
            let conn = read_only::open_beside(path).map_err(|error| unavailable(&error))?;
            let (inbox, alive) = (Arc::clone(&inbox), alive.clone());
            let work = move || {
                // Whoever waits in `recv` holds the lock; the others wait for that.
                let next = || inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(job) = next() {
                    job(&conn);
                }
                // The last connection to be closed works the log into the database: that is the writer's.
                drop(conn);
                drop(alive);
            };
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(work).map_err(|error| unavailable(&error))?;
        }
        Ok(Lane(jobs))
    }

    async fn ask<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            // Whoever went away needs no answer.
            drop(reply.send(in_one_snapshot(conn, verb)));
        });
        match self.0.try_send(job) {
            Ok(()) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Err(mpsc::TrySendError::Full(_)) => {
                Err(StoreError::Unavailable("too many read the store at once".to_owned()))
            }
            Err(mpsc::TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }
}

fn in_one_snapshot<T>(
    conn: &Connection,
    verb: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let snapshot = conn.unchecked_transaction().map_err(|error| classify(&error))?;
    verb(&snapshot).map_err(|error| classify(&error))
}

impl Reader {
    pub(super) fn open(
        path: &Path,
        slots: Arc<Slots>,
        changes: Changes,
        alive: &mpsc::Sender<()>,
    ) -> Result<Reader, StoreError> {
        Ok(Reader {
            quick: Lane::start("store-read", path, QUICK_THREADS, alive)?,
            whole: Lane::start("store-list", path, 1, alive)?,
            slots,
            changes,
        })
    }

    /// Looks at the whole store, or at a large part of it.
    pub(super) async fn look_at_all<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.whole.ask(verb).await
    }

    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots)
    }

    /// What changes, as it becomes durable.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The OA's newest durable set, if it is remembered: nobody is asked.
    pub fn remembered(&self, oa_id: &OaId) -> Option<Arc<Held>> {
        self.changes.remembered(oa_id)
    }

    /// The OA's newest durable set.
    ///
    /// # Errors
    /// When the store cannot be read, here and below.
    pub async fn held(&self, oa_id: &OaId) -> Result<Option<Arc<Held>>, StoreError> {
        if let Some(held) = self.remembered(oa_id) {
            return Ok(Some(held));
        }
        let epoch = self.changes.epoch();
        let look = || {
            let (slots, oa) = (Arc::clone(&self.slots), oa_id.clone());
            self.quick.ask(move |conn| held::held(conn, Some(&slots), &oa))
        };
        let held = match look().await? {
            (_, true) => look().await?.0,
            (held, false) => held,
        };
        let held = held.map(Arc::new);
        if let Some(held) = &held {
            self.changes.remember(oa_id, held, epoch);
        }
        Ok(held)
    }

    /// How the OA stands, if the store has it.
    pub async fn status(
        &self,
        oa_id: &OaId,
        managed: Option<Managed>,
        now: Reading,
    ) -> Result<Option<OaStatus>, StoreError> {
        let (slots, oa_id) = (Arc::clone(&self.slots), oa_id.clone());
        self.quick.ask(move |conn| view::status(conn, Some(&slots), &oa_id, managed.as_ref(), &now)).await
    }

    /// How the next OAs stand, at most `limit` of them, by id: those of the store and of the config that come after this
    /// one.
    pub async fn statuses(
        &self,
        after: Option<OaId>,
        limit: usize,
        managed: Arc<Fleet>,
        now: Reading,
    ) -> Result<Vec<OaStatus>, StoreError> {
        let slots = Arc::clone(&self.slots);
        let page =
            move |conn: &_| view::statuses(conn, Some(&slots), &managed, view::Page { after, limit }, &now);
        self.whole.ask(page).await
    }

    /// How these OAs stand, those of them that the store has, each as it is managed.
    pub async fn statuses_of(
        &self,
        oas: Vec<(Option<Managed>, OaId)>,
        now: Reading,
    ) -> Result<Vec<OaStatus>, StoreError> {
        let slots = Arc::clone(&self.slots);
        let all = move |conn: &_| {
            let status = |(managed, oa_id): &(Option<Managed>, OaId)| {
                view::status(conn, Some(&slots), oa_id, managed.as_ref(), &now).transpose()
            };
            oas.iter().filter_map(status).collect()
        };
        self.whole.ask(all).await
    }

    /// The apps that are held back.
    pub async fn held_apps(&self) -> Result<Vec<AppStatus>, StoreError> {
        self.quick.ask(overview::held_apps).await
    }

    /// The OA's attempts, newest first.
    pub async fn history(&self, oa_id: &OaId) -> Result<Vec<HistoryEntry>, StoreError> {
        let oa_id = oa_id.clone();
        self.quick.ask(move |conn| view::history(conn, &oa_id)).await
    }

    /// The managed OAs that need a person, the most urgent first.
    pub async fn needing(&self, now: Time) -> Result<Vec<OaId>, StoreError> {
        self.whole.ask(move |conn| reauthorization::needing(conn, now)).await
    }

    /// What is to be seen of the fleet at a glance.
    pub async fn overview(&self, now: Reading) -> Result<Overview, StoreError> {
        self.whole.ask(move |conn| overview::overview(conn, &now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Uptime};
    use crate::oauth::{Answer, read_token_answer};
    use crate::rotation::{Roll, Timing};
    use crate::store::{AtVendors, Import, Opened, Recovered, State, Store};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::JoinHandle;
    use std::time::Duration;

    fn now() -> Reading {
        Reading {
            time: Time::from_millis(1_800_000_000_000),
            uptime: Uptime(Duration::from_secs(1_000)),
            boot: Arc::from("boot"),
        }
    }

    struct Bench {
        store: Store,
        thread: JoinHandle<()>,
        directory: tempfile::TempDir,
    }

    fn bench() -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = Opened::open(&directory.path().join("tokens.db")).expect("opened");
        let mut recovered = Recovered::default();
        opened.recover(2, &Timing::default(), &now(), &mut || Roll(0.5), &mut recovered).expect("recovered");
        let (store, thread) = opened.start().expect("started");
        Bench { store, thread, directory }
    }

    fn managed(app: &str) -> Managed {
        Managed { app_id: app.into(), name: None }
    }

    impl Bench {
        async fn import(&self, oa: &str, number: u32) {
            let body = format!(
                r#"{{"access_token":"access{oa}-{number}","refresh_token":"refresh{oa}-{number}","expires_in":90000}}"#
            );
            let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { panic!("a grant") };
            let import = Import {
                oa_id: oa.into(),
                app_id: "1".into(),
                name: None,
                tokens,
                obtained: Moment::at(&now()),
            };
            self.store.import(Arc::new(import), Arc::default(), now()).await.expect("imported");
        }
    }

    #[tokio::test]
    async fn a_set_is_remembered_until_the_oa_has_another_one() {
        let bench = bench();
        let reader = bench.store.reader().expect("a reader");
        let oa = OaId::from("7");
        assert!(reader.held(&oa).await.expect("read").is_none());
        bench.import("7", 1).await;
        assert!(reader.remembered(&oa).is_none());
        let held = reader.held(&oa).await.expect("read").expect("a set");
        assert_eq!((held.generation, held.access_token.expose()), (1, "access7-1"));
        assert_eq!(held.life(), Duration::from_secs(90_000));
        assert_eq!(held.valid_until(&now()), Some(now().time.plus(Duration::from_secs(90_000))));
        assert_eq!(reader.remembered(&oa).map(|held| held.generation), Some(1));
        bench.import("7", 2).await;
        assert!(reader.remembered(&oa).is_none(), "the older set is forgotten at once");
        assert_eq!(reader.held(&oa).await.expect("read").map(|held| held.generation), Some(2));
        drop((reader, bench.store));
        bench.thread.join().expect("the store is closed");
        // The writer's connection was the last: a disk that is full has the log's room again.
        assert!(!bench.directory.path().join("tokens.db-wal").exists());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_reader_sees_an_older_set_than_another_one_has_seen_while_sets_change() {
        let bench = Arc::new(bench());
        bench.import("7", 1).await;
        let (newest_seen, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut readers = tokio::task::JoinSet::new();
        for reader in [bench.store.reader().expect("a reader"), bench.store.reader().expect("a reader")] {
            for _ in 0..2 {
                let (reader, newest_seen, is_over) =
                    (reader.clone(), Arc::clone(&newest_seen), Arc::clone(&is_over));
                readers.spawn(async move {
                    while is_over.load(Ordering::SeqCst) == 0 {
                        let before = newest_seen.load(Ordering::SeqCst);
                        let held = reader.held(&"7".into()).await.expect("read").expect("a set");
                        assert!(held.generation >= before, "{} after {before}", held.generation);
                        assert_eq!(held.access_token.expose(), format!("access7-{}", held.generation));
                        newest_seen.fetch_max(held.generation, Ordering::SeqCst);
                    }
                });
            }
        }
        for number in 2..=200 {
            bench.import("7", number).await;
            assert!(newest_seen.load(Ordering::SeqCst) <= u64::from(number), "only what is durable");
        }
        is_over.store(1, Ordering::SeqCst);
        while let Some(ended) = readers.join_next().await {
            ended.expect("no reader fails");
        }
        assert!(newest_seen.load(Ordering::SeqCst) > 10, "they read while the sets changed");
    }

    #[tokio::test]
    async fn the_fleet_is_read_in_parts_that_leave_nothing_out() {
        let bench = bench();
        let oas: Fleet = (0..25).map(|number| (format!("{number:02}").into(), managed("1"))).collect();
        let oas = Arc::new(oas);
        bench
            .store
            .manage(Arc::clone(&oas), AtVendors::default(), Arc::default(), now())
            .await
            .expect("managed");
        bench.import("13", 1).await;
        let reader = bench.store.reader().expect("a reader");
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = reader.statuses(after, 10, Arc::clone(&oas), now()).await.expect("read");
            assert!(page.len() <= 10);
            let Some(last) = page.last() else { break };
            after = Some(last.oa_id.clone());
            seen.extend(page);
        }
        assert_eq!(seen.iter().map(|oa| &oa.oa_id).collect::<Vec<_>>(), oas.keys().collect::<Vec<_>>());
        let scheduled: Vec<_> = seen.iter().filter(|oa| oa.state == State::Scheduled).collect();
        assert!(scheduled.len() == 1 && scheduled[0].oa_id.as_str() == "13", "{scheduled:?}");
        let overview = reader.overview(now()).await.expect("read");
        assert_eq!(overview.counts, [(State::AwaitingGrant, 24), (State::Scheduled, 1)].into());
        assert_eq!(overview.unserved, [(State::AwaitingGrant, 24)].into());
        let end = now().time.plus(Duration::from_secs(90_000));
        assert_eq!(overview.first_ends, [(State::Scheduled, end)].into());
        let counted = bench.store.counts(now().time).await.expect("counted");
        assert_eq!(counted.by_state, overview.counts, "both ways of counting say the same");
        let later = reader.overview(Reading { time: end, ..now() }).await.expect("read");
        assert_eq!(later.unserved, [(State::AwaitingGrant, 24), (State::Scheduled, 1)].into());
    }

    #[tokio::test]
    async fn what_a_program_manages_is_left_alone_by_the_config_until_the_config_has_it() {
        let bench = bench();
        let (theirs, ours) = (OaId::from("8"), OaId::from("9"));
        let fleet = Arc::new(Fleet::from([(ours.clone(), managed("1"))]));
        let manage = |fleet: &Arc<Fleet>| {
            bench.store.manage(Arc::clone(fleet), AtVendors::default(), Arc::default(), now())
        };
        assert_eq!(manage(&fleet).await.expect("managed"), Fleet::new());
        let enlist = |oa: &OaId| bench.store.enlist(oa.clone(), managed("2"), Arc::default(), now().time);
        assert!(enlist(&theirs).await.expect("enlisted"));
        assert!(!enlist(&ours).await.expect("asked"), "the config has it");
        assert_eq!(manage(&fleet).await.expect("managed"), Fleet::from([(theirs.clone(), managed("2"))]));
        let reader = bench.store.reader().expect("a reader");
        let status = reader.status(&theirs, None, now()).await.expect("read").expect("there");
        assert_eq!((status.state, status.app_id), (State::AwaitingGrant, Some("2".into())));

        let both = Arc::new(Fleet::from([(ours, managed("1")), (theirs.clone(), managed("2"))]));
        assert_eq!(manage(&both).await.expect("managed"), Fleet::new());
        assert!(!bench.store.dismiss(theirs.clone()).await.expect("asked"), "the config has it now");
        manage(&fleet).await.expect("managed");
        let status = reader.status(&theirs, None, now()).await.expect("read").expect("there");
        assert_eq!(status.state, State::Unmanaged);
        assert!(enlist(&theirs).await.expect("enlisted"));
        assert!(bench.store.dismiss(theirs).await.expect("asked"));
        assert_eq!(manage(&fleet).await.expect("managed"), Fleet::new());
    }
}
