//! A disk in memory under SQLite, which fails, crashes and loses power when it is told to.
//!
//! A [`Disk`] is a directory of files with a SQLite VFS of its own; [`Disk::vfs`] is its name for
//! `sqlite3_open_v2`. Files that are not SQLite's are opened by [`Disk::file`]. Write-ahead logs, several connections
//! and their locks work as on a local file system within one process.
//!
//! **Counted operations** are those that change something: each write, truncation, sync, deletion, and each opening that
//! makes a file. A [`Fault`] strikes the n-th of them. Reads have a count of their own ([`FaultKind::ReadIo`]); locks
//! and shared memory never fail while the disk is up.
//!
//! **What is durable.** A write is, once its file was synced after it. A name (made or deleted) is, once the file itself
//! or the directory was synced after it, and so are the changes of names before it. A sync that *failed* proves nothing
//! and repairs nothing: as on Linux, what it should have brought to the disk is taken for written by the next sync and
//! may all the same be lost, until it is written anew.
//!
//! The same calls have the same outcome. What SQLite itself rolls (the salts of a write-ahead log) comes from its own
//! generator, and nothing here depends on it.
//!
//! This crate is the one place with `unsafe`, in `vfs/`: SQLite asks for C functions.

mod content;
mod dice;
mod disk;
mod faults;
mod locks;
mod machine;
mod names;
mod open_file;
mod shared_memory;
mod vfs;

pub use disk::{Disk, Loss, RawFile};
pub use faults::{Fault, FaultKind};
