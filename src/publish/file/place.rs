//! A file put in its place as a whole: what is written here, and how it outlives a crash.
//!
//! **The order.** A temporary file beside it is made, which only the daemon can read; it gets its content, owner, group and
//! mode, and is on the disk before it takes the other's name; then the directory is brought to the disk. So whoever opens
//! the name finds the old content or the new one, whole, with its mode. A crash leaves the temporary file at most, under a
//! name of which there is one for each file: it is taken away by whoever looks at the file next.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use crate::failpoint;
use crate::id::OaId;
use crate::secret::Secret;

/// A file and what it is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) oa_id: OaId,
    pub(super) path: PathBuf,
    pub(super) content: Secret,
    pub(super) mode: u32,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
}

/// The mode of a directory that is made for a file.
const DIRECTORY_MODE: u32 = 0o750;

/// Where it is written before it takes its name.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.zalo-tokend-new"))
}

impl Wanted {
    /// Is it all that already? What an earlier run left beside it is taken away.
    pub(super) fn is_there(&self) -> bool {
        // Where that cannot be done, nothing can be written either, and that will be told.
        remove_if_there(&temporary(&self.path)).ok();
        let Ok(found) = fs::symlink_metadata(&self.path) else { return false };
        found.is_file()
            && found.mode() & 0o7777 == self.mode
            && self.owner.is_none_or(|owner| found.uid() == owner)
            && self.group.is_none_or(|group| found.gid() == group)
            && found.len() == self.content.expose().len() as u64
            && fs::read(&self.path).is_ok_and(|bytes| bytes == self.content.expose().as_bytes())
    }

    /// Puts it in its place. It lasts once its directory is synced as well.
    pub(super) fn put(&self) -> io::Result<()> {
        failpoint::pass("publish.file.writing");
        let temporary = temporary(&self.path);
        let written = self.write(&temporary);
        if written.is_err() {
            // What is half written is of no use; the failure before this one is what is told.
            remove_if_there(&temporary).ok();
        }
        written?;
        failpoint::pass("publish.file.written");
        fs::rename(&temporary, &self.path).inspect_err(|_| {
            remove_if_there(&temporary).ok();
        })?;
        failpoint::pass("publish.file.placed");
        Ok(())
    }

    fn write(&self, temporary: &Path) -> io::Result<()> {
        let mut file = match create(temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directories(self.path.parent().unwrap_or(Path::new("/")))?;
                create(temporary)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(temporary)?;
                create(temporary)
            }
            created => created,
        }?;
        file.write_all(self.content.expose().as_bytes())?;
        // First whose it is, then who of them may read it.
        if self.owner.is_some() || self.group.is_some() {
            fchown(&file, self.owner, self.group).map_err(|error| {
                let what =
                    format!("its owner or group: {error}; the daemon has to be in that group, or be root");
                io::Error::new(error.kind(), what)
            })?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.sync_all()
    }

    /// Makes what is missing of a directory, for the file's group.
    fn make_directories(&self, directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(Path::new("/"));
        self.make_directories(parent)?;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        if self.group.is_some() {
            chown(directory, None, self.group)?;
        }
        // Whatever the umask is.
        fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
        sync_directory(parent)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the file, and what may be left beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(()),
        result => result,
    };
    gone(remove_if_there(&temporary(path)))?;
    gone(remove_if_there(path))?;
    match path.parent().map_or(Ok(()), sync_directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        synced => synced,
    }
}

/// What was put into the directory lasts from here on.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn wanted(path: &Path, content: &str) -> Wanted {
        Wanted {
            oa_id: OaId::from("7"),
            path: path.to_owned(),
            content: Secret::new(content.to_owned()),
            mode: 0o640,
            owner: None,
            group: None,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o7777
    }

    #[test]
    fn a_file_is_put_with_its_directories_and_is_recognised() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b/7.json");
        let file = wanted(&path, "content");
        assert!(!file.is_there());
        file.put().expect("put");
        assert!(file.is_there());
        assert_eq!((mode(&path), mode(&directory.path().join("a"))), (0o640, 0o750));
        assert!(!wanted(&path, "other..").is_there());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        assert!(!file.is_there(), "somebody changed its mode");
        file.put().expect("put");
        assert!(file.is_there());
        remove(&path).expect("removed");
        remove(&path).expect("it is gone already");
        remove(&directory.path().join("a/b/7.json/below")).expect("it never was");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("7"), directory.path().join("other"));
        fs::write(&other, "content").expect("written");
        fs::set_permissions(&other, Permissions::from_mode(0o640)).expect("set");
        for link in [path.clone(), temporary(&path)] {
            symlink(&other, &link).expect("linked");
            let file = wanted(&path, "content");
            assert!(link != path || !file.is_there(), "what it leads to is not ours");
            file.put().expect("put");
            assert!(fs::symlink_metadata(&path).expect("there").is_file());
            fs::remove_file(&path).expect("removed");
        }
        assert_eq!(fs::read_to_string(&other).expect("read"), "content");
    }

    #[test]
    fn what_a_crash_left_is_taken_away_and_a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("7");
        let file = wanted(&path, "content");
        file.put().expect("put");
        fs::write(temporary(&path), "half").expect("written");
        assert!(file.is_there() && !temporary(&path).exists());
        fs::write(temporary(&path), "half").expect("written");
        file.put().expect("put");
        assert!(!temporary(&path).exists());
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory in its place");
        assert!(file.put().is_err());
        assert!(!temporary(&path).exists());
    }
}
