//! Who asks: the other end of the connection, and the token that a request shows.

use std::fmt;
use std::sync::Arc;

use crate::secret::{Digest, Secret};
use crate::web::{Account, Peer};
use axum::http::{HeaderMap, header};

/// Who makes a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: Arc<Peer>,
    /// Of the token that it shows, or once showed.
    pub(super) bearer: Option<Digest>,
    /// Is that a token which was shown before, at the beginning of a session?
    pub(super) has_session: bool,
}

impl Caller {
    /// Those that count as one where requests are counted: over TCP all programs of a machine have one address, and whoever
    /// has a token is not to suffer from who has none.
    pub(super) fn account(&self) -> Account {
        match (&*self.peer, self.bearer) {
            (Peer::Address(_), Some(token)) => Account::Token(token),
            (Peer::Address(_) | Peer::Process { .. }, _) => self.peer.account(),
        }
    }

    pub(super) fn of(peer: Arc<Peer>, headers: &HeaderMap) -> Caller {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
        });
        let bearer = token.map(|token| Secret::new(token.to_owned()).digest());
        Caller { peer, bearer, has_session: false }
    }
}

/// As the log names them.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.peer {
            Peer::Process { uid, .. } => write!(f, "uid {uid}"),
            Peer::Address(address) => write!(f, "{address}"),
        }?;
        if self.bearer.is_some() { f.write_str(" with a token") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn a_token_is_known_by_its_digest_and_never_shown() {
        let mut headers = HeaderMap::new();
        let address = Arc::new(Peer::Address(IpAddr::from([127, 0, 0, 1])));
        assert!(Caller::of(address.clone(), &headers).bearer.is_none());
        headers.insert(header::AUTHORIZATION, "bearer  CANARY".parse().expect("a value"));
        let caller = Caller::of(address.clone(), &headers);
        assert_eq!(caller.bearer, Some(Secret::new("CANARY".to_owned()).digest()));
        assert!(!format!("{caller} {caller:?}").contains("CANARY"));
        headers.insert(header::AUTHORIZATION, "Basic CANARY".parse().expect("a value"));
        assert!(Caller::of(address, &headers).bearer.is_none());
    }
}
