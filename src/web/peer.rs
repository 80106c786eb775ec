//! Who is at the other end of a connection, as the kernel says it.

use std::net::IpAddr;

use tokio::net::UnixStream;

use super::peer_groups;
use crate::secret::Digest;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
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
    pub(crate) fn of(stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let mut groups = peer_groups::of(stream);
        groups.push(credentials.gid());
        Ok(Peer::Process { uid: credentials.uid(), groups })
    }

    /// Those that count as one where connections are counted.
    pub(crate) fn account(&self) -> Account {
        match self {
            Peer::Process { uid, .. } => Account::User(*uid),
            Peer::Address(address) => Account::Address(*address),
        }
    }
}

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Account {
    User(u32),
    Address(IpAddr),
    /// Whoever shows this token.
    Token(Digest),
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
}
