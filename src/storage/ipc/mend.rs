//! The file `ipc` is made right again as far as it can be while programs use it.
//!
//! What objects there are their roots say, and what is in them their blocks; the directories and the stacks of free blocks can be
//! computed from that. So a root that leads to no object of its index is emptied, a stack with a block in it that is none or in
//! use is given up, a directory that does not say what the roots say is made anew. A block's contents nothing else knows: what
//! was written over is not noticed, but where a count or a size in it cannot be.
//!
//! Each step is one exchange, as every change of the file. Blocks of a stack that was given up, and of objects that were, cannot be
//! told from those that a living process has just let go of: they stay out of use until nobody lives in the namespace
//! ([`IpcFile::give_unused`]), or until the sweep finds that their takers have died.

use super::arena::{Block, Holding};
use super::audit::{Seens, Used, User, push};
use super::directory::{CursorWords, Entry};
use super::file::IpcFile;
use super::layout::{CLASSES, EXTENT, EXTENTS, Header, OBJECTS, SLAB, SLAB_PART, UNIT};
use super::root::{Kind, Root, Seen};
use super::words::{high, low, pair};
use crate::os::pages::PageVec;
use crate::storage::error::Stored;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

/// How often something is looked at that changes meanwhile.
const TRIES: u32 = 1000;
/// Words that an object begins with.
const HEAD: usize = 6;
const KINDS: [Kind; 2] = [Kind::Set, Kind::Queue];

/// What a root leads to.
enum Content {
    /// The object of its index.
    Object { id: i32, key: i32, size: u32 },
    /// What is left of a removed one for its sleepers.
    Removed,
    /// No object of this index.
    Wrong,
}

