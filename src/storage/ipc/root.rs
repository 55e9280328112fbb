//! What names an object: one word per index, with the block that is the object now, and a tag that grows with each change.
//!
//! A change is one exchange of this word. A reader of the block looks at the word again afterwards: if it is the same, what was
//! read was the object at one moment.

use super::arena::Block;
use super::file::IpcFile;
use super::layout::{Header, Part, QUEUE_ROOTS, SET_ROOTS};
use crate::os::atomic::{AtomicU64, Ordering, fence};
use crate::storage::error::Stored;
use core::mem::offset_of;

/// Kinds of objects that live in this file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A semaphore set.
    Set,
    /// A message queue.
    Queue,
}

impl Kind {
    fn part(self) -> &'static Part {
        match self {
            Kind::Set => &SET_ROOTS,
            Kind::Queue => &QUEUE_ROOTS,
        }
    }
}

/// A root word.
#[derive(Clone, Copy)]
pub struct Root {
    word: &'static AtomicU64,
}

/// What a root word was at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(u64);

impl Seen {
    /// The block's number; 0: there is none.
    #[inline(always)]
    pub fn unit(self) -> u32 {
        self.0 as u32
    }

    /// How often the word has changed.
    #[inline(always)]
    pub fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// That of this block, with this tag.
    pub fn of(unit: u32, tag: u32) -> Seen {
        Seen(u64::from(tag) << 32 | u64::from(unit))
    }

    /// That of no block, with this tag.
    pub fn empty(tag: u32) -> Seen {
        Seen(u64::from(tag) << 32)
    }
}

impl Root {
    /// What it is now.
    #[inline(always)]
    pub fn seen(self) -> Seen {
        // Pairs with: the exchange in `change`.
        Seen(self.word.load(Ordering::Acquire))
    }

    /// Whether it is still what it was when everything was read that was read since.
    #[inline(always)]
    pub fn is_still(self, seen: Seen) -> bool {
        fence(Ordering::Acquire);
        self.word.load(Ordering::Relaxed) == seen.0
    }

    /// Makes `unit` the object's block, if it is still what it was.
    #[inline(always)]
    pub fn change(self, seen: Seen, unit: u32) -> bool {
        let new = u64::from(seen.tag().wrapping_add(1)) << 32 | u64::from(unit);
        // Pairs with: the load in `seen`.
        self.word
            .compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl IpcFile<'_> {
    /// The root of the object with this index; `None`: so many there have never been.
    #[inline(always)]
    pub fn root(&self, kind: Kind, index: u32) -> Option<Root> {
        let entry = self.entry(kind.part(), index)?;
        Some(Root {
            word: entry.word64(0),
        })
    }

    /// The same, which there will be.
    pub fn root_made(&self, kind: Kind, index: u32) -> Stored<Root> {
        self.ensure(kind.part(), index)?;
        self.root(kind, index)
            .ok_or(crate::storage::StorageError::TableFull {
                what: "objects",
                holds: super::layout::OBJECTS,
            })
    }

    /// The root of a kind's directory.
    #[inline(always)]
    pub(super) fn directory_root(&self, kind: Kind) -> Root {
        let at = offset_of!(Header, directory) + if kind == Kind::Set { 0 } else { 8 };
        Root {
            word: self.header64(at),
        }
    }

    /// The block that a root has led to.
    #[inline(always)]
    pub(super) fn block_of(&self, seen: Seen) -> Option<Block> {
        self.block(seen.unit())
    }
}
