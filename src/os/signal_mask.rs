//! Signals blocked while one of our locks is held, so that no handler can interrupt the holder and call us.
//!
//! A handler may be installed at any moment, also by a system call that we do not see; so signals are always blocked.

use super::{OsError, OsResult, raw};
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};

/// The kernel's signal set: one bit for each of 64 signals.
pub type Mask = u64;

/// All signals of the calling thread are blocked while this lives.
#[repr(transparent)]
pub struct Blocked {
    /// The mask to be restored.
    before: Mask,
}

impl Blocked {
    /// Blocks every signal of the calling thread.
    ///
    /// `extern "C"`: see [`super::spin::until_changed`].
    pub extern "C" fn all() -> Blocked {
        let every = AtomicU64::new(!0);
        let before = block(&every).unwrap_or(0);
        Blocked { before }
    }

    /// Blocks every signal of the calling thread; `every`, 64 ones, is the set that the kernel reads. It lies in memory that
    /// may have lost its page, because the file that is mapped there was truncated: then `None`, and nothing is
    /// blocked. Where an access of ours would raise SIGBUS the kernel answers `EFAULT`.
    pub fn all_if_there(every: &AtomicU64) -> Option<Blocked> {
        match block(every) {
            Err(OsError(libc::EFAULT)) => return None,
            Ok(before) if every.load(Ordering::Relaxed) == !0 => return Some(Blocked { before }),
            // Another process has written there: the set has to be our own.
            Ok(before) => restore(before),
            Err(_) => {}
        }
        Some(Blocked::all())
    }

    /// Leaves the signals blocked and hands out the mask to be restored with [`restore`].
    pub fn into_mask(self) -> Mask {
        let mask = self.before;
        core::mem::forget(self);
        mask
    }
}

impl Drop for Blocked {
    #[inline]
    fn drop(&mut self) {
        restore(self.before);
    }
}

/// Blocks the signals in `set`. Returns the mask before.
#[inline(always)]
fn block(set: &AtomicU64) -> OsResult<Mask> {
    let mut before: Mask = 0;
    let (set, out) = (set.as_ptr() as usize, &raw mut before as usize);
    // SAFETY: the set may lead nowhere by now, which the kernel finds out; the other address is that of a live local.
    // Blocking signals, libc's internal ones included, only delays them for the short time that one of our calls takes.
    unsafe { change(libc::SIG_BLOCK, set, out)? };
    Ok(before)
}

/// Sets the calling thread's mask to `mask`, one that [`Blocked::into_mask`] gave.
#[inline(always)]
pub fn restore(mask: Mask) {
    // SAFETY: the pointer is to a live local.
    let _ = unsafe { change(libc::SIG_SETMASK, &raw const mask as usize, 0) };
}

/// `rt_sigprocmask`: reads the set at `set` and writes the mask before to `before`; 0 for either of them is "do not".
///
/// # Safety
/// What lies at `before` may be overwritten, and the thread can bear the new mask. The kernel checks both addresses.
#[inline(always)]
pub(super) unsafe fn change(how: i32, set: usize, before: usize) -> OsResult<usize> {
    let args = [how as usize, set, before, size_of::<Mask>()];
    // SAFETY: the caller's promise is passed on.
    unsafe { raw::call(libc::SYS_rt_sigprocmask, args) }
}

/// Whether any signal of the program's has a handler with SA_RESTART. Those of libc's own do not count: glibc installs one as soon as
/// there is a thread, for what `setuid` has the others do.
pub fn has_restarting_handler() -> bool {
    /// The kernel's `struct sigaction`: handler, flags, restorer where there is one, mask.
    const WORDS: usize = 8;
    /// The signals that libc has for itself: up to the one before SIGRTMIN.
    const OF_LIBC: RangeInclusive<usize> = 32..=if cfg!(target_env = "musl") { 34 } else { 33 };
    let mut signals = (1..=64usize).filter(|signal| !OF_LIBC.contains(signal));
    signals.any(|signal| {
        let mut action = [0usize; WORDS];
        let args = [signal, 0, action.as_mut_ptr() as usize, size_of::<Mask>()];
        // SAFETY: asks only; the buffer is longer than the structure.
        let asked = unsafe { raw::call(libc::SYS_rt_sigaction, args) };
        let [handler, flags, ..] = action;
        asked.is_ok()
            && handler != libc::SIG_DFL
            && handler != libc::SIG_IGN
            && flags & libc::SA_RESTART as usize != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked_now() -> Mask {
        Blocked::all().before
    }

    #[test]
    fn a_set_that_others_have_written_to_is_not_relied_on() {
        let before = blocked_now();
        for word in [!0, 0, 0x777] {
            let blocked = Blocked::all_if_there(&AtomicU64::new(word)).unwrap();
            // SIGKILL and SIGSTOP cannot be blocked.
            let unblockable = 1 << 8 | 1 << 18;
            assert_eq!(blocked_now() | unblockable, !0, "{word:#x}");
            drop(blocked);
            assert_eq!(blocked_now(), before);
        }
    }
}
