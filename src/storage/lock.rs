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

use super::layout::header;
use super::live::Identity;
use super::namespace::Namespace;
use super::recover;
use super::table::Table;
use crate::os::atomic::{Ordering, real_or_model, spin_loop};
use crate::os::futex;
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

/// Takes the lock for `me`, however long it takes. A dead owner's table is recovered first.
pub fn lock(namespace: &Namespace, me: Identity) -> Held<'_> {
    let word = namespace.table().word32(header!(lock));
    let mine = me.packed();
    let held = Held { namespace, me };
    for _ in 0..SPINS {
        // Pairs with: the swap in `drop`.
        if word.load(Ordering::Relaxed) == 0
            && word
                .compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return held;
        }
        spin_loop();
    }
    let mut suspect = 0;
    loop {
        let seen = word.load(Ordering::Relaxed);
        if seen == 0 {
            // Others may be asleep still; the mark makes sure that one of them is woken.
            if word
                .compare_exchange(0, mine | WAITERS, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return held;
            }
            continue;
        }
        let owner = Identity::from_packed(seen & !WAITERS);
        // A word that names our own cell, or another generation of its cell, was left by the cell's previous process.
        let replaced =
            owner.cell() == me.cell() || namespace.is_replaced(owner) || !Identity::is_packed(seen);
        let waited = seen | WAITERS == suspect;
        let dead = || namespace.probe(owner.cell()).is_dead() || namespace.is_nobody(owner.cell());
        if replaced || (waited && dead()) {
            if word
                .compare_exchange(seen, mine | WAITERS, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                recover::recover(&held);
                return held;
            }
            continue;
        }
        suspect = seen | WAITERS;
        if seen & WAITERS != 0
            || word
                .compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            futex::wait(word, seen | WAITERS, PATIENCE);
        }
    }
}
