//! What a fork does to us: memory that tells a child that it is one, and the in-process lock in it.
//!
//! A page of ordinary memory that is written on either side of a fork is copied, which takes longer than all else that
//! the handlers do. What children find wiped is never copied, and so costs its writer nothing.

use super::ahead::PathBehind;
use super::brief::{NAP_NANOS, NAPS_OF_A_SECOND};
use super::signals::{self, Blocked};
use super::{OsResult, pages, process, raw, threads};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Words that every child of a fork, by whatever call it was made, finds as zeros.
///
/// `MADV_WIPEONFORK` does it, at no cost, for a raw `clone` as well. A child that shares the address space
/// (`vfork`, threads) shares the words too, as it shares the attaches.
#[repr(C)]
struct WipedWords {
    path: PathBehind,
    /// The lock: 0, or the thread that holds it; with [`UNSURE`], one that is about to.
    owner: AtomicUsize,
    /// A place on that thread's stack; 0 while the lock is free, and for a moment after it was taken.
    owner_at: AtomicUsize,
    identity: AtomicU32,
    pid: AtomicU32,
    settled: AtomicU32,
    /// The thread that holds the lock over a fork, until the fork is over: it may enter again.
    reentrant: AtomicUsize,
    /// The thread that makes a call in the meantime, for each takes this, too.
    lent: AtomicUsize,
    /// Whether another has waited for that fork in vain: then nobody waits for it any more.
    lends: AtomicU32,
    /// Whether our handler has run in this child of a fork.
    born: AtomicU32,
    /// How many forks that thread has begun inside of that one, in fork handlers of others.
    nested: AtomicU32,
    /// A thread that is about to fork and does not hold the lock: calls of others wait for it, for a while.
    ahead: AtomicUsize,
    /// How many forks have been ahead.
    aheads: AtomicU32,
}

/// What stands with the owner's mark, whose lowest bits are 0, until the owner has seen that no handler can interrupt it.
///
/// Another thread may install the first handler in that moment, and wait for nobody: then this one can be interrupted with
/// the lock in its hands, by a handler that makes a call. So anybody may take the lock away from it as yet, and the owner
/// finds out before it does anything.
const UNSURE: usize = 1;

/// What is noted with the mark of a forking thread, whose lowest bits are 0: that the fork is one of a handler that has
/// interrupted a call.
const BELOW: usize = 1;
/// And that it is one inside of another.
const NESTED: usize = 2;

/// More words of that kind, for whoever holds the lock.
#[derive(Clone, Copy)]
pub struct Wiped {
    start: NonNull<AtomicU32>,
    len: usize,
}

// SAFETY: only atomics are handed out, of memory that is never unmapped.
unsafe impl Send for Wiped {}
// SAFETY: as above.
unsafe impl Sync for Wiped {}

impl Wiped {
    /// The word at `index`, if there are that many.
    #[inline]
    pub fn word(&self, index: usize) -> Option<&AtomicU32> {
        // SAFETY: in bounds of `ForkLock::new`'s mapping, which stays for ever; any integer is a valid value.
        (index < self.len).then(|| unsafe { self.start.add(index).as_ref() })
    }
}

/// A value guarded by an in-process lock that no fork can leave locked in the child, next to the process's
/// identity, which is 0 in a child that has not taken one of its own.
///
/// Invariant: signals are blocked while the lock is held, or the host has no handlers, so a handler never meets it locked
/// by its own thread.
pub struct ForkLock<T> {
    words: NonNull<WipedWords>,
    value: UnsafeCell<T>,
    /// The thread whose `prepare` handler took the lock last. Not wiped: the child's handler must know it.
    forking: AtomicUsize,
    /// Whether what stands in front of the words is a mapping whose last byte is a `/`.
    is_behind_slash: bool,
}

