//! Several files at once, on a thread that may wait for the disk: each step of some milliseconds is made here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::place::{self, Wanted};
use crate::id::OaId;

/// How long a step of a round works, but for the file that it is at.
const STEP: Duration = Duration::from_millis(2);

/// How files are put in their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Those that are not there as they are to be.
    IfOther,
    /// The same, as many as a step has time for.
    InAStep,
    /// Also those that seem to be there: what failed may not last.
    Anyway,
}

/// What became of each, in words where it failed.
pub(super) type Done = Vec<(OaId, Result<(), String>)>;

pub(super) struct Put {
    pub(super) done: Done,
    pub(super) rest: Vec<Wanted>,
}

/// Puts files in their places, and brings their directories to the disk, each once.
pub(super) fn put(files: Vec<Wanted>, how: How) -> Put {
    let began = Instant::now();
    let (mut done, mut directories, mut files) = (Done::new(), BTreeMap::new(), files.into_iter());
    for file in files.by_ref() {
        if how != How::Anyway && file.is_there() {
            done.push((file.oa_id, Ok(())));
        } else {
            let outcome = file.put().map_err(|error| error.to_string());
            if let Some(directory) = file.path.parent().filter(|_| outcome.is_ok()) {
                directories.entry(directory.to_owned()).or_insert_with(Vec::new).push(done.len());
            }
            done.push((file.oa_id, outcome));
        }
        if how == How::InAStep && began.elapsed() > STEP {
            break;
        }
    }
    for (directory, in_it) in directories {
        if let Err(error) = place::sync_directory(&directory) {
            in_it.into_iter().for_each(|index| done[index].1 = Err(error.to_string()));
        }
    }
    Put { done, rest: files.collect() }
}

pub(super) struct Removed {
    pub(super) done: Done,
    pub(super) rest: Vec<OaId>,
}

pub(super) fn remove(files: Vec<(OaId, PathBuf)>) -> Removed {
    let began = Instant::now();
    let (mut done, mut files) = (Done::new(), files.into_iter());
    for (oa_id, path) in files.by_ref() {
        done.push((oa_id, place::remove(&path).map_err(|error| format!("it cannot be removed: {error}"))));
        if began.elapsed() > STEP {
            break;
        }
    }
    Removed { done, rest: files.map(|(oa_id, _)| oa_id).collect() }
}
