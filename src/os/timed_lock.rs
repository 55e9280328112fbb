//! Waits that end after a while: how long they last, and a lock that is waited for in that way.

use super::{process, threads};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How long one sleep lasts while a lock is waited for.
pub const NAP_NANOS: u32 = 50_000;
/// How many of them a second has, with what the kernel adds to each.
const NAPS_OF_A_SECOND: u32 = 9_000;

const SECOND: u64 = 1_000_000_000;
/// How long a call waits for a lock that another holds.
const PATIENCE_NANOS: u64 = 5 * SECOND;

/// On the clock of [`process::coarse_nanos`], until when everything of this process may wait.
static UNTIL: AtomicU64 = AtomicU64::new(u64::MAX);

/// A moment at which a wait ends.
#[derive(Clone, Copy)]
pub struct Deadline(u64);

impl Deadline {
    /// That of a wait that begins now.
    pub fn of_a_call() -> Deadline {
        let own = process::coarse_nanos().saturating_add(PATIENCE_NANOS);
        Deadline(own.min(UNTIL.load(Ordering::Relaxed)))
    }

    /// A second from now.
    pub fn in_a_second() -> Deadline {
        Deadline(process::coarse_nanos().saturating_add(SECOND))
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        process::coarse_nanos() > self.0
    }
}

/// While this lives all waits of the process end within the second in which it was made.
pub struct WithinASecond(());

impl WithinASecond {
    /// From now on.
    pub fn begin() -> WithinASecond {
        UNTIL.store(Deadline::in_a_second().0, Ordering::Relaxed);
        WithinASecond(())
    }
}

impl Drop for WithinASecond {
    fn drop(&mut self) {
        UNTIL.store(u64::MAX, Ordering::Relaxed);
    }
}

/// A lock that is worth waiting for, but not for ever: a child of a raw clone may have inherited it locked by a thread that
/// it has not got. After a second the caller goes on without it.
pub struct TimedLock(AtomicUsize);

impl TimedLock {
    /// A free one.
    pub const fn free() -> TimedLock {
        TimedLock(AtomicUsize::new(0))
    }

    /// Takes it, unless this thread has it already.
    pub fn take(&self) {
        let me = threads::id();
        for _ in 0..NAPS_OF_A_SECOND {
            // Pairs with: the store in `release`.
            match self
                .0
                .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
            {
                Err(owner) if owner != me => process::nap(NAP_NANOS),
                _ => return,
            }
        }
    }

    /// Releases it, if this thread has it.
    pub fn release(&self) {
        if threads::is_calling(self.0.load(Ordering::Relaxed)) {
            self.0.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timed_lock_is_released_by_its_holder_alone() {
        let lock = TimedLock::free();
        lock.take();
        lock.take();
        std::thread::scope(|scope| {
            scope.spawn(|| lock.release());
        });
        assert_ne!(lock.0.load(Ordering::Relaxed), 0);
        lock.release();
        assert_eq!(lock.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_wait_lasts_longer_than_the_second_that_is_left() {
        let unbounded = Deadline::of_a_call().0;
        let within = WithinASecond::begin();
        assert!(Deadline::of_a_call().0 < unbounded);
        drop(within);
        assert!(Deadline::of_a_call().0 >= unbounded);
    }
}
