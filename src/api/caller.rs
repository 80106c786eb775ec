//! Who asks: what the kernel says of the other end of a socket, and the token that a request shows.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use tokio::net::UnixStream;

use super::peer_groups;
use crate::secret::{Digest, Secret};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process of this machine.
    Process {
        uid: u32,
        /// Its group, and the further ones that it has.
        groups: Vec<u32>,
    },
    /// Somebody at this address.
    Address(IpAddr),
}

impl Peer {
    /// The process at the other end: its user, its group and its further groups as they were when it connected. What the
    /// process does later, or another one that gets its number, changes nothing about it.
    pub(super) fn of(stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let mut groups = peer_groups::of(stream);
        groups.push(credentials.gid());
        Ok(Peer::Process { uid: credentials.uid(), groups })
    }

    /// Those that count as one where connections are counted.
    pub(super) fn account(&self) -> Account {
        match self {
            Peer::Process { uid, .. } => Account::User(*uid),
            Peer::Address(address) => Account::Address(*address),
        }
    }
}

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Account {
    User(u32),
    Address(IpAddr),
    /// Whoever shows this token.
    Token(Digest),
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: Arc<Peer>,
    /// Of the token that it shows.
    pub(super) bearer: Option<Digest>,
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
        Caller { peer, bearer: token.map(|token| Secret::new(token.to_owned()).digest()) }
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

    #[tokio::test]
    async fn the_kernel_says_who_is_at_the_other_end_with_all_its_groups() {
        let (here, _there) = UnixStream::pair().expect("two ends");
        let mut own: Vec<u32> =
            nix::unistd::getgroups().expect("known").iter().map(|group| group.as_raw()).collect();
        own.push(rustix::process::getegid().as_raw());
        let peer = Peer::Process { uid: rustix::process::geteuid().as_raw(), groups: own };
        assert_eq!(Peer::of(&here).expect("known"), peer);
    }

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
