//! The in-table lock: one word that names its owner.
//!
//! ```text
//!   bit 31     somebody sleeps on the word
//!   bit 30     held
//!   bits 14..  generation of the owner's cell, 16 bits
//!   bits 0..   the owner's cell
//! ```
//!
//! Lock order: the in-process lock, then this one. It is held for stores to the table and for growing it, never
//! while a segment file is made, opened or unlinked. Invariant: the holder's signals are blocked.
//!
//! A holder can die. Whoever has waited for a while looks whether the owner's liveness file is still locked; if not,
//! the word is changed from the dead owner's to one's own in one step, so that only one does it, and the table is
//! recovered before anything else happens. The generation keeps a stale look from hitting the cell's next owner.
//!
//! A living holder is waited for, but not for ever: it may be stopped, or keep the lock on purpose. A call first looks
//! whether somebody keeps it ([`keeper`]), while it has nothing in its hands and its signals can be let through; in its
//! midst it waits for as long as [`Deadline`] says.

use super::layout::header;
use super::live::Identity;
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::recover;
use super::table::Table;
use crate::os::atomic::{Ordering, real_or_model, spin_loop};
use crate::os::futex;
use crate::os::timed_lock::Deadline;
use core::time::Duration;

const WAITERS: u32 = 1 << 31;
/// Tries without sleeping, some tens of microseconds: a critical section takes less than one, and a sleeper costs its
/// waker a system call.
const SPINS: u32 = real_or_model(2000, 1);
/// How long one sleep lasts before the owner is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

/// The lock, held.
pub struct Held<'n> {
    namespace: &'n Namespace,
    me: Identity,
}

impl<'n> Held<'n> {
    /// The table that is locked.
    pub fn table(&self) -> &'n Table {
        self.namespace.table()
    }

    /// The namespace that is locked.
    pub fn namespace(&self) -> &'n Namespace {
        self.namespace
    }

    /// Who holds it.
    pub fn me(&self) -> Identity {
        self.me
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let word = self.table().word32(header!(lock));
        if word.swap(0, Ordering::Release) & WAITERS != 0 {
            futex::wake_one(word);
        }
    }
}

/// Takes the lock for `me`. A dead owner's table is recovered first. Refused when a living process keeps it for too long:
/// then a change of the table is missing that the caller was about to make, which is noted ([`Namespace::has_unfinished`]).
pub fn lock(namespace: &Namespace, me: Identity) -> Stored<Held<'_>> {
    let word = namespace.table().word32(header!(lock));
    let mine = me.packed();
    for _ in 0..SPINS {
        // Pairs with: the swap in `drop`.
        if word.load(Ordering::Relaxed) == 0
            && word
                .compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return Ok(Held { namespace, me });
        }
        spin_loop();
    }
    let deadline = Deadline::of_a_call();
    let mut suspect = 0;
    loop {
        let seen = word.load(Ordering::Relaxed);
        if seen == 0 {
            // Others may be asleep still; the mark makes sure that one of them is woken.
            if word
                .compare_exchange(0, mine | WAITERS, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(Held { namespace, me });
            }
            continue;
        }
        let waited = seen | WAITERS == suspect;
        if is_replaced(namespace, Some(me), seen) || (waited && is_dead(namespace, seen)) {
            if word
                .compare_exchange(seen, mine | WAITERS, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                let held = Held { namespace, me };
                recover::recover(&held);
                return Ok(held);
            }
            continue;
        }
        if waited && deadline.has_passed() {
            namespace.note_unfinished();
            return Err(namespace.is_kept_by(owner_of(seen)));
        }
        suspect = seen | WAITERS;
        sleep(namespace, seen);
    }
}

/// Why [`lock`] would have to wait for long: a living process keeps the lock. `None`: it is free, or its owner has changed
/// or is dead. It takes a moment to find that out. `me`: the calling process, if it has a cell.
#[inline]
pub fn keeper(namespace: &Namespace, me: Option<Identity>) -> Option<Obstacle> {
    match namespace
        .table()
        .word32(header!(lock))
        .load(Ordering::Relaxed)
    {
        0 => None,
        seen => keeper_is(namespace, me, seen),
    }
}

#[cold]
#[inline(never)]
fn keeper_is(namespace: &Namespace, me: Option<Identity>, seen: u32) -> Option<Obstacle> {
    let word = namespace.table().word32(header!(lock));
    let has_changed = || word.load(Ordering::Relaxed) | WAITERS != seen | WAITERS;
    for _ in 0..SPINS {
        if has_changed() {
            return None;
        }
        spin_loop();
    }
    sleep(namespace, seen);
    let is_kept = !has_changed() && !is_replaced(namespace, me, seen) && !is_dead(namespace, seen);
    is_kept.then(|| namespace.is_kept_by(owner_of(seen)))
}

fn owner_of(word: u32) -> Identity {
    Identity::from_packed(word & !WAITERS)
}

/// Whether a word names the caller's own cell, or another generation of its cell: then the cell's previous process left it.
fn is_replaced(namespace: &Namespace, me: Option<Identity>, word: u32) -> bool {
    let owner = owner_of(word);
    me.is_some_and(|me| me.cell() == owner.cell())
        || namespace.is_replaced(owner)
        || !Identity::is_packed(word)
}

fn is_dead(namespace: &Namespace, word: u32) -> bool {
    let cell = owner_of(word).cell();
    namespace.probe(cell).is_dead() || namespace.is_nobody(cell)
}

/// Sleeps until the word is no longer `seen`, for a while at most.
fn sleep(namespace: &Namespace, seen: u32) {
    let word = namespace.table().word32(header!(lock));
    if seen & WAITERS != 0
        || word
            .compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        futex::wait(word, seen | WAITERS, PATIENCE);
    }
}
