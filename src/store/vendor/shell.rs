//! The verbs about OAs that vendors hold, as the daemon and the commands call them.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{self, Asked, LinkNews, LookNews, Occasion, TakenUp};
use super::{AtVendors, VendorDue, VendorReminder, VendorRoom, due, told};
use crate::clock::{Reading, Time};
use crate::id::OaId;
use crate::rotation::{Roll, Timing};
use crate::store::writer::StoreError;
use crate::store::{Direct, Store};
use crate::vendor::{Outcome, ShopOutcome, Terms};

impl Store {
    /// The OAs about which vendors are to be asked now, as far as there is room; and how long until there are more.
    pub async fn due_at_vendors(
        &self,
        room: VendorRoom,
        now: Reading,
    ) -> Result<(Vec<VendorDue>, Option<Duration>), StoreError> {
        self.writer.call(false, move |conn| due::due(conn, &room, &now)).await
    }

    /// Reads an OA that is due again, and says what its vendor is to be asked.
    pub async fn take_up_at_vendor(
        &self,
        due: VendorDue,
        terms: Terms,
        now: Reading,
    ) -> Result<TakenUp, StoreError> {
        let VendorDue { oa_id, is_trial, .. } = due;
        let occasion = if is_trial { Occasion::Trial } else { Occasion::Due };
        self.writer.call(true, move |tx| answers::take_up(tx, &oa_id, occasion, &terms, &now)).await
    }

    /// A person wants a link: says what the vendor is to be asked, or which link is out.
    pub async fn want_link(&self, oa_id: OaId, terms: Terms, now: Reading) -> Result<TakenUp, StoreError> {
        self.writer.call(true, move |tx| answers::take_up(tx, &oa_id, Occasion::Person, &terms, &now)).await
    }

    /// Takes in what came of the question for a link. May be repeated.
    pub async fn take_link(
        &self,
        asked: Asked,
        outcome: Outcome,
        terms: Terms,
        timing: Arc<Timing>,
        now: Reading,
        roll: Roll,
    ) -> Result<LinkNews, StoreError> {
        let take = move |tx: &_| answers::take_link(tx, &asked, &outcome, &terms, &timing, &now, roll);
        self.writer.call(true, take).await
    }

    /// Takes in what came of the question how an OA stands. May be repeated.
    pub async fn take_look(
        &self,
        asked: Asked,
        outcome: ShopOutcome,
        terms: Terms,
        now: Reading,
        roll: Roll,
    ) -> Result<LookNews, StoreError> {
        self.writer.call(true, move |tx| answers::take_look(tx, &asked, &outcome, &terms, &now, roll)).await
    }

    /// A person says that consent was given then. Returns when it ends; `None`: no vendor holds this OA.
    pub async fn authorize_at_vendor(
        &self,
        oa_id: OaId,
        at: Time,
        terms: Terms,
        now: Reading,
    ) -> Result<Option<Time>, StoreError> {
        self.writer.call(true, move |tx| answers::authorize(tx, &oa_id, at, &terms, &now)).await
    }

    /// The reminders that are due for OAs that vendors hold. They count as said from here on.
    pub async fn take_vendor_reminders(
        &self,
        ladder: Vec<Duration>,
        now: Reading,
    ) -> Result<Vec<VendorReminder>, StoreError> {
        self.writer.call(true, move |tx| told::take_reminders(tx, &ladder, &now)).await
    }
}

impl Direct {
    /// A person says that consent was given then, as [`Store::authorize_at_vendor`].
    ///
    /// # Errors
    /// When the store does not take it; nothing is changed then.
    pub fn authorize_at_vendor(
        &mut self,
        oa_id: &OaId,
        at: Time,
        config: &AtVendors,
        now: &Reading,
    ) -> Result<Option<Time>, StoreError> {
        let Some(own) = config.terms_of(oa_id) else { return Ok(None) };
        self.write(|tx| {
            // The daemon may not have run with this config yet.
            super::manage(tx, config, now)?;
            answers::authorize(tx, oa_id, at, &own, now)
        })
    }
}
