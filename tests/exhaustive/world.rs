//! A disk, a Zalo, and the processes that live on them one after another, each doing with the real store what the
//! daemon does: open, recover, manage, claim, present, conclude, fall back on a slot, ask, until its OA is well.

use faulty_disk::{Disk, Loss};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zalo_tokend::clock::{Moment, Reading, Time, Uptime};
use zalo_tokend::id::{AppId, AttemptId, OaId};
use zalo_tokend::rotation::{AnswerBytes, Ending, Exchange, Proof, Roll, Timing, judge};
use zalo_tokend::store::{
    AtVendors, Attempted, Claim, Claimed, Direct, Effect, Import, Imported, Journalled, Managed, Medium,
    OpenError, Opened, Recovered, Settled, Slot, SpilledAnswer, State, Store, StoreError,
};

use crate::ledger::{self, Ledger};
use crate::memory_store::settled_medium;

const START: Time = Time::from_millis(1_800_000_000_000);
const ROLL: Roll = Roll(0.5);
/// A disk that is broken for good is repaired after so many failures in a row of one process's calls.
const PATIENCE: u32 = 3;

/// The process is dead.
#[derive(Debug)]
pub struct Died;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub disk: Disk,
    pub ledger: Ledger,
    pub now: Time,
    boot: u32,
    failures: u32,
    /// A full disk takes what goes into a slot.
    pub is_full_only: bool,
    /// The gate opens as in a run that was judged before.
    pub is_gate_judged: bool,
    /// How many operations there were when the gate opened for the last time, when the store had the outcome, and when
    /// the slot was given back.
    pub gate_at: u64,
    pub committed_at: u64,
    pub concluded_at: u64,
}

pub fn oa() -> OaId {
    OaId::from("oa-1")
}

pub fn managed() -> Managed {
    Managed { app_id: AppId::from("app"), name: None }
}

fn timing() -> Arc<Timing> {
    Arc::new(Timing::default())
}

impl World {
    /// An empty disk.
    pub fn new(ledger: Ledger) -> World {
        World {
            disk: Disk::new(),
            ledger,
            now: START,
            boot: 1,
            failures: 0,
            is_full_only: false,
            is_gate_judged: false,
            gate_at: 0,
            committed_at: 0,
            concluded_at: 0,
        }
    }

    /// The same once more, as it is now, where nothing is open.
    pub fn copy(&self) -> World {
        let disk = self.disk.snapshot();
        World { disk, ledger: self.ledger.clone(), is_gate_judged: false, ..*self }
    }

    /// The same once more, after its process has died in this way.
    pub fn after(&self, loss: Loss) -> World {
        let mut after = self.copy();
        after.ledger.process_died();
        after.disk.restart(loss);
        if loss != Loss::Nothing {
            after.boot += 1;
        }
        after
    }

    pub fn reading(&self) -> Reading {
        let uptime = Uptime(Duration::from_secs(1_000_000) + self.now.since(START));
        Reading { time: self.now, uptime, boot: format!("boot {}", self.boot).into() }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Something failed: the process is dead, or tries again a while later.
    fn wait(&mut self, why: &str) -> Result<(), Died> {
        if self.disk.is_down() {
            return Err(Died);
        }
        self.failures += 1;
        assert!(self.failures < 60, "no end of failures: {why}");
        if self.failures.is_multiple_of(PATIENCE) {
            self.disk.repair();
        }
        self.pass(Duration::from_secs(2));
        Ok(())
    }

    /// What the store says, unless it has to be asked again.
    fn settled<T>(&mut self, said: Result<T, StoreError>) -> Result<Option<T>, Died> {
        match said {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Unavailable(why)) => self.wait(&why).map(|()| None),
            Err(error @ (StoreError::Broken(_) | StoreError::Closed)) => {
                panic!("not the disk's fault: {error}")
            }
        }
    }

    /// The same of opening.
    pub fn opened<T>(&mut self, open: impl Fn(Medium) -> Result<T, OpenError>) -> Result<T, Died> {
        loop {
            let opened =
                settled_medium(&self.disk).map_err(|error| OpenError::Unavailable(error.to_string()));
            match opened.and_then(&open) {
                Ok(opened) => return Ok(opened),
                Err(OpenError::Unavailable(why)) => self.wait(&why)?,
                Err(error) => panic!("not what a failing disk leads to: {error}"),
            }
        }
    }

