//! One OA: its vendor is asked what the store says, and the answer is stored and told.

use std::sync::Arc;

use super::super::Keeper;
use super::super::settings::Vendor;
use super::{Hold, events};
use crate::failpoint;
use crate::store::{Asked, LinkEffect, LinkNews, LookEffect, LookNews, StoreError, TakenUp, VendorDue};
use crate::vendor::{
    Answer, Outcome, Question, Said, ShopAnswer, ShopOutcome, read_link, read_shop, request,
};

/// Does it in a task of its own, so that a panic in there ends nothing else, and leaves that OA alone for a while.
pub(super) async fn run_guarded(keeper: Arc<Keeper>, due: VendorDue, hold: Hold) {
    let oa_id = due.oa_id.clone();
    let work = run(Arc::clone(&keeper), due);
    if tokio::spawn(work).await.is_err_and(|ended| ended.is_panic()) {
        keeper.pass_over(&oa_id, "asking its vendor panicked; please report this");
    }
    drop(hold);
    keeper.wake.notify_one();
}

async fn run(keeper: Arc<Keeper>, due: VendorDue) {
    // How it stands, and then perhaps a link.
    for _ in 0..2 {
        let settings = keeper.settings();
        let Some(vendor) = settings.vendors.get(&due.vendor_id).map(Arc::clone) else { return };
        let taken = keeper.store.take_up_at_vendor(due.clone(), vendor.terms, keeper.read_clock()).await;
        let asked = match taken {
            Ok(TakenUp::Ask(asked)) => asked,
            Ok(TakenUp::Nothing | TakenUp::LinkIsOut(_)) => return,
            Err(error) => return keeper.rest_after(&due, &error),
        };
        let went_on = match asked.question {
            Question::Link => keeper.ask_for_link(&vendor, asked).await.map(|_| false),
            Question::Shop => keeper.look_at_vendor(&vendor, asked).await,
        };
        match went_on {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return keeper.rest_after(&due, &error),
        }
    }
}

/// What came of the question for a link: what it meant, and what it changed. `None`: the daemon is to stop.
pub(super) type LinkAsked = Option<(Outcome, LinkEffect)>;

impl Keeper {
    fn rest_after(&self, due: &VendorDue, error: &StoreError) {
        tracing::debug!(oa_id = %due.oa_id, %error, "the store does not take what a vendor answered");
        self.let_rest(&due.oa_id);
    }

    /// Asks for a link, and stores and tells what came of it.
    pub(super) async fn ask_for_link(&self, vendor: &Vendor, asked: Asked) -> Result<LinkAsked, StoreError> {
        let Some(reply) = self.exchange(vendor, &asked).await else { return Ok(None) };
        failpoint::pass("vendor.asked");
        let answer = match reply {
            Ok(reply) => {
                read_link(vendor.terms.style, reply.status, &reply.body, &vendor.hosts, &vendor.api_key)
            }
            Err(detail) => Answer { said: Said::default(), outcome: Outcome::Failed(detail) },
        };
        let Answer { said, outcome } = answer;
        let (terms, timing, now) = (vendor.terms, self.timing(), self.read_clock());
        let taking = self.store.take_link(asked.clone(), outcome.clone(), terms, timing, now, self.roll());
        let LinkNews { effect, is_released } = taking.await?;
        failpoint::pass("vendor.stored");
        if is_released {
            events::released(&asked.vendor_id);
        }
        tell_link(&asked, &outcome, &effect, &said);
        Ok(Some((outcome, effect)))
    }

    /// Asks how the OA stands, and stores and tells what came of it. `false`: the daemon is to stop, or the vendor refuses his
    /// key.
    async fn look_at_vendor(&self, vendor: &Vendor, asked: Asked) -> Result<bool, StoreError> {
        let Some(reply) = self.exchange(vendor, &asked).await else { return Ok(false) };
        let answer = match reply {
            Ok(reply) => read_shop(reply.status, &reply.body, &vendor.api_key, self.now()),
            Err(detail) => ShopAnswer { said: Said::default(), outcome: ShopOutcome::Failed(detail) },
        };
        let ShopAnswer { said, outcome } = answer;
        let (terms, now) = (vendor.terms, self.read_clock());
        let taking = self.store.take_look(asked.clone(), outcome.clone(), terms, now, self.roll());
        let LookNews { effect, is_released } = taking.await?;
        if is_released {
            events::released(&asked.vendor_id);
        }
        tell_look(&asked, &outcome, &effect, &said);
        Ok(!matches!(effect, LookEffect::Refused(_)))
    }

    /// The vendor's answer. `None`: the daemon is to stop.
    async fn exchange(&self, vendor: &Vendor, asked: &Asked) -> Option<Result<crate::vendor::Reply, String>> {
        let settings = self.settings();
        let request = request(vendor.terms.style, &vendor.base_url, asked.question, &asked.oa_id);
        let Some(request) = request else {
            return Some(Err("this vendor has no such question".to_owned()));
        };
        tokio::select! {
            reply = settings.vendor_door.ask(request, &vendor.api_key) => Some(reply),
            () = self.stop.cancelled() => None,
        }
    }
}

/// Called only after it is durable.
fn tell_link(asked: &Asked, outcome: &Outcome, effect: &LinkEffect, said: &Said) {
    let Asked { oa_id, vendor_id, question, .. } = asked;
    match (outcome, effect) {
        (Outcome::Link(url), LinkEffect::Given(called_for)) => {
            events::link_fetched(oa_id, vendor_id, url, said);
            if let Some(reason) = called_for {
                events::reauthorization_required(oa_id, *reason, url);
            }
        }
        (_, LinkEffect::Nothing(true)) => events::asked_in_vain(oa_id, vendor_id, said),
        (Outcome::Misconfigured(detail), LinkEffect::Misconfigured) => {
            events::misconfigured(oa_id, vendor_id, detail, said);
        }
        (Outcome::Refused(detail), LinkEffect::Refused(true)) => events::refused(vendor_id, detail, said),
        (Outcome::Failed(detail), LinkEffect::Failed(retry_at)) => {
            events::failed(oa_id, vendor_id, question.word(), detail, *retry_at, said);
        }
        (
            _,
            LinkEffect::Stale
            | LinkEffect::Given(_)
            | LinkEffect::Nothing(_)
            | LinkEffect::Misconfigured
            | LinkEffect::Refused(_)
            | LinkEffect::Failed(_),
        ) => {}
    }
}

/// Called only after it is durable.
fn tell_look(asked: &Asked, outcome: &ShopOutcome, effect: &LookEffect, said: &Said) {
    let Asked { oa_id, vendor_id, question, .. } = asked;
    match (outcome, effect) {
        (_, LookEffect::Authorized(ends_at)) => events::authorized(oa_id, "vendor", *ends_at),
        // Without a link it is said with the link that is asked for now.
        (_, LookEffect::Disconnected(Some(url))) => {
            events::reauthorization_required(oa_id, crate::rotation::Reason::Disconnected, url);
        }
        (ShopOutcome::Failed(detail), LookEffect::Failed(true)) => {
            events::failed(oa_id, vendor_id, question.word(), detail, None, said);
        }
        (ShopOutcome::Refused(detail), LookEffect::Refused(true)) => {
            events::refused(vendor_id, detail, said);
        }
        (
            _,
            LookEffect::None
            | LookEffect::Disconnected(None)
            | LookEffect::Failed(_)
            | LookEffect::Refused(_),
        ) => {}
    }
}
