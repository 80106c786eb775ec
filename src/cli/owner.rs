//! Root takes on the owner of the state directory before it writes there, so that the service can open what a
//! command left.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Failure, exit};

/// Run by root over a directory of another user, the process becomes that user, for good. Else nothing happens.
/// To be called while the process has one thread, and after everything was read that only root may read.
pub(super) fn take_on_owner(store_path: &Path) -> Result<(), Failure> {
    // What this process makes is nobody else's business.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    // Where the directory is still to be made, it will belong to whom the one above belongs to.
    let above = store_path.ancestors().skip(1);
    let Some((directory, found)) =
        above.filter_map(|path| Some((path, std::fs::metadata(path).ok()?))).next()
    else {
        return Ok(());
    };
    if found.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (nix::unistd::Uid::from_raw(found.uid()), nix::unistd::Gid::from_raw(found.gid()));
    nix::unistd::setgroups(&[group])
        .and_then(|()| nix::unistd::setgid(group))
        .and_then(|()| nix::unistd::setuid(user))
        .map_err(|error| {
            Failure::new(
                exit::NOT_PERMITTED,
                format!("cannot act as the owner of {} (uid {user}): {error}", directory.display()),
            )
        })
}
