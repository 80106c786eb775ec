//! SQLite's side: a VFS is a table of C functions, and so is an open file.
//!
//! Each function turns its arguments into values, calls what is safe, and turns the outcome into SQLite's code. All that
//! is unsafe stands here. What it rests on: SQLite calls a VFS's functions with that VFS and with strings that end in
//! NUL; an open file's functions with a file that `x_open` opened and `x_close` did not close yet, by one thread at a
//! time; and with buffers as large as it says (<https://sqlite.org/c3ref/vfs.html>,
//! <https://sqlite.org/c3ref/io_methods.html>).
//!
//! The table of a VFS and its name are never freed: SQLite may still hold the table when its last file is closed. They
//! are some hundred bytes for each disk.

mod file;

use rusqlite::ffi;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::disk::Computer;
use crate::faults::Trouble;
use crate::machine::Opening;
use crate::open_file::OpenFile;
use file::{File, METHODS};

/// A VFS that is registered as long as this lives.
#[derive(Debug)]
pub(crate) struct Vfs {
    name: String,
    table: NonNull<ffi::sqlite3_vfs>,
}

// SAFETY: the table is never written to or read through this pointer; it is only handed to SQLite, which guards its list of
// VFSs by a mutex of its own.
unsafe impl Send for Vfs {}
// SAFETY: as above.
unsafe impl Sync for Vfs {}

impl Vfs {
    pub(crate) fn register(computer: Weak<Computer>) -> Vfs {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("faulty-disk-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let c_name = CString::new(name.as_str()).expect("a name without NUL");
        let table = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<File>()).expect("a small struct"),
            mxPathname: 512,
            pNext: ptr::null_mut(),
            zName: c_name.into_raw(),
            pAppData: Box::into_raw(Box::new(computer)).cast::<c_void>(),
            xOpen: Some(x_open),
            xDelete: Some(x_delete),
            xAccess: Some(x_access),
            xFullPathname: Some(x_full_pathname),
            xDlOpen: Some(x_dl_open),
            xDlError: Some(x_dl_error),
            xDlSym: Some(x_dl_sym),
            xDlClose: Some(x_dl_close),
            xRandomness: Some(x_randomness),
            xSleep: Some(x_sleep),
            xCurrentTime: Some(x_current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(x_current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        let table = NonNull::from(table);
        // SAFETY: the table is filled in, lives for ever, and nothing else uses it.
        let registered = unsafe { ffi::sqlite3_vfs_register(table.as_ptr(), 0) };
        assert_eq!(registered, ffi::SQLITE_OK, "a VFS can be registered");
        Vfs { name, table }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: the table is the one that was registered. It stays where it is.
        let unregistered = unsafe { ffi::sqlite3_vfs_unregister(self.table.as_ptr()) };
        debug_assert_eq!(unregistered, ffi::SQLITE_OK);
    }
}

/// The computer behind a VFS. `None`: its disk was dropped.
///
/// # Safety
/// `vfs` is a table that [`Vfs::register`] made.
unsafe fn computer(vfs: *mut ffi::sqlite3_vfs) -> Option<Arc<Computer>> {
    // SAFETY: the caller's word; the table and what it points to are never freed nor written to.
    let data = unsafe { (*vfs).pAppData };
    // SAFETY: as above; `pAppData` points to a `Weak<Computer>`.
    unsafe { &*data.cast::<Weak<Computer>>() }.upgrade()
}

/// A name. `None`: there is none, or not in UTF-8.
///
/// # Safety
/// `name` is null, or a string that ends in NUL and stays as it is.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's word.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// Writes what a function gives back beside its code.
///
/// # Safety
/// `place` is null, or SQLite's place for it.
unsafe fn give<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: the caller's word.
        unsafe { place.write(value) };
    }
}

fn code(outcome: Result<(), Trouble>, otherwise: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Trouble::Full) if otherwise == ffi::SQLITE_IOERR_WRITE => ffi::SQLITE_FULL,
        Err(Trouble::Missing) if otherwise == ffi::SQLITE_IOERR_DELETE => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(Trouble::Io | Trouble::Full | Trouble::Missing | Trouble::Exists | Trouble::Down) => otherwise,
    }
}

