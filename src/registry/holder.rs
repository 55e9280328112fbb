//! This process as the holder of blocks: what it has taken and not published names its cell, so that a sweep finds what a killed
//! process had in its hands (`storage/ipc/sweep.rs`).

use super::objects::{Objects, own};
use crate::os::atomic::Ordering;
use crate::storage::ipc::{Block, Holding, Root, Seen};

impl Objects {
    /// This process's cell, which the blocks that it takes are marked with; 0: it has none. It is registered if it was not.
    #[inline(always)]
    pub(super) fn holder(&self) -> u32 {
        match self.registry.local.identity() {
            0 => self.enter_holder(),
            cell => cell,
        }
    }

    /// Whether a block is in this process's hands: not if it is a child that a handler has forked in the midst of a call, and
    /// that has come back to it. The block is its parent's, which does with it what is to be done.
    #[inline(always)]
    pub(super) fn holds(&self, block: Block) -> bool {
        self.file.holding(block).owner() == self.holder_if_entered()
    }

    /// Gives back a block that was not published.
    #[inline]
    pub(super) fn give_unpublished(&self, block: Block) {
        if self.holds(block) {
            self.file.give_unpublished(block);
        }
    }

    /// Gives back a text that has come into this process's hands, or was never out of them.
    #[inline]
    pub(super) fn give_text(&self, text: u32) {
        if text == 0 {
            return;
        }
        if let Some((block, holding)) = self.file.text_holding(text) {
            if holding.owner() == self.holder_if_entered() {
                self.file.give_replaced(block, holding);
            }
        }
    }

    /// What is said of the block that a root leads to, and that the caller is to read behind its exchange: it names the caller from
    /// now on, so that it is not taken for one that a dead process has left, but if the caller has died.
    pub(super) fn claim_old(&self, root: Root, seen: Seen, block: Block) -> Holding {
        let holding = self.file.holding(block);
        if root.is_still(seen) {
            self.file.claim(block, holding, self.holder())
        } else {
            holding
        }
    }

    /// [`Objects::holder`] without a system call.
    #[inline(always)]
    pub(super) fn holder_if_entered(&self) -> u32 {
        self.registry.local.identity()
    }

    #[cold]
    #[inline(never)]
    fn enter_holder(&self) -> u32 {
        let refused = self.word(own::REFUSED);
        if refused.load(Ordering::Relaxed) != 0 {
            return 0;
        }
        match self.registry.enter() {
            Ok(session) => session.me.packed(),
            Err(_) => {
                // What it takes is lost if it is killed with it in its hands.
                refused.store(1, Ordering::Relaxed);
                0
            }
        }
    }
}
