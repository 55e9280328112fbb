//! Real files, but for those of `live/`: whether one is locked is asked of `mortal.rs`.

pub use super::real_file::*;

use super::path::Path;
use super::{OsError, OsResult};
use crate::mortal;
use std::cell::Cell;

thread_local! {
    /// The descriptor that was opened last for a liveness file, and whose.
    static OPENED: Cell<Option<(i32, u32)>> = const { Cell::new(None) };
}

/// Opens a file; in place of a liveness file, nothing.
pub fn open(path: &Path, flags: i32, mode: u32) -> OsResult<Fd> {
    let text = std::str::from_utf8(path.as_bytes()).unwrap();
    match text.rsplit_once("/live/") {
        None => super::real_file::open(path, flags, mode),
        Some((_, cell)) => {
            let null = Path::from_bytes(b"/dev/null").unwrap();
            let fd = super::real_file::open(&null, libc::O_RDONLY, 0)?;
            OPENED.set(Some((fd.number(), cell.parse().unwrap())));
            Ok(fd)
        }
    }
}

/// Looks at a liveness file's lock.
pub fn lock(fd: &Fd, how: Lock) -> OsResult<bool> {
    match (OPENED.get(), how) {
        (Some((number, cell)), Lock::TryShared) if number == fd.number() => {
            Ok(!mortal::holds_its_lock(cell))
        }
        _ => Err(OsError(libc::ENOLCK)),
    }
}
