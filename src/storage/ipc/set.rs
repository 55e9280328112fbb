//! A semaphore set as a block.
//!
//! ```text
//!   0  id | key           3  mode, removed | semaphores     6  undos | room for them
//!   1  uid | gid          4  otime                          7  sleepers | room
//!   2  cuid | cgid        5  ctime                          8  operations | room
//!   9  one word a semaphore: value | pid
//!      two an undo: owner | pid, number | adjust
//!      three a sleeper: owner | pid, place | operations, blocked at; first operation | alters, answer
//!      one an operation
//! ```

use super::arena::{Block, HEAD_WORDS};
use super::file::IpcFile;
use super::head::{self, Words};
use super::layout::EXTENT;
use super::root::Seen;
use super::words::{high, low, pair};
use crate::storage::error::Stored;
use crate::sysv::sem::{Answer, Operation, SetPerm, SetState, Sleeper, Undo};
use crate::sysv::{Errno, IpcPerm, Key};

const HEAD: usize = 9;
const UNDO: usize = 2;
const SLEEPER: usize = 3;
/// Semaphores that a set can have: those for which a block has words.
pub const MOST_SEMAPHORES: u32 = EXTENT / 8 - (HEAD_WORDS + HEAD) as u32;
/// Of a block that can be a set's.
const LEAST_BYTES: usize = (HEAD_WORDS + HEAD) * 8;
/// A set's block: one that was published, to be read; or a copy, to be changed.
#[derive(Clone, Copy)]
pub struct SetBlock {
    block: Block,
    count: u32,
    undos_at: usize,
    sleepers_at: usize,
    operations_at: usize,
}

/// How much more room a copy is to have than what is there takes.
#[derive(Clone, Copy, Default)]
pub struct MoreRoom {
    /// Undos.
    pub undos: u32,
    /// Sleepers.
    pub sleepers: u32,
    /// Their operations.
    pub operations: u32,
}

impl SetBlock {
    #[inline(always)]
    fn of(block: Block) -> SetBlock {
        // More than the block has words is no more unsound than as many, and does not overflow.
        let room = |at| high(block.get(at)).min(block.len_words() as u32) as usize;
        let count = room(3);
        let undos_at = HEAD + count;
        let sleepers_at = undos_at + room(6) * UNDO;
        let operations_at = sleepers_at + room(7) * SLEEPER;
        SetBlock {
            block,
            count: count as u32,
            undos_at,
            sleepers_at,
            operations_at,
        }
    }

    /// Whether all of it can lie in the block.
    #[inline(always)]
    fn is_sound(&self) -> bool {
        let end = self
            .operations_at
            .saturating_add(high(self.block.get(8)) as usize);
        let fits = |word: u64| low(word) <= high(word);
        end <= self.block.len_words()
            && fits(self.block.get(6))
            && fits(self.block.get(7))
            && fits(self.block.get(8))
    }

    /// The block.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Whether the set was removed.
    #[inline(always)]
    pub fn is_removed(&self) -> bool {
        head::is_removed(&self.block)
    }

    /// Says so.
    pub fn set_removed(&mut self) {
        head::set_removed(&self.block);
    }

    /// How many semaphores it has.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Takes the identifier out of a set that the caller's exchange has replaced: its block is not taken for the first one of a set
    /// whose root was lost.
    #[inline(always)]
    pub fn forget_id(&self) {
        head::forget_id(&self.block);
    }

    /// Its identifier.
    #[inline(always)]
    pub fn id(&self) -> i32 {
        head::id(&self.block)
    }

    /// Owner, creator and mode.
    #[inline(always)]
    pub fn words(&self) -> Words {
        Words::of(&self.block)
    }

    /// What is known of the set.
    #[inline(always)]
    pub fn facts(&self, perm: impl FnOnce(Words) -> IpcPerm) -> SetPerm {
        SetPerm {
            perm: perm(self.words()),
            key: Key(high(self.block.get(0)) as i32),
            otime: self.block.get(4) as i64,
            ctime: self.block.get(5) as i64,
            count: self.count,
        }
    }

