//! Blocks of shared memory: taken, written by their taker alone, published by an exchange of a root word, given back when
//! another has taken their place.
//!
//! A block begins with a word of its own (a tag, and the process that took it) and a word with its size and, while it is free,
//! the next free one. Free blocks of a size are a stack whose head has a tag, so that an exchange notices if the same block
//! comes back to its place. A process that is killed between two exchanges loses the block that it had in its hands, and
//! nothing else; a sweep finds it (`sweep.rs`), but for one that does not name it yet or any more: killed right behind an
//! exchange. So what anybody else may take for lost is given back by an exchange of its word.

use super::file::IpcFile;
use super::layout::{ARENA, CLASSES, EXTENT, EXTENTS, Header, MOST_BYTES, SLAB, SLAB_PART, UNIT};
use crate::os::atomic::{Ordering, fence};
use crate::os::map::Span;
use crate::os::own_stack;
use crate::storage::error::{StorageError, Stored};
use core::mem::offset_of;

/// Words at the beginning of a block that are not its content's.
pub(super) const HEAD_WORDS: usize = 2;

/// A block, which another process may have taken by now: what is read from it counts only if the root that led to it has
/// not changed meanwhile.
#[derive(Clone, Copy)]
pub struct Block {
    /// Its number.
    pub unit: u32,
    /// Its words, the first [`HEAD_WORDS`] of which are not its content.
    pub words: Span<'static>,
}

impl Block {
    /// The size of a block whose content has room for `words` words, as below.
    #[inline(always)]
    pub fn class_for(words: usize) -> u32 {
        class_of((words + HEAD_WORDS) * 8)
    }

    /// The same in bytes.
    pub(super) fn bytes_for(words: usize) -> u64 {
        u64::from(UNIT) << Block::class_for(words)
    }

    /// Whether both have the same size.
    #[inline(always)]
    pub fn is_as_long_as(&self, other: Block) -> bool {
        self.words.len_bytes() == other.words.len_bytes()
    }

    /// Its size, as 64 times two to the power of this.
    pub(super) fn class(&self) -> u32 {
        self.words.word64(1).load(Ordering::Relaxed) as u32 & 0xff
    }

    /// A word of its content.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> u64 {
        self.words
            .word64(HEAD_WORDS + index)
            .load(Ordering::Relaxed)
    }

    /// Sets a word of its content: of a block that the caller has taken and not published.
    #[inline(always)]
    pub(super) fn put(&self, index: usize, value: u64) {
        self.words
            .word64(HEAD_WORDS + index)
            .store(value, Ordering::Relaxed);
    }

    /// Copies words of another block's content.
    #[inline(always)]
    pub(super) fn copy_from(&self, to: usize, other: &Block, from: usize, count: usize) {
        let (to, from) = (HEAD_WORDS + to, HEAD_WORDS + from);
        self.words.copy_words(to, other.words, from, count);
    }

    /// Its content.
    pub fn content(&self) -> Span<'static> {
        self.words.part(HEAD_WORDS * 8, self.words.len_bytes())
    }

    /// How many words its content has.
    #[inline(always)]
    pub(super) fn len_words(&self) -> usize {
        self.words.len_bytes() / 8 - HEAD_WORDS
    }
}

/// What a block's own word says at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding(pub(super) u64);

impl Holding {
    /// The cell of the process that has taken the block; 0: none, or one without a cell.
    pub fn owner(self) -> u32 {
        self.0 as u32
    }
}

const LOW: u64 = 0xffff_ffff;

/// `low` with the next tag of `before`.
fn next(before: u64, low: u32) -> u64 {
    ((before >> 32).wrapping_add(1) << 32) | u64::from(low)
}

