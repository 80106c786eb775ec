//! Root takes on the owner of the state directory before it writes there, so that the service can open what a
//! command left.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User};

use super::{Failure, exit};

/// The groups that the user is in, so that what he may give to a group, as the API's socket, he may here.
fn groups_of(user: Uid, group: Gid) -> Vec<Gid> {
    let name = User::from_uid(user).ok().flatten().and_then(|found| CString::new(found.name).ok());
    let found = name.and_then(|name| nix::unistd::getgrouplist(&name, group).ok());
    found.unwrap_or_else(|| vec![group])
}

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
    let (user, group) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    nix::unistd::setgroups(&groups_of(user, group))
        .and_then(|()| nix::unistd::setgid(group))
        .and_then(|()| nix::unistd::setuid(user))
        .map_err(|error| {
            Failure::new(
                exit::NOT_PERMITTED,
                format!("cannot act as the owner of {} (uid {user}): {error}", directory.display()),
            )
        })
}
