//! What is said of an identifier that names nothing.

use super::id::ShmId;
use super::kind::{Kind, Named};
use super::refusal::{Refusal, Ruling, refusal};

impl ShmId {
    /// The identifier a caller passed.
    pub fn from_raw(raw: i32) -> Ruling<ShmId> {
        match ShmId::checked(raw) {
            Some(id) => Ok(id),
            // "Invalid shmid value" - man shmat(2)
            // "shmid is not a valid identifier" - man shmctl(2)
            // "The semaphore set doesn't exist, or semid is less than zero" - man semop(2)
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
pub fn unknown_id(kind: Kind, id: ShmId) -> Refusal {
    // "Invalid shmid value" - man shmat(2)
    // "shmid is not a valid identifier" - man shmctl(2)
    // "The semaphore set doesn't exist, or semid is less than zero" - man semop(2)
    // "Invalid value for cmd or semid." - man semctl(2), man msgctl(2) alike
    refusal!(
        Einval,
        [kind = kind.number(), id = id.raw()],
        "no {} has the identifier {id}",
        Kind::numbered(kind).word()
    )
}

/// The object with this identifier was removed between two steps of a call.
pub fn removed_meanwhile(kind: Kind, id: ShmId) -> Refusal {
    // "shmid points to a removed identifier." - man shmat(2), man shmctl(2)
    // "The semaphore set, semid, has been removed from the system." - man semop(2)
    // "The message queue was removed." - man msgop(2)
    refusal!(
        Eidrm,
        [object = Named::number(kind, id)],
        "{} was removed meanwhile",
        Named::numbered(object)
    )
}

/// No object has this index.
pub fn unused_index(kind: Kind, slot: u32) -> Refusal {
    // "for a SHM_STAT operation, the index value specified in shmid referred to an array slot that is currently
    // unused." - man shmctl(2), man semctl(2) and man msgctl(2) alike
    refusal!(
        Einval,
        [kind = kind.number(), slot],
        "no {} has the index {slot}",
        Kind::numbered(kind).word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::errno;

    #[test]
    fn an_identifier_is_never_negative() {
        assert_eq!(errno(ShmId::from_raw(-1)), Some(Errno::Einval));
        assert_eq!(errno(ShmId::from_raw(i32::MIN)), Some(Errno::Einval));
        assert!(ShmId::from_raw(i32::MAX).is_ok());
        assert_eq!(ShmId::new(u32::MAX, u32::MAX).raw(), i32::MAX);
        assert_eq!(ShmId::new(32768, 65536).raw(), 0);
    }
}
