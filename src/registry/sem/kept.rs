//! The block that this process keeps for its next change of a set: the one that its last change has replaced.
//!
//! To take a block from the free ones and to give another back costs three exchanges of words that all processes share. Blocks
//! that stay in this process's hands cost one exchange, of a word that is the process's own, one for each size. A change
//! that finds `TAKEN` there goes to the free ones, as another thread does meanwhile, or a handler that has interrupted the change. Nobody
//! else stores to the word until the thread that has put `TAKEN` there stores what is kept next.
//!
//! The block's own word names this process's cell all the time, as that of each block in its hands, so the sweep finds it when
//! the process was killed or executes another program. A late reader finds the root changed, however soon it is written to
//! again. Nobody but its taker writes its own word: only texts, queues and sets with sleepers are claimed, and the sweep gives
//! back what the dead have taken. So that stays as it is if this process has published the block that it replaces. Another's is
//! exchanged, for the other may have died, and the sweep be at it.
//!
//! A child finds the words wiped. One that a handler has forked in the midst of a change, and that comes back to it, may put its
//! parent's block there; it does not take it, for the block's own word says whose it is. A handler that jumps out of a change
//! leaves `TAKEN` there: from then on blocks of that size come from the free ones, and one is lost until the process ends.

use super::Found;
use crate::os::atomic::{AtomicU32, Ordering};
use crate::registry::objects::{Objects, own};
use crate::storage::ipc::Block;

/// In place of a block's number, of which none is as small.
const TAKEN: u32 = 1;

/// A block for a copy, and where the one is kept that the copy replaces.
pub(super) struct Kept<'a> {
    pub(super) block: Block,
    word: Option<&'a AtomicU32>,
}

impl Objects {
    /// Takes a block whose content has room for `words` words: the one that is kept, if there is one.
    #[inline(always)]
    pub(super) fn take_kept(&self, words: usize) -> Option<Kept<'_>> {
        let (class, me) = (Block::class_for(words), self.holder_if_entered());
        if me == 0 {
            return None;
        }
        let mut word = (class < own::KEPT_SIZES).then(|| self.word(own::KEPT + class as usize));
        let mut kept = 0;
        if let Some(own) = word {
            kept = own.load(Ordering::Relaxed);
            if kept != TAKEN {
                // Pairs with: the store in `exchange_kept`.
                kept = own.swap(TAKEN, Ordering::AcqRel);
            }
            if kept == TAKEN {
                (kept, word) = (0, None);
            }
        }
        let block = match self.file.kept_block(kept, class, me) {
            Some(block) => Some(block),
            None => self.file.take(words, me).ok(),
        };
        if let (None, Some(own)) = (block, word) {
            own.store(0, Ordering::Release);
        }
        block.map(|block| Kept { block, word })
    }

    /// Makes the copy in a block that was taken so the set, where nobody sleeps, if it `is_right` and the set still is what was
    /// copied. Whether it was done.
    #[inline(always)]
    pub(super) fn exchange_kept(&self, found: &Found, copy: &Kept<'_>, is_right: bool) -> bool {
        let (old, new) = (found.set.block(), copy.block);
        let holding = self.file.holding(old);
        // Before the exchange: in a child that a handler forks behind it this names the parent still, which keeps the block.
        let me = self.holder_if_entered();
        let is_done = is_right && self.holds(new) && found.root.change(found.seen, new.unit);
        let Some(word) = copy.word else {
            if is_done {
                self.file.give_replaced(old, holding);
            } else {
                self.give_unpublished(new);
            }
            return is_done;
        };
        let keeps = if !is_done {
            new.unit
        } else if old.is_as_long_as(new) && self.file.keep_replaced(old, holding, me) {
            found.set.forget_id();
            old.unit
        } else {
            self.file.give_replaced(old, holding);
            0
        };
        // Pairs with: the swap in `take_kept`.
        word.store(keeps, Ordering::Release);
        is_done
    }
}
