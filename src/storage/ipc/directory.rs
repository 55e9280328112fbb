//! Which objects of a kind there are: one block, sorted by index, with key, identifier and first block of each.
//!
//! An object exists from the exchange of the directory's root on that enters it, and until the exchange of its own root that
//! removes it. Between the first and the one that sets its root, and between the last and the one that takes it out of the
//! directory, its maker or remover can be killed; the next process does the rest ([`Entry::tag`] tells which).

use super::arena::Block;
use super::file::IpcFile;
use super::root::{Kind, Root, Seen};
use crate::storage::error::{StorageError, Stored};

/// Words of the head: next and last of the cursor; its seq and how many entries there are; the sum of their sizes.
const HEAD: usize = 3;
const ENTRY: usize = 3;

/// An object in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its identifier.
    pub id: i32,
    /// Its key, 0 for none.
    pub key: i32,
    /// Semaphores in a set.
    pub size: u32,
    /// Its first block.
    pub first: u32,
    /// The tag of its root before it had one.
    pub tag: u32,
}

impl Entry {
    fn words(&self) -> [u64; ENTRY] {
        [
            u64::from(self.id as u32) | u64::from(self.key as u32) << 32,
            u64::from(self.size) | u64::from(self.first) << 32,
            self.tag.into(),
        ]
    }
}

fn write_head(block: &Block, (next, last, seq): CursorWords, count: u32, total: u64) {
    block.put(0, u64::from(next) | u64::from(last as u32) << 32);
    block.put(1, u64::from(seq) | u64::from(count) << 32);
    block.put(2, total);
}

/// The cursor of identifiers: next, last, seq.
pub type CursorWords = (u32, i32, u32);

/// A kind's directory as it was at one moment; what is read from it counts if [`Directory::is_still`].
#[derive(Clone, Copy)]
pub struct Directory {
    root: Root,
    seen: Seen,
    block: Option<Block>,
}

impl Directory {
    fn word(&self, index: usize) -> u64 {
        self.block.map_or(0, |block| block.get(index))
    }

    /// Whether all that was read was true at one moment.
    #[inline(always)]
    pub fn is_still(&self) -> bool {
        self.root.is_still(self.seen)
    }

    /// Whether it was never made.
    pub(super) fn is_none(&self) -> bool {
        self.seen.unit() == 0
    }

    /// The block that says it, if there is one.
    pub(super) fn block(&self) -> Option<Block> {
        self.block
    }

    /// Whether it has these entries, and says their sum; where an object was moved to, it does not say.
    pub(super) fn is_right(&self, entries: &[Entry]) -> bool {
        let total = entries.iter().map(|entry| entry.size).sum::<u32>();
        self.count() as usize == entries.len()
            && self.total() == total
            && (0..)
                .zip(entries)
                .all(|(at, entry)| self.entry(at) == *entry)
    }

    /// How many objects there are.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        let room = self
            .block
            .map_or(0, |block| (block.len_words() - HEAD) / ENTRY);
        ((self.word(1) >> 32) as usize).min(room) as u32
    }

    /// The sum of their sizes.
    pub fn total(&self) -> u32 {
        self.word(2) as u32
    }

    /// Where identifiers go on; `None` before the first.
    pub fn cursor(&self) -> Option<CursorWords> {
        self.block?;
        let (places, seq) = (self.word(0), self.word(1));
        Some((places as u32, (places >> 32) as i32, seq as u32))
    }

    /// One of the entries.
    #[inline(always)]
    pub fn entry(&self, index: u32) -> Entry {
        let at = HEAD + index as usize * ENTRY;
        let (name, body, tag) = (self.word(at), self.word(at + 1), self.word(at + 2));
        Entry {
            id: name as i32,
            key: (name >> 32) as i32,
            size: body as u32,
            first: (body >> 32) as u32,
            tag: tag as u32,
        }
    }

    /// The entry with this key, which is not 0.
    #[inline]
    pub fn find_key(&self, key: i32) -> Option<Entry> {
        let block = self.block?;
        let wanted = u64::from(key as u32);
        let found =
            (0..self.count()).find(|&at| block.get(HEAD + at as usize * ENTRY) >> 32 == wanted);
        found.map(|at| self.entry(at))
    }

    /// Where the entry with this index of objects stands, or would stand.
    fn position(&self, slot: u32) -> Result<u32, u32> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            let seen = self.entry(middle).id as u32 % super::layout::OBJECTS;
            match seen.cmp(&slot) {
                core::cmp::Ordering::Equal => return Ok(middle),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The first entry with this index of objects or a higher one.
    pub fn first_from(&self, slot: u32) -> Option<Entry> {
        let (Ok(at) | Err(at)) = self.position(slot);
        (at < self.count()).then(|| self.entry(at))
    }

    /// The entry with this index of objects.
    pub fn find_slot(&self, slot: u32) -> Option<Entry> {
        self.position(slot).ok().map(|at| self.entry(at))
    }
}

