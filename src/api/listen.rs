//! The sockets that the API is reached by: handed over by systemd, or made here.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use crate::config;
use crate::web::{Accepts, Peer, Stream};

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct ListenError {
    what: String,
    error: io::Error,
}

/// Where it listens.
pub struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// A socket file that was made here, and goes with this.
    made: Option<PathBuf>,
}

/// The socket that systemd hands over, if it does. To be asked once, before there are threads.
pub fn inherited() -> Option<StdUnixListener> {
    let mut handed_over = ListenFd::from_env();
    // The first that is a Unix socket; the unit has no other.
    let listener = (0..handed_over.len()).find_map(|index| handed_over.take_unix_listener(index).ok()?)?;
    let flags = rustix::io::fcntl_getfd(listener.as_fd()).ok()?;
    // No hook inherits it.
    rustix::io::fcntl_setfd(listener.as_fd(), flags | rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(listener)
}

impl Listeners {
    /// Takes the socket that was handed over, or makes one in its place; and the TCP address, if there is to be one.
    /// To be called only by who holds the store's lock: whatever stands at the socket's place is taken away.
    ///
    /// # Errors
    /// When one of the two cannot be had.
    pub fn open(config: &config::Api, inherited: Option<StdUnixListener>) -> Result<Listeners, ListenError> {
        let path = &config.socket;
        let failed =
            |error| ListenError { what: format!("the socket {} cannot be made", path.display()), error };
        let (unix, made) = match inherited {
            Some(unix) => (unix, None),
            None => (make(path, config.mode, config.group).map_err(failed)?, Some(path.clone())),
        };
        let listening = unix.set_nonblocking(true).and_then(|()| UnixListener::from_std(unix));
        let unix = listening.map_err(failed)?;
        let tcp = config.listen.map(|address| {
            let failed = |error| ListenError { what: format!("{address} cannot be listened at"), error };
            // Reused after a restart, by the standard library's own doing.
            let listener = StdTcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)).map_err(failed)
        });
        Ok(Listeners { unix, tcp: tcp.transpose()?, made })
    }
}

impl Listeners {
    /// The socket's path, as its address has it.
    pub(super) fn path(&self) -> String {
        let address = self.unix.local_addr().ok();
        let path = address.as_ref().and_then(|address| address.as_pathname());
        path.map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// The TCP address.
    pub(super) fn address(&self) -> Option<String> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()).map(|address| address.to_string())
    }
}

impl Accepts for Listeners {
    async fn accept(&self) -> io::Result<(Peer, Stream)> {
        let tcp = async {
            match &self.tcp {
                Some(tcp) => Accepts::accept(tcp).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = Accepts::accept(&self.unix) => accepted,
            accepted = tcp => accepted,
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.made
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, "the API's socket cannot be removed");
        }
    }
}

/// Makes the socket. Nobody can use it before it has its mode and group: the process makes nothing that others may open
/// (umask 077).
fn make(path: &Path, mode: u32, group: Option<u32>) -> io::Result<StdUnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = StdUnixListener::bind(path)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new/api.sock");
        for mode in [0o600, 0o660] {
            drop(make(&path, mode, None).expect("made"));
            let found = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(found & 0o777, mode);
        }
        let file = directory.path().join("file");
        std::fs::write(&file, "mine").expect("written");
        assert!(make(&file, 0o660, None).is_err());
        assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    }
}
