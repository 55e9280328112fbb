//! Signals held back while one of our locks is held, so that a handler can never interrupt the holder and call us.
//!
//! Holding back and letting go are two system calls, a tenth of an attach. In a process that has never installed a
//! handler nothing can interrupt us but what ends, stops or continues the process, so there they are spared
//! ([`Blocked::if_handled`]). The shim says here when a handler is about to be installed, before it is.

use super::raw;
use core::sync::atomic::{AtomicBool, Ordering};

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
        core::sync::atomic::fence(Ordering::SeqCst);
    }
    HANDLED.load(Ordering::Relaxed)
}

/// The host is about to install a signal handler. Returns whether that is news: then whoever may be inside an unblocked
/// call of ours must be waited for.
pub fn note_handler() -> bool {
    !HANDLED.swap(true, Ordering::SeqCst)
}

/// The kernel's signal set: one bit for each of 64 signals.
pub type Mask = u64;

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

    /// Blocks every signal of the calling thread, if the host may have handlers.
    #[inline]
    pub fn if_handled() -> Blocked {
        if HANDLED.load(Ordering::Relaxed) {
            Blocked::all()
        } else {
            Blocked { before: None }
        }
    }

    /// Whether it has blocked them.
    #[inline]
    pub fn is_blocking(&self) -> bool {
        self.before.is_some()
    }

    /// Whether signals are blocked, or were not because there are no handlers and there are none still.
    #[inline]
    pub fn is_enough(&self) -> bool {
        self.before.is_some() || !are_handled()
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
