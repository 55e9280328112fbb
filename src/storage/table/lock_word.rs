//! The in-table lock, held: one word that names its owner.
//!
//! ```text
//!   bit 31     a process sleeps on the word
//!   bit 30     held
//!   bits 14..  generation of the owner's cell, 16 bits
//!   bits 0..   the owner's cell
//! ```

use super::identity::Identity;
use super::layout::header;
use super::map::Table;
use crate::os::atomic::Ordering;
use crate::os::futex;
use crate::storage::error::Stored;

/// The bit that says that a process sleeps on the word.
pub(super) const WAITERS: u32 = 1 << 31;

/// What a change of the table asks of what lies around it: it knows neither directories nor processes nor rules.
pub trait Surroundings {
    /// Whether it is certain that no process lives in `cell`.
    fn is_dead(&self, cell: u32) -> bool;

    /// Backs bytes of the table with memory, so that writing them cannot fail. The first `used` of them were backed before.
    fn back(&self, offset: u32, len_bytes: u32, used: u32) -> Stored<()>;

    /// Whether a segment is destroyed that so many attaches are left of.
    fn is_destroyed(&self, marked: bool, nattch: u64, rmid_forced: bool) -> bool;

    /// The effective uid of the calling thread.
    fn euid(&self) -> u32;
}

/// The lock, held.
pub struct Held<'n> {
    table: &'n Table,
    me: Identity,
    around: &'n dyn Surroundings,
}

impl<'n> Held<'n> {
    /// For the process that has put its identity into the word.
    pub(super) fn new(table: &'n Table, around: &'n dyn Surroundings, me: Identity) -> Held<'n> {
        Held { table, me, around }
    }

    /// The table that is locked.
    pub fn table(&self) -> &'n Table {
        self.table
    }

    /// The process that holds it.
    pub fn me(&self) -> Identity {
        self.me
    }

    /// What lies around the table.
    pub(super) fn around(&self) -> &'n dyn Surroundings {
        self.around
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
