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

use core::fmt;

use shmshim_core::os::process;
use shmshim_core::registry::Usage;
use shmshim_core::sysv::{Limits, NewPerm, Segment};

use crate::destination::Destination;
use crate::settings;
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

#[unsafe(link_section = ".data.shmshim_trace")]
static DESTINATION: Destination = Destination::new();

/// Whether lines are asked for.
#[inline]
pub fn is_on() -> bool {
    settings::is_on() && DESTINATION.is_set()
}

/// Whether lines are asked for, as the settings have just been read.
pub fn is_set() -> bool {
    DESTINATION.is_set()
}

/// Reads the variables.
///
/// # Safety
/// As [`Destination::read`].
pub unsafe fn read() {
    // SAFETY: the caller's promise.
    unsafe { DESTINATION.read(c"SHMSHIM_TRACE") };
}

/// Writes the line of one call.
pub fn line(call: &Call, told: &Told, answer: &Answer<'_>) {
    say(&|line| form::call(line, call, told, answer));
}

/// Writes a line.
#[cold]
#[inline(never)]
pub fn say(put: &dyn Fn(&mut Line)) {
    let mut line = Line::new();
    if DESTINATION.is_file() {
        line.put(format_args!("{:<5} ", process::pid()));
    }
    put(&mut line);
    DESTINATION.write(&mut line, "trace");
}
