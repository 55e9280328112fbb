//! Reading a slot: a segment as it was at one moment.

use super::layout::{self, FLAG_HUGE_SHIFT, SlotState, page_rounded};
use super::map::{SlotWords, Table, word};
use super::seqlock::SeqLock;
use crate::os::atomic::Ordering;

/// What a slot holds: values that were all there at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Slot")]
pub struct SlotImage {
    pub slot: u32,
    pub state: u32,
    pub id: i32,
    pub key: i32,
    pub name_key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub segsz: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: i32,
    pub lpid: i32,
    pub flags: u32,
    pub creator_cell: u32,
    pub creator_gen: u32,
    pub locker: u32,
    pub nattch: u32,
    pub sole_cell: u32,
}

impl SlotImage {
    /// Whether it is a segment. A slot that bears another's id, or another key than its file is named after, was
    /// damaged, and could lead to somebody else's data.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == SlotState::Live as u32
            && self.id as u32 % layout::SLOTS == self.slot
            && (self.key == self.name_key || self.key == 0)
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

    /// What no slot holds.
    pub const EMPTY: SlotImage = SlotImage {
        slot: 0,
        state: 0,
        id: -1,
        key: 0,
        name_key: 0,
        uid: 0,
        gid: 0,
        cuid: 0,
        cgid: 0,
        mode: 0,
        segsz: 0,
        atime: 0,
        dtime: 0,
        ctime: 0,
        cpid: 0,
        lpid: 0,
        flags: 0,
        creator_cell: 0,
        creator_gen: 0,
        locker: 0,
        nattch: 0,
        sole_cell: 0,
    };

    /// Copies every field. It is for the caller that they belong together: by the lock or by the version.
    #[inline(always)]
    fn fill(&mut self, index: u32, words: SlotWords<'_>) {
        macro_rules! get {
            ($field:ident) => {
                word!(words, Slot, $field).load(Ordering::Relaxed)
            };
            ($field:ident, 64) => {
                word!(words, Slot, $field, 64).load(Ordering::Relaxed)
            };
        }
        self.slot = index;
        self.state = get!(state);
        self.id = get!(id) as i32;
        self.key = get!(key) as i32;
        self.name_key = get!(name_key) as i32;
        self.uid = get!(uid);
        self.gid = get!(gid);
        self.cuid = get!(cuid);
        self.cgid = get!(cgid);
        self.mode = get!(mode);
        self.segsz = get!(segsz, 64);
        self.atime = get!(atime, 64) as i64;
        self.dtime = get!(dtime, 64) as i64;
        self.ctime = get!(ctime, 64) as i64;
        self.cpid = get!(cpid) as i32;
        self.lpid = get!(lpid) as i32;
        self.flags = get!(flags);
        self.creator_cell = get!(creator_cell);
        self.creator_gen = get!(creator_gen);
        self.locker = get!(locker);
        self.nattch = get!(nattch);
        self.sole_cell = get!(sole_cell);
    }
}

impl Table {
    /// Reads slot `index` without a lock into `image`. `false`: it is being changed all the time, or by a process that is
    /// stopped or dead: take the lock.
    #[inline(always)]
    pub fn snapshot_into(&self, index: u32, image: &mut SlotImage) -> bool {
        if index >= self.slots_ready() {
            *image = SlotImage::EMPTY;
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
        let mut image = SlotImage::EMPTY;
        self.snapshot_into(index, &mut image).then_some(image)
    }

    /// Reads slot `index` as it stands; with the lock held that is a consistent state.
    pub fn image(&self, index: u32) -> SlotImage {
        let mut image = SlotImage::EMPTY;
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

    /// Whether nobody has ever attached the segment in slot `index`, so that its file holds nothing yet. Needs no lock: an
    /// attach sets `lpid` before it is counted. A segment that was found again by its file has no `cpid`; of that nothing
    /// is known.
    #[inline]
    pub fn is_untouched(&self, index: u32) -> bool {
        let words = self.slot(index);
        word!(words, Slot, lpid).load(Ordering::Relaxed) == 0
            && word!(words, Slot, cpid).load(Ordering::Relaxed) != 0
    }

    /// Whether slot `index`, which is backed, holds the live segment `id` as it stands: [`SlotImage::is_live`] without the
    /// rest of the image.
    #[inline]
    pub fn is_live_as(&self, index: u32, id: i32) -> bool {
        let words = self.slot(index);
        let key = word!(words, Slot, key).load(Ordering::Relaxed);
        word!(words, Slot, state).load(Ordering::Relaxed) == SlotState::Live as u32
            && word!(words, Slot, id).load(Ordering::Relaxed) as i32 == id
            && id as u32 % layout::SLOTS == index
            && (key == 0 || key == word!(words, Slot, name_key).load(Ordering::Relaxed))
    }
}
