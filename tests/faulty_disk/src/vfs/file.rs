//! The functions of an open file.

use rusqlite::ffi;
use std::ffi::{c_int, c_void};
use std::ptr;

use super::{code, give};
use crate::locks::Level;
use crate::open_file::{NotLocked, OpenFile};

/// SQLite's open file, with ours behind it.
#[repr(C)]
pub(super) struct File {
    pub(super) base: ffi::sqlite3_file,
    pub(super) open: *mut OpenFile,
}

pub(super) static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The open file behind SQLite's.
///
/// # Safety
/// `file` was opened by [`x_open`], is not closed yet, and no other reference to it is in use.
unsafe fn open_file<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: `x_open` wrote a whole `File` there, and the caller's word.
    let open = unsafe { (*file.cast::<File>()).open };
    // SAFETY: it came from `Box::into_raw`, is freed only by `x_close`, and the caller has it alone.
    unsafe { &mut *open }
}

fn lock_code(outcome: Result<(), NotLocked>, otherwise: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(NotLocked::Busy) => ffi::SQLITE_BUSY,
        Err(NotLocked::Down) => otherwise,
    }
}

fn level(lock: c_int) -> Level {
    match lock {
        ffi::SQLITE_LOCK_NONE => Level::None,
        ffi::SQLITE_LOCK_SHARED => Level::Shared,
        ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
        ffi::SQLITE_LOCK_PENDING => Level::Pending,
        _ => Level::Exclusive,
    }
}

unsafe extern "C" fn x_close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite's word; the methods are taken away, so that nothing is called on it any more.
    let open = unsafe {
        (*file).pMethods = ptr::null();
        (*file.cast::<File>()).open
    };
    // SAFETY: it came from `Box::into_raw` in `x_open`, and SQLite closes a file once.
    drop(unsafe { Box::from_raw(open) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SQLite's page may be fresh memory: it is zeros before a slice of it is made, and what is not read has to be zeros.
    // SAFETY: SQLite's word that so many bytes are there.
    unsafe { buffer.cast::<u8>().write_bytes(0, length) };
    // SAFETY: as above, written to a moment ago, and in nobody else's use during this call.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    // SAFETY: SQLite's word.
    match unsafe { open_file(file) }.read(offset, buffer) {
        Ok(read) if read < length => ffi::SQLITE_IOERR_SHORT_READ,
        outcome => code(outcome.map(|_| ()), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn x_write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite's word that so many bytes are there and stay as they are during this call.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
    // SAFETY: SQLite's word.
    code(unsafe { open_file(file) }.write(offset, data), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn x_truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    let Ok(length) = usize::try_from(length) else { return ffi::SQLITE_IOERR_TRUNCATE };
    // SAFETY: SQLite's word.
    code(unsafe { open_file(file) }.resize(length), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn x_sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite's word.
    code(unsafe { open_file(file) }.sync(), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn x_file_size(file: *mut ffi::sqlite3_file, length: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite's word.
    let found = unsafe { open_file(file) }.len();
    if let Ok(found) = found {
        // SAFETY: SQLite's word.
        unsafe { give(length, i64::try_from(found).unwrap_or(i64::MAX)) };
    }
    code(found.map(|_| ()), ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn x_lock(file: *mut ffi::sqlite3_file, lock: c_int) -> c_int {
    // SAFETY: SQLite's word.
    lock_code(unsafe { open_file(file) }.raise_lock(level(lock)), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn x_unlock(file: *mut ffi::sqlite3_file, lock: c_int) -> c_int {
    // SAFETY: SQLite's word.
    unsafe { open_file(file) }.lower_lock(level(lock));
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut ffi::sqlite3_file, is_reserved: *mut c_int) -> c_int {
    // SAFETY: SQLite's word.
    let found = unsafe { open_file(file) }.is_reserved();
    if let Ok(found) = found {
        // SAFETY: SQLite's word.
        unsafe { give(is_reserved, c_int::from(found)) };
    }
    code(found.map(|_| ()), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn x_file_control(file: *mut ffi::sqlite3_file, what: c_int, place: *mut c_void) -> c_int {
    if what != ffi::SQLITE_FCNTL_HAS_MOVED {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: SQLite's word.
    let has_moved = unsafe { open_file(file) }.has_moved();
    // SAFETY: SQLite's word that this question has an int as its place.
    unsafe { give(place.cast::<c_int>(), c_int::from(has_moved)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4_096
}

/// As SQLite's own VFS for Unix has it.
unsafe extern "C" fn x_device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn x_shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    may_grow: c_int,
    place: *mut *mut c_void,
) -> c_int {
    let (Ok(region), Ok(size)) = (usize::try_from(region), usize::try_from(size)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: SQLite's word.
    let mapped = unsafe { open_file(file) }.map_index(region, size, may_grow != 0);
    let begin = mapped.ok().flatten().map_or(ptr::null_mut(), <*mut u8>::cast::<c_void>);
    // SAFETY: SQLite's word. What is given lives until `x_shm_unmap` or `x_close`.
    unsafe { give(place, begin) };
    code(mapped.map(|_| ()), ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn x_shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let mask = (first..first + count).fold(0, |mask, place| mask | 1u8 << place);
    // SAFETY: SQLite's word.
    let open = unsafe { open_file(file) };
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        open.give_places_back(mask);
        return ffi::SQLITE_OK;
    }
    let is_shared = flags & ffi::SQLITE_SHM_SHARED != 0;
    lock_code(open.take_places(mask, is_shared), ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn x_shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite's word.
    unsafe { open_file(file) }.fence();
}

unsafe extern "C" fn x_shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: SQLite's word.
    unsafe { open_file(file) }.unmap_index();
    ffi::SQLITE_OK
}