    /// Changes owner, group and mode.
    pub fn set_perm(&mut self, uid: u32, gid: u32, mode: u32) {
        self.block.put(1, pair(uid, gid));
        self.block.put(3, pair(mode, self.count));
    }

    /// The index of the sleeper with this place.
    pub fn sleeper_at(&self, place: u32) -> Option<u32> {
        let at = |index: u32| self.sleepers_at + index as usize * SLEEPER + 1;
        (0..self.sleepers()).find(|&index| low(self.block.get(at(index))) == place)
    }

    /// Words that a copy takes that has no sleepers, and room for so many undos.
    #[inline(always)]
    pub fn words_of_quiet_copy(&self, undos: u32) -> usize {
        self.undos_at + undos as usize * UNDO
    }

    /// Such a copy, in a block with so many words.
    #[inline(always)]
    pub fn copy_quiet(&self, block: Block, undos: u32) -> Option<SetBlock> {
        let (used, end) = (self.undos(), self.words_of_quiet_copy(undos));
        // Looked at once, as in `set_of`.
        if block.words.len_bytes() < LEAST_BYTES {
            return None;
        }
        block.copy_from(0, &self.block, 0, HEAD);
        let behind = self.words_of_quiet_copy(used) - HEAD;
        block.copy_from(HEAD, &self.block, HEAD, behind);
        block.put(3, pair(low(self.block.get(3)), self.count));
        block.put(6, pair(used, undos));
        block.put(7, 0);
        block.put(8, 0);
        Some(SetBlock {
            block,
            count: self.count,
            undos_at: self.undos_at,
            sleepers_at: end,
            operations_at: end,
        })
    }

    fn write_sleeper(&self, index: u32, sleeper: &Sleeper, first: u32) {
        let at = self.sleepers_at + index as usize * SLEEPER;
        let answer = match sleeper.answer {
            Answer::Waits => 0,
            Answer::Done => 1,
            Answer::Failed(errno) => 2 + errno.raw() as u32,
        };
        let counts = u32::from(sleeper.operations) | u32::from(sleeper.blocked_at) << 16;
        self.block.put(at, pair(sleeper.owner, sleeper.pid as u32));
        self.block.put(at + 1, pair(sleeper.place, counts));
        self.block
            .put(at + 2, pair(first, u32::from(sleeper.alters) | answer << 1));
    }

    /// How many operations its sleepers have.
    #[inline(always)]
    fn operations_in_use(&self, sleepers: u32) -> u32 {
        // Never more than the block can have, so that one that is another's by now is not taken for one too large to copy.
        let most = self.block.len_words().saturating_sub(self.operations_at) as u32;
        (0..sleepers).fold(0, |sum: u32, index| {
            sum.saturating_add(self.sleeper(index).operations.into())
                .min(most)
        })
    }

    /// Copies the sleepers of another set, their operations close together.
    #[inline(never)]
    fn copy_sleepers(&self, old: &SetBlock, sleepers: u32, operations: u32) {
        let mut used = 0;
        for index in 0..sleepers {
            let sleeper = old.sleeper(index);
            self.write_sleeper(index, &sleeper, used);
            let from = old.operations_at + old.first_operation(index) as usize;
            let count = u32::from(sleeper.operations).min(operations.saturating_sub(used));
            let to = self.operations_at + used as usize;
            self.block.copy_from(to, &old.block, from, count as usize);
            used += count;
        }
    }

    fn first_operation(&self, index: u32) -> u32 {
        low(self
            .block
            .get(self.sleepers_at + index as usize * SLEEPER + 2))
    }
}

/// Bytes of the arena that a set with so many semaphores takes, to which nobody owes anything.
pub fn set_bytes(count: u32) -> u64 {
    Block::bytes_for(HEAD + count as usize)
}

/// The errno of a sleeper's answer.
pub(super) fn errno_of(number: u32) -> Errno {
    match number as i32 {
        libc::EAGAIN => Errno::Eagain,
        libc::ERANGE => Errno::Erange,
        libc::E2BIG => Errno::E2big,
        libc::EACCES => Errno::Eacces,
        _ => Errno::Eidrm,
    }
}

fn operation_word(operation: Operation) -> u64 {
    u64::from(operation.number)
        | u64::from(operation.change as u16) << 16
        | u64::from(operation.flags as u16) << 32
}

