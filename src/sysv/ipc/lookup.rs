//! What is said of an identifier that names nothing.

use super::id::ShmId;
use super::reason::{Errno, Reason, Refusal, Ruling};

impl ShmId {
    /// The identifier a caller passed.
    pub fn from_raw(raw: i32) -> Ruling<ShmId> {
        match ShmId::checked(raw) {
            Some(id) => Ok(id),
            // "Invalid shmid value" - man shmat(2)
            // "shmid is not a valid identifier" - man shmctl(2)
            None => Err(Errno::Einval.because(Reason::NegativeId(raw))),
        }
    }
}

/// No object has this identifier.
pub const fn unknown_id(id: ShmId) -> Refusal {
    // "Invalid shmid value" - man shmat(2)
    // "shmid is not a valid identifier" - man shmctl(2)
    Errno::Einval.because(Reason::UnknownId(id))
}

/// The object with this identifier was removed between two steps of a call.
pub const fn removed_meanwhile(id: ShmId) -> Refusal {
    // "shmid points to a removed identifier." - man shmat(2), man shmctl(2)
    Errno::Eidrm.because(Reason::RemovedMeanwhile(id))
}

/// No object has this index.
pub const fn unused_index(slot: u32) -> Refusal {
    // "for a SHM_STAT operation, the index value specified in shmid referred to an array slot that is currently
    // unused." - man shmctl(2)
    Errno::Einval.because(Reason::UnusedIndex(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::testing::errno;

    #[test]
    fn an_identifier_is_never_negative() {
        assert_eq!(errno(ShmId::from_raw(-1)), Some(Errno::Einval));
        assert_eq!(errno(ShmId::from_raw(i32::MIN)), Some(Errno::Einval));
        assert!(ShmId::from_raw(i32::MAX).is_ok());
        assert_eq!(ShmId::new(u32::MAX, u32::MAX).raw(), i32::MAX);
        assert_eq!(ShmId::new(32768, 65536).raw(), 0);
    }
}
