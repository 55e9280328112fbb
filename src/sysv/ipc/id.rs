//! Identifiers.

use core::fmt;

/// How many objects of a kind there can be: a slot number has 15 bits.
pub const SLOTS: u32 = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 15;

/// An object's identifier, of whatever kind: sequence number × [`SLOTS`] + slot. Never negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShmId(i32);

impl ShmId {
    /// The identifier that is this number, if it is one.
    pub(super) const fn checked(raw: i32) -> Option<ShmId> {
        if raw < 0 { None } else { Some(ShmId(raw)) }
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

    /// The slot: what SHM_STAT, SEM_STAT and MSG_STAT call an index.
    pub const fn slot(self) -> u32 {
        self.0 as u32 & (SLOTS - 1)
    }

    /// The sequence number: `ipc_perm.__seq`.
    pub const fn seq(self) -> u32 {
        self.0 as u32 >> SLOT_BITS
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_its_sequence_number_and_its_slot() {
        for (slot, seq, raw) in [
            (0, 0, 0),
            (1, 0, 1),
            (0, 1, 32768),
            (1, 3, 98305),
            (32767, 65534, 2147450879),
        ] {
            let id = ShmId::new(slot, seq);
            assert_eq!((id.raw(), id.slot(), id.seq()), (raw, slot, seq));
            assert_eq!(ShmId::from_raw(raw), Ok(id));
            assert_eq!(id.to_string(), raw.to_string());
        }
    }
}
