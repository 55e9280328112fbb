//! What is said of an identifier that names nothing.

use super::id::ShmId;
use super::refusal::{Refusal, Ruling, refusal};

impl ShmId {
    /// The identifier a caller passed.
    pub fn from_raw(raw: i32) -> Ruling<ShmId> {
        match ShmId::checked(raw) {
            Some(id) => Ok(id),
            // "Invalid shmid value" - man shmat(2)
            // "shmid is not a valid identifier" - man shmctl(2)
            None => Err(refusal!(
                Einval,
                [raw],
                "no identifier is negative, {} is",
                raw as i32
            )),
        }
    }
}

/// No object has this identifier.
pub fn unknown_id(id: ShmId) -> Refusal {
    // "Invalid shmid value" - man shmat(2)
    // "shmid is not a valid identifier" - man shmctl(2)
    refusal!(
        Einval,
        [id = id.raw()],
        "no segment has the identifier {id}"
    )
}

/// The object with this identifier was removed between two steps of a call.
pub fn removed_meanwhile(id: ShmId) -> Refusal {
    // "shmid points to a removed identifier." - man shmat(2), man shmctl(2)
    refusal!(Eidrm, [id = id.raw()], "segment {id} was removed meanwhile")
}

/// No object has this index.
pub fn unused_index(slot: u32) -> Refusal {
    // "for a SHM_STAT operation, the index value specified in shmid referred to an array slot that is currently
    // unused." - man shmctl(2)
    refusal!(Einval, [slot], "no segment has the index {slot}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
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