unsafe extern "C" fn x_open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for `szOsFile` bytes. Without methods the file counts as not open.
    unsafe { (*file).pMethods = ptr::null() };
    // SAFETY: SQLite's word.
    let (computer, name) = unsafe { (computer(vfs), text(name)) };
    let Some(computer) = computer else { return ffi::SQLITE_CANTOPEN };
    let has = |flag| flags & flag != 0;
    let is_fleeting = name.is_none() || has(ffi::SQLITE_OPEN_DELETEONCLOSE);
    let opening = Opening {
        may_make: is_fleeting || has(ffi::SQLITE_OPEN_CREATE),
        must_make: has(ffi::SQLITE_OPEN_CREATE) && has(ffi::SQLITE_OPEN_EXCLUSIVE),
        is_fleeting,
    };
    let Ok(open) = OpenFile::open(&computer, name, opening) else { return ffi::SQLITE_CANTOPEN };
    let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
    let opened = File { base, open: Box::into_raw(Box::new(open)) };
    // SAFETY: room for a `File`, aligned as SQLite aligns (to 8 bytes).
    unsafe { file.cast::<File>().write(opened) };
    // SAFETY: SQLite's word; it may be null.
    unsafe { give(out_flags, flags) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite's word.
    let (Some(computer), Some(name)) = (unsafe { (computer(vfs), text(name)) }) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    code(computer.machine().delete(name, sync != 0), ffi::SQLITE_IOERR_DELETE)
}

/// As SQLite's own VFS for Unix: an empty file counts as none.
unsafe extern "C" fn x_access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    what: c_int,
    is_so: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's word.
    let (Some(computer), Some(name)) = (unsafe { (computer(vfs), text(name)) }) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    let machine = computer.machine();
    if machine.is_down() {
        return ffi::SQLITE_IOERR_ACCESS;
    }
    let found =
        machine.content(name).is_some_and(|content| what != ffi::SQLITE_ACCESS_EXISTS || content.len() > 0);
    // SAFETY: SQLite's word.
    unsafe { give(is_so, c_int::from(found)) };
    ffi::SQLITE_OK
}

/// Every name is whole as it is.
unsafe extern "C" fn x_full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    place: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's word.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() > room) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for so many, and SQLite does not overlap the two.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast::<c_char>(), place, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_dl_open(_vfs: *mut ffi::sqlite3_vfs, _name: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn x_dl_error(_vfs: *mut ffi::sqlite3_vfs, room: c_int, place: *mut c_char) {
    if room > 0 {
        // SAFETY: SQLite's word that there is room for one.
        unsafe { give(place, 0) };
    }
}

unsafe extern "C" fn x_dl_sym(
    _vfs: *mut ffi::sqlite3_vfs,
    _library: *mut c_void,
    _symbol: *const c_char,
) -> Option<unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *mut c_void, *const c_char)> {
    None
}

unsafe extern "C" fn x_dl_close(_vfs: *mut ffi::sqlite3_vfs, _library: *mut c_void) {}

unsafe extern "C" fn x_randomness(vfs: *mut ffi::sqlite3_vfs, length: c_int, place: *mut c_char) -> c_int {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    // SAFETY: SQLite's word.
    if let Some(computer) = unsafe { computer(vfs) } {
        computer.machine().dice.fill(&mut bytes);
    }
    // SAFETY: there is room for so many.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast::<c_char>(), place, bytes.len()) };
    length
}

/// Really sleeps: who waits for a lock lets its holder go on.
unsafe extern "C" fn x_sleep(_vfs: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    std::thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    micros
}

/// Always the first second of 2026, as a Julian day.
unsafe extern "C" fn x_current_time(_vfs: *mut ffi::sqlite3_vfs, place: *mut f64) -> c_int {
    // SAFETY: SQLite's word.
    unsafe { give(place, 2_461_041.5) };
    ffi::SQLITE_OK
}

/// The same, in milliseconds.
unsafe extern "C" fn x_current_time_int64(
    _vfs: *mut ffi::sqlite3_vfs,
    place: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite's word.
    unsafe { give(place, 212_633_985_600_000) };
    ffi::SQLITE_OK
}
