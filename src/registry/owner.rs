//! This process among the owners: those that sleep in sets and queues, or owe a set something.

use super::error::Outcome;
use super::objects::{Objects, own};
use crate::os::atomic::Ordering;
use crate::storage::table::Identity;

impl Objects {
    /// This process's number among the owners; 0: it has none.
    #[inline(always)]
    pub(super) fn owner_if_entered(&self) -> u32 {
        self.word(own::OWNER).load(Ordering::Relaxed)
    }

    /// The same; it is entered if it was not.
    #[inline]
    pub(super) fn owner(&self) -> Outcome<u32> {
        match self.owner_if_entered() {
            0 => self.enter_owner(),
            owner => {
                self.file.renew_mark(owner);
                Ok(owner)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_owner(&self) -> Outcome<u32> {
        let cell = self.registry.enter()?.me;
        let owner = match self.owner_before_exec(cell) {
            Some(owner) => owner,
            None => self.file.take_owner(cell, self.pid())?,
        };
        let word = self.word(own::OWNER);
        match word.compare_exchange(0, owner, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(owner),
            Err(other) if other == owner => Ok(owner),
            // Another thread was faster. The entry that this one has taken stays until the process ends.
            Err(other) => Ok(other),
        }
    }

    /// The entry that this process had as another program. Another thread that looks for it, or a call that a handler has
    /// interrupted, finds it: then the caller makes a new one.
    fn owner_before_exec(&self, cell: Identity) -> Option<u32> {
        let entering = self.word(own::ENTERING);
        if entering.swap(1, Ordering::Acquire) != 0 {
            return None;
        }
        let found = match self.owner_if_entered() {
            0 => self.file.take_own_again(cell, self.pid()),
            owner => Some(owner),
        };
        if let Some(owner) = found {
            // Before anybody else looks: it is this process's from now on.
            self.word(own::OWNER).store(owner, Ordering::Release);
        }
        entering.store(0, Ordering::Release);
        found
    }
}
