//! The in-process lock, which no fork leaves locked in the child, and the words that tell a child that it is one.

use super::timed_lock::NAP_NANOS;
use super::wipe_on_fork::{self, Wiped};
use super::{OsResult, process, threads};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The lock's own wiped words: a child that shares the address space (`vfork`, threads) shares them, as it shares the
/// attaches.
#[repr(C)]
struct Words {
    /// The lock word: 0, or the id of the thread that holds it.
    owner: AtomicUsize,
    identity: AtomicU32,
    pid: AtomicU32,
    valid: AtomicU32,
    /// How often the lock was released.
    turns: AtomicU32,
}

/// A value guarded by an in-process lock that no fork can leave locked in the child, next to the process's
/// identity, which is 0 in a child that has not taken one of its own.
///
/// Invariant: signals are blocked while the lock is held, so a handler never meets it locked by its own thread.
pub struct ProcessLock<T> {
    words: &'static Words,
    value: UnsafeCell<T>,
    /// The thread that keeps the lock over a fork. Not wiped: the child's handler must know it.
    forking: AtomicUsize,
}

// SAFETY: the value is reached through the lock only.
unsafe impl<T: Send> Sync for ProcessLock<T> {}

/// Which thread holds the lock that could not be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeldBy {
    /// The calling thread, in a call that this call interrupts; or a process that shares memory and thread pointer with it.
    Oneself,
    /// Another thread.
    Another,
}

/// Tries before a thread gives way to others, and before it sleeps: the holder may be waiting for the processor, or have a
/// lower priority.
const SPINS: u32 = 64;
const YIELDS: u32 = 64;
/// Sleeps, some twenty milliseconds.
const NAPS: u32 = 200;

impl<T> ProcessLock<T> {
    /// Maps `words` words that children find wiped, and puts the value that is made with them under a lock.
    pub fn new(words: usize, value: impl FnOnce(Wiped) -> T) -> OsResult<ProcessLock<T>> {
        // SAFETY: atomic integers, of which all zeros are a value.
        let (own, wiped) = unsafe { wipe_on_fork::map(words)? };
        Ok(ProcessLock {
            words: own,
            value: UnsafeCell::new(value(wiped)),
            forking: AtomicUsize::new(0),
        })
    }

    /// The process's identity; 0: none yet, or a child that has none of its own.
    #[inline]
    pub fn identity(&self) -> u32 {
        self.words.identity.load(Ordering::Relaxed)
    }

    /// Sets the process's identity.
    #[inline]
    pub fn set_identity(&self, identity: u32) {
        self.words.identity.store(identity, Ordering::Relaxed);
    }

    /// Whether [`ProcessLock::set_words_valid`] was called in this very process.
    #[inline]
    pub fn are_words_valid(&self) -> bool {
        self.words.valid.load(Ordering::Relaxed) != 0
    }

    /// Says that what is kept in wiped memory is right from now on. A child finds it unsaid.
    pub fn set_words_valid(&self) {
        self.words.valid.store(1, Ordering::Relaxed);
    }

    /// The process id, as far as it can be known without a system call after the first time: a child that shares the
    /// address space but is no thread is taken for its parent.
    #[inline(always)]
    pub fn pid(&self) -> i32 {
        match self.words.pid.load(Ordering::Relaxed) {
            0 => {
                let pid = process::pid();
                self.words.pid.store(pid as u32, Ordering::Relaxed);
                pid
            }
            pid => pid as i32,
        }
    }

    /// How often it was released: a waiter sees that others get on.
    #[inline(always)]
    pub fn turns(&self) -> u32 {
        self.words.turns.load(Ordering::Relaxed)
    }

