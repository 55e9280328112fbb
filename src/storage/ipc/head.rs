//! What the blocks of a set and of a queue begin with alike.
//!
//! ```text
//!   0  id | key      1  uid | gid      2  cuid | cgid      3  mode, removed | semaphores, or qbytes
//! ```

use super::arena::Block;
use super::file::IpcFile;
use super::root::{Root, Seen};
use super::words::{high, low, pair};
use crate::os::atomic::{Ordering, fence};

/// In the mode's word: the object was removed, and only its sleepers' answers are there still.
pub(super) const REMOVED: u32 = 1 << 31;

/// An object's owner, creator and mode, as the block has them.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those of ipc_perm")]
pub struct Words {
    pub id: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
}

impl Words {
    /// Those of a block.
    #[inline(always)]
    pub(super) fn of(block: &Block) -> Words {
        let (owner, creator) = (block.get(1), block.get(2));
        Words {
            id: id(block),
            uid: low(owner),
            gid: high(owner),
            cuid: low(creator),
            cgid: high(creator),
            mode: low(block.get(3)) & !REMOVED,
        }
    }

    /// Writes them; `last`: the other half of the mode's word.
    pub(super) fn write(&self, block: &Block, key: i32, last: u32) {
        block.put(0, pair(self.id as u32, key as u32));
        block.put(1, pair(self.uid, self.gid));
        block.put(2, pair(self.cuid, self.cgid));
        block.put(3, pair(self.mode, last));
    }
}

/// The identifier.
#[inline(always)]
pub(super) fn id(block: &Block) -> i32 {
    low(block.get(0)) as i32
}

/// Takes the identifier out of a block that a root leads to no more, and that nobody else writes to.
#[inline(always)]
pub(super) fn forget_id(block: &Block) {
    // Pairs with: the fence in `Root::is_still`, as in `possess`.
    fence(Ordering::Release);
    block.put(0, 0);
}

/// Whether the object was removed.
#[inline(always)]
pub(super) fn is_removed(block: &Block) -> bool {
    low(block.get(3)) & REMOVED != 0
}

/// Says so.
pub(super) fn set_removed(block: &Block) {
    block.put(3, block.get(3) | u64::from(REMOVED));
}

impl IpcFile<'_> {
    /// What a root leads to, unless it was removed; it counts if the root is still what it was.
    #[inline(always)]
    pub fn words_behind(&self, seen: Seen) -> Option<Words> {
        let block = self.block_of(seen)?;
        (!is_removed(&block)).then(|| Words::of(&block))
    }

    /// The identifier of the object that a root leads to, unless it was removed.
    pub fn id_at(&self, root: Root, mut seen: Seen) -> Option<i32> {
        loop {
            let words = self.words_behind(seen);
            if root.is_still(seen) {
                return words.map(|words| words.id);
            }
            seen = root.seen();
        }
    }
}