impl SetState for SetBlock {
    #[inline(always)]
    fn count(&self) -> u32 {
        self.count
    }

    #[inline(always)]
    fn value(&self, number: u32) -> u16 {
        if number < self.count {
            self.block.get(HEAD + number as usize) as u16
        } else {
            0
        }
    }

    #[inline(always)]
    fn pid(&self, number: u32) -> i32 {
        if number < self.count {
            high(self.block.get(HEAD + number as usize)) as i32
        } else {
            0
        }
    }

    #[inline(always)]
    fn set(&mut self, number: u32, value: u16, pid: i32) {
        if number < self.count {
            self.block
                .put(HEAD + number as usize, pair(value.into(), pid as u32));
        }
    }

    #[inline(always)]
    fn set_otime(&mut self, secs: i64) {
        self.block.put(4, secs as u64);
    }

    fn set_ctime(&mut self, secs: i64) {
        self.block.put(5, secs as u64);
    }

    // Counts are bounded by where the parts lie, which was looked at once: the block may be another's by now.
    #[inline(always)]
    fn undos(&self) -> u32 {
        let room = (self.sleepers_at - self.undos_at) / UNDO;
        low(self.block.get(6)).min(room as u32)
    }

    #[inline(always)]
    fn undo(&self, index: u32) -> Undo {
        let at = self.undos_at + index as usize * UNDO;
        let (who, what) = (self.block.get(at), self.block.get(at + 1));
        Undo {
            owner: low(who),
            pid: high(who) as i32,
            number: what as u16,
            adjust: (what >> 16) as i16,
        }
    }

    #[inline(always)]
    fn set_undo(&mut self, index: u32, undo: Undo) {
        if index < self.undos() {
            let at = self.undos_at + index as usize * UNDO;
            self.block.put(at, pair(undo.owner, undo.pid as u32));
            let what = u64::from(undo.number) | u64::from(undo.adjust as u16) << 16;
            self.block.put(at + 1, what);
        }
    }

    #[inline]
    fn push_undo(&mut self, undo: Undo) {
        let (undos, room) = (self.undos(), high(self.block.get(6)));
        debug_assert!(undos < room);
        if undos < room {
            self.block.put(6, pair(undos + 1, room));
            self.set_undo(undos, undo);
        }
    }

    fn swap_remove_undo(&mut self, index: u32) {
        let (undos, room) = (self.undos(), high(self.block.get(6)));
        if let Some(last) = undos.checked_sub(1).filter(|&last| index <= last) {
            let moved = self.undo(last);
            self.set_undo(index, moved);
            self.block.put(6, pair(last, room));
        }
    }

    #[inline(always)]
    fn sleepers(&self) -> u32 {
        let room = (self.operations_at - self.sleepers_at) / SLEEPER;
        low(self.block.get(7)).min(room as u32)
    }

    #[inline]
    fn sleeper(&self, index: u32) -> Sleeper {
        let at = self.sleepers_at + index as usize * SLEEPER;
        let (who, where_, how) = (
            self.block.get(at),
            self.block.get(at + 1),
            self.block.get(at + 2),
        );
        let answer = match high(how) >> 1 {
            0 => Answer::Waits,
            1 => Answer::Done,
            errno => Answer::Failed(errno_of(errno - 2)),
        };
        Sleeper {
            owner: low(who),
            pid: high(who) as i32,
            place: low(where_),
            operations: high(where_) as u16,
            blocked_at: (high(where_) >> 16) as u16,
            alters: high(how) & 1 != 0,
            answer,
        }
    }

    fn set_sleeper(&mut self, index: u32, sleeper: Sleeper) {
        if index < self.sleepers() {
            self.write_sleeper(index, &sleeper, self.first_operation(index));
        }
    }

    #[inline]
    fn operation(&self, index: u32, nth: u32) -> Operation {
        let at = self.first_operation(index).saturating_add(nth);
        let word = self.block.get(self.operations_at + at as usize);
        Operation {
            number: word as u16,
            change: (word >> 16) as i16,
            flags: (word >> 32) as i16,
        }
    }

