//! The sequence lock: a version that is odd while what it stands for is being changed.
//!
//! A reader takes no lock. It looks at the version before and after: what it has read between two looks at the same even
//! version really was there at one moment. There is a version in each slot, and one for the key index and the counters.

use super::lock_word::Held;
use super::map::{SlotWords, Table, TableWords, word};
use crate::os::atomic::{AtomicU32, Ordering, fence, real_or_model, spin_loop};

/// How often a reader without the lock tries.
pub(super) const READ_TRIES: u32 = real_or_model(100, 2);

/// A version in the table.
#[derive(Clone, Copy)]
pub struct SeqLock<'t>(&'t AtomicU32);

impl<'t> SeqLock<'t> {
    /// That of a slot.
    #[inline(always)]
    pub(super) fn of_slot(words: SlotWords<'t>) -> SeqLock<'t> {
        SeqLock(word!(words, Slot, version))
    }

    /// That of the key index and the counters.
    #[inline(always)]
    pub(super) fn of_index(words: TableWords<'t>) -> SeqLock<'t> {
        SeqLock(word!(words, Header, index_version))
    }

    /// Begins to read without the lock.
    #[inline(always)]
    pub(super) fn begin(self) -> Reading<'t> {
        Reading {
            version: self.0,
            // Pairs with: the two stores in `write`.
            before: self.0.load(Ordering::Acquire),
        }
    }

    /// Reads without the lock, once. `None`: it is being changed.
    #[inline(always)]
    pub fn read_once<R>(self, read: impl FnOnce() -> R) -> Option<R> {
        let reading = self.begin();
        if reading.before & 1 != 0 {
            return None;
        }
        let answer = read();
        reading.is_unchanged().then_some(answer)
    }

    /// Reads without the lock. `None`: it is being changed all the time, or by a process that is stopped or dead: take the
    /// lock.
    #[inline(always)]
    pub fn read<R>(self, mut read: impl FnMut() -> R) -> Option<R> {
        for _ in 0..READ_TRIES {
            if let Some(answer) = self.read_once(&mut read) {
                return Some(answer);
            }
            spin_loop();
        }
        None
    }

    /// Runs `change` while readers know that something is being changed. A death in the middle leaves the version odd, which
    /// sends them to the lock, and so to the repair.
    #[inline]
    pub fn write<R>(self, _: &Held<'_>, change: impl FnOnce() -> R) -> R {
        let version = self.0;
        let before = version.load(Ordering::Relaxed) & !1;
        // Pairs with: the loads in `begin` and `is_unchanged`. The fence keeps the odd version in front of the change.
        version.store(before | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let answer = change();
        version.store(before.wrapping_add(2), Ordering::Release);
        answer
    }

    /// Makes readers wait until [`SeqLock::end_repair`], whatever the version is at present.
    pub(super) fn begin_repair(self, _: &Held<'_>) {
        self.0
            .store(self.0.load(Ordering::Acquire) | 1, Ordering::Release);
    }

    /// Readers may read again.
    pub(super) fn end_repair(self, _: &Held<'_>) {
        let version = self.0.load(Ordering::Acquire) | 1;
        self.0.store(version.wrapping_add(1), Ordering::Release);
    }

    /// How often there was a change; odd during one.
    #[inline]
    pub fn version(self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reading that has begun.
pub(super) struct Reading<'t> {
    version: &'t AtomicU32,
    before: u32,
}

impl Reading<'_> {
    /// Whether all that was read since was there at one moment.
    #[inline(always)]
    pub(super) fn is_unchanged(&self) -> bool {
        fence(Ordering::Acquire);
        self.before & 1 == 0 && self.version.load(Ordering::Relaxed) == self.before
    }
}

/// Runs `change` while readers know that slot `index` is being changed.
#[inline]
pub fn change_slot<R>(held: &Held<'_>, index: u32, change: impl FnOnce() -> R) -> R {
    SeqLock::of_slot(held.table().slot(index)).write(held, change)
}

/// Runs `change`, during which lookups without the lock find the index busy: around everything that makes, ends or renames
/// a segment.
#[inline]
pub fn change_index<R>(held: &Held<'_>, change: impl FnOnce() -> R) -> R {
    SeqLock::of_index(held.table().words()).write(held, change)
}

impl Table {
    /// Reads what only changes within [`change_index`], without a lock. `None` as for [`SeqLock::read`].
    #[inline]
    pub fn consistently<R>(&self, read: impl FnMut() -> R) -> Option<R> {
        SeqLock::of_index(self.words()).read(read)
    }
}