// SAFETY: the value is reached through the lock only; the words are atomics.
unsafe impl<T: Send> Send for ForkLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    /// Sets `words` words aside that children find wiped, and puts the value that is made with them under a lock.
    pub fn new(words: usize, value: impl FnOnce(Wiped) -> T) -> OsResult<ForkLock<T>> {
        ForkLock::in_pages(words, pages::map_private, false, value)
    }

    /// The same, in pages that `room` makes, so many bytes of them, behind a mapping whose last byte is a `/`.
    pub fn behind_slash(
        words: usize,
        room: impl FnOnce(usize) -> OsResult<NonNull<u8>>,
        value: impl FnOnce(Wiped) -> T,
    ) -> OsResult<ForkLock<T>> {
        ForkLock::in_pages(words, room, true, value)
    }

    fn in_pages(
        words: usize,
        room: impl FnOnce(usize) -> OsResult<NonNull<u8>>,
        is_behind_slash: bool,
        value: impl FnOnce(Wiped) -> T,
    ) -> OsResult<ForkLock<T>> {
        let own = size_of::<WipedWords>().next_multiple_of(64);
        let len = words
            .saturating_mul(size_of::<AtomicU32>())
            .saturating_add(own)
            .next_multiple_of(process::page_size());
        let start = room(len)?;
        // SAFETY: our own fresh pages.
        let wiped = unsafe {
            raw::call(
                libc::SYS_madvise,
                [
                    start.as_ptr() as usize,
                    len,
                    libc::MADV_WIPEONFORK as usize,
                    0,
                    0,
                    0,
                ],
            )
        };
        if let Err(error) = wiped {
            // Kernels before 4.14: without it a child would take itself for its parent.
            pages::unmap(start, len);
            return Err(error);
        }
        let wiped = Wiped {
            // SAFETY: there are at least as many bytes.
            start: unsafe { start.add(own) }.cast(),
            len: words,
        };
        Ok(ForkLock {
            words: start.cast(),
            value: UnsafeCell::new(value(wiped)),
            forking: AtomicUsize::new(0),
            is_behind_slash,
        })
    }

    /// Where a path can stand behind the `/`, if there is one. It is changed by the holder of the lock.
    #[inline]
    pub fn path_behind(&self) -> Option<&PathBehind> {
        self.is_behind_slash.then(|| &self.words().path)
    }

    fn words(&self) -> &WipedWords {
        // SAFETY: page-aligned, mapped for ever; integers, of which all zeros are a value.
        unsafe { self.words.as_ref() }
    }

    /// The process's identity; 0: none yet, or a child that has none of its own.
    #[inline]
    pub fn identity(&self) -> u32 {
        self.words().identity.load(Ordering::Relaxed)
    }

    /// Sets the process's identity.
    #[inline]
    pub fn set_identity(&self, identity: u32) {
        self.words().identity.store(identity, Ordering::Relaxed);
    }

    /// Whether [`ForkLock::set_settled`] was called in this very process.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.words().settled.load(Ordering::Relaxed) != 0
    }

    /// Says that what is kept in wiped memory is right from now on. A child finds it unsaid.
    pub fn set_settled(&self) {
        self.words().settled.store(1, Ordering::Relaxed);
    }

    /// The process id, as far as it can be known without a system call after the first time: a child that shares the
    /// address space but is no thread is taken for its parent.
    #[inline(always)]
    pub fn pid(&self) -> i32 {
        match self.words().pid.load(Ordering::Relaxed) {
            0 => {
                let pid = process::pid();
                self.words().pid.store(pid as u32, Ordering::Relaxed);
                pid
            }
            pid => pid as i32,
        }
    }

    /// Takes the lock in a call that has not blocked the signals if the host had no handlers, and blocks them if it has some
    /// by now. What comes back is to be dropped from right to left, as a pattern of two names is.
    #[inline]
    pub fn lock_or_block(&self, blocked: Blocked) -> (Blocked, Guard<'_, T>) {
        if blocked.is_something() {
            return (blocked, self.lock());
        }
        if self.try_acquire_uninterrupted() {
            if !self.is_fork_ahead() {
                let hold = Hold::Own;
                return (blocked, Guard { lock: self, hold });
            }
            self.release();
        }
        (Blocked::all(), self.lock())
    }

    /// Takes the lock. Signals must be blocked, unless no thread can install a handler meanwhile.
    pub fn lock(&self) -> Guard<'_, T> {
        if self.words().reentrant.load(Ordering::Relaxed) == threads::mark() {
            // Another library's fork handler calls us between our own: this thread holds the lock already.
            while !self.try_borrow() {
                process::nap(NAP_NANOS);
            }
            return Guard {
                lock: self,
                hold: Hold::Lent,
            };
        }
        let mut hold = self.acquire_or_borrow();
        while hold == Hold::Own && self.is_fork_ahead() {
            self.release();
            self.let_fork_pass();
            hold = self.acquire_or_borrow();
        }
        Guard { lock: self, hold }
    }

    /// Takes the lock in a child, at once: it is free, and nobody else is there. Writes to the wiped page first, which
    /// costs one fault where looking before writing costs two.
    #[inline(always)]
    pub fn lock_as_child(&self) -> Guard<'_, T> {
        self.acquire();
        Guard {
            lock: self,
            hold: Hold::Own,
        }
    }

    #[inline(always)]
    fn acquire(&self) {
        if !self.try_acquire() {
            self.acquire_slowly(u32::MAX);
        }
    }

    #[inline(always)]
    fn acquire_or_borrow(&self) -> Hold {
        if self.try_acquire() {
            Hold::Own
        } else {
            self.acquire_or_borrow_slowly()
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_slowly(&self, most: u32) -> bool {
        let mut tries = 0u32;
        while !self.try_acquire() {
            if tries == most {
                return false;
            }
            // The holder may be waiting for the processor (or have a lower priority), so do not spin for long.
            tries = tries.saturating_add(1);
            match tries {
                0..64 => core::hint::spin_loop(),
                64..128 => process::yield_now(),
                _ => process::nap(NAP_NANOS),
            }
        }
        true
    }

    /// Whoever holds the lock over a fork does nothing with it while other libraries' handlers run; and one of those may
    /// wait for a lock of the program's own, under which this call is made. So after a second it is borrowed.
    #[cold]
    #[inline(never)]
    fn acquire_or_borrow_slowly(&self) -> Hold {
        let lends = &self.words().lends;
        loop {
            let lent_before = self.is_held_over_fork() && lends.load(Ordering::Relaxed) != 0;
            if self.acquire_slowly(if lent_before { 128 } else { NAPS_OF_A_SECOND }) {
                return Hold::Own;
            }
            if self.is_held_over_fork() && self.try_borrow() {
                // Whoever ends the fork borrows it before: so it lasts as long as this does.
                if self.is_held_over_fork() {
                    lends.store(1, Ordering::Relaxed);
                    return Hold::Lent;
                }
                self.give_back();
            }
        }
    }

    fn is_held_over_fork(&self) -> bool {
        // Pairs with: the store in `hold_over_fork`.
        self.words().reentrant.load(Ordering::Acquire) != 0
    }

    fn try_borrow(&self) -> bool {
        self.words()
            .lent
            .compare_exchange(0, threads::mark(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn give_back(&self) {
        self.words().lent.store(0, Ordering::Release);
    }

    #[inline(always)]
    fn try_acquire(&self) -> bool {
        let owner = &self.words().owner;
        let me = threads::mark();
        let taken = match owner.compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed) {
            Err(other) => self.try_take_away(other),
            Ok(_) => true,
        };
        if taken {
            self.note_place();
        }
        taken
    }

    /// Takes the lock away from `other`, if that one is not sure of it yet.
    #[inline]
    fn try_take_away(&self, other: usize) -> bool {
        // By an exchange, as the owner's own: one of the two has the lock.
        other & UNSURE != 0
            && self
                .words()
                .owner
                .compare_exchange(other, threads::mark(), Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
    }

    /// Takes the lock if the host has no handlers, with the signals as they are.
    #[inline(always)]
    fn try_acquire_uninterrupted(&self) -> bool {
        let owner = &self.words().owner;
        let me = threads::mark();
        let exchange = |from, to| {
            owner
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        };
        if !exchange(0, me | UNSURE) {
            return false;
        }
        // Who installs the first handler says so before it waits for the lock: this sees the one, or that the other.
        if signals::are_handled() {
            exchange(me | UNSURE, 0);
            return false;
        }
        let is_sure = exchange(me | UNSURE, me);
        if is_sure {
            self.note_place();
        }
        is_sure
    }

    #[inline(always)]
    fn note_place(&self) {
        self.words()
            .owner_at
            .store(threads::stack_place(), Ordering::Relaxed);
    }

    #[inline(always)]
    fn release(&self) {
        let words = self.words();
        words.owner_at.store(0, Ordering::Relaxed);
        // Pairs with: the load in `looks_held_below`. Who sees a later owner does not see an earlier one's place.
        words.owner.store(0, Ordering::Release);
    }

    /// Whether the calling thread is a signal handler that has interrupted its own thread with the lock held: one that was
    /// installed past us, by a system call of the program's own.
    #[inline]
    pub fn is_held_below(&self) -> bool {
        self.looks_held_below() && self.stays_held_below()
    }

    #[inline]
    fn looks_held_below(&self) -> bool {
        let words = self.words();
        let me = threads::mark();
        let owns = words.owner.load(Ordering::Acquire) == me
            && words.reentrant.load(Ordering::Relaxed) != me;
        owns || words.lent.load(Ordering::Relaxed) == me
    }

    /// A process that shares the memory and the thread pointer (`clone` with `CLONE_VM` alone) looks like this thread while it
    /// holds the lock. But it has another stack, and it lets go of the lock, which what this thread was interrupted in
    /// cannot.
    #[cold]
    #[inline(never)]
    fn stays_held_below(&self) -> bool {
        for _ in 0..NAPS_OF_A_SECOND {
            // 0: it was taken at this moment, by another process, which goes on, or by what was interrupted just there.
            let held_at = self.words().owner_at.load(Ordering::Relaxed);
            if held_at != 0 && threads::may_have_interrupted(held_at) {
                return true;
            }
            process::nap(NAP_NANOS);
            if !self.looks_held_below() {
                return false;
            }
        }
        true
    }

    /// Waits until nobody is in a call that has begun before this and blocks no signals; for some seconds at most, for such a
    /// call may wait for another process. Returns whether that is so.
    pub fn calls_are_over(&self) -> bool {
        for _ in 0..5 * NAPS_OF_A_SECOND {
            // Whoever holds it over a fork has blocked them, and so has he whom it is lent to.
            if self.is_held_over_fork() {
                return true;
            }
            if self.acquire_slowly(128) {
                self.release();
                return true;
            }
            process::nap(NAP_NANOS);
        }
        false
    }

    /// Takes the lock if it is free, or will be in a moment: who has it goes on, unless it is what the caller, a signal
    /// handler, has interrupted.
    pub fn lock_soon(&self) -> Option<Guard<'_, T>> {
        for _ in 0..NAPS_OF_A_SECOND / 10 {
            if self.try_acquire() {
                return Some(Guard {
                    lock: self,
                    hold: Hold::Own,
                });
            }
            if self.words().owner.load(Ordering::Relaxed) == threads::mark() {
                return None;
            }
            process::nap(NAP_NANOS);
        }
        None
    }

    /// Says that this thread is about to fork, and waits for a call that another is in the middle of; for a quarter of a
    /// second at most, for that one may wait for what this thread holds.
    ///
    /// From here to [`ForkLock::fork_passed`] the calls of others wait, but not for ever either: between our handler and the
    /// fork come those of others, which may take a lock of the program's own that such a call is made under.
    #[cold]
    pub fn fork_is_ahead(&self) {
        let words = self.words();
        let me = threads::mark();
        words.aheads.fetch_add(1, Ordering::Relaxed);
        for _ in 0..NAPS_OF_A_SECOND / 4 {
            // SeqCst pairs with: `is_fork_ahead`, behind the exchange in `try_acquire`. Either that one sees this, or it is
            // seen below to have the lock.
            match words
                .ahead
                .compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed)
            {
                Err(other) if other != me => process::nap(NAP_NANOS),
                _ => break,
            }
        }
        for _ in 0..NAPS_OF_A_SECOND / 4 {
            let owner = words.owner.load(Ordering::SeqCst);
            // Its own: what this one, a handler, has interrupted. Who is not sure yet looks whether a fork is ahead.
            if owner == 0 || owner & UNSURE != 0 || owner == me {
                return;
            }
            process::nap(NAP_NANOS);
        }
    }

    /// Ends what [`ForkLock::fork_is_ahead`] began, if this thread began it.
    #[inline]
    pub fn fork_passed(&self) {
        let ahead = &self.words().ahead;
        if ahead.load(Ordering::Relaxed) == threads::mark() {
            ahead.store(0, Ordering::Release);
        }
    }

    #[inline(always)]
    fn is_fork_ahead(&self) -> bool {
        let ahead = self.words().ahead.load(Ordering::SeqCst);
        ahead != 0 && ahead != threads::mark()
    }

    /// Waits until the fork of another thread has passed, for a quarter of a second at most: the descriptors are copied at
    /// its very beginning, but it may have to wait for the processor. Who has waited in vain lets the others go on as well.
    #[cold]
    #[inline(never)]
    fn let_fork_pass(&self) {
        let (ahead, aheads) = (&self.words().ahead, &self.words().aheads);
        let (which, who) = (
            aheads.load(Ordering::Relaxed),
            ahead.load(Ordering::Relaxed),
        );
        let has_passed =
            || ahead.load(Ordering::Relaxed) != who || aheads.load(Ordering::Relaxed) != which;
        for _ in 0..NAPS_OF_A_SECOND / 4 {
            if who == 0 || has_passed() {
                return;
            }
            process::nap(NAP_NANOS);
        }
        if !has_passed() {
            let _ = ahead.compare_exchange(who, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the calling thread holds the lock over a fork. Then the one that begins now is inside of that one, and so is
    /// its end: `true` says that all has been done for it.
    pub fn begins_nested_fork(&self) -> bool {
        let words = self.words();
        let is_nested = self.holds_over_fork();
        if is_nested {
            words.nested.fetch_add(1, Ordering::Relaxed);
            self.forking
                .store(threads::mark() | NESTED, Ordering::Relaxed);
        }
        is_nested
    }

    /// Whether the fork that is over is one inside of another, of which [`ForkLock::begins_nested_fork`] has told.
    pub fn ends_nested_fork(&self) -> bool {
        let words = self.words();
        let nested = words.nested.load(Ordering::Relaxed);
        let is_nested = nested != 0 && self.holds_over_fork();
        if is_nested {
            words.nested.store(nested - 1, Ordering::Relaxed);
            if nested == 1 {
                self.forking.store(threads::mark(), Ordering::Relaxed);
            }
        }
        is_nested
    }

    /// Takes the lock and keeps it over a fork, until [`ForkLock::fork_over`] in the parent and in the child. `false`: for
    /// a second another thread has held it over a fork of its own, of which a handler may wait for this one.
    pub fn hold_over_fork(&self) -> bool {
        while !self.acquire_slowly(NAPS_OF_A_SECOND) {
            if self.is_held_over_fork() {
                return false;
            }
        }
        self.forking.store(threads::mark(), Ordering::Relaxed);
        self.words()
            .reentrant
            .store(threads::mark(), Ordering::Release);
        true
    }

    /// Whether the calling thread holds the lock over a fork.
    pub fn holds_over_fork(&self) -> bool {
        self.words().reentrant.load(Ordering::Relaxed) == threads::mark()
    }

    /// Whether the calling thread was the last to call [`ForkLock::hold_over_fork`], in this process or as the forking
    /// one of its parent: in a fork handler, whether the fork is one that was prepared.
    #[inline(always)]
    pub fn is_forking_thread(&self) -> bool {
        self.forking.load(Ordering::Relaxed) == threads::mark()
    }

    /// Notes that the fork to come is made by a handler that has interrupted its own thread with the lock held, so that
    /// nothing can be prepared.
    #[cold]
    pub fn note_fork_below(&self) {
        self.forking
            .store(threads::mark() | BELOW, Ordering::Relaxed);
    }

    /// Whether the process is the child of a fork that [`ForkLock::begins_nested_fork`] has told of.
    pub fn is_nested_child(&self) -> bool {
        self.forking.load(Ordering::Relaxed) == threads::mark() | NESTED
    }

    /// Whether the fork is one that [`ForkLock::note_fork_below`] was called for.
    pub fn is_fork_below(&self) -> bool {
        self.forking.load(Ordering::Relaxed) == threads::mark() | BELOW
    }

    /// In a child of a fork: our handler has run.
    #[inline(always)]
    pub fn set_born(&self) {
        self.words().born.store(1, Ordering::Relaxed);
    }

    /// Whether this is a child of a fork whose handler of ours has not run yet, as far as memory tells: children that it
    /// makes by a raw clone look like it.
    pub fn seems_unborn(&self) -> bool {
        self.is_forking_thread() && self.words().born.load(Ordering::Relaxed) == 0
    }

    /// Forgets a fork that is over, or that a thread is in the middle of which this process, a child, has not got.
    pub fn forget_fork(&self) {
        if self.forking.load(Ordering::Relaxed) != 0 {
            self.forking.store(0, Ordering::Relaxed);
        }
    }

    /// Ends what [`ForkLock::hold_over_fork`] began. A child need not call it: the wiped lock is free there already. Which
    /// thread it was stays written down until [`ForkLock::forget_fork`].
    pub fn fork_over(&self) {
        while !self.try_borrow() {
            process::nap(NAP_NANOS);
        }
        let words = self.words();
        words.lends.store(0, Ordering::Relaxed);
        words.reentrant.store(0, Ordering::Relaxed);
        self.give_back();
        self.release();
    }
}

/// The lock, held.
pub struct Guard<'a, T> {
    lock: &'a ForkLock<T>,
    hold: Hold,
}

/// By what a guard holds the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// By itself.
    Own,
    /// In the middle of a fork, whose thread holds it and does nothing with it at the moment.
    Lent,
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
        // SAFETY: this thread holds the lock, or what is lent of it, signals are blocked, and the guard is borrowed
        // exclusively. The fork handlers hold the lock without a guard, so what is lent is the only one.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        match self.hold {
            Hold::Own => self.lock.release(),
            Hold::Lent => self.lock.give_back(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zeroed_lock_is_free() {
        let lock = ForkLock::new(0, |_| 5).unwrap();
        let held = lock.lock();
        assert_eq!(*held, 5);
        assert!(lock.lock_soon().is_none());
        drop(held);
        assert!(lock.lock_soon().is_some());
    }

    #[test]
    fn a_lock_whose_owner_is_not_sure_of_it_may_be_taken_away() {
        let lock = ForkLock::new(0, |_| ()).unwrap();
        let owner = &lock.words().owner;
        for unsure in [threads::mark() | UNSURE, 0x1000 | UNSURE] {
            owner.store(unsure, Ordering::Relaxed);
            assert!(!lock.try_acquire_uninterrupted());
            assert!(!lock.is_held_below());
            let held = lock.lock();
            assert_eq!(owner.load(Ordering::Relaxed), threads::mark());
            assert!(lock.is_held_below());
            drop(held);
            assert_eq!(owner.load(Ordering::Relaxed), 0);
        }
        owner.store(0x1000, Ordering::Relaxed);
        assert!(!lock.try_acquire());
    }

    #[test]
    fn a_raw_child_finds_the_lock_free_and_no_identity() {
        let lock = ForkLock::new(10, |wiped| wiped).unwrap();
        lock.set_identity(9);
        lock.set_settled();
        let held = lock.lock();
        let last = held.word(9).unwrap();
        last.store(7, Ordering::Relaxed);
        assert!(held.word(10).is_none());
        // SAFETY: the child only looks at two words and leaves.
        unsafe {
            let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
            if child == 0 {
                let wiped = lock.identity() == 0 && last.load(Ordering::Relaxed) == 0;
                let fine = wiped && !lock.is_settled() && lock.lock_soon().is_some();
                libc::_exit(i32::from(!fine));
            }
            let mut status = 0;
            libc::waitpid(child as i32, &mut status, 0);
            assert_eq!(status, 0);
        }
        assert_eq!((lock.identity(), last.load(Ordering::Relaxed)), (9, 7));
        assert!(lock.is_settled());
        drop(held);
    }
}
