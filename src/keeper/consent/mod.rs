//! Consent of a person, from the address that he is sent to until the set that came of it counts.
//!
//! ```text
//!  begin ──► Zalo's page ──► come_back ──► bring ──────────► verify ──► events
//!  state,                    state, OA,    the code through   whose is    told
//!  verifier                  code          the gate           it?
//! ```
//!
//! Whatever somebody comes back with is looked up by the digest of its state; a state is 128 random bits, so that nobody
//! finds one by how long a look takes. The exchange is one like that of a refresh token, under the same lock of its OA, so
//! that never two requests of an OA are under way. What it brings waits in the store until Zalo has said whose it is.

mod desk;
mod exchange;
mod links;
pub(super) mod verify;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, broadcast};
use url::Url;

use super::{Keeper, events};
use crate::authorize::{Back, Listener, NoConsent};
use crate::config::{Consenting, check_id};
use crate::id::{Managed, OaId};
use crate::oauth::{Callback, new_state, new_verifier, permission_url};
use crate::rotation::is_too_old;
use crate::secret::Secret;
use crate::store::{Consent, ConsentId, ConsentStage, GRANTED, NewConsent, StoreError};

use desk::ConsentDesk;
pub(super) use exchange::tell;

/// How many messages a listener may lag behind before he misses some.
const BACKLOG: usize = 256;

/// What became of somebody who came back, or of what he brought.
#[derive(Clone)]
pub(super) struct Came {
    /// The consent that he came back from.
    pub(super) consent: ConsentId,
    /// The OA that it is for.
    pub(super) oa_id: OaId,
    /// What became of it.
    pub(super) back: Back,
}

/// What becomes of those who come back, for whoever waits for it.
pub(super) struct Consents {
    told: broadcast::Sender<Came>,
    /// A set came of which nobody could say whose it is.
    unverified: Notify,
}

impl Default for Consents {
    fn default() -> Consents {
        Consents { told: broadcast::channel(BACKLOG).0, unverified: Notify::new() }
    }
}

impl Consents {
    pub(super) fn listen(&self) -> broadcast::Receiver<Came> {
        self.told.subscribe()
    }

    fn tell(&self, consent: ConsentId, back: &Back) {
        let Some(oa_id) = back.oa_id() else { return };
        let came = Came { consent, oa_id: oa_id.clone(), back: back.clone() };
        // Mostly nobody listens.
        if self.told.receiver_count() > 0 && self.told.send(came).is_err() {
            tracing::trace!("nobody listens any more");
        }
    }
}

/// Opens the address that people come back to, if the config wants one, and has it answer until the daemon stops. That it
/// cannot be opened is no reason not to refresh.
pub(super) fn open(keeper: &Arc<Keeper>, address: Option<SocketAddr>) {
    let Some(address) = address else { return };
    match Listener::open(address) {
        Ok(listener) => {
            let desk = Arc::new(ConsentDesk::of(keeper));
            keeper.tasks.spawn(listener.serve(desk, keeper.stop.clone()));
        }
        Err(error) => events::authorize_unavailable(&format!("{address}: {error}")),
    }
}

fn store_failed(error: &StoreError) -> String {
    format!("the store cannot be used now: {error}; free or repair the disk, and try again")
}

impl Keeper {
    /// Where somebody is to be sent to give consent for this OA: to Zalo, or where the vendor says who holds it.
    pub(super) async fn begin_consent(&self, oa_id: &OaId) -> Result<Url, NoConsent> {
        self.send_out(oa_id).await.map(|(url, _)| url)
    }

    /// The same, with the consent that he comes back from; `None`: he comes back to the vendor.
    pub(super) async fn send_out(&self, oa_id: &OaId) -> Result<(Url, Option<ConsentId>), NoConsent> {
        if self.vendor_of(oa_id).is_some() {
            let link = self.vendor_link(oa_id).await.map_err(NoConsent::NotNow)?;
            let url = link.parse();
            let url = url.map_err(|_| NoConsent::NotNow("the vendor's link is no address".to_owned()))?;
            return Ok((url, None));
        }
        let (managed, consenting) = self.consenting(oa_id)?;
        let no_randomness = || NoConsent::NotNow("the system has no randomness; look at its log".to_owned());
        let state = new_state().ok_or_else(no_randomness)?;
        let verifier = match consenting.fixed_verifier {
            Some(fixed) => fixed,
            None => new_verifier().ok_or_else(no_randomness)?,
        };
        let Consenting { permission_url: page, redirect_text, .. } = consenting;
        let url = permission_url(&page, &managed.app_id, &redirect_text, &verifier, &state);
        let new = NewConsent {
            oa_id: oa_id.clone(),
            app_id: managed.app_id,
            redirect_uri: redirect_text,
            state: state.digest(),
            verifier,
        };
        let begun = self.store.begin_consent(new, self.read_clock()).await;
        let consent = begun.map_err(|error| NoConsent::NotNow(store_failed(&error)))?;
        events::consent_begun(oa_id);
        Ok((url, Some(consent)))
    }

