//! Asking Zalo about an uncertain attempt, with the old access token.
//!
//! When to ask is counted on the clock that nobody sets, and begun anew after a restart; how often Zalo said what
//! is kept in memory only, for the same reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Keeper, events, lock};
use crate::clock::Uptime;
use crate::failpoint;
use crate::id::{AttemptId, OaId};
use crate::rotation::{Proof, Reason, Settling, Step, Testimony, Unprovable, weigh};
use crate::store::{Doubt, Settled};

/// The questions under way.
#[derive(Default)]
pub(super) struct Doubts(BTreeMap<OaId, Asking>);

#[derive(Clone, Copy)]
struct Asking {
    attempt: Option<AttemptId>,
    ask_at: Uptime,
    settling: Settling,
}

impl Doubts {
    /// Of the OAs that are uncertain now, those that are to be asked about. Notes those that it sees for the first
    /// time, and forgets those that are uncertain no more.
    fn due(&mut self, uncertain: &[OaId], settle: Duration, now: Uptime) -> Vec<OaId> {
        let known: BTreeSet<&OaId> = uncertain.iter().collect();
        self.0.retain(|oa_id, _| known.contains(oa_id));
        uncertain
            .iter()
            .filter(|oa_id| {
                let first_seen =
                    Asking { attempt: None, ask_at: now.plus(settle), settling: Settling::default() };
                self.0.entry((*oa_id).clone()).or_insert(first_seen).ask_at <= now
            })
            .cloned()
            .collect()
    }

    /// When the next question is due.
    pub(super) fn next(&self) -> Option<Uptime> {
        self.0.values().map(|asking| asking.ask_at).min()
    }
}

impl Keeper {
    /// An attempt has just become uncertain: the first question is due after `settle`.
    pub(super) fn begin_doubt(&self, oa_id: &OaId, attempt: AttemptId) {
        self.ask_later(oa_id, attempt, self.timing().settle, Settling::default());
    }

    fn ask_later(&self, oa_id: &OaId, attempt: AttemptId, after: Duration, settling: Settling) {
        let ask_at = self.clock.read().uptime.plus(after);
        let asking = Asking { attempt: Some(attempt), ask_at, settling };
        lock(&self.doubts).0.insert(oa_id.clone(), asking);
    }

    /// Of the uncertain OAs those about which Zalo is to be asked now.
    pub(super) fn due_doubts(&self, uncertain: &[OaId]) -> Vec<OaId> {
        let now = self.clock.read().uptime;
        lock(&self.doubts).due(uncertain, self.timing().settle, now)
    }
}

/// Asks about one OA, if its attempt is still uncertain. Returns whether anything was asked.
pub(super) async fn run(keeper: Arc<Keeper>, oa_id: OaId) -> bool {
    let Some(_hold) = keeper.claims.take(&oa_id) else { return false };
    let doubt = match keeper.store.doubt(oa_id.clone()).await {
        Ok(Some(doubt)) => doubt,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(%oa_id, %error, "an uncertain attempt cannot be read");
            return false;
        }
    };
    let timing = keeper.timing();
    let settle = timing.settle;
    let asking = lock(&keeper.doubts).0.get(&oa_id).copied();
    let settling = match asking {
        Some(Asking { attempt: Some(attempt), settling, .. }) if attempt == doubt.attempt => settling,
        // Seen for the first time in this run, and `settle` has passed since.
        Some(Asking { attempt: None, settling, .. }) => settling,
        // The questions were about another attempt: begin anew.
        Some(_) | None => {
            keeper.ask_later(&oa_id, doubt.attempt, settle, Settling::default());
            return false;
        }
    };
    let asked = tokio::select! {
        testimony = keeper.ask(&doubt) => testimony,
        () = keeper.stop.cancelled() => return false,
    };
    failpoint::pass("doubt.asked");
    let (step, detail) = match asked {
        Some(testimony) => {
            let detail = words(&testimony);
            (weigh(&doubt.evidence(testimony, settling, &keeper.read_clock()), &timing), detail)
        }
        None => (Step::Unprovable, "there is no access token to ask with".to_owned()),
    };
    failpoint::pass("doubt.weighed");
    keeper.settle(&doubt, step, &detail).await;
    true
}

fn words(testimony: &Testimony) -> String {
    match testimony {
        Testimony::Accepted => "the old access token is accepted".to_owned(),
        Testimony::Refused(code) => format!("the old access token is refused (error {code})"),
        Testimony::Unclear(what) => what.clone(),
    }
}

impl Keeper {
    /// `None`: there is no token to ask with.
    async fn ask(&self, doubt: &Doubt) -> Option<Testimony> {
        let access_token = doubt.access_token.as_ref()?;
        let settings = self.settings();
        Some(match settings.apps.get(&doubt.app_id) {
            Some(endpoint) => settings.door.probe(&endpoint.api_url, access_token, &doubt.oa_id).await,
            None => Testimony::Unclear("the config does not have this app".to_owned()),
        })
    }

    async fn settle(&self, doubt: &Doubt, step: Step, detail: &str) {
        let Doubt { attempt, oa_id, .. } = doubt;
        let (timing, now) = (self.timing(), self.read_clock());
        let (verdict, settled) = match step {
            Step::AskAgain { after, settling } => {
                self.ask_later(oa_id, *attempt, after, settling);
                return events::refresh_probed(oa_id, *attempt, "inconclusive", detail);
            }
            Step::Unspent => {
                let proof = Proof::OldTokenAccepted;
                ("unspent", self.store.prove_unspent(*attempt, proof, timing, now, self.roll()).await)
            }
            Step::Spent => ("spent", self.store.prove_spent(*attempt, timing, now).await),
            Step::Unprovable => {
                let present_once = timing.unprovable == Unprovable::Present;
                ("inconclusive", self.store.hold(*attempt, present_once, timing, now, self.roll()).await)
            }
        };
        failpoint::pass("doubt.settled");
        match settled {
            Ok(settled) => {
                events::refresh_probed(oa_id, *attempt, verdict, detail);
                self.tell_settled(doubt, settled);
            }
            // The store does not take it now: ask again, what was learnt stays true.
            Err(error) => {
                tracing::debug!(%oa_id, %error, "a verdict about an uncertain attempt cannot be stored");
                self.ask_later(oa_id, *attempt, self.timing().settle, Settling::default());
            }
        }
    }

    fn tell_settled(&self, doubt: &Doubt, settled: Settled) {
        match settled {
            Settled::Gone => {}
            Settled::Retry { retry_at } => events::refresh_planned(&doubt.oa_id, retry_at),
            Settled::Reauthorize { reason } => self.call_person(&doubt.oa_id, reason),
            Settled::Held => events::decision_needed(&doubt.oa_id, doubt.attempt, Reason::Unprovable),
        }
    }
}
