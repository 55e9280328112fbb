//! Waits that end after a while, and a lock that is waited for in that way.

use super::{process, threads};
use core::sync::atomic::{AtomicUsize, Ordering};

/// How long it is waited for somebody, and how often that one is looked for in a second.
pub const NAP_NANOS: u32 = 50_000;
/// With what the kernel adds to it.
pub const NAPS_OF_A_SECOND: u32 = 9_000;

/// A lock that is worth waiting for, but not for ever: a child of a raw clone may have inherited it locked by a thread that
/// it has not got. Whoever has waited for a second goes on without it.
pub struct BriefLock(AtomicUsize);

impl BriefLock {
    /// A free one.
    pub const fn free() -> BriefLock {
        BriefLock(AtomicUsize::new(0))
    }

    /// Takes it, unless this thread has it already.
    pub fn take(&self) {
        let me = threads::mark();
        for _ in 0..NAPS_OF_A_SECOND {
            // Pairs with: the store in `let_go`.
            match self
                .0
                .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
            {
                Err(owner) if owner != me => process::nap(NAP_NANOS),
                _ => return,
            }
        }
    }

    /// Lets go of it, if this thread has it.
    pub fn let_go(&self) {
        if self.0.load(Ordering::Relaxed) == threads::mark() {
            self.0.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_lock_is_let_go_of_by_its_holder_alone() {
        let lock = BriefLock::free();
        lock.take();
        lock.take();
        std::thread::scope(|scope| {
            scope.spawn(|| lock.let_go());
        });
        assert_ne!(lock.0.load(Ordering::Relaxed), 0);
        lock.let_go();
        assert_eq!(lock.0.load(Ordering::Relaxed), 0);
    }
}
