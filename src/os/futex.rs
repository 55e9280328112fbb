//! Sleeping on a word of shared memory, across processes.

use super::signal_mask::Mask;
use super::{exposed_sleep, raw};
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

/// So many nanoseconds.
pub(super) fn timespec(nanos: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanos / 1_000_000_000).min(i32::MAX as u64) as _,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

/// How a sleep on several words ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// One of them has changed, the sleeper was woken, or the time is over.
    Over,
    /// The own word has changed, and signals are let through still.
    Woken,
    /// A handler has run.
    Interrupted,
    /// The kernel has no such call, or a filter forbids it.
    Unavailable,
}

/// `struct futex_waitv`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Waited {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

const MOST: usize = 9;
/// Linux 5.16; the same on every architecture.
const SYS_FUTEX_WAITV: libc::c_long = 449;

/// Sleeps while `word` holds `seen` and each of the others what it is paired with, for `nanos` at most, with `mask` as the
/// thread's: see `exposed_sleep`.
pub fn wait_any<'w>(
    word: &AtomicU32,
    seen: u32,
    others: impl Iterator<Item = &'w (&'static AtomicU32, u32)>,
    nanos: u64,
    mask: Mask,
) -> Waiting {
    const SIZE_U32: u32 = 2;
    let mut waited = [Waited::default(); MOST];
    let all = core::iter::once((word, seen)).chain(others.map(|&(word, seen)| (word, seen)));
    let mut count = 0;
    for (place, (word, seen)) in waited.iter_mut().zip(all) {
        *place = Waited {
            value: seen.into(),
            address: word.as_ptr() as u64,
            flags: SIZE_U32,
            reserved: 0,
        };
        count += 1;
    }
    let until = super::process::fine_nanos().saturating_add(nanos);
    // Of 64 bits everywhere.
    let timeout = [until / 1_000_000_000, until % 1_000_000_000];
    let clock = libc::CLOCK_MONOTONIC as usize;
    let timeout = timeout.as_ptr() as usize;
    let args = [waited.as_ptr() as usize, count, 0, timeout, clock, 0];
    // SAFETY: words, list and timeout are live for the call.
    let ended = unsafe { exposed_sleep::sleep(mask, SYS_FUTEX_WAITV, args, (word, seen)) };
    match ended.error {
        _ if ended.is_exposed => Waiting::Woken,
        _ if ended.by_signal => Waiting::Interrupted,
        libc::ENOSYS | libc::EPERM | libc::EINVAL => Waiting::Unavailable,
        _ => Waiting::Over,
    }
}

/// Whether a handler ends [`wait_any`], and no filter that the program was started with can mind the call: no handler with
/// SA_RESTART is installed, behind which the kernel would go on sleeping.
pub fn may_wait_for_any() -> bool {
    // SAFETY: asks only.
    let filtered = unsafe { raw::call(libc::SYS_prctl, [libc::PR_GET_SECCOMP as usize]) };
    filtered == Ok(0) && !super::signal_mask::has_restarting_handler()
}
