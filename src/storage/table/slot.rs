//! Reading a slot: a segment as it was at one moment.

use super::journal::Journal;
use super::layout::{self, FLAG_HUGE_SHIFT, MODE_MARKED, SlotState, page_rounded, slot};
use super::map::{SlotWords, Table, word};
use super::seqlock::SeqLock;
use crate::os::atomic::Ordering;

/// Makes the image of a slot from one list of the fields that it has in common with [`layout::Slot`].
macro_rules! slot_image {
    (32: $($word:ident: $short:ty,)* 64: $($long:ident: $wide:ty,)*) => {
        /// What a slot holds: values that were all there at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields are those of layout::Slot")]
        pub struct SlotImage {
            pub slot: u32,
            $(pub $word: $short,)*
            $(pub $long: $wide,)*
        }

        impl SlotImage {
            /// Copies every field. It is for the caller that they belong together: by the lock or by the version.
            #[inline(always)]
            fn fill(&mut self, index: u32, words: SlotWords<'_>) {
                self.slot = index;
                $(self.$word = word!(words, Slot, $word).load(Ordering::Relaxed) as $short;)*
                $(self.$long = word!(words, Slot, $long, 64).load(Ordering::Relaxed) as $wide;)*
            }

            /// Puts every field into a slot, in no order: it is free, or this process's alone.
            pub(in crate::storage) fn store(&self, table: &Table) {
                let words = table.slot(self.slot);
                $(word!(words, Slot, $word).store(self.$word as u32, Ordering::Relaxed);)*
                $(word!(words, Slot, $long, 64).store(self.$long as u64, Ordering::Relaxed);)*
            }

            /// Adds to a change of the slot what is no longer as it was `before`.
            pub(super) fn put_changes(&self, before: &SlotImage, journal: &mut Journal<'_>) {
                $(if self.$word != before.$word {
                    journal.put32(slot!(self.slot, $word), self.$word as u32);
                })*
                $(if self.$long != before.$long {
                    journal.put64(slot!(self.slot, $long), self.$long as u64);
                })*
            }
        }
    };
}

slot_image! {
    32:
    state: u32, flags: u32, mode: u32, locker: u32,
    id: i32, key: i32, name_key: i32,
    uid: u32, gid: u32, cuid: u32, cgid: u32,
    cpid: i32, lpid: i32, creator_cell: u32, creator_gen: u32,
    nattch: u32, sole_cell: u32,
    64:
    segsz: u64, atime: i64, dtime: i64, ctime: i64,
}

impl SlotImage {
    /// Whether it is a segment. A slot that bears another's id, or another key than its file is named after, was
    /// damaged, and could lead to another segment's data.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == SlotState::Live as u32
            && self.id as u32 % layout::SLOTS == self.slot
            && (self.key == self.name_key || self.key == 0)
    }

    /// What the key index and the totals know of it: its key, and whether it is marked. `None`: it is no segment.
    pub(super) fn shown(&self) -> Option<(i32, bool)> {
        (self.state == SlotState::Live as u32).then_some((self.key, self.mode & MODE_MARKED != 0))
    }

    /// The log2 of the huge page size of a segment; `None` for one of ordinary pages.
    pub fn huge_page_log2(&self) -> Option<u32> {
        Some((self.flags >> FLAG_HUGE_SHIFT) & 63).filter(|&log2| log2 != 0)
    }

    /// Bytes of address space that an attach of a segment takes.
    pub fn mapped_len(&self) -> u64 {
        match self.huge_page_log2() {
            None => page_rounded(self.segsz),
            Some(log2) => self.segsz.checked_next_multiple_of(1 << log2).unwrap_or(0),
        }
    }
}

impl Table {
    /// Reads slot `index` without a lock into `image`. `false`: it is being changed all the time, or by a process that is
    /// stopped or dead: take the lock.
    #[inline(always)]
    pub fn snapshot_into(&self, index: u32, image: &mut SlotImage) -> bool {
        if index >= self.slots_ready() {
            *image = SlotImage::default();
            return true;
        }
        let words = self.slot(index);
        SeqLock::of_slot(words)
            .read(|| image.fill(index, words))
            .is_some()
    }

    /// Reads slot `index` without a lock. `None` where [`Table::snapshot_into`] says `false`.
    #[inline(always)]
    pub fn snapshot(&self, index: u32) -> Option<SlotImage> {
        let mut image = SlotImage::default();
        self.snapshot_into(index, &mut image).then_some(image)
    }

    /// Reads slot `index` as it stands; with the lock held that is a consistent state.
    pub fn image(&self, index: u32) -> SlotImage {
        let mut image = SlotImage::default();
        if index < self.slots_ready() {
            image.fill(index, self.slot(index));
        }
        image
    }

    /// How often slot `index` has changed. Needs no lock; odd while it is being changed.
    #[inline]
    pub fn version_of(&self, index: u32) -> u32 {
        SeqLock::of_slot(self.slot(index)).version()
    }

    /// Whether the segment has never been attached that is in slot `index`, so that its file holds nothing yet. Needs no lock: an
    /// attach sets `lpid` before it is counted. A segment that was found again by its file has no `cpid`; of that nothing
    /// is known.
    #[inline]
    pub fn is_untouched(&self, index: u32) -> bool {
        let words = self.slot(index);
        word!(words, Slot, lpid).load(Ordering::Relaxed) == 0
            && word!(words, Slot, cpid).load(Ordering::Relaxed) != 0
    }
}
