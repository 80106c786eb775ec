//! The store: SQLite, the only schedule, the only truth that is published.
//!
//! Every change is one verb of the protocol (`present`, `conclude`, `import`, …), and every verb is a synchronous
//! function over a connection, so that a simulation can drive them on one thread. [`Store`] is the daemon's shell
//! around them: a thread that commits what waits together. [`Direct`] is the commands' shell: one connection, one
//! verb. [`Opened`] recovers what an earlier run left. No SQL and no type of rusqlite leaves this room. May import
//! `rotation`, `vendor`, `oauth`, `clock`, `id`, `secret` and `failpoint`.

mod apps;
mod changes;
mod conclude;
mod connection;
mod consent;
mod day;
mod direct;
mod ends;
mod file;
mod fleet;
mod held;
mod import;
mod journal;
mod links;
mod lock;
mod medium;
mod open_error;
mod outbox;
mod overview;
mod place;
mod present;
mod published;
mod read_only;
mod reader;
mod reauthorization;
mod recovery;
mod resolve;
mod rows;
mod schema;
mod settle;
mod slot;
mod slots;
mod soundness;
#[cfg(test)]
mod tests;
mod vendor;
mod view;
mod wal;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::watch;

pub use apps::{AppChange, AppStanding};
pub use changes::{Awaiting, Changes, Subscription};
pub use conclude::{Attempted, Concluded, Effect};
pub use consent::{
    AbandonedCode, Adopted, BY_A_PERSON, CodeAttempted, Consent, ConsentId, ConsentStage, GRANTED,
    NewConsent, Unverified,
};
pub use direct::Direct;
pub use ends::OldGrant;
pub use fleet::{Due, Hurried, Look, Sweep};
pub use held::{Held, TokenAnswer, ValidToken};
pub use import::{Import, Imported};
pub use medium::{Medium, SlotFile};
pub use open_error::OpenError;
pub use outbox::{Letter, Tells, Untold, Waiting};
pub use overview::{AppStatus, Counts, Overview};
pub use present::{Claim, Claimed, Journalled};
pub use published::PublishedFile;
pub use reader::Reader;
pub use reauthorization::Reauthorization;
pub use recovery::{Opened, Recovered, TakenIn};
pub use resolve::{Decision, Resolved};
pub use settle::{Abandoned, Doubt, Settled};
pub use slot::Slot;
pub use slots::SpilledAnswer;
pub use vendor::{
    Asked, AtVendors, LinkEffect, LinkNews, LookEffect, LookNews, TakenUp, VendorDue, VendorReminder,
    VendorRoom,
};
pub use view::{HistoryEntry, OaStatus, State};
pub use writer::{Health, StoreError};

use crate::clock::{Reading, Time};
pub use crate::id::Managed;
use crate::id::{AppId, AttemptId, Fleet, OaId};
use crate::rotation::{Premise, Reminder, Roll, Timing};
use slots::Slots;
use writer::Writer;

/// The daemon's store. Cheap to clone; the database is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    slots: Arc<Slots>,
    changes: Changes,
    /// The database; `None`: it is on no disk of this machine.
    path: Option<Arc<Path>>,
    /// Held by each thread that reads, until its connection is closed.
    readers: mpsc::Sender<()>,
}

impl Store {
    fn new(writer: Writer, slots: Slots, path: Option<&Path>, readers: mpsc::Sender<()>) -> Store {
        let (slots, changes, path) = (Arc::new(slots), Changes::default(), path.map(Arc::from));
        Store { writer, slots, changes, path, readers }
    }

