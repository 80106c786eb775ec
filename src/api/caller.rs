//! Who asks: what the kernel says of the other end of a socket, and the token that a request shows.

use std::fmt;
use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use tokio::net::UnixStream;

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
    /// The process at the other end.
    ///
    /// The kernel names its user and first group as they were when it connected. The further groups are those that its
    /// process has now; they count only while that is still a process of the same user.
    pub(super) fn of(stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let mut groups = vec![credentials.gid()];
        if let Some(pid) = credentials.pid() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            groups.extend(further_groups(&status, credentials.uid()));
        }
        Ok(Peer::Process { uid: credentials.uid(), groups })
    }

    /// Those that count as one where requests and connections are counted.
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
}

/// Reads the groups out of `/proc/PID/status`, if it is still a process of this user.
fn further_groups(status: &str, uid: u32) -> Vec<u32> {
    let numbers = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved and of the file system: a program with another user's rights is not this user's.
    let uids = numbers("Uid");
    if uids.len() == 4 && uids.iter().all(|found| *found == uid) { numbers("Groups") } else { Vec::new() }
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: Peer,
    /// Of the token that it shows.
    pub(super) bearer: Option<Digest>,
}

impl Caller {
    pub(super) fn of(peer: Peer, headers: &HeaderMap) -> Caller {
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
        match &self.peer {
            Peer::Process { uid, .. } => write!(f, "uid {uid}"),
            Peer::Address(address) => write!(f, "{address}"),
        }?;
        if self.bearer.is_some() { f.write_str(" with a token") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_groups_count_only_while_the_process_is_the_same_users() {
        let status = "Name:\tphp\nUid:\t33\t33\t33\t33\nGid:\t33\t33\t33\t33\nGroups:\t33 997 998 \n";
        assert_eq!(further_groups(status, 33), [33, 997, 998]);
        assert_eq!(further_groups(status, 34), [0; 0]);
        assert_eq!(further_groups(&status.replace("33\t33\t33\t33\nGid", "33\t0\t0\t0\nGid"), 33), [0; 0]);
        assert_eq!(further_groups("", 33), [0; 0]);
    }

    #[test]
    fn a_token_is_known_by_its_digest_and_never_shown() {
        let mut headers = HeaderMap::new();
        let address = Peer::Address(IpAddr::from([127, 0, 0, 1]));
        assert!(Caller::of(address.clone(), &headers).bearer.is_none());
        headers.insert(header::AUTHORIZATION, "bearer  CANARY".parse().expect("a value"));
        let caller = Caller::of(address.clone(), &headers);
        assert_eq!(caller.bearer, Some(Secret::new("CANARY".to_owned()).digest()));
        assert!(!format!("{caller} {caller:?}").contains("CANARY"));
        headers.insert(header::AUTHORIZATION, "Basic CANARY".parse().expect("a value"));
        assert!(Caller::of(address, &headers).bearer.is_none());
    }
}
