//! What a person wants of an OA that a vendor holds: a link now, or to say that consent was given.

use std::sync::Arc;
use std::time::Duration;

use super::super::Keeper;
use super::events;
use crate::clock::Time;
use crate::id::OaId;
use crate::store::{LinkEffect, TakenUp};
use crate::vendor::Outcome;

/// How long he is kept waiting: as long as a question may take, and another one that is under way already.
const PATIENCE: Duration = Duration::from_secs(65);

impl Keeper {
    /// The link at which consent is given for an OA that a vendor holds: the one that is out, or one that is fetched now.
    ///
    /// # Errors
    /// Why there is none, in a sentence that says what to do.
    pub(in super::super) async fn vendor_link(&self, oa_id: &OaId) -> Result<String, String> {
        let waiting = tokio::time::timeout(PATIENCE, self.fetch_link(oa_id));
        waiting.await.unwrap_or_else(|_| {
            Err(format!("OA {oa_id}: its vendor takes too long to answer; try again in a minute"))
        })
    }

    async fn fetch_link(&self, oa_id: &OaId) -> Result<String, String> {
        let _hold = loop {
            let ended = self.vendor_work.ended.notified();
            tokio::pin!(ended);
            // Before it is looked, so that no end is missed.
            ended.as_mut().enable();
            match self.vendor_work.take(oa_id, None) {
                Some(hold) => break hold,
                None => ended.await,
            }
        };
        let settings = self.settings();
        let held_by = settings.at_vendors.oas.get(oa_id);
        let Some(vendor) = held_by.and_then(|oa| settings.vendors.get(&oa.vendor_id)).map(Arc::clone) else {
            return Err(format!("OA {oa_id} is not held by a vendor; see zalo-tokend status {oa_id}"));
        };
        let store_failed = |error: &dyn std::fmt::Display| {
            format!("the store does not do it: {error}; free or repair the disk, and try again")
        };
        let wanted = self.store.want_link(oa_id.clone(), vendor.terms, self.read_clock()).await;
        let asked = match wanted.map_err(|error| store_failed(&error))? {
            TakenUp::LinkIsOut(url) => {
                // It is looked soon whether he consented.
                self.wake.notify_one();
                return Ok(url);
            }
            TakenUp::Nothing => {
                return Err(format!("OA {oa_id} is not held by a vendor any more; reload and try again"));
            }
            TakenUp::Ask(asked) => asked,
        };
        let (known_link, vendor_id) = (asked.known_link.clone(), asked.vendor_id.clone());
        let answered = self.ask_for_link(&vendor, asked).await.map_err(|error| store_failed(&error))?;
        self.wake.notify_one();
        let why_not = match answered {
            None => return Err("the daemon is stopping; try again after its next start".to_owned()),
            Some((Outcome::Link(url), LinkEffect::Given(_))) => return Ok(url),
            Some((_, LinkEffect::Stale | LinkEffect::Given(_))) => {
                return Err(format!(
                    "OA {oa_id}: consent was given meanwhile; see zalo-tokend status {oa_id}"
                ));
            }
            Some((
                outcome,
                LinkEffect::Nothing(_)
                | LinkEffect::Misconfigured
                | LinkEffect::Refused(_)
                | LinkEffect::Failed(_),
            )) => why_not(outcome),
        };
        // An older one is better than none.
        known_link.ok_or_else(|| format!("OA {oa_id}: vendor {vendor_id} gave no link: {why_not}"))
    }

    /// A person says that consent was given then.
    ///
    /// # Errors
    /// Why that is not taken in, in a sentence that says what to do.
    pub(in super::super) async fn authorized_by_person(
        &self,
        oa_id: &OaId,
        at: Option<Time>,
    ) -> Result<String, String> {
        let now = self.read_clock();
        let Some(terms) = self.settings().at_vendors.terms_of(oa_id) else {
            return Err(format!(
                "the running daemon has no OA {oa_id} that a vendor holds; correct the config and reload"
            ));
        };
        let at = at.unwrap_or(now.time);
        let authorized = self.store.authorize_at_vendor(oa_id.clone(), at, terms, now).await;
        let ends_at = authorized.map_err(|error| {
            format!("the store does not do it: {error}; free or repair the disk, and try again")
        })?;
        let Some(ends_at) = ends_at else {
            return Err(format!("the store has no OA {oa_id} that a vendor holds; reload and try again"));
        };
        events::authorized(oa_id, "person", Some(ends_at));
        self.wake.notify_one();
        Ok(format!("OA {oa_id}: consent counts from {at}, until {ends_at}"))
    }
}

fn why_not(outcome: Outcome) -> String {
    match outcome {
        Outcome::Nothing => "he has none to give now; try again later, or ask him".to_owned(),
        Outcome::Misconfigured(detail) => {
            format!("{detail}; correct the OA's id, or base_url or link_hosts of the vendor, and reload")
        }
        Outcome::Refused(detail) => {
            format!("{detail}, which means that he refuses the API key; correct it and reload")
        }
        Outcome::Failed(detail) => format!("{detail}; try again in a minute"),
        Outcome::Link(_) => "the link came too late; try again".to_owned(),
    }
}