    /// Takes the lock if it is free, or will be in a moment. Signals are blocked.
    #[inline]
    pub fn lock_soon(&self) -> Result<Guard<'_, T>, HeldBy> {
        self.try_lock().or_else(|_| self.wait())
    }

    #[cold]
    #[inline(never)]
    fn wait(&self) -> Result<Guard<'_, T>, HeldBy> {
        let mut owner = 0;
        for tries in 0..SPINS + YIELDS + NAPS {
            match self.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(other) => owner = other,
            }
            if tries < SPINS {
                core::hint::spin_loop();
            } else if tries < SPINS + YIELDS {
                process::yield_now();
            } else {
                process::nap(NAP_NANOS);
            }
        }
        Err(if owner == threads::id() {
            HeldBy::Oneself
        } else {
            HeldBy::Another
        })
    }

    #[inline(always)]
    fn try_lock(&self) -> Result<Guard<'_, T>, usize> {
        let owner = &self.words.owner;
        // Pairs with: the store in `Guard::drop`.
        owner
            .compare_exchange(0, threads::id(), Ordering::Acquire, Ordering::Relaxed)
            .map(|_| Guard { lock: self })
    }

    /// Takes the lock in a child, at once: it is free, and there is no other thread. Writes to the wiped page first, which
    /// costs one fault where reading before writing costs two.
    #[inline(always)]
    pub fn lock_as_child(&self) -> Guard<'_, T> {
        self.words.owner.store(threads::id(), Ordering::Relaxed);
        Guard { lock: self }
    }

    /// Whether the calling thread was the last to call [`Guard::keep_over_fork`], in this process or as the forking one of
    /// its parent: in a fork handler, whether the fork is one that was prepared.
    #[inline(always)]
    pub fn is_forking_thread(&self) -> bool {
        threads::is_calling(self.forking.load(Ordering::Relaxed))
    }

    /// Forgets a fork that is over, or one that a thread is in the middle of which this process, a child, has not got.
    pub fn forget_fork(&self) {
        if self.forking.load(Ordering::Relaxed) != 0 {
            self.forking.store(0, Ordering::Relaxed);
        }
    }

    /// In the parent, behind the fork: the lock that the calling thread has kept over it. `None`: it has not.
    pub fn lock_kept_over_fork(&self) -> Option<Guard<'_, T>> {
        let owner = self.words.owner.load(Ordering::Relaxed);
        let is_kept = self.is_forking_thread() && owner == threads::id();
        is_kept.then(|| {
            self.forget_fork();
            Guard { lock: self }
        })
    }
}

/// The lock, held.
pub struct Guard<'a, T> {
    lock: &'a ProcessLock<T>,
}

impl<T> Guard<'_, T> {
    /// Keeps the lock over a fork, until [`ProcessLock::lock_kept_over_fork`] in the parent. A child finds it free: it was
    /// wiped. Which thread it was stays written down until [`ProcessLock::forget_fork`].
    pub fn keep_over_fork(self) {
        self.lock.forking.store(threads::id(), Ordering::Relaxed);
        core::mem::forget(self);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, signals are blocked, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // Written by the holder alone.
        let turns = self.lock.turns().wrapping_add(1);
        self.lock.words.turns.store(turns, Ordering::Relaxed);
        // Pairs with: the exchange in `try_lock`.
        self.lock.words.owner.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zeroed_lock_is_free() {
        let lock = ProcessLock::new(0, |_| 5).unwrap();
        let held = lock.lock_soon().ok().unwrap();
        assert_eq!(*held, 5);
        assert_eq!(lock.lock_soon().err(), Some(HeldBy::Oneself));
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(lock.lock_soon().err(), Some(HeldBy::Another)));
        });
        drop(held);
        assert!(lock.lock_soon().is_ok());
    }

    #[test]
    fn a_lock_that_is_kept_over_a_fork_is_held_until_its_thread_takes_it_back() {
        let lock = ProcessLock::new(0, |_| 5).unwrap();
        assert!(lock.lock_kept_over_fork().is_none());
        let held = lock.lock_soon().ok().unwrap();
        assert!(lock.lock_kept_over_fork().is_none(), "held for a call");
        held.keep_over_fork();
        assert!(lock.is_forking_thread());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!lock.is_forking_thread());
                assert!(lock.lock_kept_over_fork().is_none());
                assert!(lock.lock_soon().is_err());
            });
        });
        drop(lock.lock_kept_over_fork().unwrap());
        assert!(!lock.is_forking_thread());
        assert!(lock.lock_soon().is_ok());
    }

    #[test]
    fn a_raw_child_finds_the_lock_free_and_no_identity() {
        let lock = ProcessLock::new(10, |wiped| wiped).unwrap();
        lock.set_identity(9);
        lock.set_words_valid();
        let held = lock.lock_soon().ok().unwrap();
        let last = held.word(9).unwrap();
        last.store(7, Ordering::Relaxed);
        assert!(held.word(10).is_none());
        // SAFETY: the child only looks at two words and leaves.
        unsafe {
            let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
            if child == 0 {
                let wiped = lock.identity() == 0 && last.load(Ordering::Relaxed) == 0;
                let fine = wiped && !lock.are_words_valid() && lock.lock_soon().is_ok();
                libc::_exit(i32::from(!fine));
            }
            let mut status = 0;
            libc::waitpid(child as i32, &mut status, 0);
            assert_eq!(status, 0);
        }
        assert_eq!((lock.identity(), last.load(Ordering::Relaxed)), (9, 7));
        assert!(lock.are_words_valid());
        drop(held);
    }
}