    fn push_sleeper(&mut self, sleeper: Sleeper, operations: &[Operation]) {
        let (sleepers, room) = (self.sleepers(), high(self.block.get(7)));
        let (used, operation_room) = (low(self.block.get(8)), high(self.block.get(8)));
        let more = operations.len() as u32;
        if sleepers < room && operation_room.saturating_sub(used) >= more {
            for (at, operation) in (self.operations_at + used as usize..).zip(operations) {
                self.block.put(at, operation_word(*operation));
            }
            self.block.put(8, pair(used + more, operation_room));
            self.block.put(7, pair(sleepers + 1, room));
            self.write_sleeper(sleepers, &sleeper, used);
        }
    }

    fn swap_sleepers(&mut self, one: u32, other: u32) {
        let (first, at_first) = (self.sleeper(one), self.first_operation(one));
        let (second, at_second) = (self.sleeper(other), self.first_operation(other));
        if one.max(other) < self.sleepers() {
            self.write_sleeper(one, &second, at_second);
            self.write_sleeper(other, &first, at_first);
        }
    }

    fn remove_sleeper(&mut self, index: u32) {
        // Its operations stay until the next copy is made.
        let (sleepers, room) = (self.sleepers(), high(self.block.get(7)));
        for at in index..sleepers.saturating_sub(1) {
            let (behind, first) = (self.sleeper(at + 1), self.first_operation(at + 1));
            self.write_sleeper(at, &behind, first);
        }
        if index < sleepers {
            self.block.put(7, pair(sleepers - 1, room));
        }
    }
}

impl IpcFile<'_> {
    /// The set that a root has led to; `None`: it is none, or it has changed meanwhile.
    #[inline(always)]
    pub fn set(&self, seen: Seen) -> Option<SetBlock> {
        self.set_of(self.block_of(seen)?)
    }

    /// A block as a set; `None`: it is none.
    #[inline(always)]
    pub(super) fn set_of(&self, block: Block) -> Option<SetBlock> {
        // Looked at once for all words of the head, which no set's block is too small for.
        if block.words.len_bytes() < LEAST_BYTES {
            return None;
        }
        let set = SetBlock::of(block);
        set.is_sound().then_some(set)
    }

    /// A new set, not yet published.
    pub fn new_set(
        &self,
        words: Words,
        key: i32,
        count: u32,
        now: i64,
        owner: u32,
    ) -> Stored<SetBlock> {
        let block = self.take(HEAD + count as usize, owner)?;
        words.write(&block, key, count);
        block.put(4, 0);
        block.put(5, now as u64);
        for at in 6..HEAD + count as usize {
            block.put(at, 0);
        }
        Ok(SetBlock::of(block))
    }

    /// A copy of a set with more room in it. What was copied was the set if its root is still what it was.
    #[inline]
    pub fn copy_set(&self, old: &SetBlock, more: MoreRoom, owner: u32) -> Stored<SetBlock> {
        let (undos, sleepers) = (old.undos(), old.sleepers());
        let operations = old.operations_in_use(sleepers);
        let room = |used: u32, more: u32| used.saturating_add(more);
        let (undo_room, sleeper_room) = (room(undos, more.undos), room(sleepers, more.sleepers));
        let operation_room = room(operations, more.operations);
        let undos_at = HEAD + old.count as usize;
        let sleepers_at = undos_at + undo_room as usize * UNDO;
        let operations_at = sleepers_at + sleeper_room as usize * SLEEPER;
        let block = self.take(operations_at.saturating_add(operation_room as usize), owner)?;
        let (from, to) = (old.block, block);
        to.copy_from(0, &from, 0, undos_at + undos as usize * UNDO);
        // Should it have been torn, it is thrown away; until then it must be in order.
        to.put(3, pair(low(from.get(3)), old.count));
        to.put(6, pair(undos, undo_room));
        to.put(7, pair(sleepers, sleeper_room));
        to.put(8, pair(operations, operation_room));
        let copy = SetBlock {
            block,
            count: old.count,
            undos_at,
            sleepers_at,
            operations_at,
        };
        if sleepers != 0 {
            copy.copy_sleepers(old, sleepers, operations);
        }
        Ok(copy)
    }
}

#[cfg(test)]
mod tests;
