//! Signals held back while one of our locks is held, so that a handler can never interrupt the holder and call us.
//!
//! In a process that has never installed a handler nothing can interrupt us but what ends, stops or continues the
//! process, so there nothing is held back
//! ([`Blocked::if_handled_and_there`]). The shim says here when a handler is about to be installed, before it is.

use super::{OsError, raw, threads};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// Whether this process may have installed a signal handler. Never cleared; a program that is executed begins without.
static HANDLED: AtomicBool = AtomicBool::new(false);

/// Whether the host may have signal handlers.
#[inline]
pub fn are_handled() -> bool {
    // Pairs with: the store in `note_handler`, by way of the lock that is taken before this and after that. On x86 taking
    // it was a full barrier already.
    if cfg!(target_arch = "x86_64") {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
    HANDLED.load(Ordering::Relaxed)
}

/// Whether, besides, nobody is inside a call any more that began without blocking the signals. Never cleared either.
static ALL_BLOCK: AtomicBool = AtomicBool::new(false);

/// The host is about to install a signal handler: calls that begin now block the signals. Unless [`all_block`], whoever is
/// inside one that does not must be waited for.
pub fn note_handler() {
    HANDLED.store(true, Ordering::SeqCst);
    // Whoever opens the namespace at this moment is seen, or sees this.
    fence(Ordering::SeqCst);
}

/// Whether no call goes on that a handler could interrupt with a lock of ours in its hands.
#[inline]
pub fn all_block() -> bool {
    // Pairs with: the store in `note_all_block`.
    ALL_BLOCK.load(Ordering::Acquire)
}

/// Says so from now on: behind [`note_handler`], everybody has been waited for.
pub fn note_all_block() {
    ALL_BLOCK.store(true, Ordering::Release);
}

/// The kernel's signal set: one bit for each of 64 signals.
pub type Mask = u64;

/// The set of all signals and that of none, in memory that may not be there any more.
#[derive(Clone, Copy)]
pub struct Sets<'m> {
    /// 64 ones.
    pub all: &'m AtomicU64,
    /// 64 zeros.
    pub none: &'m AtomicU64,
}

/// All signals of the calling thread are blocked while this lives.
pub struct Blocked {
    /// The mask to be restored; `None`: nothing was blocked, for there are no handlers.
    before: Option<Mask>,
}

impl Blocked {
    /// Blocks every signal of the calling thread.
    pub fn all() -> Blocked {
        Blocked {
            before: Some(block_all()),
        }
    }

    /// Whether any signal is blocked. If none is, there were no handlers.
    #[inline]
    pub fn is_something(&self) -> bool {
        self.before.is_some()
    }

    /// Blocks every signal of the calling thread, unless the host has no handlers and no other thread that could install
    /// one meanwhile.
    #[inline]
    pub fn if_handled_meanwhile() -> Blocked {
        Blocked::unless_handled()
            .filter(|_| threads::is_alone())
            .unwrap_or_else(Blocked::all)
    }

    /// Nothing is blocked, if the host has no handlers: `None` if it may have some.
    #[inline]
    pub fn unless_handled() -> Option<Blocked> {
        (!HANDLED.load(Ordering::Relaxed)).then_some(Blocked { before: None })
    }

    /// Blocks every signal of the calling thread, if the host may have handlers. The kernel reads the set of signals from
    /// memory that may have lost its page behind it, because somebody has truncated the file that is mapped there: then
    /// `None`, and nothing is blocked. Where an access of ours would raise SIGBUS the kernel answers `EFAULT`.
    pub fn if_handled_and_there(sets: Sets<'_>) -> Option<Blocked> {
        Blocked::if_there(sets, HANDLED.load(Ordering::Relaxed))
    }

    /// The same, and blocks every signal in any case.
    pub fn all_if_there(sets: Sets<'_>) -> Option<Blocked> {
        Blocked::if_there(sets, true)
    }

