//! Our own links to consent: whoever has one may have himself sent to Zalo for one OA, and may do nothing else.
//!
//! A link is the OA's id, when it was made, when it ends, and an HMAC-SHA256 of these under a key of the store. It holds no
//! secret, and needs no row: any number can be handed out. Pure.

use std::time::Duration;

use subtle::ConstantTimeEq;
use url::Url;

use crate::clock::Time;
use crate::config::{Authorize, Consenting, check_id};
use crate::id::OaId;
use crate::secret::Secret;

/// What is signed begins with this, so that a signature of ours for anything else is none of a link.
const PURPOSE: &str = "zalo-tokend link to consent";
/// Links beside how an OA stands are another one each.
const GRAIN: Duration = Duration::from_secs(3_600);
/// The parameter of the address that holds it.
pub(super) const PARAMETER: &str = "link";

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The OA that consent may be given for.
    pub oa_id: OaId,
    /// When it was made.
    pub made: Time,
    /// When it ends.
    pub ends: Time,
}

/// Why a link is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLink {
    /// It was not made here, or not whole.
    Forged,
    /// It was, and its time is over.
    Ended,
}

impl Link {
    /// The link as text that needs no escaping in an address.
    pub fn signed(&self, key: &Secret) -> String {
        let Link { oa_id, made, ends } = self;
        let (made, ends) = (made.as_millis(), ends.as_millis());
        format!("{oa_id}.{made}.{ends}.{}", key.hmac(self.statement().as_bytes()))
    }

    fn statement(&self) -> String {
        let Link { oa_id, made, ends } = self;
        format!("{PURPOSE}\n{oa_id}\n{}\n{}", made.as_millis(), ends.as_millis())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When it was not signed with this key, or has ended.
    pub fn read(text: &str, key: &Secret, now: Time) -> Result<Link, BadLink> {
        let parts: Vec<&str> = text.split('.').collect();
        let [oa_id, made, ends, signature] = parts[..] else { return Err(BadLink::Forged) };
        let time = |text: &str| text.parse().map(Time::from_millis).map_err(|_| BadLink::Forged);
        check_id(oa_id).map_err(|_| BadLink::Forged)?;
        let link = Link { oa_id: OaId::from(oa_id), made: time(made)?, ends: time(ends)? };
        let right = key.hmac(link.statement().as_bytes());
        if !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(BadLink::Forged);
        }
        if link.ends <= now { Err(BadLink::Ended) } else { Ok(link) }
    }
}

/// The address of a link: that at which people come back, so that whatever leads there leads here as well.
pub fn address_of_link(redirect_uri: &Url, key: &Secret, oa_id: &OaId, made: Time, life: Duration) -> Url {
    let link = Link { oa_id: oa_id.clone(), made, ends: made.plus(life) };
    let mut url = redirect_uri.clone();
    url.query_pairs_mut().append_pair(PARAMETER, &link.signed(key));
    url
}

/// The link that is shown for an OA beside how it stands. `None`: none leads to consent for it.
///
/// It is made as if at the last full hour, so that who asks twice gets the same one.
pub fn standing_link(
    authorize: &Authorize,
    consenting: &Consenting,
    key: &Secret,
    oa_id: &OaId,
    now: Time,
) -> Option<String> {
    // Without a listener nobody answers at that address.
    authorize.listen?;
    let grain = i64::try_from(GRAIN.as_millis()).unwrap_or(1);
    let made = Time::from_millis(now.as_millis() - now.as_millis().rem_euclid(grain));
    let life = authorize.link_life.saturating_add(GRAIN);
    Some(address_of_link(&consenting.redirect_uri, key, oa_id, made, life).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_link_is_read_back_until_it_ends_and_only_with_its_own_key() {
        let now = Time::from_millis(1_800_000_000_000);
        let ends = now.plus(Duration::from_secs(60));
        let link = Link { oa_id: OaId::from("579745863508352884"), made: now, ends };
        let text = link.signed(&key("a"));
        assert_eq!(Link::read(&text, &key("a"), now), Ok(link.clone()));
        assert_eq!(Link::read(&text, &key("a"), ends), Err(BadLink::Ended));
        assert_eq!(Link::read(&text, &key("b"), now), Err(BadLink::Forged));
        assert_eq!(
            text,
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>(),
            "nothing to escape"
        );
    }

    #[test]
    fn whatever_is_changed_of_a_link_makes_it_none() {
        let now = Time::from_millis(1_800_000_000_000);
        let link = Link { oa_id: OaId::from("7"), made: now, ends: now.plus(Duration::from_secs(60)) };
        let text = link.signed(&key("a"));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(other).expect("text");
            assert_eq!(Link::read(&other, &key("a"), now), Err(BadLink::Forged), "{other}");
        }
        for odd in
            ["", "....", "7", "7.1.2", "7.1.2.", "7.1.9999999999999999999999.x", "<b>.1.2.3", "7.+1.2.3.4"]
        {
            assert_eq!(Link::read(odd, &key("a"), now), Err(BadLink::Forged), "{odd}");
        }
    }
}
