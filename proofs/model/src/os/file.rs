//! Real files, but for those of `live/`: whether one is locked is asked of `mortal.rs`. And but for `ipc`, which `map.rs` has.

pub use super::real::file::*;

use super::path::Path;
use super::{OsError, OsResult};
use crate::mortal;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// The descriptors that were opened for liveness files, and whose those are.
    static OPENED: RefCell<HashMap<i32, u32>> = RefCell::default();
}

/// Stands among them for the file of sets and queues.
const IPC: u32 = u32::MAX;

/// Whether it is that file.
pub fn is_ipc(fd: &Fd) -> bool {
    cell_of(fd) == Some(IPC)
}

/// It has all the memory there is.
pub fn allocate_behind(fd: &Fd, offset: u64, used: u64, len_bytes: u64) -> OsResult<()> {
    if is_ipc(fd) {
        return Ok(());
    }
    super::real::file::allocate_behind(fd, offset, used, len_bytes)
}

/// Opens a file.
pub fn open(path: &Path, flags: i32, mode: u32) -> OsResult<Fd> {
    open_in(None, path, flags, mode)
}

/// Opens a file; in place of a liveness file, nothing.
pub fn open_in(dir: At<'_>, path: &Path, flags: i32, mode: u32) -> OsResult<Fd> {
    let text = std::str::from_utf8(path.as_bytes()).unwrap();
    if text.ends_with("/ipc") {
        let null = Path::from_bytes(b"/dev/null").unwrap();
        let fd = super::real::file::open(&null, libc::O_RDONLY, 0)?;
        OPENED.with_borrow_mut(|opened| opened.insert(fd.number(), IPC));
        return Ok(fd);
    }
    let Some((_, cell)) = text.rsplit_once("/live/") else {
        let fd = super::real::file::open_in(dir, path, flags, mode)?;
        OPENED.with_borrow_mut(|opened| opened.remove(&fd.number()));
        return Ok(fd);
    };
    let null = Path::from_bytes(b"/dev/null").unwrap();
    let fd = super::real::file::open(&null, libc::O_RDONLY, 0)?;
    let cell = cell.parse().unwrap();
    OPENED.with_borrow_mut(|opened| opened.insert(fd.number(), cell));
    Ok(fd)
}

/// Whose liveness file that is.
pub fn cell_of(fd: &Fd) -> Option<u32> {
    OPENED.with_borrow(|opened| opened.get(&fd.number()).copied())
}

/// What is said of a liveness file, or that of sets and queues: it is one.
pub fn status(fd: &Fd) -> OsResult<Status> {
    let real = super::real::file::status(fd)?;
    Ok(match cell_of(fd) {
        None => real,
        Some(_) => Status {
            mode: libc::S_IFREG | 0o600,
            links: 1,
            uid: super::process::euid(),
            len_bytes: 1 << 32,
            ..real
        },
    })
}

/// Looks at a liveness file's lock, or takes it.
pub fn lock(fd: &Fd, how: Lock) -> OsResult<bool> {
    match (cell_of(fd), how) {
        (Some(cell), Lock::TryShared) => Ok(!mortal::holds_its_lock(cell)),
        (Some(cell), Lock::TryExclusive) => Ok(mortal::take(cell)),
        _ => Err(OsError(libc::ENOLCK)),
    }
}