    fn if_there(sets: Sets<'_>, handled: bool) -> Option<Blocked> {
        let (set, expected) = if handled {
            (sets.all, !0)
        } else {
            (sets.none, 0)
        };
        let mut before: Mask = 0;
        // SAFETY: the first pointer may lead nowhere by now, which the kernel finds out; the second is to a live local.
        // Blocking more signals only delays them.
        let called = unsafe {
            raw::call(
                libc::SYS_rt_sigprocmask,
                [
                    libc::SIG_BLOCK as usize,
                    set.as_ptr() as usize,
                    &raw mut before as usize,
                    size_of::<Mask>(),
                    0,
                    0,
                ],
            )
        };
        match called {
            Err(OsError(libc::EFAULT)) => return None,
            Ok(_) if set.load(Ordering::Relaxed) == expected => {
                return Some(Blocked {
                    before: handled.then_some(before),
                });
            }
            // Somebody has written there: the set has to be our own.
            Ok(_) => restore(before),
            Err(_) => {}
        }
        Some(if handled {
            Blocked::all()
        } else {
            Blocked { before: None }
        })
    }

    /// Leaves the signals blocked and hands out the mask to be restored with [`restore`].
    pub fn into_mask(self) -> Mask {
        let mask = self.before.unwrap_or_else(block_all);
        core::mem::forget(self);
        mask
    }
}

impl Drop for Blocked {
    #[inline]
    fn drop(&mut self) {
        if let Some(before) = self.before {
            restore(before);
        }
    }
}

/// Whether the calling thread has all signals blocked but those that [`let_faults_through`] lets through.
pub fn are_held_back() -> bool {
    let mut now: Mask = 0;
    // SAFETY: asks only; the answer goes into a live local.
    let asked = unsafe {
        raw::call(
            libc::SYS_rt_sigprocmask,
            [0, 0, &raw mut now as usize, size_of::<Mask>(), 0, 0],
        )
    };
    // Those two cannot be blocked.
    let never = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
    asked.is_ok() && now | faults() | never == !0
}

fn faults() -> Mask {
    let signals = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    let sum = |set: Mask, signal: &i32| set | 1 << (signal - 1);
    signals.iter().fold(0, sum)
}

/// Where the host may have handlers, unblocks those signals that an instruction of the thread's own can raise, but for
/// those of `before`: where code of others runs, whose handlers may mend what it has stumbled over. Blocked, such a
/// signal is the end of the process.
pub fn let_faults_through(before: Mask) {
    if !are_handled() {
        return;
    }
    let set = faults() & !before;
    // SAFETY: the set is a live local, and the old mask is not asked for.
    let _ = unsafe {
        raw::call(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_UNBLOCK as usize,
                &raw const set as usize,
                0,
                size_of::<Mask>(),
                0,
                0,
            ],
        )
    };
}

/// Blocks what [`let_faults_through`] has unblocked: from here on nothing of it interrupts. Inlined, for a child of a fork
/// pays for each part of the library that it runs through.
#[inline(always)]
pub fn hold_faults_back() {
    if are_handled() {
        let _ = block_all();
    }
}

#[inline(always)]
fn block_all() -> Mask {
    let all: Mask = !0;
    let mut before: Mask = 0;
    // SAFETY: both pointers are to live locals of the size passed. Blocking everything, libc's internal signals
    // included, only delays them for the short time that one of our calls takes.
    let _ = unsafe {
        raw::call(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                &raw const all as usize,
                &raw mut before as usize,
                size_of::<Mask>(),
                0,
                0,
            ],
        )
    };
    before
}

/// Sets the calling thread's mask to `mask`, one that [`Blocked::into_mask`] gave.
#[inline(always)]
pub fn restore(mask: Mask) {
    // SAFETY: the pointer is to a live local of the size passed.
    let _ = unsafe {
        raw::call(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                &raw const mask as usize,
                0,
                size_of::<Mask>(),
                0,
                0,
            ],
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked_now() -> Mask {
        let before = block_all();
        restore(before);
        before
    }

    #[test]
    fn a_set_that_others_have_written_to_is_not_relied_on() {
        let before = blocked_now();
        for handled in [false, true] {
            HANDLED.store(handled, Ordering::Relaxed);
            for word in [!0, 0, 0x777] {
                let (all, none) = (AtomicU64::new(word), AtomicU64::new(word));
                let sets = Sets {
                    all: &all,
                    none: &none,
                };
                let blocked = Blocked::if_handled_and_there(sets).unwrap();
                assert_eq!(blocked.is_something(), handled);
                // SIGKILL and SIGSTOP cannot be blocked.
                let expected = if handled { !0 } else { before };
                let unblockable = 1 << 8 | 1 << 18;
                assert_eq!(
                    blocked_now() | unblockable,
                    expected | unblockable,
                    "{word:#x}"
                );
                drop(blocked);
                assert_eq!(blocked_now(), before);
            }
        }
    }
}
