//! Where lines go that a user has asked for by a variable: `1` or `stderr` is standard error, anything else is the path of
//! a file, to which they are appended. `%p` in the path stands for the process id.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use shmshim_core::os::path::Path;
use shmshim_core::os::{append, env, file, process};

use crate::trace::line::Line;

const NONE: u8 = 0;
const STDERR: u8 = 1;
const FILE: u8 = 2;
/// A file for each process.
const FILES: u8 = 3;

const ROOM: usize = libc::PATH_MAX as usize;

/// A destination, read once from its variable.
///
/// Invariant: the path, NUL-terminated, is written by the one thread that reads the settings, before `kind` says that it is
/// there.
///
/// In pages of the library's data, not in .bss: that would be one mapping more in every process.
#[repr(C, align(4096))]
pub struct Destination {
    path: UnsafeCell<[u8; ROOM]>,
    kind: AtomicU8,
    has_complained: AtomicBool,
}

// SAFETY: by the invariant above, nobody reads the path while it is written.
unsafe impl Sync for Destination {}

impl Destination {
    /// None yet.
    pub const fn new() -> Destination {
        Destination {
            path: UnsafeCell::new([0; ROOM]),
            kind: AtomicU8::new(NONE),
            has_complained: AtomicBool::new(false),
        }
    }

    /// Whether there is one.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.kind.load(Relaxed) != NONE
    }

    /// Whether it is a file that several processes may share, so that each line must tell whose it is.
    pub fn is_file(&self) -> bool {
        self.kind.load(Relaxed) >= FILE
    }

    /// Reads the variable.
    ///
    /// # Safety
    /// Called once, by one thread, before anybody else uses the destination.
    pub unsafe fn read(&self, variable: &CStr) {
        // SAFETY: the caller's promise.
        let path = unsafe { &mut *self.path.get() };
        let (room, _nul) = path.split_at_mut(ROOM - 1);
        let length = env::get(variable, room);
        let kind = match length.and_then(|length| room.get(..length)) {
            None | Some([] | b"0") => NONE,
            Some(b"1" | b"stderr") => STDERR,
            Some(path) if path.windows(2).any(|pair| pair == b"%p") => FILES,
            Some(_) => FILE,
        };
        // Pairs with: the load in `write`.
        self.kind.store(kind, Release);
    }

    /// Writes a line, with one write. `what` is missing where it cannot be written, which is said once on standard error.
    pub fn write(&self, line: &mut Line, what: &str) {
        // Pairs with: the store in `read`.
        let kind = self.kind.load(Acquire);
        if kind < FILE {
            return file::write_fd(libc::STDERR_FILENO, line.end());
        }
        // SAFETY: a file was seen, so the path is written and nobody writes it any more.
        let path = unsafe { &*self.path.get() };
        let Ok(path) = CStr::from_bytes_until_nul(path) else {
            return;
        };
        if kind == FILES {
            match of_process(path.to_bytes()) {
                Some(path) => self.append(path.as_c_str(), line, what),
                None => self.complain(path, &"with %p it is too long", what),
            }
        } else {
            self.append(path, line, what);
        }
    }

    fn append(&self, path: &CStr, line: &mut Line, what: &str) {
        if let Err(why) = append::append_line(path, line.end()) {
            self.complain(path, &why, what);
        }
    }

    /// Not in its caller's frame: one line there is enough.
    #[cold]
    #[inline(never)]
    fn complain(&self, path: &CStr, why: &dyn fmt::Display, what: &str) {
        if !self.has_complained.swap(true, Relaxed) {
            let path = std::path::Path::new(OsStr::from_bytes(path.to_bytes())).display();
            let mut line = Line::new();
            line.put(format_args!("shmshim: no {what} in {path}: {why}"));
            file::write_fd(libc::STDERR_FILENO, line.end());
        }
    }
}

/// The path with this process's id in place of each `%p`.
#[inline(never)]
fn of_process(template: &[u8]) -> Option<Path> {
    let mut path = Path::new();
    let mut rest = template;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"%p") {
        let (front, behind) = rest.split_at(at);
        path.push(front)?;
        path.push_decimal(process::pid() as u32)?;
        rest = behind.get(2..)?;
    }
    path.push(rest)?;
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_stands_where_it_is_asked_for() {
        let pid = process::pid();
        let path = of_process(b"/tmp/%p.trace.%p").unwrap();
        assert_eq!(
            path.as_bytes(),
            format!("/tmp/{pid}.trace.{pid}").as_bytes()
        );
        assert!(of_process(&[b'a'; 300]).is_none());
    }
}
