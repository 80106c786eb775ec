//! Where consent is given: our own links, which lead to Zalo's page when they are opened.

use std::time::Duration;

use super::super::Keeper;
use super::super::settings::Settings;
use crate::authorize::address_of_link;
use crate::clock::Time;
use crate::id::{AppId, OaId};
use crate::secret::Secret;

/// Links are made as if at the last full hour, so that who asks twice gets the same one.
const GRAIN: i64 = 3_600_000;

impl Keeper {
    /// The link by which consent for this OA is given; `None`: none leads there.
    pub(in super::super) fn consent_link(&self, oa_id: &OaId) -> Option<String> {
        let (settings, key) = (self.settings(), self.link_key.get()?);
        let app_id = self.managed(oa_id)?.app_id;
        let now = self.now();
        let made = Time::from_millis(now.as_millis() - now.as_millis().rem_euclid(GRAIN));
        link_of(
            &settings,
            key,
            &app_id,
            oa_id,
            made,
            settings.authorize.link_life + Duration::from_millis(GRAIN.unsigned_abs()),
        )
    }
}

fn link_of(
    settings: &Settings,
    key: &Secret,
    app_id: &AppId,
    oa_id: &OaId,
    made: Time,
    life: Duration,
) -> Option<String> {
    // Without a listener nobody answers at that address.
    settings.authorize.listen?;
    let consenting = settings.apps.get(app_id)?.consenting.as_ref()?;
    Some(address_of_link(&consenting.redirect_uri, key, oa_id, made, life).to_string())
}