impl IpcFile<'_> {
    /// The block with this number, if there can be one.
    #[inline(always)]
    pub(super) fn block(&self, unit: u32) -> Option<Block> {
        // What is in front of the first slab is no block.
        if unit < SLAB / UNIT {
            return None;
        }
        let (extent, at) = self.place(unit)?;
        let class = extent.word64(at / 8 + 1).load(Ordering::Relaxed) as u8;
        if u32::from(class) >= CLASSES {
            return None;
        }
        // A power of two.
        let len = (UNIT as usize) << class;
        let words = extent.part(at, len);
        // Looked at once for the first words, which every block has.
        let is_block = at & (len - 1) == 0 && words.len_bytes() >= UNIT as usize;
        is_block.then_some(Block { unit, words })
    }

    /// The extent that a block lies in, and where in it.
    #[inline(always)]
    fn place(&self, unit: u32) -> Option<(Span<'static>, usize)> {
        const UNITS: u32 = EXTENT / UNIT;
        let extent = self.extent(unit / UNITS)?;
        Some((extent, (unit % UNITS * UNIT) as usize))
    }

    /// The same of a block whose size is known.
    #[inline(always)]
    pub(super) fn block_of_class(&self, unit: u32, class: u32) -> Option<Block> {
        let (extent, at) = self.place(unit)?;
        let words = extent.part(at, (UNIT as usize) << class.min(CLASSES - 1));
        Some(Block { unit, words })
    }

    pub(super) fn arena_end(&self) -> u64 {
        self.header64(offset_of!(Header, arena_end))
            .load(Ordering::Acquire)
    }

    /// Takes a block whose content has room for `words` words; `owner`: the cell of the process in whose hands it is, 0 if it
    /// has none.
    #[inline]
    pub fn take(&self, words: usize, owner: u32) -> Stored<Block> {
        let class = Block::class_for(words);
        if class >= CLASSES {
            return Err(StorageError::TableFull {
                what: "bytes of one set, queue or message",
                holds: EXTENT,
            });
        }
        self.pop(class, owner)
            .map_or_else(|| self.more(class, owner), Ok)
    }

    /// Takes the first free block of a size.
    #[inline(always)]
    fn pop(&self, class: u32, owner: u32) -> Option<Block> {
        let head = self.header64(offset_of!(Header, free) + class as usize * 8);
        loop {
            let seen = head.load(Ordering::Acquire);
            let block = self.block((seen & LOW) as u32)?;
            let behind = block.words.word64(1).load(Ordering::Relaxed) >> 32;
            // Pairs with: the exchange in `push`.
            let taken = next(seen, behind as u32);
            if head
                .compare_exchange(seen, taken, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                self.possess(block, class, owner);
                return Some(Block {
                    unit: block.unit,
                    words: block.words.part(0, (UNIT << class) as usize),
                });
            }
        }
    }

    /// A block where none of its size is free: one that the dead have left, a new one, or a larger one.
    #[cold]
    #[inline(never)]
    fn more(&self, class: u32, owner: u32) -> Stored<Block> {
        // Paths and probes take more than a small stack has.
        own_stack::call(|| self.find_more(class, owner))
    }

    fn find_more(&self, class: u32, owner: u32) -> Stored<Block> {
        let end = self.arena_end();
        let mut slabs = 1;
        if self.has_much_to_sweep() {
            slabs = self.sweep_and_want(class);
            // Where others have cut some meanwhile, these do for a while.
            if slabs == 0 || self.arena_end() != end {
                if let Some(block) = self.pop(class, owner) {
                    return Ok(block);
                }
            }
        }
        let cut = self.cut(class, owner).or_else(|error| {
            self.sweep();
            (class..CLASSES)
                .find_map(|class| self.pop(class, owner))
                .ok_or(error)
        })?;
        for _ in 1..slabs {
            match self.cut(class, owner) {
                Ok(block) => self.give(block),
                // There is less room than would be good.
                Err(_) => break,
            }
        }
        Ok(cut)
    }

    fn possess(&self, block: Block, class: u32, owner: u32) {
        let tag = block.words.word64(0).load(Ordering::Relaxed);
        block
            .words
            .word64(0)
            .store(next(tag, owner), Ordering::Relaxed);
        block.words.word64(1).store(class.into(), Ordering::Relaxed);
        // Pairs with: the fence in `Root::is_still`. A reader of what is written from here on sees that the root that led here
        // has changed.
        fence(Ordering::Release);
    }

    /// Calls `each` with the free blocks of a size, until it says no. What is told counts if the head, which is returned, is
    /// the same afterwards.
    pub(super) fn each_free(&self, class: u32, each: &mut dyn FnMut(u32) -> bool) -> u64 {
        let head = self.free_head(class);
        let mut next = (head & LOW) as u32;
        while next != 0 && each(next) {
            let behind = self
                .block(next)
                .map_or(0, |block| block.words.word64(1).load(Ordering::Relaxed));
            next = (behind >> 32) as u32;
        }
        head
    }

    /// The head of the stack of free blocks of a size.
    pub(super) fn free_head(&self, class: u32) -> u64 {
        self.header64(offset_of!(Header, free) + class as usize * 8)
            .load(Ordering::Acquire)
    }

    /// Gives up the stack of free blocks of a size, if its head is still `head`.
    pub(super) fn give_up_free(&self, class: u32, head: u64) -> bool {
        self.header64(offset_of!(Header, free) + class as usize * 8)
            .compare_exchange(head, next(head, 0), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The holder of a block, and how often it was taken.
    #[inline(always)]
    pub fn holding(&self, block: Block) -> Holding {
        Holding(block.words.word64(0).load(Ordering::Acquire))
    }

    /// Says that a block is about to come into the hands of `owner`, by an exchange of the root that leads to it. `holding`: what
    /// was said of it while the root did. Nothing is said if it was given back since.
    pub fn claim(&self, block: Block, holding: Holding, owner: u32) -> Holding {
        let word = block.words.word64(0);
        let claimed = holding.0 & !LOW | u64::from(owner);
        let mut seen = holding.0;
        while let Err(other) =
            word.compare_exchange(seen, claimed, Ordering::AcqRel, Ordering::Relaxed)
        {
            if (other ^ holding.0) & !LOW != 0 {
                break;
            }
            seen = other;
        }
        Holding(claimed)
    }

    /// The same behind that exchange, and nobody can claim the block from here on. `None`: it was given back, as one that a dead
    /// process has left.
    pub fn take_claimed(&self, block: Block, holding: Holding, owner: u32) -> Option<Holding> {
        let word = block.words.word64(0);
        let taken = next(holding.0, owner);
        let mut seen = holding.0;
        while let Err(other) =
            word.compare_exchange(seen, taken, Ordering::AcqRel, Ordering::Relaxed)
        {
            if (other ^ holding.0) & !LOW != 0 {
                return None;
            }
            seen = other;
        }
        Some(Holding(taken))
    }

    /// Gives a block back that a root has led to until the caller's exchange, unless it was taken for one that a dead process has
    /// left. `holding`: what was said of it while a root led to it; others may have claimed it since, and lost.
    #[inline]
    pub fn give_replaced(&self, block: Block, holding: Holding) -> bool {
        let mut seen = holding;
        while let Err(other) = self.give_held(block, seen) {
            if (other.0 ^ holding.0) & !LOW != 0 {
                return false;
            }
            seen = other;
        }
        true
    }

    /// Gives a block back if `holding` is what is said of it; else what is.
    #[inline(always)]
    pub(super) fn give_held(&self, block: Block, holding: Holding) -> Result<(), Holding> {
        let word = block.words.word64(0);
        let free = next(holding.0, 0);
        word.compare_exchange(holding.0, free, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(Holding)?;
        self.push(block, block, block.class());
        Ok(())
    }

    /// A set's block that a root has led to until now comes into the hands of `owner`, unless it was taken for one that a dead
    /// process has left. `holding`: what was said of it while a root led to it. Nobody else changes what is said of one that
    /// `owner` has taken: not that of a set.
    #[inline(always)]
    pub fn keep_replaced(&self, block: Block, holding: Holding, owner: u32) -> bool {
        let kept = next(holding.0, owner);
        holding.owner() == owner
            || block
                .words
                .word64(0)
                .compare_exchange(holding.0, kept, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// A block that was kept, to be written to again; `None`: it is not in the hands of `owner`.
    #[inline(always)]
    pub fn kept_block(&self, unit: u32, class: u32, owner: u32) -> Option<Block> {
        if unit == 0 {
            return None;
        }
        let block = self.block_of_class(unit, class)?;
        // Pairs with: the fence in `Root::is_still`, as in `possess`.
        fence(Ordering::Release);
        (self.holding(block).owner() == owner).then_some(block)
    }

    /// Gives a block back that the caller has taken, and that no root has ever led to.
    #[inline]
    pub(super) fn give(&self, block: Block) {
        let tag = block.words.word64(0).load(Ordering::Relaxed);
        block.words.word64(0).store(next(tag, 0), Ordering::Relaxed);
        self.push(block, block, block.class());
    }

    /// Puts a chain of free blocks on their stack.
    fn push(&self, first: Block, last: Block, class: u32) {
        let head = self.header64(offset_of!(Header, free) + class as usize * 8);
        let mut seen = head.load(Ordering::Relaxed);
        loop {
            let link = (seen & LOW) << 32 | u64::from(class);
            last.words.word64(1).store(link, Ordering::Relaxed);
            match head.compare_exchange(
                seen,
                next(seen, first.unit),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    // Not in the caller's frame: a path takes room.
    #[cold]
    #[inline(never)]
    fn cannot_map(&self) -> StorageError {
        let path = self.processes().directory().inside(super::file::NAME);
        StorageError::system("map", &path, crate::os::OsError(libc::ENOMEM))
    }

    /// Cuts new blocks of a size from what was not used yet, keeps the first and puts the others on the stack.
    #[cold]
    #[inline(never)]
    fn cut(&self, class: u32, owner: u32) -> Stored<Block> {
        let size = u64::from(UNIT) << class;
        let slab = size.max(SLAB.into());
        let end = self.header64(offset_of!(Header, arena_end));
        let (start, stop) = loop {
            let seen = end.load(Ordering::Acquire);
            let start = seen.next_multiple_of(slab);
            let stop = start + slab;
            if stop > MOST_BYTES {
                return Err(StorageError::TableFull {
                    what: "bytes of sets, queues and messages",
                    holds: EXTENT.saturating_mul(EXTENTS - 1),
                });
            }
            // Backed first: a full file system leaves everything as it is.
            self.back(u64::from(ARENA) + start, slab)?;
            self.ensure(&SLAB_PART, (start / u64::from(SLAB)) as u32)?;
            if end
                .compare_exchange(seen, stop, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                break (start, stop);
            }
        };
        if let Some(cut) = self.entry(&SLAB_PART, (start / u64::from(SLAB)) as u32) {
            cut.word64(0).store(u64::from(class) + 1, Ordering::Release);
        }
        let number = (start / u64::from(EXTENT)) as u32;
        let Some(extent) = self.extent(number) else {
            return Err(self.cannot_map());
        };
        let at = |offset: u64| Block {
            unit: (offset / u64::from(UNIT)) as u32,
            words: extent.part((offset % u64::from(EXTENT)) as usize, size as usize),
        };
        let mut last = None;
        let mut chain = None;
        let mut offset = stop - size;
        while offset > start {
            let block = at(offset);
            let behind: u32 = chain.map_or(0, |next: Block| next.unit);
            block.words.word64(1).store(
                u64::from(behind) << 32 | u64::from(class),
                Ordering::Relaxed,
            );
            last = last.or(Some(block));
            chain = Some(block);
            offset -= size;
        }
        if let (Some(first), Some(last)) = (chain, last) {
            self.push(first, last, class);
        }
        let block = at(start);
        self.possess(block, class, owner);
        Ok(block)
    }
}

/// The smallest size of a block of so many bytes.
#[inline(always)]
fn class_of(bytes: usize) -> u32 {
    let units = bytes.div_ceil(UNIT as usize).max(1);
    usize::BITS - (units - 1).leading_zeros()
}

#[cfg(test)]
mod tests;
