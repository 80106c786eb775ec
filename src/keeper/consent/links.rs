//! Where consent is given: our own links, which lead to Zalo's page when they are opened.

use super::super::Keeper;
use crate::authorize::standing_link;
use crate::id::OaId;

impl Keeper {
    /// The link by which consent for this OA is given; `None`: none leads there.
    pub(in super::super) fn consent_link(&self, oa_id: &OaId) -> Option<String> {
        let (settings, key) = (self.settings(), self.link_key.get()?);
        let app_id = self.managed(oa_id)?.app_id;
        let consenting = settings.apps.get(&app_id)?.consenting.as_ref()?;
        standing_link(&settings.authorize, consenting, key, oa_id, self.now())
    }
}
