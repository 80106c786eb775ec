//! What the daemon signs for a browser and knows again: sessions, and the tokens of forms.
//!
//! The key is made at each start and kept nowhere, so that a restart ends all sessions. A session holds no token: it says by
//! its digest which token was shown and until when that counts. Whether the token still has rights is asked at each request,
//! so that a session ends when its token leaves the config.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::api::caller::Caller;
use crate::clock::Time;
use crate::secret::{Digest, Secret};
use crate::web::Peer;

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// The token of a form is good in the hour in which the page was made, and in the next.
const HOUR: i64 = 3_600_000;

/// The key.
pub(in crate::api) struct Seal(Secret);

impl Default for Seal {
    fn default() -> Seal {
        let half = || uuid::Uuid::new_v4().simple().to_string();
        Seal(Secret::new(half() + &half()))
    }
}

impl Seal {
    /// What the cookie holds of who has just shown this token.
    pub(super) fn session(&self, token: &Digest, now: Time) -> String {
        let statement = format!("{}.{}", hex(token), now.plus(SESSION).as_millis());
        let signature = self.sign("session", &statement);
        format!("{statement}.{signature}")
    }

    /// Which token was shown by who has this session, if it is ours and not over.
    pub(in crate::api) fn of_session(&self, cookie: &str, now: Time) -> Option<Digest> {
        let (statement, signature) = cookie.rsplit_once('.')?;
        if !is_same(&self.sign("session", statement), signature) {
            return None;
        }
        let (token, end) = statement.split_once('.')?;
        let end = Time::from_millis(end.parse().ok()?);
        // A clock that was set back makes no session longer.
        (now < end && end.since(now) <= SESSION).then(|| unhex(token)).flatten()
    }

    /// What the forms of a page are known by that this caller gets now.
    pub(super) fn csrf(&self, caller: &Caller, now: Time) -> String {
        self.csrf_of(caller, now.as_millis().div_euclid(HOUR))
    }

    /// Is this of a form of a page that this caller got, not long ago?
    pub(super) fn is_of_our_form(&self, csrf: &str, caller: &Caller, now: Time) -> bool {
        let hour = now.as_millis().div_euclid(HOUR);
        // Both are looked at, whatever the first says.
        is_same(&self.csrf_of(caller, hour), csrf) | is_same(&self.csrf_of(caller, hour - 1), csrf)
    }

    fn csrf_of(&self, caller: &Caller, hour: i64) -> String {
        self.sign("form", &format!("{} {hour}", name(caller)))
    }

    /// Of no use for another purpose.
    fn sign(&self, purpose: &str, statement: &str) -> String {
        self.0.hmac(format!("{purpose} {statement}").as_bytes())
    }
}

/// Who he is, as the tokens of forms know him.
fn name(caller: &Caller) -> String {
    match (&caller.bearer, &*caller.peer) {
        (Some(token), _) => format!("token {}", hex(token)),
        (None, Peer::Process { uid, .. }) => format!("uid {uid}"),
        (None, Peer::Address(address)) => format!("address {address}"),
    }
}

/// In a time that tells nothing.
fn is_same(ours: &str, shown: &str) -> bool {
    ours.as_bytes().ct_eq(shown.as_bytes()).into()
}

fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(Digest::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const NOW: Time = Time::from_millis(1_800_000_000_000);

    fn caller(uid: u32, token: Option<&str>) -> Caller {
        let peer = Arc::new(Peer::Process { uid, groups: Vec::new() });
        let bearer = token.map(|token| Secret::new(token.to_owned()).digest());
        Caller { peer, bearer, has_session: false }
    }

    #[test]
    fn a_session_counts_until_its_end_and_is_nobody_elses_word() {
        let (seal, token) = (Seal::default(), Secret::new("CANARY".to_owned()).digest());
        let session = seal.session(&token, NOW);
        assert!(!session.contains("CANARY"));
        assert_eq!(seal.of_session(&session, NOW), Some(token));
        let last = NOW.plus(SESSION).minus(Duration::from_millis(1));
        assert_eq!(seal.of_session(&session, last), Some(token));
        assert_eq!(seal.of_session(&session, NOW.plus(SESSION)), None, "it is over");
        assert_eq!(seal.of_session(&session, NOW.minus(HOUR_LONG)), None, "the clock was set back");
        assert_eq!(Seal::default().of_session(&session, NOW), None, "of another run");
        for index in 0..session.len() {
            let mut forged = session.clone().into_bytes();
            forged[index] = if forged[index] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(forged).expect("ASCII");
            assert_eq!(seal.of_session(&forged, NOW), None, "{forged}");
        }
        for odd in ["", ".", "..", "a.b.c", "é.1.x", &session[1..], &format!("{session}.")] {
            assert_eq!(seal.of_session(odd, NOW), None, "{odd}");
        }
        let form = seal.csrf(&caller(1, None), NOW);
        let statement = session.rsplit_once('.').expect("three parts").0;
        assert_eq!(seal.of_session(&format!("{statement}.{form}"), NOW), None, "signed for something else");
    }

    const HOUR_LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_form_is_known_for_an_hour_at_least_and_only_as_that_of_who_got_it() {
        let (seal, one) = (Seal::default(), caller(1, None));
        let csrf = seal.csrf(&one, NOW);
        assert!(seal.is_of_our_form(&csrf, &one, NOW));
        assert!(seal.is_of_our_form(&csrf, &one, NOW.plus(HOUR_LONG)));
        assert!(!seal.is_of_our_form(&csrf, &one, NOW.plus(2 * HOUR_LONG)), "too old");
        for other in [caller(2, None), caller(1, Some("token"))] {
            assert!(!seal.is_of_our_form(&csrf, &other, NOW), "another's");
        }
        for forged in ["", "0", &csrf[1..], &csrf.to_uppercase(), &format!("{csrf}0")] {
            assert!(!seal.is_of_our_form(forged, &one, NOW), "{forged}");
        }
        assert!(!Seal::default().is_of_our_form(&csrf, &one, NOW), "of another run");
    }
}