    /// The start of a process.
    pub fn start(&mut self) -> Result<(Store, Recovered), Died> {
        let opened = self.opened(Opened::open_on)?;
        let mut recovered = Recovered::default();
        let slots = 1;
        loop {
            let outcome = opened.recover(slots, &timing(), &self.reading(), &mut || ROLL, &mut recovered);
            if self.settled(outcome)?.is_some() {
                break;
            }
        }
        assert!(recovered.orphans.is_empty(), "I1: an answer to an attempt that the store does not know");
        Ok((opened.on_this_thread(), recovered))
    }

    /// A whole life of a process, until its OA is well.
    pub async fn live(&mut self) -> Result<(), Died> {
        let (store, _) = self.start()?;
        self.work(&store).await
    }

    pub async fn work(&mut self, store: &Store) -> Result<(), Died> {
        let oas: BTreeMap<OaId, Managed> = [(oa(), managed())].into();
        loop {
            let done = store.manage(oas.clone(), AtVendors::default(), timing(), self.reading()).await;
            if self.settled(done)?.is_some() {
                break;
            }
        }
        for _ in 0..40 {
            let Some(status) = self.settled(store.status(oa(), Some(managed()), self.reading()).await)?
            else {
                continue;
            };
            let status = status.expect("the OA is managed");
            match status.state {
                State::Scheduled | State::Retrying => {
                    let next = status.next_refresh_at.expect("a plan");
                    if status.state == State::Scheduled && next > self.now {
                        return Ok(());
                    }
                    self.now = self.now.max(next);
                    self.refresh(store).await?;
                }
                State::Uncertain => self.ask(store).await?,
                State::AwaitingGrant | State::ReauthorizationRequired => self.import()?,
                State::Presenting | State::Blocked | State::Unmanaged => {
                    panic!("nobody would do anything: {status:?}")
                }
            }
        }
        panic!("the OA is never well: {:?}", self.ledger)
    }

    /// One attempt.
    async fn refresh(&mut self, store: &Store) -> Result<(), Died> {
        let slot = store.take_slot().expect("a free slot");
        let claim = match self.settled(store.claim(oa(), false, self.reading()).await)? {
            Some(Claimed::Due(claim)) => claim,
            Some(claimed @ (Claimed::NotNow | Claimed::Unproven)) => panic!("not claimed: {claimed:?}"),
            None => return Ok(()),
        };
        let (id, started_at) = (AttemptId::random(), self.now);
        let journalled = store.present(claim.clone(), id, started_at, 8, self.reading()).await;
        let (exchange, set) = match journalled {
            Ok(Journalled::Written) => self.pass_the_gate(&claim, id),
            Ok(Journalled::HeldBack) => {
                self.pass(Duration::from_secs(600));
                return Ok(());
            }
            Ok(Journalled::Stale) => panic!("claimed and stale"),
            Err(error) => {
                self.settled::<()>(Err(error))?;
                let detail = "the journal cannot be written".to_owned();
                (Exchange::NotPresented { detail, retry_after: None }, None)
            }
        };
        let verdict = judge(&exchange);
        let obtained = Moment::at(&self.reading());
        let answer = match exchange {
            Exchange::Answered(answer) => Some(answer),
            Exchange::NotPresented { .. } | Exchange::NoAnswer { .. } => None,
        };
        let attempted = Arc::new(Attempted {
            attempt: id,
            claim: Some(claim),
            started_at,
            obtained: obtained.clone(),
            verdict,
            status: answer.as_ref().map(|answer| answer.status),
            answer: answer.as_ref().map(|answer| answer.body.clone()),
        });
        let spilled = answer.map(|answer| Arc::new(SpilledAnswer { attempt: id, obtained, answer }));
        let effect = self.conclude(store, &attempted, spilled, slot).await?;
        match effect {
            Effect::Adopted { generation, reason: None, .. } => {
                assert!(set.is_some());
                assert_eq!(generation, self.ledger.generation());
            }
            Effect::AlreadyConcluded => {}
            Effect::Retry { .. } | Effect::Uncertain { .. } => assert_eq!(set, None, "{effect:?}"),
            Effect::Adopted { .. } | Effect::Reauthorize { .. } | Effect::KeptAside => panic!("{effect:?}"),
        }
        Ok(())
    }

