//! The keeper, as those who come with consent see him.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use super::super::{FAULT, Keeper};
use crate::authorize::{Back, BadLink, BoxFuture, Desk, Guest, Link, NoConsent};
use crate::id::OaId;
use crate::oauth::Callback;

/// How many who came back are heard at once. What they ask goes on without them, so that the store's disk, if it hangs, would
/// let any number of them wait.
const MOST_AT_ONCE: usize = 256;

pub(in super::super) struct ConsentDesk {
    keeper: Arc<Keeper>,
    places: Arc<Semaphore>,
}

impl ConsentDesk {
    pub(in super::super) fn of(keeper: &Arc<Keeper>) -> ConsentDesk {
        ConsentDesk { keeper: Arc::clone(keeper), places: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }
}

impl Desk for ConsentDesk {
    fn guest<'d>(&'d self, link: &'d str) -> BoxFuture<'d, Result<Guest, BadLink>> {
        Box::pin(async move {
            let keeper = &self.keeper;
            let key = keeper.link_key.get().ok_or(BadLink::Forged)?;
            let Link { oa_id, made, .. } = Link::read(link, key, keeper.now())?;
            let managed = keeper.managed(&oa_id).ok_or(BadLink::Ended)?;
            let name = managed.name.as_deref().map(str::to_owned);
            let status = keeper.store.status(oa_id.clone(), Some(managed), keeper.read_clock()).await;
            let status = status.ok().flatten();
            let asked = status.as_ref().and_then(|status| status.reauthorization.as_ref());
            let granted_at = status.as_ref().and_then(|status| status.granted_at);
            let is_done = asked.is_none() && granted_at.is_some_and(|granted_at| granted_at > made);
            Ok(Guest { deadline: asked.and_then(|asked| asked.deadline), oa_id, name, is_done })
        })
    }

    fn begin(&self, oa_id: OaId) -> BoxFuture<'_, Result<Url, NoConsent>> {
        Box::pin(async move { self.keeper.begin_consent(&oa_id).await })
    }

    fn name_of(&self, oa_id: &OaId) -> Option<String> {
        self.keeper.managed(oa_id)?.name.map(String::from)
    }

    fn come_back(&self, callback: Callback) -> BoxFuture<'_, Back> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let text = "too many come back at once; load this page again in a minute".to_owned();
            return Box::pin(std::future::ready(Back::NotNow(text)));
        };
        let keeper = Arc::clone(&self.keeper);
        // Whoever closes the page before it answers has come back all the same.
        let heard = self.keeper.tasks.spawn(async move {
            let _place = place;
            keeper.come_back(callback).await
        });
        Box::pin(async move { heard.await.unwrap_or_else(|_| Back::NotNow(FAULT.to_owned())) })
    }

    fn origins(&self) -> Vec<String> {
        self.keeper.consent_origins()
    }
}

impl Keeper {
    /// Where people may be sent to give consent.
    pub(in super::super) fn consent_origins(&self) -> Vec<String> {
        let settings = self.settings();
        let pages = settings.apps.values().filter_map(|app| app.consenting.as_ref());
        let pages = pages.map(|app| app.permission_url.origin().ascii_serialization());
        let vendors = settings.vendors.values().flat_map(|vendor| vendor.link_origins());
        let origins: BTreeSet<String> = pages.chain(vendors).collect();
        origins.into_iter().collect()
    }
}
