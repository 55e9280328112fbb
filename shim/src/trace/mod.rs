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
//! processes do not mix. What it tells beside the call `SHMSHIM_TRACE_FORMAT` says: `format.rs`.

pub mod form;
pub mod format;
pub mod json;
pub mod line;

use core::fmt;

use shmshim_core::os::process;
use shmshim_core::registry::Usage;
use shmshim_core::registry::msg::MsgUsage;
use shmshim_core::registry::sem::SemUsage;
use shmshim_core::sysv::msg::{MsgLimits, NewQueue, QueueFacts};
use shmshim_core::sysv::sem::{Operation, SemLimits, SetPerm};
use shmshim_core::sysv::{Limits, NewPerm, Segment};

use crate::destination::Destination;
use crate::settings;
use line::Line;

/// One of the calls, with its arguments.
#[derive(Clone, Copy)]
pub enum Call {
    Shmget {
        key: i32,
        size: u64,
        shmflg: i32,
    },
    Shmat {
        shmid: i32,
        addr: u64,
        shmflg: i32,
    },
    Shmdt {
        addr: u64,
    },
    Shmctl {
        shmid: i32,
        cmd: i32,
        buf: u64,
    },
    Semget {
        key: i32,
        count: i32,
        flags: i32,
    },
    Semop {
        semid: i32,
        operations: u64,
        count: u32,
    },
    Semtimedop {
        semid: i32,
        operations: u64,
        count: u32,
        timeout: u64,
    },
    Semctl {
        semid: i32,
        number: i32,
        cmd: i32,
        arg: u64,
    },
    Msgget {
        key: i32,
        flags: i32,
    },
    Msgsnd {
        msqid: i32,
        message: u64,
        size: i64,
        flags: i32,
    },
    Msgrcv {
        msqid: i32,
        message: u64,
        size: i64,
        mtype: i64,
        flags: i32,
    },
    Msgctl {
        msqid: i32,
        cmd: i32,
        buf: u64,
    },
}

impl Call {
    /// What it is called in C.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Shmget { .. } => "shmget",
            Call::Shmat { .. } => "shmat",
            Call::Shmdt { .. } => "shmdt",
            Call::Shmctl { .. } => "shmctl",
            Call::Semget { .. } => "semget",
            Call::Semop { .. } => "semop",
            Call::Semtimedop { .. } => "semtimedop",
            Call::Semctl { .. } => "semctl",
            Call::Msgget { .. } => "msgget",
            Call::Msgsnd { .. } => "msgsnd",
            Call::Msgrcv { .. } => "msgrcv",
            Call::Msgctl { .. } => "msgctl",
        }
    }
}

/// Operations of a call that a line shows: more would leave no room for the reason.
pub const SHOWN_OPERATIONS: usize = 8;
/// Bytes of a message that a line shows, as strace.
pub const SHOWN_BYTES: usize = 32;

/// What the caller's buffers held, when they were read or written.
#[derive(Clone, Copy)]
pub enum Told {
    Nothing,
    Segment(Segment),
    NewPerm(NewPerm),
    Limits(Limits),
    Usage(Usage),
    Set(SetPerm),
    SemLimits(SemLimits),
    SemUsage(SemUsage),
    /// The first operations of the call, and how long it may sleep: seconds, nanoseconds.
    Operations {
        first: [Operation; SHOWN_OPERATIONS],
        limit: Option<(i64, i64)>,
    },
    /// How long the call may sleep alone.
    Limit(i64, i64),
    Queue(QueueFacts),
    NewQueue(NewQueue),
    MsgLimits(MsgLimits),
    MsgUsage(MsgUsage),
    /// A message of `len` bytes.
    Message {
        mtype: i64,
        len: u64,
        first: [u8; SHOWN_BYTES],
    },
}

/// What the call returned.
pub enum Answer<'a> {
    Value(u64),
    Refused {
        errno: i32,
        why: &'a dyn fmt::Display,
    },
}

/// When a call began, and how long it slept, in nanoseconds: 0 where it did not, or nobody wants to know.
#[derive(Clone, Copy)]
pub struct Took {
    /// When it began.
    pub begun: u64,
    /// How long it slept.
    pub slept: u64,
}

impl Took {
    /// Of a call that ends now, and fell asleep at `asleep`; 0: it did not.
    pub fn since(begun: u64, asleep: u64) -> Took {
        let slept = match asleep {
            0 => 0,
            since => process::fine_nanos().saturating_sub(since).max(1),
        };
        Took { begun, slept }
    }
}

/// Where the lines go.
#[unsafe(link_section = ".data.shmshim_trace")]
pub static DESTINATION: Destination = Destination::new();

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
    if is_set() {
        format::read();
    }
}

/// When something happened, and to which process.
pub struct Stamp {
    at_nanos: u64,
    duration_nanos: u64,
    pid: i32,
    tid: i32,
}

impl Stamp {
    /// What ends now and has begun at `begun`.
    pub fn now(begun: u64) -> Stamp {
        let is_wanted = |part| format::has(part);
        Stamp {
            at_nanos: match is_wanted(format::TIME) {
                true => process::now_nanos(),
                false => 0,
            },
            duration_nanos: match begun {
                0 => 0,
                begun => process::fine_nanos().saturating_sub(begun),
            },
            pid: process::pid(),
            tid: match is_wanted(format::THREAD) {
                true => process::thread_id(),
                false => 0,
            },
        }
    }
}

/// When a call begins, for [`line`]; 0 where nobody wants to know.
#[inline]
pub fn begin() -> u64 {
    match is_on() && format::has(format::DURATION) {
        true => process::fine_nanos(),
        false => 0,
    }
}

/// Writes the line of one call.
#[cold]
#[inline(never)]
pub fn line(call: &Call, told: &Told, answer: &Answer<'_>, took: Took) {
    let stamp = Stamp::now(took.begun);
    let mut line = Line::new();
    // Of the moment at which the call began, as in strace.
    let at_nanos = stamp.at_nanos.saturating_sub(stamp.duration_nanos);
    let stamp = Stamp { at_nanos, ..stamp };
    if format::has(format::JSON) {
        json::call(&mut line, call, told, answer, &stamp, took.slept);
    } else {
        json::prefix(&mut line, DESTINATION.is_file(), &stamp);
        form::call(&mut line, call, told, answer, took.slept);
        if format::has(format::DURATION) {
            line.put(format_args!(" <{}>", json::Seconds(stamp.duration_nanos)));
        }
    }
    DESTINATION.write(&mut line, "trace");
}

/// Writes the line of a call that has begun to sleep, and may never come back.
#[cold]
#[inline(never)]
pub fn asleep(call: &Call, told: &Told, why: &dyn fmt::Display) {
    let stamp = Stamp::now(0);
    let mut line = Line::new();
    if format::has(format::JSON) {
        json::asleep(&mut line, call, told, why, &stamp);
    } else {
        json::prefix(&mut line, DESTINATION.is_file(), &stamp);
        form::question(&mut line, call, told);
        line.put(format_args!(") = ? (sleeps: {why})"));
    }
    DESTINATION.write(&mut line, "trace");
}

/// Writes a line about something that is passed on.
#[cold]
#[inline(never)]
pub fn say(put: &dyn Fn(&mut Line)) {
    let stamp = Stamp::now(0);
    let mut line = Line::new();
    if format::has(format::JSON) {
        json::event(&mut line, "passed-on", &[], &stamp, put);
    } else {
        json::prefix(&mut line, DESTINATION.is_file(), &stamp);
        put(&mut line);
    }
    DESTINATION.write(&mut line, "trace");
}