    /// The last byte leaves.
    pub fn pass_the_gate(&mut self, claim: &Claim, id: AttemptId) -> (Exchange, Option<u32>) {
        self.gate_at = self.disk.operations();
        if !self.is_gate_judged {
            self.judge_gate(id);
        }
        self.pass(Duration::from_millis(300));
        match self.ledger.present(&claim.refresh_token) {
            Some(set) => {
                let body = ledger::answer(set);
                let answer = AnswerBytes { status: 200, retry_after: None, body, ending: Ending::Whole };
                (Exchange::Answered(answer), Some(set))
            }
            None => (Exchange::NoAnswer { detail: "timeout".to_owned() }, None),
        }
    }

    /// As the daemon does it: the same transaction on the same connection until it succeeds; while it does not, the answer
    /// goes to its slot.
    async fn conclude(
        &mut self,
        store: &Store,
        attempted: &Arc<Attempted>,
        spilled: Option<Arc<SpilledAnswer>>,
        mut slot: Slot,
    ) -> Result<Effect, Died> {
        let mut is_safe = spilled.is_none();
        let concluded = loop {
            let said = store.conclude(Arc::clone(attempted), timing(), self.reading(), ROLL).await;
            if said.is_err() && !is_safe {
                let answer = spilled.clone().expect("there is one");
                let (back, filled) = slot.filling(answer).await.expect("no panic");
                slot = back;
                is_safe = filled.is_ok();
                assert!(is_safe || !self.is_full_only, "I4: a slot needs no room: {filled:?}");
                if is_safe {
                    self.ledger.is_durable();
                }
            }
            if let Some(concluded) = self.settled(said)? {
                break concluded;
            }
        };
        self.ledger.is_durable();
        self.committed_at = self.disk.operations();
        // As the daemon does: what cannot be emptied is passed over by the next start.
        drop(slot.clear().await);
        self.concluded_at = self.disk.operations();
        if self.disk.is_down() { Err(Died) } else { Ok(concluded.effect) }
    }

    /// Zalo is asked about an uncertain attempt, as often as it takes.
    async fn ask(&mut self, store: &Store) -> Result<(), Died> {
        let Some(doubt) = self.settled(store.doubt(oa()).await)? else { return Ok(()) };
        let doubt = doubt.expect("nothing else settles it");
        let access_token = doubt.access_token.expect("a token to ask with");
        let settle = timing().settle;
        let is_unspent = (0..2).all(|_| {
            self.pass(settle);
            self.ledger.accepts(&access_token)
        });
        if !is_unspent {
            self.ledger.gave_up();
        }
        loop {
            let now = self.reading();
            let said = if is_unspent {
                let proof = Proof::OldTokenAccepted;
                store.prove_unspent(doubt.attempt, proof, timing(), now, ROLL).await
            } else {
                store.prove_spent(doubt.attempt, timing(), now).await
            };
            match self.settled(said)? {
                Some(Settled::Held) => panic!("held"),
                Some(Settled::Retry { .. } | Settled::Reauthorize { .. } | Settled::Gone) => return Ok(()),
                None => {}
            }
        }
    }

    /// A person grants consent and brings the set.
    pub fn import(&mut self) -> Result<(), Died> {
        let set = self.ledger.grant();
        loop {
            let mut direct = self.opened(Direct::open_on)?;
            let (app_id, obtained) = (managed().app_id, Moment::at(&self.reading()));
            let import = Import { oa_id: oa(), app_id, name: None, tokens: ledger::tokens(set), obtained };
            let said = direct.import(&import, &timing(), &self.reading());
            match self.settled(said)? {
                Some(Imported::Adopted { .. } | Imported::Unchanged { .. }) => break,
                Some(refused @ (Imported::UsedBefore { .. } | Imported::OfAnotherOa(_))) => {
                    panic!("{refused:?}")
                }
                None => {}
            }
        }
        self.ledger.is_imported();
        Ok(())
    }
}