impl IpcFile<'_> {
    /// The directory of a kind now.
    #[inline(always)]
    pub fn directory(&self, kind: Kind) -> Directory {
        let root = self.directory_root(kind);
        let seen = root.seen();
        Directory {
            root,
            seen,
            block: self.block_of(seen),
        }
    }

    /// Enters an object. `Ok(false)`: another process has changed the directory; to be tried again from the beginning.
    pub fn enter(
        &self,
        directory: &Directory,
        entry: &Entry,
        cursor: CursorWords,
        owner: u32,
    ) -> Stored<bool> {
        let Err(at) = directory.position(entry.id as u32 % super::layout::OBJECTS) else {
            return Ok(false);
        };
        let total = directory.total().saturating_add(entry.size);
        self.replace(directory, (at, Some(entry)), cursor, total, owner)
    }

    /// Takes an object out that has been removed. As above.
    pub fn leave(&self, directory: &Directory, id: i32, owner: u32) -> Stored<bool> {
        let Ok(at) = directory.position(id as u32 % super::layout::OBJECTS) else {
            return Ok(false);
        };
        let (entry, Some(cursor)) = (directory.entry(at), directory.cursor()) else {
            return Ok(false);
        };
        let total = directory.total().saturating_sub(entry.size);
        self.replace(directory, (at, None), cursor, total, owner)
    }

    /// Publishes a copy in which an entry was put in or left out.
    fn replace(
        &self,
        old: &Directory,
        (at, new): (u32, Option<&Entry>),
        cursor: CursorWords,
        total: u32,
        owner: u32,
    ) -> Stored<bool> {
        let before = old.count();
        let after = if new.is_some() {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        let block = self.take(HEAD + after as usize * ENTRY, owner)?;
        write_head(&block, cursor, after, total.into());
        let mut to = HEAD;
        let mut put = |words: [u64; ENTRY]| {
            for word in words {
                block.put(to, word);
                to += 1;
            }
        };
        for index in 0..=before {
            if index == at {
                if let Some(entry) = new {
                    put(entry.words());
                } else {
                    continue;
                }
            }
            if index < before {
                let from = HEAD + index as usize * ENTRY;
                put([old.word(from), old.word(from + 1), old.word(from + 2)]);
            }
        }
        let replaced = old.block.map(|block| (block, self.holding(block)));
        if old.is_still() && old.root.change(old.seen, block.unit) {
            if let Some((replaced, holding)) = replaced {
                self.give_replaced(replaced, holding);
            }
            return Ok(true);
        }
        self.give(block);
        Ok(false)
    }

    /// Publishes a directory with these entries in the place of one that is damaged, whose block may be another's. As above.
    pub(super) fn replace_directory(
        &self,
        old: &Directory,
        entries: &[Entry],
        cursor: CursorWords,
        owner: u32,
    ) -> Stored<bool> {
        let block = self.take(HEAD + entries.len() * ENTRY, owner)?;
        let total = entries.iter().map(|entry| u64::from(entry.size)).sum();
        write_head(&block, cursor, entries.len() as u32, total);
        for (at, entry) in (HEAD..).step_by(ENTRY).zip(entries) {
            for (word, at) in entry.words().into_iter().zip(at..) {
                block.put(at, word);
            }
        }
        let is_done = old.is_still() && old.root.change(old.seen, block.unit);
        if !is_done {
            self.give(block);
        }
        Ok(is_done)
    }

    /// Finishes what a killed maker or remover has left of an entry: sets the object's root, or takes the entry out of the
    /// directory. Returns the object's root if the object exists.
    pub fn finish(
        &self,
        kind: Kind,
        directory: &Directory,
        entry: &Entry,
        owner: u32,
    ) -> Stored<Option<Root>> {
        let Some(root) = self.root(kind, entry.id as u32 % super::layout::OBJECTS) else {
            return Err(self.is_damaged("its directory names an object that has no place"));
        };
        let seen = root.seen();
        if seen == Seen::empty(entry.tag) {
            // Not set yet.
            root.change(seen, entry.first);
            return Ok(Some(root));
        }
        if !directory.is_still() {
            return Ok(None);
        }
        if seen.unit() != 0 && self.id_at(root, seen) == Some(entry.id) {
            return Ok(Some(root));
        }
        // Removed.
        self.leave(directory, entry.id, owner)?;
        Ok(None)
    }

    /// That the file says what cannot be.
    #[cold]
    pub fn is_damaged(&self, what: &'static str) -> StorageError {
        StorageError::Damaged {
            path: self.processes().directory().inside(super::file::NAME),
            what,
        }
    }
}

#[cfg(test)]
mod tests;
