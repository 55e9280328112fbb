//! `SHMSHIM_TRACE_FORMAT`: what a line tells beside the call, and how.
//!
//! A list by commas of `text` (a line as strace writes it, which is what there is without the variable), `json` (an object),
//! and what stands in front of and behind the text: `time` (seconds since 1970), `thread`, `duration` (as strace's -T), and
//! `events`: what is no call. `long` is all of these. An object tells all of it anyway.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use shmshim_core::os::{env, file, process};

use super::line::Line;

/// An object for each line.
pub const JSON: u32 = 1;
/// When.
pub const TIME: u32 = 2;
/// Which thread.
pub const THREAD: u32 = 4;
/// How long it took.
pub const DURATION: u32 = 8;
/// What is no call.
pub const EVENTS: u32 = 16;
const ALL: u32 = TIME | THREAD | DURATION | EVENTS;

static FORMAT: AtomicU32 = AtomicU32::new(0);
/// When the settings were read: events from before that are not this process's.
static BEGUN_AT: AtomicU64 = AtomicU64::new(0);

/// Whether lines tell this.
#[inline]
pub fn has(part: u32) -> bool {
    FORMAT.load(Relaxed) & part != 0
}

/// When the trace of this process began, in nanoseconds since 1970.
pub fn begun_at() -> u64 {
    BEGUN_AT.load(Relaxed)
}

/// Reads the variable.
pub fn read() {
    BEGUN_AT.store(process::now_nanos(), Relaxed);
    let mut text = [0; 128];
    let length = env::get(c"SHMSHIM_TRACE_FORMAT", &mut text).unwrap_or(0);
    let mut format = 0;
    for word in text
        .get(..length)
        .unwrap_or(&[])
        .split(|byte| *byte == b',')
    {
        format |= match word {
            b"" | b"text" => 0,
            b"json" => JSON | ALL,
            b"time" => TIME,
            b"thread" => THREAD,
            b"duration" => DURATION,
            b"events" => EVENTS,
            b"long" => ALL,
            unknown => {
                complain(unknown);
                0
            }
        };
    }
    FORMAT.store(format, Relaxed);
}

#[cold]
#[inline(never)]
fn complain(word: &[u8]) {
    let mut line = Line::new();
    line.put(format_args!(
        "shmshim: SHMSHIM_TRACE_FORMAT has no {}",
        word.escape_ascii()
    ));
    line.put(format_args!(
        "; it is a list of text, json, time, thread, duration, events, long"
    ));
    file::write_fd(libc::STDERR_FILENO, line.end());
}
