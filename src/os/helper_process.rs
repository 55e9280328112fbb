//! Work that the host's own limits would refuse: no descriptor left, or files held short by RLIMIT_FSIZE.
//!
//! A helper shares our memory and nothing else: it has a copy of the descriptor table and limits of its own. It
//! frees a few entries of that copy, raises its own soft limits, does the work (opens, locks, maps into the shared
//! address space) and ends. The host's table, limits and record locks never change; the helper sends no signal
//! when it ends and no `wait` of the host's returns it.

use super::pages::PageVec;
use super::signal_mask::Blocked;
use super::{OsError, OsResult, errno, futex, raw};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

const STACK_BYTES: usize = 128 * 1024;
/// As many as any work of ours has open at once, and some.
const DESCRIPTORS: usize = 16;

/// Runs `work`; when the host's limits are in its way, once more where they do not apply. Signals are blocked.
pub fn with_descriptor<R: Send>(work: impl FnMut() -> OsResult<R> + Send) -> OsResult<R> {
    perform(work, |answer| answer.as_ref().err().copied())
}

/// As [`with_descriptor`], for work whose answer hides its error: `error_of` finds it.
pub fn perform<R: Send>(
    mut work: impl FnMut() -> R + Send,
    error_of: impl Fn(&R) -> Option<OsError>,
) -> R {
    let mut answer = work();
    let refused = error_of(&answer);
    if refused == Some(OsError(libc::EFBIG)) {
        take_back_sigxfsz();
    }
    if matches!(refused, Some(OsError(libc::EMFILE | libc::EFBIG))) {
        run_helper(&mut || answer = work());
    }
    answer
}

/// The kernel sends SIGXFSZ along with EFBIG. It is blocked, so it is pending still: the host shall not see it.
fn take_back_sigxfsz() {
    let set: u64 = 1 << (libc::SIGXFSZ - 1);
    let at_once = [0u64; 2];
    let (set_at, timeout) = (&raw const set as usize, at_once.as_ptr() as usize);
    let args = [set_at, 0, timeout, size_of::<u64>()];
    // SAFETY: set and timeout are live locals, the latter as long as the longest timespec; no information about the signal
    // is asked for.
    let _ = unsafe { raw::call(libc::SYS_rt_sigtimedwait, args) };
}

fn run_helper(mut work: &mut (dyn FnMut() + Send)) {
    // The helper inherits it: what is meant for the host does not end its work.
    let _blocked = Blocked::all();
    // Not CLONE_FILES and not CLONE_THREAD: table and limits are copies. No exit signal.
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SYSVSEM | libc::CLONE_CHILD_CLEARTID;
    let mut stack = PageVec::<u8>::new();
    if raw::is_forbidden(libc::SYS_clone, [flags as usize]) || stack.reserve(STACK_BYTES).is_err() {
        return;
    }
    let kept = errno::get();
    let running = AtomicU32::new(1);
    // SAFETY: the stack is our own and large enough; work and word outlive the helper, for we wait below until the
    // kernel has cleared `running`. The helper shares our thread-local storage while we do nothing but wait, and
    // enters the kernel directly, so nothing of libc's is used by two.
    let started = unsafe {
        libc::clone(
            run,
            stack.end().cast::<c_void>(),
            flags,
            (&raw mut work).cast::<c_void>(),
            core::ptr::null_mut::<c_void>(),
            core::ptr::null_mut::<c_void>(),
            running.as_ptr(),
        )
    };
    if started > 0 {
        while running.load(Ordering::Acquire) != 0 {
            futex::wait(&running, 1, Duration::from_millis(100));
        }
        let args = [started as usize, 0, libc::__WALL as usize];
        // SAFETY: waits for the helper alone, and only a wait for "clone" children finds it.
        let _ = unsafe { raw::call(libc::SYS_wait4, args) };
    }
    errno::set(kept);
}

extern "C" fn run(work: *mut c_void) -> libc::c_int {
    // SAFETY: the work outlives this helper; all else acts on the helper's own copies.
    unsafe {
        for number in 0..DESCRIPTORS {
            let _ = raw::call(libc::SYS_close, [number]);
        }
        raise(libc::RLIMIT_NOFILE as usize, 4 * DESCRIPTORS as u64);
        raise(libc::RLIMIT_FSIZE as usize, u64::MAX);
        (*work.cast::<&mut (dyn FnMut() + Send)>())();
        let _ = raw::call(libc::SYS_exit_group, []);
    }
    0
}

/// Raises the helper's own limit to `wanted`, or as far as it may.
unsafe fn raise(which: usize, wanted: u64) {
    let mut limits = [0u64; 2];
    // SAFETY: the buffers are struct rlimit64; the helper is a process of its own and has limits of its own.
    unsafe {
        let place = limits.as_mut_ptr() as usize;
        let _ = raw::call(libc::SYS_prlimit64, [0, which, 0, place]);
        let [soft, hard] = limits;
        for new in [[wanted.max(soft), wanted.max(hard)], [hard, hard]] {
            if raw::call(libc::SYS_prlimit64, [0, which, new.as_ptr() as usize]).is_ok() {
                break;
            }
        }
    }
}