impl IpcFile<'_> {
    /// Mends all but what is in the queues. `owner`: the caller's cell; `fresh`: where identifiers of a kind go on of which nobody
    /// knows it.
    pub fn mend(&self, owner: u32, fresh: CursorWords) -> Stored<()> {
        self.mend_end()?;
        for kind in KINDS {
            self.empty_wrong_roots(kind);
        }
        // Before the first block is taken.
        self.mend_free()?;
        for kind in KINDS {
            self.mend_directory(kind, owner, fresh)?;
        }
        Ok(())
    }

    /// The blocks end where the file has some. What it does not have is lost, and never used again: it is cut anew.
    fn mend_end(&self) -> Stored<()> {
        let extents = self.arena_len()? / u64::from(EXTENT);
        let most = extents.min(EXTENTS.into()) * u64::from(EXTENT);
        let most = most.max(SLAB.into());
        let end = self.arena_end();
        // What was cut was in front of the end before.
        let last = self.end_of_last_cut(most);
        if end > most || end % u64::from(UNIT) != 0 || end < last {
            let word = self.header64(offset_of!(Header, arena_end));
            let _ = word.compare_exchange(end, last, Ordering::AcqRel, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Where the last piece of the first `most` bytes ends that was cut into blocks.
    fn end_of_last_cut(&self, most: u64) -> u64 {
        let cut = |slab: u32| {
            let mark = self
                .entry(&SLAB_PART, slab)?
                .word64(0)
                .load(Ordering::Acquire);
            let class = u32::try_from(mark).ok()?.checked_sub(1)?;
            let size = (class < CLASSES).then(|| u64::from(UNIT) << class)?;
            Some(u64::from(slab) * u64::from(SLAB) + size.max(SLAB.into()))
        };
        let last = (1..(most / u64::from(SLAB)) as u32).rev().find_map(cut);
        last.unwrap_or(SLAB.into()).min(most)
    }

    fn was_cut(&self, block: &Block) -> bool {
        let end = u64::from(block.unit) * u64::from(UNIT) + block.words.len_bytes() as u64;
        end <= self.arena_end()
    }

    fn content(&self, kind: Kind, slot: u32, seen: Seen) -> Content {
        let Some(block) = self.block_of(seen) else {
            return Content::Wrong;
        };
        // A file that was cut and made as long again has zeros.
        if !self.was_cut(&block) || (0..HEAD).all(|at| block.get(at) == 0) {
            return Content::Wrong;
        }
        let word = block.get(0);
        let (id, key) = (low(word) as i32, high(word) as i32);
        let (is_removed, size) = match kind {
            Kind::Set => match self.set_of(block) {
                Some(set) if set.len() != 0 => (set.is_removed(), set.len()),
                _ => return Content::Wrong,
            },
            Kind::Queue => match self.queue_of(block) {
                Some(queue) => (queue.is_removed(), 0),
                None => return Content::Wrong,
            },
        };
        match (id >= 0 && id as u32 % OBJECTS == slot, is_removed) {
            (false, _) => Content::Wrong,
            (true, true) => Content::Removed,
            (true, false) => Content::Object { id, key, size },
        }
    }

    /// The same at one moment; nothing where the root is empty, or changes all the time and so is in use.
    fn content_of(&self, kind: Kind, slot: u32, root: Root) -> Option<(Seen, Content)> {
        for _ in 0..TRIES {
            let seen = root.seen();
            if seen.unit() == 0 {
                return None;
            }
            let content = self.content(kind, slot, seen);
            if root.is_still(seen) {
                return Some((seen, content));
            }
        }
        None
    }

    fn empty_wrong_roots(&self, kind: Kind) {
        for slot in 0..OBJECTS {
            let Some(root) = self.root(kind, slot) else {
                return;
            };
            if let Some((seen, Content::Wrong)) = self.content_of(kind, slot, root) {
                root.change(seen, 0);
            }
        }
    }

    /// All blocks that are in use or free, at one moment. `None`: there is none, so much changes.
    fn collect_still(&self) -> Stored<Option<Seens>> {
        let mut seens = Seens::default();
        for _ in 0..TRIES {
            self.collect(&mut seens)?;
            if self.is_all_still(&seens) {
                return Ok(Some(seens));
            }
        }
        Ok(None)
    }

    /// Gives up the stacks with a block in them that is in use, twice there, or none.
    fn mend_free(&self) -> Stored<()> {
        for _ in 0..TRIES {
            let Some(seens) = self.collect_still()? else {
                return Ok(());
            };
            let mut wrong = [false; CLASSES as usize];
            let mut mark = |used: &Used| {
                if let User::Free(class) = used.by {
                    if let Some(wrong) = wrong.get_mut(class as usize) {
                        *wrong = true;
                    }
                }
            };
            // A block may reach over several.
            let mut widest: Option<&Used> = None;
            for used in seens.used.iter() {
                let (before, size) = (widest.filter(|it| it.overlaps(used)), used.units);
                if let Some(before) = before {
                    mark(before);
                    mark(used);
                }
                let is_one = self
                    .block(used.unit)
                    .is_some_and(|block| 1 << block.class() == size);
                if !is_one {
                    mark(used);
                }
                let end = |it: &Used| it.unit.saturating_add(it.units);
                if widest.is_none_or(|it| end(it) < end(used)) {
                    widest = Some(used);
                }
            }
            let mut given_up = true;
            for (class, _) in (0..).zip(&wrong).filter(|(_, wrong)| **wrong) {
                given_up &= seens
                    .head(class)
                    .is_some_and(|head| self.give_up_free(class, head));
            }
            if given_up {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes a directory say what the roots say.
    fn mend_directory(&self, kind: Kind, owner: u32, fresh: CursorWords) -> Stored<()> {
        for _ in 0..TRIES {
            let directory = self.directory(kind);
            self.set_roots_of_the_killed(kind);
            let mut entries = PageVec::new();
            for slot in 0..OBJECTS {
                let Some(root) = self.root(kind, slot) else {
                    break;
                };
                if let Some((seen, Content::Object { id, key, size })) =
                    self.content_of(kind, slot, root)
                {
                    let known = directory.find_slot(slot).filter(|entry| entry.id == id);
                    // Of a root that is no more, and does not come again.
                    let tag = seen.tag().wrapping_sub(1);
                    let (first, tag) = known.map_or((seen.unit(), tag), |it| (it.first, it.tag));
                    let entry = Entry {
                        id,
                        key,
                        size,
                        first,
                        tag,
                    };
                    push(&mut entries, entry)?;
                }
            }
            if !directory.is_still() {
                continue;
            }
            if let Some(again) = second_with_key(&entries)? {
                // Its id still leads to it.
                self.forget_key(kind, again, owner)?;
                continue;
            }
            let block = directory.block();
            let is_right =
                block.is_some_and(|block| self.was_cut(&block)) && directory.is_right(&entries);
            let cursor = directory
                .cursor()
                .filter(|(next, last, _)| *next <= OBJECTS && (-1..OBJECTS as i32).contains(last));
            if is_right && cursor.is_some() || entries.is_empty() && directory.is_none() {
                return Ok(());
            }
            let cursor = cursor.unwrap_or(fresh);
            if self.replace_directory(&directory, &entries, cursor, owner)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// An object that was entered, and whose maker was killed before it set the root, gets it.
    fn set_roots_of_the_killed(&self, kind: Kind) {
        let directory = self.directory(kind);
        for at in 0..directory.count() {
            let entry = directory.entry(at);
            let slot = entry.id as u32 % OBJECTS;
            let Some(root) = self.root(kind, slot) else {
                continue;
            };
            let seen = root.seen();
            let is_there = self.is_first_there(kind, &entry);
            if seen == Seen::empty(entry.tag) && is_there && directory.is_still() {
                root.change(seen, entry.first);
            }
        }
    }

    /// Whether the first block of an object that was entered is it. A free one may say so still.
    pub(super) fn is_first_there(&self, kind: Kind, entry: &Entry) -> bool {
        let first = Seen::of(entry.first, entry.tag);
        let is_taken = |block| self.holding(block).owner() != 0;
        let slot = entry.id as u32 % OBJECTS;
        let content = self.content(kind, slot, first);
        matches!(content, Content::Object { id, .. } if id == entry.id)
            && self.block(entry.first).is_some_and(is_taken)
    }

    /// Makes an object one without a key.
    fn forget_key(&self, kind: Kind, id: i32, owner: u32) -> Stored<()> {
        let Some(root) = self.root(kind, id as u32 % OBJECTS) else {
            return Ok(());
        };
        for _ in 0..TRIES {
            let seen = root.seen();
            let Some(old) = self.block_of(seen) else {
                return Ok(());
            };
            let holding = self.holding(old);
            let copy = self.take(old.len_words(), owner)?;
            copy.copy_from(0, &old, 0, old.len_words());
            copy.put(0, pair(id as u32, 0));
            if root.is_still(seen) && root.change(seen, copy.unit) {
                self.give_replaced(old, holding);
                return Ok(());
            }
            self.give(copy);
        }
        Ok(())
    }

    /// Takes apart what has one block together: calls `drop_text` with the index of a queue and a text that another one has, too. Of two
    /// objects the second is given up.
    pub fn part(&self, drop_text: &mut dyn FnMut(u32, u32)) -> Stored<()> {
        let Some(seens) = self.collect_still()? else {
            return Ok(());
        };
        let in_use = seens
            .used
            .iter()
            .filter(|used| !matches!(used.by, User::Free(_)));
        let mut widest: Option<&Used> = None;
        for used in in_use {
            match widest
                .filter(|before| before.overlaps(used))
                .map(|before| (before, used))
            {
                Some(
                    (
                        _,
                        Used {
                            by: User::Text(slot),
                            unit,
                            ..
                        },
                    )
                    | (
                        Used {
                            by: User::Text(slot),
                            unit,
                            ..
                        },
                        _,
                    ),
                ) => {
                    drop_text(*slot, *unit);
                }
                Some(
                    (
                        _,
                        Used {
                            by: User::Object(kind, slot),
                            ..
                        },
                    )
                    | (
                        Used {
                            by: User::Object(kind, slot),
                            ..
                        },
                        _,
                    ),
                ) => {
                    let root = self.root(*kind, *slot);
                    if let (Some(root), Some(seen)) = (root, seens.seen(*kind, *slot)) {
                        root.change(seen, 0);
                    }
                }
                _ => {}
            }
            let end = |it: &Used| it.unit.saturating_add(it.units);
            if widest.is_none_or(|it| end(it) < end(used)) {
                widest = Some(used);
            }
        }
        Ok(())
    }

    /// Gives back all blocks that nothing leads to. `is_alone`: whether no other process lives in the namespace; it is asked when it has
    /// been seen what there is. A later caller takes what is free, or new.
    pub fn give_unused(&self, is_alone: &dyn Fn() -> bool) -> Stored<()> {
        let mut known: PageVec<(u32, u32, Holding)> = PageVec::new();
        let mut noted = Ok(());
        self.each_block(0..CLASSES, &mut |block, class| {
            noted = push(&mut known, (block.unit, class, self.holding(block)));
            noted.is_ok().then_some(())
        });
        noted?;
        let Some(seens) = self.collect_still()? else {
            return Ok(());
        };
        if !is_alone() {
            return Ok(());
        }
        let mut used = seens.used.iter().peekable();
        let mut reached = 0;
        for (unit, class, holding) in known.iter().copied() {
            let end = unit.saturating_add(1 << class);
            while let Some(one) = used.next_if(|one| one.unit < end) {
                reached = one.unit.saturating_add(one.units).max(reached);
            }
            if reached > unit {
                continue;
            }
            if let Some(block) = self.block_of_class(unit, class) {
                block.words.word64(1).store(class.into(), Ordering::Relaxed);
                self.give_replaced(block, holding);
            }
        }
        Ok(())
    }
}

/// The identifier of an object with a key that an earlier one has.
fn second_with_key(entries: &[Entry]) -> Stored<Option<i32>> {
    let mut keys = PageVec::new();
    for entry in entries.iter().filter(|entry| entry.key != 0) {
        push(&mut keys, (entry.key, entry.id as u32 % OBJECTS, entry.id))?;
    }
    keys.sort_unstable();
    let mut pairs = keys.iter().zip(keys.iter().skip(1));
    Ok(pairs
        .find(|(one, next)| one.0 == next.0)
        .map(|(_, next)| next.2))
}
