//! The daemon's way to its consents.

use std::sync::Arc;

use super::{
    Adopted, CodeAttempted, Consent, ConsentId, ConsentStage, NewConsent, Unverified, adoption, begin,
    decline, exchange, load, newest_open, of_state,
};
use crate::clock::{Reading, Time};
use crate::id::{AttemptId, OaId};
use crate::rotation::Timing;
use crate::secret::{Digest, Secret};
use crate::store::{Store, StoreError, links};

impl Store {
    /// Begins a consent. Durable when this returns.
    ///
    /// # Errors
    /// When the store cannot be used, here and below.
    pub async fn begin_consent(&self, new: NewConsent, now: Reading) -> Result<ConsentId, StoreError> {
        self.writer.call(true, move |tx| begin(tx, &new, &now)).await
    }

    /// The consent that this state belongs to.
    pub async fn consent_of(&self, state: Digest) -> Result<Option<Consent>, StoreError> {
        self.writer.call(false, move |conn| of_state(conn, state)).await
    }

    /// This consent; `None`: it is forgotten.
    pub async fn consent(&self, id: ConsentId) -> Result<Option<Consent>, StoreError> {
        self.writer.call(false, move |conn| load(conn, id)).await
    }

    /// The newest consent of this OA that somebody may come back from.
    pub async fn open_consent(&self, oa_id: OaId) -> Result<Option<Consent>, StoreError> {
        self.writer.call(false, move |conn| newest_open(conn, &oa_id)).await
    }

    /// Ends a consent that somebody came back from without a code. `false`: it was no longer open.
    pub async fn decline_consent(&self, id: ConsentId, now: Time) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| decline(tx, id, now)).await
    }

    /// Journals that this code is about to be presented. Durable when this returns. `false`: it must not be.
    pub async fn present_code(
        &self,
        id: ConsentId,
        code: Digest,
        attempt: AttemptId,
        now: Reading,
    ) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| exchange::present(tx, id, code, attempt, &now)).await
    }

    /// Concludes the exchange of a code. May be repeated.
    pub async fn conclude_code(
        &self,
        attempted: Arc<CodeAttempted>,
        now: Reading,
    ) -> Result<Option<ConsentStage>, StoreError> {
        self.writer.call(true, move |tx| exchange::conclude(tx, &attempted, &now)).await
    }

    /// The sets that came for codes and do not count yet.
    pub async fn unverified(&self) -> Result<Vec<Unverified>, StoreError> {
        self.writer.call(false, adoption::unverified).await
    }

    /// Takes in a set that Zalo has said is the OA's.
    pub async fn adopt_consent(
        &self,
        oa_id: OaId,
        attempt: AttemptId,
        name: Option<String>,
        timing: Arc<Timing>,
        now: Reading,
    ) -> Result<Adopted, StoreError> {
        let adopt = move |tx: &_| adoption::adopt(tx, attempt, name.as_deref(), &timing, &now);
        let adopted = self.writer.call(true, adopt).await?;
        if matches!(adopted, Adopted::Granted { .. }) {
            self.changes.tell(&oa_id);
        }
        Ok(adopted)
    }

    /// Keeps a set aside that is not the OA's. `false`: it does not wait any more.
    pub async fn refuse_consent(
        &self,
        attempt: AttemptId,
        outcome: &'static str,
        detail: String,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.writer.call(true, move |tx| adoption::refuse(tx, attempt, outcome, &detail, now)).await
    }

    /// What our own links are signed with.
    pub async fn link_key(&self) -> Result<Option<Secret>, StoreError> {
        self.writer.call(false, links::key).await
    }
}
