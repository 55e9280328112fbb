//! SHM_HUGETLB: which huge pages a segment is made of, and who may have them.

use super::flags::{SHM_HUGE_MASK, SHM_HUGE_SHIFT, SHM_HUGETLB};
use crate::sysv::ipc::{Caller, Capability, Refusal, Ruling, refusal};

/// The huge pages a segment is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugePages {
    /// Base-2 logarithm of the size of one.
    pub size_log2: u32,
}

impl HugePages {
    /// `size` rounded up to whole huge pages: the length of the mapping. `None` when there
    /// is no such number.
    pub fn round_up(self, size: u64) -> Option<u64> {
        size.checked_next_multiple_of(1u64.checked_shl(self.size_log2)?)
    }
}

/// Which huge pages a new segment gets, `None` when it did not ask for any.
///
/// `sizes_log2` are the sizes of huge page that the machine has, its default first.
/// `in_hugetlb_group`: the caller is in the group `vm.hugetlb_shm_group`.
pub fn check_hugetlb(
    shmflg: i32,
    sizes_log2: &[u32],
    in_hugetlb_group: bool,
    caller: &impl Caller,
) -> Ruling<Option<HugePages>> {
    if shmflg & SHM_HUGETLB == 0 {
        return Ok(None);
    }
    let asked = (shmflg as u32 >> SHM_HUGE_SHIFT) & SHM_HUGE_MASK;
    let found = match asked {
        0 => sizes_log2.first(),
        _ => sizes_log2.iter().find(|size_log2| **size_log2 == asked),
    };
    let Some(&size_log2) = found else {
        // "the desired huge page size can be configured by encoding the base-2 logarithm of
        // the desired page size in the six bits at the offset SHM_HUGE_SHIFT."
        // - man shmget(2), silent about sizes that the machine does not have
        return Err(no_such_page(asked));
    };
    if !in_hugetlb_group && !caller.capable(Capability::IpcLock) {
        // "The SHM_HUGETLB flag was specified, but the caller was not privileged (did not
        // have the CAP_IPC_LOCK capability) and is not a member of the
        // sysctl_hugetlb_shm_group group" - man shmget(2)
        return Err(refusal!(
            Eperm,
            [],
            "huge pages take CAP_IPC_LOCK or the group vm.hugetlb_shm_group"
        ));
    }
    Ok(Some(HugePages { size_log2 }))
}

/// The machine has no huge pages of that size; 0: none at all.
fn no_such_page(asked_log2: u32) -> Refusal {
    match asked_log2 {
        0 => refusal!(Einval, [], "this machine has no huge pages"),
        _ => refusal!(
            Einval,
            [asked_log2],
            "this machine has no huge pages of 2^{asked_log2} bytes"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::testing::{OWNER, Person, errno};

    const MIB2: i32 = 21 << SHM_HUGE_SHIFT;
    const GIB1: i32 = 30 << SHM_HUGE_SHIFT;
    const KIB64: i32 = 16 << SHM_HUGE_SHIFT;
    /// What an x86-64 machine has.
    const SIZES: &[u32] = &[21, 30];

    #[test]
    fn huge_pages_are_of_the_size_asked_or_the_default() {
        let root = Person::with_euid(0).with(&[Capability::IpcLock]);
        let size = |shmflg| {
            check_hugetlb(shmflg, SIZES, false, &root)
                .map(|pages| pages.map(|pages| pages.size_log2))
                .map_err(|refusal| refusal.errno)
        };
        assert_eq!(size(0o600), Ok(None));
        assert_eq!(size(KIB64), Ok(None));
        assert_eq!(size(SHM_HUGETLB), Ok(Some(21)));
        assert_eq!(size(SHM_HUGETLB | MIB2), Ok(Some(21)));
        assert_eq!(size(SHM_HUGETLB | GIB1), Ok(Some(30)));
        assert_eq!(size(SHM_HUGETLB | KIB64), Err(Errno::Einval));
        assert_eq!(size(SHM_HUGETLB | 63 << SHM_HUGE_SHIFT), Err(Errno::Einval));
        // A machine without any.
        let ruling = check_hugetlb(SHM_HUGETLB, &[], false, &root);
        assert_eq!(errno(ruling), Some(Errno::Einval));
    }

    #[test]
    fn huge_pages_take_a_group_or_a_capability() {
        let user = Person::with_euid(OWNER);
        assert!(check_hugetlb(SHM_HUGETLB, SIZES, true, &user).is_ok());
        assert_eq!(user.asked.get(), [0, 0, 0]);
        let wrong = user.with(&[Capability::IpcOwner, Capability::SysAdmin]);
        let ruling = check_hugetlb(SHM_HUGETLB, SIZES, false, &wrong);
        assert_eq!(errno(ruling), Some(Errno::Eperm));
    }

    #[test]
    fn a_mapping_of_huge_pages_is_a_multiple_of_them() {
        let pages = |size_log2| HugePages { size_log2 };
        assert_eq!(pages(21).round_up(100), Some(2 << 20));
        assert_eq!(pages(21).round_up(2 << 20), Some(2 << 20));
        assert_eq!(pages(30).round_up(1), Some(1 << 30));
        assert_eq!(pages(21).round_up(u64::MAX), None);
        assert_eq!(pages(64).round_up(1), None);
    }
}
