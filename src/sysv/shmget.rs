//! shmget(2): which segment a key opens, and what may be created.
//!
//! For a key that names a segment: [`open_existing`]. For one that does not:
//! [`missing_key`]; then, and for IPC_PRIVATE, the checks of a creation in the order of
//! this file, [`check_shmmni`] last. What the memory itself refuses (`ENOMEM`) comes
//! between [`check_file_size`] and [`check_shmmni`].

use super::flags::{IPC_CREAT, IPC_EXCL, MODE_BITS, SHM_HUGE_MASK, SHM_HUGE_SHIFT, SHM_HUGETLB};
use super::ids::{Key, ShmId};
use super::limits::Limits;
use super::reason::{Errno, Reason, Ruling};
use super::rights::{Caller, Capability, may_access};
use super::segment::{PAGE_SIZE, SHMMIN, Segment, pages_of};

/// What shmget gives for a key that names `seg`. Nothing about the segment changes.
pub fn open_existing(seg: &Segment, size: u64, shmflg: i32, caller: &impl Caller) -> Ruling<ShmId> {
    if shmflg & IPC_CREAT != 0 && shmflg & IPC_EXCL != 0 {
        // "If shmflg specifies both IPC_CREAT and IPC_EXCL and a shared memory segment
        // already exists for key, then shmget() fails with errno set to EEXIST."
        // - man shmget(2)
        return Err(Errno::Eexist.because(Reason::KeyExists {
            key: seg.key,
            id: seg.id,
        }));
    }
    if size > seg.segsz {
        // "A segment for the given key exists, but size is greater than the size of that
        // segment." - man shmget(2)
        //
        // The exact size counts, not the one in whole pages, and the limits do not.
        return Err(Errno::Einval.because(Reason::SegmentSmaller {
            id: seg.id,
            segsz: seg.segsz,
            asked: size,
        }));
    }
    may_access(seg, wanted_bits(shmflg), caller)?;
    Ok(seg.id)
}

/// Whether shmget may go on to create, when no segment has `key`.
pub fn missing_key(key: Key, shmflg: i32) -> Ruling<()> {
    if shmflg & IPC_CREAT == 0 && !key.is_private() {
        // "No segment exists for the given key, and IPC_CREAT was not specified."
        // - man shmget(2)
        return Err(Errno::Enoent.because(Reason::KeyUnknown(key)));
    }
    Ok(())
}

/// Whether a new segment may have this size.
pub fn check_size(size: u64, limits: &Limits) -> Ruling<()> {
    // "A new segment was to be created and size is less than SHMMIN or greater than
    // SHMMAX." - man shmget(2)
    if size < SHMMIN {
        return Err(Errno::Einval.because(Reason::SizeZero));
    }
    if size > limits.shmmax {
        return Err(Errno::Einval.because(Reason::AboveShmmax {
            asked: size,
            shmmax: limits.shmmax,
        }));
    }
    Ok(())
}

/// Whether all segments together may have that many pages.
pub fn check_shmall(size: u64, pages_in_use: u64, limits: &Limits) -> Ruling<()> {
    // A size so near 2^64 that its whole pages cannot be counted in bytes counts as more
    // than any limit; the manual is silent.
    let countable = size <= u64::MAX - (PAGE_SIZE - 1);
    let pages = pages_of(size);
    let total = pages_in_use.checked_add(pages);
    if !countable || total.is_none_or(|total| total > limits.shmall) {
        // "allocating a segment of the requested size would cause the system to exceed the
        // system-wide limit on shared memory (SHMALL)." - man shmget(2)
        return Err(Errno::Enospc.because(Reason::AboveShmall {
            pages,
            in_use: pages_in_use,
            shmall: limits.shmall,
        }));
    }
    Ok(())
}

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
        return Err(Errno::Einval.because(Reason::NoSuchHugePage { size_log2: asked }));
    };
    if !in_hugetlb_group && !caller.capable(Capability::IpcLock) {
        // "The SHM_HUGETLB flag was specified, but the caller was not privileged (did not
        // have the CAP_IPC_LOCK capability) and is not a member of the
        // sysctl_hugetlb_shm_group group" - man shmget(2)
        return Err(Errno::Eperm.because(Reason::HugePagesNotAllowed));
    }
    Ok(Some(HugePages { size_log2 }))
}

/// Whether a file can be that long. Not asked of segments of huge pages.
pub fn check_file_size(size: u64) -> Ruling<()> {
    if i64::try_from(size).is_err() {
        // The manual is silent: a segment is a file inside, and the length of a file is a
        // signed number.
        return Err(Errno::Einval.because(Reason::AboveFileSize { asked: size }));
    }
    Ok(())
}

/// Whether there may be one segment more than the `count` there are. Segments that are
/// marked and still attached count.
pub fn check_shmmni(count: u32, limits: &Limits) -> Ruling<()> {
    if count >= limits.shmmni {
        // "All possible shared memory IDs have been taken (SHMMNI)" - man shmget(2)
        return Err(Errno::Enospc.because(Reason::ShmmniReached {
            count,
            shmmni: limits.shmmni,
        }));
    }
    Ok(())
}

/// The rights that the low nine bits of shmflg ask for on an existing segment. The three
/// classes mean the same here: 0004, 0040 and 0400 all ask for reading.
pub fn wanted_bits(shmflg: i32) -> u32 {
    let bits = shmflg as u32 & MODE_BITS;
    (bits >> 6 | bits >> 3 | bits) & 7
}

/// The mode of a new segment. The umask plays no part.
pub fn new_mode(shmflg: i32) -> u32 {
    // "The least significant 9 bits of shm_perm.mode are set to the least significant 9
    // bit of shmflg." - man shmget(2)
    shmflg as u32 & MODE_BITS
}
