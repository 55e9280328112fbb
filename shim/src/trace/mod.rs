//! `SHMSHIM_TRACE`: a line per call, in strace's form, with the reason of a failure in parentheses.
//!
//! `stderr` names standard error; anything else is the path of a file, to which lines are appended. Processes
//! inherit the variable and share the file, so there each line begins with the process id, as in
//! `strace -f -o FILE`. It is read once, at the first call, and not at all in a process that runs with more
//! rights than its caller. Off, it costs one load.
//!
//! A file that cannot be written is said once, on standard error.
//!
//! A line is made in a buffer on the stack and leaves with one write: nothing is allocated, lines of several
//! processes do not mix.

pub mod form;
pub mod line;

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use shmshim_core::os::{append, env, file, process};
use shmshim_core::registry::Usage;
use shmshim_core::sysv::{Limits, NewPerm, Segment};

use line::Line;

/// One of the four calls, with its arguments.
pub enum Call {
    Shmget { key: i32, size: u64, shmflg: i32 },
    Shmat { shmid: i32, addr: u64, shmflg: i32 },
    Shmdt { addr: u64 },
    Shmctl { shmid: i32, cmd: i32, buf: u64 },
}

/// What shmctl's buffer held, when it was read or written.
pub enum Told {
    Nothing,
    Segment(Segment),
    NewPerm(NewPerm),
    Limits(Limits),
    Usage(Usage),
}

/// What the call returned.
pub enum Answer<'a> {
    Value(u64),
    Refused {
        errno: i32,
        why: &'a dyn fmt::Display,
    },
}

const UNREAD: u8 = 0;
const BEING_READ: u8 = 1;
const OFF: u8 = 2;
const STDERR: u8 = 3;
const FILE: u8 = 4;

static TRACE: AtomicU8 = AtomicU8::new(UNREAD);

/// The file's path, NUL-terminated.
///
/// Invariant: written once, by the thread that moved `TRACE` from `UNREAD` to `BEING_READ`; read only after `FILE` was
/// seen in `TRACE`.
///
/// A page of its own in the library's data, not in .bss: that would be one mapping more in every process.
#[repr(C, align(4096))]
struct Destination(UnsafeCell<[u8; libc::PATH_MAX as usize]>);

// SAFETY: by the invariant above, no thread reads while it is written.
unsafe impl Sync for Destination {}

#[unsafe(link_section = ".data.shmshim_trace")]
static DESTINATION: Destination = Destination(UnsafeCell::new([0; libc::PATH_MAX as usize]));

/// Whether lines are asked for.
#[inline]
pub fn is_on() -> bool {
    match TRACE.load(Relaxed) {
        OFF => false,
        UNREAD => read_environment(),
        state => state >= STDERR,
    }
}

/// Whether it is known already that none are.
#[inline(always)]
pub fn is_known_off() -> bool {
    TRACE.load(Relaxed) == OFF
}

#[cold]
fn read_environment() -> bool {
    // Only one reads; who comes meanwhile goes untraced.
    if TRACE
        .compare_exchange(UNREAD, BEING_READ, Acquire, Relaxed)
        .is_err()
    {
        return false;
    }
    // SAFETY: this thread has just become the one writer.
    let path = unsafe { &mut *DESTINATION.0.get() };
    let (room, _nul) = path.split_at_mut(libc::PATH_MAX as usize - 1);
    let is_heeded = !env::is_secure();
    let length = is_heeded.then(|| env::get(c"SHMSHIM_TRACE", room));
    let state = match length.flatten().and_then(|length| room.get(..length)) {
        None | Some([]) => OFF,
        Some(b"stderr") => STDERR,
        Some(_) => FILE,
    };
    // Pairs with: the load in `say`.
    TRACE.store(state, Release);
    state >= STDERR
}

/// Writes the line of one call.
pub fn line(call: &Call, told: &Told, answer: &Answer<'_>) {
    say(&|line| form::call(line, call, told, answer));
}

/// Whether it has been said that the file cannot be written.
static COMPLAINED: AtomicBool = AtomicBool::new(false);

/// Writes a line.
#[cold]
#[inline(never)]
pub fn say(put: &dyn Fn(&mut Line)) {
    let mut line = Line::new();
    // Pairs with: the store in `read_environment`.
    if TRACE.load(Acquire) != FILE {
        put(&mut line);
        return file::write_fd(libc::STDERR_FILENO, line.end());
    }
    line.put(format_args!("{:<5} ", process::pid()));
    put(&mut line);
    // SAFETY: `FILE` was seen, so the path is written and is not changed any more.
    let path = unsafe { &*DESTINATION.0.get() };
    let Ok(path) = CStr::from_bytes_until_nul(path) else {
        return;
    };
    if let Err(why) = append::append_line(path, line.end()) {
        complain(path, why);
    }
}

/// Not in its caller's frame: one line there is enough.
#[cold]
#[inline(never)]
fn complain(path: &CStr, why: append::Refused) {
    if !COMPLAINED.swap(true, Relaxed) {
        let path = Path::new(OsStr::from_bytes(path.to_bytes())).display();
        let mut line = Line::new();
        line.put(format_args!("shmshim: no trace in {path}: {why}"));
        file::write_fd(libc::STDERR_FILENO, line.end());
    }
}
