//! Sleeping on a word of shared memory, across processes.

use super::raw;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

/// Sleeps while `word` holds `seen`, at most for `limit`. Returns early for any reason; the caller looks again.
pub fn wait(word: &AtomicU32, seen: u32, limit: Duration) {
    let timeout = libc::timespec {
        tv_sec: limit.as_secs() as _,
        tv_nsec: limit.subsec_nanos() as libc::c_long,
    };
    let (at, timeout) = (word.as_ptr() as usize, &raw const timeout as usize);
    let args = [at, libc::FUTEX_WAIT as usize, seen as usize, timeout];
    // SAFETY: the word is live for the call, the timeout a live local.
    let _ = unsafe { raw::call(libc::SYS_futex, args) };
}

/// Wakes one sleeper on `word`.
pub fn wake_one(word: &AtomicU32) {
    let args = [word.as_ptr() as usize, libc::FUTEX_WAKE as usize, 1];
    // SAFETY: the word is live for the call.
    let _ = unsafe { raw::call(libc::SYS_futex, args) };
}

/// Wakes all sleepers on `word`.
pub fn wake_all(word: &AtomicU32) {
    let args = [
        word.as_ptr() as usize,
        libc::FUTEX_WAKE as usize,
        i32::MAX as usize,
    ];
    // SAFETY: the word is live for the call.
    let _ = unsafe { raw::call(libc::SYS_futex, args) };
}

/// As [`wait`], for `nanos` at most. Whether a handler of a signal has run: the sleep has a time limit, so none restarts it.
pub fn wait_or_signal(word: &AtomicU32, seen: u32, nanos: u64) -> bool {
    let timeout = libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as _,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    };
    let (at, timeout) = (word.as_ptr() as usize, &raw const timeout as usize);
    let args = [at, libc::FUTEX_WAIT as usize, seen as usize, timeout];
    // SAFETY: the word is live for the call, the timeout a live local.
    let slept = unsafe { raw::call(libc::SYS_futex, args) };
    slept == Err(super::OsError(libc::EINTR))
}
