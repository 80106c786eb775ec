//! The control socket beside the store: how other programs reach the running daemon.
//!
//! A Unix socket of mode 0600; only the daemon's own user and root are answered, by what the kernel says of the peer.
//! One connection is one conversation. Peers that stall are given up after a while, and there are never many at once:
//! nothing here holds the daemon up. A peer that goes away changes nothing of what it asked for.

mod consent;
mod conversation;
pub mod protocol;
pub(super) mod refresh;
mod resolve;

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{Keeper, events};
use crate::id::OaId;
use conversation::Conversation;
use protocol::Reply;

/// How many conversations go on at once.
const MOST_CONVERSATIONS: usize = 256;
/// After an `accept` that failed, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two trials to make the socket.
const BIND_PAUSE: Duration = Duration::from_secs(5);
/// How long a conversation goes on after the daemon was asked to stop: long enough for its last reply.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What fits into the address of a socket.
const LONGEST_ADDRESS: usize = 107;

/// The daemon's config does not have this OA, or a vendor keeps its tokens.
fn not_kept(keeper: &Keeper, oa_id: &OaId) -> Reply {
    let text = match keeper.vendor_of(oa_id) {
        Some(vendor) => format!(
            "OA {oa_id} is held by vendor {vendor}, which keeps its tokens: there is nothing to do here"
        ),
        None => format!("the running daemon does not keep OA {oa_id}; add it to the config and reload"),
    };
    Reply::Failed { text }
}

/// The store takes nothing now.
fn store_failed(error: &dyn std::fmt::Display) -> Reply {
    Reply::NotNow {
        text: format!("the store does not do it: {error}; free or repair the disk, and try again"),
    }
}

/// The socket of the daemon that works on this store.
pub fn socket_path(store_path: &Path) -> PathBuf {
    let mut name = store_path.as_os_str().to_owned();
    name.push("-control");
    PathBuf::from(name)
}

/// A name for this socket that fits into an address, however long its path is. It is good while the descriptor is open.
///
/// # Errors
/// When its directory cannot be opened.
pub fn address_of(socket: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if socket.as_os_str().len() <= LONGEST_ADDRESS {
        return Ok((socket.to_owned(), None));
    }
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?;
    let name = socket.file_name().unwrap_or_default();
    let address = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(name);
    Ok((address, Some(opened)))
}

/// The socket, listening.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Takes the socket's place, whoever left it there. To be called only by who holds the store's lock.
fn listen(store_path: &Path) -> io::Result<Control> {
    let path = socket_path(store_path);
    let (address, _directory) = address_of(&path)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The process makes nothing that others may open (umask 077); the mode is set for whoever changes that.
    let listener = StdListener::bind(&address)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(Control { listener: UnixListener::from_std(listener)?, path })
}

/// Makes the socket, and returns the work of answering at it until the daemon stops. That no socket can be made is no
/// reason not to refresh: it is tried again.
pub(super) fn open(keeper: &Arc<Keeper>, store_path: &Path) -> impl Future<Output = ()> + Send + 'static {
    let first = listen(store_path);
    if let Err(error) = &first {
        events::control_unavailable(&error.to_string());
    }
    let (keeper, store_path) = (Arc::clone(keeper), store_path.to_owned());
    async move {
        let mut listening = first;
        loop {
            if let Ok(control) = listening {
                return control.serve(keeper).await;
            }
            tokio::select! {
                () = keeper.stop.cancelled() => return,
                () = tokio::time::sleep(BIND_PAUSE) => listening = listen(&store_path),
            }
        }
    }
}

/// Resolves when the daemon stops and nothing is under way any more: until then a set that no disk takes is still to be
/// had here.
async fn drained(keeper: &Keeper) {
    keeper.stop.cancelled().await;
    while keeper.holds_what_is_on_no_disk() {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Control {
    async fn serve(self, keeper: Arc<Keeper>) {
        let places = Arc::new(Semaphore::new(MOST_CONVERSATIONS));
        loop {
            let accepted = tokio::select! {
                () = drained(&keeper) => break,
                accepted = self.accept(&places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let keeper = Arc::clone(&keeper);
                    keeper.tasks.clone().spawn(async move {
                        let _place = place;
                        let stop = keeper.stop.clone();
                        // What it asked for goes on; only the talk about it ends.
                        tokio::select! {
                            () = Conversation::new(stream).hold(keeper) => {}
                            () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a program cannot be let in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket cannot be removed");
        }
    }

    /// The next program that may talk, once there is a place for it.
    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        let own = rustix::process::geteuid().as_raw();
        if peer != own && peer != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("uid {peer} is not answered"),
            ));
        }
        Ok((stream, place))
    }
}
