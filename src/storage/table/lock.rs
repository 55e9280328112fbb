//! Taking the in-table lock.
//!
//! Lock order: the in-process lock, then this one. It is held for stores to the table and for growing it, never
//! while a segment file is made, opened or unlinked. Invariant: the holder's signals are blocked.
//!
//! A holder can die. A process that has waited for a while probes whether the owner's liveness file is still locked; if
//! not, the word is changed from the dead owner's to its own in one step, so that only one does it, and the table is
//! recovered before anything else happens. The generation keeps a stale probe from hitting the cell's next owner.
//!
//! A living holder is waited for, but not for ever: it may be stopped, or keep the lock on purpose. A call first asks
//! whether a process keeps it ([`keeper`]), while it has nothing in its hands and its signals can be let through; in its
//! midst it waits for as long as [`Deadline`] says.

use super::identity::Identity;
use super::layout::header;
use super::lock_word::{Held, Surroundings, WAITERS};
use super::map::Table;
use super::rebuild;
use crate::os::atomic::{Ordering, real_or_model, spin_loop};
use crate::os::futex;
use crate::os::timed_lock::Deadline;
use core::time::Duration;

/// Tries without sleeping, some tens of microseconds: a critical section takes less than one, and a sleeper costs its
/// waker a system call.
const SPINS: u32 = real_or_model(2000, 1);
/// How long one sleep lasts before the owner is probed.
const PATIENCE: Duration = Duration::from_millis(20);

/// Takes the lock of `table` for `me`. A dead owner's table is recovered first. The error is the living process that keeps
/// it for too long.
pub fn lock<'n>(
    table: &'n Table,
    around: &'n dyn Surroundings,
    me: Identity,
) -> Result<Held<'n>, Identity> {
    let word = table.word32(header!(lock));
    let take = |from: u32, mine: u32| {
        // Pairs with: the swap in `drop`.
        word.compare_exchange(from, mine, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Held::new(table, around, me))
    };
    let mine = me.packed();
    for _ in 0..SPINS {
        if word.load(Ordering::Relaxed) == 0 {
            if let Some(held) = take(0, mine) {
                return Ok(held);
            }
        }
        spin_loop();
    }
    let deadline = Deadline::of_a_call();
    let mut suspect = 0;
    loop {
        let seen = word.load(Ordering::Relaxed);
        let waited = seen | WAITERS == suspect;
        let owner_died = seen != 0
            && (is_replaced(table, Some(me), seen)
                || waited && around.is_dead(owner_of(seen).cell()));
        if seen == 0 || owner_died {
            // Others may be asleep still; the bit makes sure that one of them is woken.
            if let Some(held) = take(seen, mine | WAITERS) {
                if owner_died {
                    rebuild::recover(&held);
                }
                return Ok(held);
            }
            continue;
        }
        if waited && deadline.has_passed() {
            return Err(owner_of(seen));
        }
        suspect = seen | WAITERS;
        sleep(table, seen);
    }
}

/// The living process for which [`lock`] would have to wait for long. `None`: the lock is free, or its owner has changed
/// or is dead. It takes a moment to find that out. `me`: the calling process, if it has a cell.
#[inline]
pub fn keeper(table: &Table, around: &dyn Surroundings, me: Option<Identity>) -> Option<Identity> {
    match table.word32(header!(lock)).load(Ordering::Relaxed) {
        0 => None,
        seen => keeper_is(table, around, me, seen),
    }
}

#[cold]
#[inline(never)]
fn keeper_is(
    table: &Table,
    around: &dyn Surroundings,
    me: Option<Identity>,
    seen: u32,
) -> Option<Identity> {
    let word = table.word32(header!(lock));
    let has_changed = || word.load(Ordering::Relaxed) | WAITERS != seen | WAITERS;
    for _ in 0..SPINS {
        if has_changed() {
            return None;
        }
        spin_loop();
    }
    sleep(table, seen);
    let owner = owner_of(seen);
    let is_kept = !has_changed() && !is_replaced(table, me, seen) && !around.is_dead(owner.cell());
    is_kept.then_some(owner)
}

impl Table {
    /// The process that has the lock at this moment, if one has.
    pub fn locker(&self) -> Option<Identity> {
        match self.get32(header!(lock)) {
            0 => None,
            word => Some(owner_of(word)),
        }
    }
}

fn owner_of(word: u32) -> Identity {
    Identity::from_packed(word & !WAITERS)
}

/// Whether a word names the caller's own cell, or another generation of its cell: then the cell's previous process left it.
fn is_replaced(table: &Table, me: Option<Identity>, word: u32) -> bool {
    let owner = owner_of(word);
    me.is_some_and(|me| me.cell() == owner.cell())
        || table.is_replaced(owner)
        || !Identity::is_packed(word)
}

/// Sleeps until the word is no longer `seen`, for a while at most.
fn sleep(table: &Table, seen: u32) {
    let word = table.word32(header!(lock));
    if seen & WAITERS != 0
        || word
            .compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        futex::wait(word, seen | WAITERS, PATIENCE);
    }
}
