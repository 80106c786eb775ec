//! How a command reaches the daemon at one of its sockets: connected in time, or why not, and who listens there.
//!
//! Whom to believe beside root and oneself is decided by whoever asks, and so are the words. May import `keeper`.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use crate::keeper::control::address_of;

/// How long a daemon may take to be reached; it is at once unless the daemon hangs.
const REACHED: Duration = Duration::from_secs(5);

/// Why there is nobody to talk to.
#[derive(Debug)]
pub(super) enum Unreached {
    /// No daemon listens.
    NotThere,
    /// This user may not connect.
    NotPermitted,
    /// This user listens in its place.
    Stranger(u32),
    /// It does not take the connection in time.
    Silent,
    /// Something else went wrong.
    Broken(String),
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Unreached {
        let kind = error.kind();
        if matches!(
            kind,
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
        ) {
            Unreached::NotThere
        } else if kind == io::ErrorKind::PermissionDenied {
            Unreached::NotPermitted
        } else if kind == io::ErrorKind::WouldBlock {
            // The queue of those who want to talk is full.
            Unreached::Silent
        } else {
            Unreached::Broken(error.to_string())
        }
    }
}

/// Connects, and talks to nobody who may not be the daemon.
pub(super) async fn connect(
    socket: &Path,
    patience: Duration,
    may_be_the_daemon: impl FnOnce(u32) -> bool,
) -> Result<UnixStream, Unreached> {
    let (address, _directory) = address_of(socket)?;
    let connecting = tokio::time::timeout(REACHED.min(patience), UnixStream::connect(&address));
    let stream = connecting.await.map_err(|_| Unreached::Silent)??;
    let listener = stream.peer_cred()?.uid();
    if may_be_the_daemon(listener) { Ok(stream) } else { Err(Unreached::Stranger(listener)) }
}

/// Is it root, or who runs this command?
pub(super) fn is_root_or_oneself(listener: u32) -> bool {
    listener == 0 || listener == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_does_not_believe_the_listener_is_told_who_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let patience = Duration::from_secs(60);
        let reach = |believes: bool| connect(&socket, patience, move |_| believes);
        assert!(matches!(reach(true).await, Err(Unreached::NotThere)));
        let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
        assert!(reach(true).await.is_ok());
        let own = rustix::process::geteuid().as_raw();
        assert!(matches!(reach(false).await, Err(Unreached::Stranger(uid)) if uid == own));
        assert!(is_root_or_oneself(own) && is_root_or_oneself(0) && !is_root_or_oneself(own + 1));
        drop(listener);
        assert!(matches!(reach(true).await, Err(Unreached::NotThere)), "left behind, and nobody listens");
    }
}
