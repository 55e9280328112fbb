//! Keys, identifiers, and the order in which identifiers are handed out.

use core::fmt;

use super::reason::{Errno, Reason, Ruling};

/// How many segments there can be: a slot number has 15 bits.
pub const SLOTS: u32 = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 15;

/// Sequence numbers run from 0 to one below this. (2^31 − 1) / [`SLOTS`], rounded down.
const SEQS: u32 = 65535;

/// The search for a slot never has fewer slots than this to go round in.
const SHORTEST_CYCLE: u32 = 64;

/// A segment's name among the programs that share it. Any number but 0 is an ordinary key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(pub i32);

impl Key {
    /// IPC_PRIVATE: names nothing, always asks for a new segment.
    pub const PRIVATE: Key = Key(0);

    /// Whether this is [`Key::PRIVATE`].
    pub fn is_private(self) -> bool {
        self == Key::PRIVATE
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "0x{:08x}", self.0)
    }
}

/// A segment's identifier: sequence number × [`SLOTS`] + slot. Never negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShmId(i32);

impl ShmId {
    /// The identifier a caller passed.
    pub fn from_raw(raw: i32) -> Ruling<ShmId> {
        if raw < 0 {
            // "Invalid shmid value" - man shmat(2)
            // "shmid is not a valid identifier" - man shmctl(2)
            return Err(Errno::Einval.because(Reason::NegativeId(raw)));
        }
        Ok(ShmId(raw))
    }

    /// The identifier of a slot in its `seq`th use. Bits that an identifier has no room
    /// for are dropped.
    pub const fn new(slot: u32, seq: u32) -> ShmId {
        let bits = (seq << SLOT_BITS) | (slot & (SLOTS - 1));
        ShmId((bits & i32::MAX as u32) as i32)
    }

    /// As the caller sees it.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The slot: what SHM_STAT calls an index.
    pub const fn slot(self) -> u32 {
        self.0 as u32 & (SLOTS - 1)
    }

    /// The sequence number: `shm_perm.__seq`.
    pub const fn seq(self) -> u32 {
        self.0 as u32 >> SLOT_BITS
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Where a namespace stands in handing out identifiers.
///
/// Slots are given out cyclically: the search starts behind the last one given, not at the
/// lowest free one, so a stale identifier stays stale for long. It goes round in a range
/// that grows with the number of segments, and each time it comes to a slot that is not
/// above the last one the sequence number grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdCursor {
    /// Where the next search starts: the slot behind the last one given.
    pub next: u32,
    /// The last slot given, −1 when none was.
    pub last: i32,
    /// The sequence number of the last identifier given.
    pub seq: u32,
}

impl IdCursor {
    /// Where a new namespace stands: its first identifier is 0.
    pub const FRESH: IdCursor = IdCursor {
        next: 0,
        last: -1,
        seq: 0,
    };

    /// The next identifier, and where the namespace stands when it has been given.
    ///
    /// `in_use` is the number of segments there are, the new one not counted.
    /// `next_free(from, to)` finds the lowest free slot in `from..to`. `None` when there is
    /// no free slot in the whole range; a cursor that is not stored used up nothing.
    pub fn allocate(
        self,
        in_use: u32,
        next_free: impl Fn(u32, u32) -> Option<u32>,
    ) -> Option<(ShmId, IdCursor)> {
        let end = (in_use.saturating_mul(3) / 2).clamp(SHORTEST_CYCLE, SLOTS);
        let search = |from: u32| {
            let found = if from < end {
                next_free(from, end)
            } else {
                None
            };
            found.filter(|slot| (from..end).contains(slot))
        };
        let slot = search(self.next).or_else(|| search(0))?;

        let went_round = i64::from(slot) <= i64::from(self.last);
        let seq = match self.seq.wrapping_add(u32::from(went_round)) {
            seq if seq < SEQS => seq,
            _ => 0,
        };
        let cursor = IdCursor {
            next: slot + 1,
            last: slot as i32,
            seq,
        };
        Some((ShmId::new(slot, seq), cursor))
    }
}