    /// Opens a way to look at the store that waits for no commit.
    ///
    /// # Errors
    /// When the database cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        let path = self.path.as_ref().ok_or(StoreError::Closed)?;
        Reader::open(path, Arc::clone(&self.slots), self.changes.clone(), &self.readers)
    }

    /// Which sets change, as they become durable.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The answer to an attempt of this OA is durable in its slot.
    pub fn note_spilled(&self, oa_id: &OaId) {
        self.changes.tell(oa_id);
    }

    /// This OA is managed now, or is not any more: who looks after sets is to look at it anew.
    pub fn note_managed(&self, oa_id: &OaId) {
        self.changes.tell(oa_id);
    }

    /// How the store is, and whenever that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.writer.health()
    }

    /// Resolves if the thread that works on the store is gone: the process has to end.
    pub async fn closed(&self) {
        self.writer.closed().await;
    }

    /// Takes a spill slot, if one is free.
    pub fn take_slot(&self) -> Option<Slot> {
        self.slots.take().map(|index| Slot::new(Arc::clone(&self.slots), index))
    }

    /// How many spill slots are free.
    pub fn free_slots(&self) -> usize {
        self.slots.free()
    }

    /// Takes over which OAs the config has, of apps and of vendors; returns those that programs manage.
    pub async fn manage(
        &self,
        oas: impl Into<Arc<Fleet>>,
        at_vendors: AtVendors,
        timing: Arc<Timing>,
        now: Reading,
    ) -> Result<Fleet, StoreError> {
        let oas = oas.into();
        let manage = move |tx: &_| {
            vendor::manage(tx, &at_vendors, &now)?;
            fleet::manage(tx, &oas, &timing, now.time)
        };
        self.writer.call(true, manage).await
    }

    /// A program wants this OA to be managed so. `false`: the config has it.
    pub async fn enlist(
        &self,
        oa_id: OaId,
        managed: Managed,
        timing: Arc<Timing>,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| fleet::enlist(tx, &oa_id, &managed, &timing, now)).await
    }

    /// A program does not want this OA to be managed any more. `false`: no program manages it.
    pub async fn dismiss(&self, oa_id: OaId) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| fleet::dismiss(tx, &oa_id)).await
    }

    /// Takes in a set that a program brings, in one durable transaction.
    pub async fn import(
        &self,
        import: Arc<Import>,
        timing: Arc<Timing>,
        now: Reading,
    ) -> Result<Imported, StoreError> {
        let oa_id = import.oa_id.clone();
        let imported = self.writer.call(true, move |tx| import::import(tx, &import, &timing, &now)).await?;
        if matches!(imported, Imported::Adopted { .. }) {
            self.changes.tell(&oa_id);
        }
        Ok(imported)
    }

    /// Lets each blocked app try again at once.
    pub async fn allow_trials(&self, now: Time) -> Result<(), StoreError> {
        self.writer.call(true, move |tx| apps::allow_trials(tx, now)).await
    }

    /// How this app stands.
    pub async fn app_standing(&self, app_id: AppId) -> Result<AppStanding, StoreError> {
        self.writer.call(false, move |conn| Ok(apps::load(conn, &app_id)?.standing())).await
    }

    /// Looks what there is to do, in one go: a store that is busy with a herd answers only between two commits. Without
    /// `sweep` no refresh is to begin.
    pub async fn look(&self, sweep: Option<Sweep>, now: Reading) -> Result<Look, StoreError> {
        self.writer.call(false, move |conn| fleet::look(conn, sweep.as_ref(), &now)).await
    }

    /// An operator wants this OA, which he saw in `generation`, to be refreshed now.
    pub async fn hurry(&self, oa_id: OaId, generation: u64, now: Reading) -> Result<Hurried, StoreError> {
        self.writer.call(true, move |tx| fleet::hurry(tx, &oa_id, generation, &now)).await
    }

    /// The attempt that an operator may decide about.
    pub async fn undecided(&self, oa_id: OaId) -> Result<Option<AttemptId>, StoreError> {
        self.writer.call(false, move |conn| resolve::undecided(conn, &oa_id)).await
    }

    /// Carries an operator's decision about an attempt out.
    pub async fn resolve(
        &self,
        oa_id: OaId,
        attempt: AttemptId,
        decision: Decision,
        timing: Arc<Timing>,
        now: Reading,
        roll: Roll,
    ) -> Result<Resolved, StoreError> {
        let about = oa_id.clone();
        let resolve = move |tx: &_| resolve::resolve(tx, &oa_id, attempt, &decision, &timing, &now, roll);
        let resolved = self.writer.call(true, resolve).await?;
        if matches!(resolved, Resolved::Adopted { .. }) {
            self.changes.tell(&about);
        }
        Ok(resolved)
    }

    /// The managed OAs about which a person has to do something before anything else can be done.
    pub async fn helpless(
        &self,
        managed: impl Into<Arc<Fleet>>,
        now: Reading,
    ) -> Result<Vec<OaStatus>, StoreError> {
        let managed = managed.into();
        self.writer.call(false, move |conn| view::helpless(conn, &managed, &now)).await
    }

    /// Reads the OA again and says what an attempt is to work with.
    pub async fn claim(&self, oa_id: OaId, is_on_demand: bool, now: Reading) -> Result<Claimed, StoreError> {
        self.writer.call(false, move |conn| present::claim(conn, &oa_id, is_on_demand, &now)).await
    }

    /// Calls a person for an OA that [`Claimed::Unproven`] was said of. `false`: it is so no more.
    pub async fn latch_unproven(&self, oa_id: OaId, now: Reading) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| present::latch_unproven(tx, &oa_id, &now)).await
    }

    /// Journals that the claimed token is about to be presented. Durable when this returns.
    pub async fn present(
        &self,
        claim: Claim,
        attempt: AttemptId,
        started_at: Time,
        most: u32,
        now: Reading,
    ) -> Result<Journalled, StoreError> {
        let present = move |tx: &_| present::present(tx, &claim, attempt, started_at, most, &now);
        self.writer.call(true, present).await
    }

    /// Concludes an attempt. May be repeated.
    pub async fn conclude(
        &self,
        attempted: Arc<Attempted>,
        timing: Arc<Timing>,
        now: Reading,
        roll: Roll,
    ) -> Result<Concluded, StoreError> {
        let about = attempted.claim.as_ref().map(|claim| claim.oa_id.clone());
        let conclude = move |tx: &_| conclude::conclude(tx, &attempted, &timing, &now, roll);
        let concluded = self.writer.call(true, conclude).await?;
        if let Some(oa_id) =
            about.filter(|_| matches!(concluded.effect, Effect::Adopted { .. } | Effect::AlreadyConcluded))
        {
            self.changes.tell(&oa_id);
        }
        Ok(concluded)
    }

    /// What is known of an app's old tokens, and when it was measured.
    pub async fn premise(&self, app_id: AppId) -> Result<(Premise, Option<Time>), StoreError> {
        self.writer.call(false, move |conn| apps::premise(conn, &app_id)).await
    }

    /// Notes what was measured of an app's old tokens.
    pub async fn record_premise(&self, app_id: AppId, premise: Premise, now: Time) -> Result<(), StoreError> {
        self.writer.call(true, move |tx| apps::record_premise(tx, &app_id, premise, now)).await
    }

    /// The imports that nobody announced yet. They count as announced from here on.
    pub async fn take_unsaid_imports(&self) -> Result<Vec<(OaId, u64, Option<Time>)>, StoreError> {
        if !self.writer.call(false, import::has_unsaid).await? {
            return Ok(Vec::new());
        }
        let unsaid = self.writer.call(true, import::take_unsaid).await?;
        unsaid.iter().for_each(|(oa_id, ..)| self.changes.tell(oa_id));
        Ok(unsaid)
    }

    /// The OAs whose access token has ended and of whom that was not said yet. It counts as said from here on.
    pub async fn take_expired(&self, now: Reading) -> Result<Vec<(OaId, Time)>, StoreError> {
        let reading = now.clone();
        if self.writer.call(false, move |conn| ends::expired(conn, &reading)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.call(true, move |tx| ends::take_expired(tx, &now)).await
    }

    /// The reminders that are due. They count as said from here on.
    pub async fn take_reminders(
        &self,
        ladder: Vec<Duration>,
        now: Reading,
    ) -> Result<Vec<(OaId, Reminder)>, StoreError> {
        self.writer.call(true, move |tx| ends::take_reminders(tx, &ladder, &now)).await
    }

    /// The grants of which nobody knows whether renewals move their end, as far as that is due to be said. It counts as
    /// said from here on.
    pub async fn take_old_grants(&self, now: Reading) -> Result<Vec<OldGrant>, StoreError> {
        self.writer.call(true, move |tx| ends::take_old_grants(tx, &now)).await
    }

    /// Turns the store's own day, by which [`prune`](Store::prune) tells what is old, by what has passed since it was
    /// turned last, or since the program was started.
    pub async fn turn_day(&self, now: Time, passed: Duration) -> Result<Time, StoreError> {
        self.writer.call(true, move |tx| day::turn(tx, now, passed)).await
    }

    /// Deletes one step of journal rows that are old on this day; returns how many.
    pub async fn prune(&self, keep: Duration, day: Time) -> Result<usize, StoreError> {
        let prune = move |tx: &_| Ok(journal::prune(tx, keep, day)? + consent::prune(tx, day)?);
        self.writer.call(true, prune).await
    }

    /// Writes as much as a refresh does and erases it again, to see whether the disk takes it.
    pub async fn exercise(&self) -> Result<(), StoreError> {
        self.writer.call(true, fleet::exercise).await
    }

    /// The status of one OA, if the store has it.
    pub async fn status(
        &self,
        oa_id: OaId,
        managed: Option<Managed>,
        now: Reading,
    ) -> Result<Option<OaStatus>, StoreError> {
        let slots = Arc::clone(&self.slots);
        let status = move |conn: &_| view::status(conn, Some(&slots), &oa_id, managed.as_ref(), &now);
        self.writer.call(false, status).await
    }

    /// How many OAs are in each state.
    pub async fn counts(&self, now: Time) -> Result<Counts, StoreError> {
        self.writer.call(false, move |conn| overview::counts(conn, now)).await
    }

    /// Makes room for so many answers, if there is not as much already.
    ///
    /// # Errors
    /// When the disk does not give the room; what was there stays.
    pub async fn grow_slots(&self, count: usize) -> std::io::Result<()> {
        let slots = Arc::clone(&self.slots);
        tokio::task::spawn_blocking(move || slots.grow(count)).await??;
        let resized = self.writer.call(false, move |conn| wal::size(conn, count)).await;
        resized.map_err(std::io::Error::other)
    }
}
