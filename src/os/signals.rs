//! Signals held back while one of our locks is held, so that a handler can never interrupt the holder and call us.

use super::raw;

/// The kernel's signal set: one bit for each of 64 signals.
pub type Mask = u64;

/// All signals of the calling thread are blocked while this lives.
pub struct Blocked {
    before: Mask,
}

impl Blocked {
    /// Blocks every signal of the calling thread.
    pub fn all() -> Blocked {
        Blocked {
            before: block_all(),
        }
    }

    /// Leaves the signals blocked and hands out the mask to be restored with [`restore`].
    pub fn into_mask(self) -> Mask {
        let mask = self.before;
        core::mem::forget(self);
        mask
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        restore(self.before);
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