    /// How the app of this OA is granted consent.
    fn consenting(&self, oa_id: &OaId) -> Result<(Managed, Consenting), NoConsent> {
        let managed = self.managed(oa_id).ok_or_else(|| {
            let text =
                format!("the running daemon does not keep OA {oa_id}; add it to the config and reload");
            NoConsent::Impossible(text)
        })?;
        let settings = self.settings();
        let consenting = settings.apps.get(&managed.app_id).and_then(|app| app.consenting.clone());
        let consenting = consenting.ok_or_else(|| {
            NoConsent::Impossible(format!(
                "[[app]] {} has no redirect_uri; add the callback address that is saved for it at Zalo, and reload",
                managed.app_id
            ))
        })?;
        Ok((managed, consenting))
    }

    /// Somebody came back with this.
    pub(super) async fn come_back(self: &Arc<Keeper>, callback: Callback) -> Back {
        match self.consent_of(&callback).await {
            Ok(Some(consent)) => {
                let id = consent.id;
                let back = self.hear(consent, callback).await;
                self.consents.tell(id, &back);
                back
            }
            Ok(None) => Back::UnknownState,
            Err(error) => Back::NotNow(store_failed(&error)),
        }
    }

    async fn consent_of(&self, callback: &Callback) -> Result<Option<Consent>, StoreError> {
        match &callback.state {
            Some(state) => self.store.consent_of(state.digest()).await,
            None => Ok(None),
        }
    }

    async fn hear(self: &Arc<Keeper>, consent: Consent, callback: Callback) -> Back {
        let oa_id = consent.oa_id.clone();
        match &consent.stage {
            ConsentStage::Open => {}
            ConsentStage::Presenting => return Back::InProgress { oa_id },
            ConsentStage::Answered(_) => return Back::Checking { oa_id },
            ConsentStage::Closed { outcome, .. } => return ended_before(oa_id, outcome),
        }
        if is_too_old(&consent.made, &self.read_clock()) {
            return Back::StateExpired { oa_id };
        }
        if let Some(got) = callback.oa_id.filter(|got| *got != oa_id) {
            let got = Some(got).filter(|got| check_id(got.as_str()).is_ok());
            return Back::OtherOa { wanted: oa_id, got };
        }
        match callback.code {
            Some(code) => exchange::bring(self, consent, code).await,
            None => match self.store.decline_consent(consent.id, self.now()).await {
                Ok(_) => Back::Declined { oa_id },
                Err(error) => Back::NotNow(store_failed(&error)),
            },
        }
    }

    /// Somebody brings a code by hand: that of the newest consent of this OA which nobody came back from. An app whose
    /// verifier is fixed needs none.
    pub(super) async fn bring_code(
        self: &Arc<Keeper>,
        oa_id: &OaId,
        code: Secret,
    ) -> Result<Back, NoConsent> {
        let (_, consenting) = self.consenting(oa_id)?;
        let not_now = |error: StoreError| NoConsent::NotNow(store_failed(&error));
        let now = self.read_clock();
        let open = self.store.open_consent(oa_id.clone()).await.map_err(not_now)?;
        let open = match open.filter(|consent| !is_too_old(&consent.made, &now)) {
            Some(open) => Some(open),
            None if consenting.fixed_verifier.is_some() => {
                self.begin_consent(oa_id).await?;
                self.store.open_consent(oa_id.clone()).await.map_err(not_now)?
            }
            None => None,
        };
        let Some(consent) = open else {
            return Err(NoConsent::NotNow(format!(
                "no consent for OA {oa_id} was begun in the last ten minutes, and a code belongs to the address that it was \
                 given at: run zalo-tokend authorize {oa_id} --no-wait first, and grant consent there"
            )));
        };
        let id = consent.id;
        let back = exchange::bring(self, consent, code).await;
        self.consents.tell(id, &back);
        Ok(back)
    }
}

/// What to say to who comes back once more.
fn ended_before(oa_id: OaId, outcome: &str) -> Back {
    match outcome {
        GRANTED => Back::AlreadyGranted { oa_id },
        "declined" => Back::Declined { oa_id },
        "other_oa" => Back::OtherOa { wanted: oa_id, got: None },
        "code_refused" => Back::CodeRefused { oa_id },
        "answer_lost" | "answer_not_whole" => Back::AnswerLost { oa_id },
        why => Back::SetRefused { oa_id, why: why.to_owned() },
    }
}
