//! The real process, and a clock that stands still: the same story must run the same way each time.

pub use super::real::process::*;

use crate::mortal;

/// The time of every story.
pub fn now_secs() -> i64 {
    1_000
}

/// As above: whatever was seen a moment ago is seen still.
pub fn coarse_nanos() -> u64 {
    0
}

/// It goes on by the sleeps that are over by themselves.
pub fn fine_nanos() -> u64 {
    mortal::slept()
}

/// Others run.
pub fn nap(_: u32) {
    crate::checker::thread::yield_now();
}

/// The calling thread's number.
pub fn thread_id() -> i32 {
    mortal::thread_number() as i32 + 1
}

/// Whether the process is there; each began when its number says.
pub fn started(pid: i32) -> Option<Started> {
    exists(pid).then_some(Started {
        at: pid as u64,
        is_ending: false,
    })
}

/// Whether the process is there.
pub fn exists(pid: i32) -> bool {
    mortal::holds_its_lock(pid as u32 - mortal::FIRST_PID)
}

/// Time stands still.
pub fn now_coarse_nanos() -> u64 {
    0
}
