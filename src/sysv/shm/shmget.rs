//! shmget(2): which segment a key opens, and what may be created.
//!
//! For a key that names a segment: [`open_existing`]. For one that does not:
//! [`missing_key`]; then, and for IPC_PRIVATE, the checks of a creation in the order of
//! this file, [`check_hugetlb`](super::check_hugetlb) behind [`check_shmall`],
//! [`check_shmmni`] last. What the memory itself refuses (`ENOMEM`) comes between [`check_file_size`] and [`check_shmmni`].

use super::flags::{IPC_CREAT, IPC_EXCL};
use super::limits::Limits;
use super::segment::{SHMMIN, Segment};
use crate::sysv::ipc::{Caller, Key, Ruling, ShmId, may_access, refusal, wanted_bits};
use crate::sysv::page::{page_size, pages_of};

/// Whether shmget may make a segment though its key has one, or fails because of that: then the answer is not that of a
/// mere lookup.
#[inline(always)]
pub fn is_no_lookup(key: Key, shmflg: i32) -> bool {
    key.is_private() || shmflg & IPC_EXCL != 0
}

/// Whether a segment is too small for what is asked.
#[inline(always)]
pub fn is_too_small(segsz: u64, size: u64) -> bool {
    // The exact size counts, not the one in whole pages, and the limits do not.
    size > segsz
}

/// What shmget gives for a key that names `seg`. Nothing about the segment changes.
pub fn open_existing(seg: &Segment, size: u64, shmflg: i32, caller: &impl Caller) -> Ruling<ShmId> {
    if shmflg & IPC_CREAT != 0 && shmflg & IPC_EXCL != 0 {
        // "If shmflg specifies both IPC_CREAT and IPC_EXCL and a shared memory segment
        // already exists for key, then shmget() fails with errno set to EEXIST."
        // - man shmget(2)
        return Err(refusal!(
            Eexist,
            [key = seg.key.0, id = seg.id.raw()],
            "key {} has segment {id} already and IPC_EXCL was asked",
            Key(key as i32)
        ));
    }
    if is_too_small(seg.segsz, size) {
        // "A segment for the given key exists, but size is greater than the size of that
        // segment." - man shmget(2)
        return Err(refusal!(
            Einval,
            [id = seg.id.raw(), segsz = seg.segsz, size],
            "segment {id} holds {segsz} bytes, {size} asked"
        ));
    }
    may_access(&seg.perm(), wanted_bits(shmflg), caller)?;
    Ok(seg.id)
}

/// Whether shmget may go on to create, when no segment has `key`.
pub fn missing_key(key: Key, shmflg: i32) -> Ruling<()> {
    if shmflg & IPC_CREAT == 0 && !key.is_private() {
        // "No segment exists for the given key, and IPC_CREAT was not specified."
        // - man shmget(2)
        return Err(refusal!(
            Enoent,
            [key = key.0],
            "key {} has no segment and IPC_CREAT was not asked",
            Key(key as i32)
        ));
    }
    Ok(())
}

/// Whether a new segment may have this size.
pub fn check_size(size: u64, limits: &Limits) -> Ruling<()> {
    // "A new segment was to be created and size is less than SHMMIN or greater than
    // SHMMAX." - man shmget(2)
    if size < SHMMIN {
        return Err(refusal!(
            Einval,
            [],
            "a new segment needs at least one byte"
        ));
    }
    if size > limits.shmmax {
        return Err(refusal!(
            Einval,
            [size, shmmax = limits.shmmax],
            "{size} bytes asked, shmmax is {shmmax}"
        ));
    }
    Ok(())
}

/// Whether all segments together may have that many pages.
pub fn check_shmall(size: u64, pages_in_use: u64, limits: &Limits) -> Ruling<()> {
    // A size so near 2^64 that its whole pages cannot be counted in bytes counts as more
    // than any limit; the manual is silent.
    let countable = size <= u64::MAX - (page_size() - 1);
    let pages = pages_of(size);
    let total = pages_in_use.checked_add(pages);
    if !countable || total.is_none_or(|total| total > limits.shmall) {
        // "allocating a segment of the requested size would cause the system to exceed the
        // system-wide limit on shared memory (SHMALL)." - man shmget(2)
        return Err(refusal!(
            Enospc,
            [pages, pages_in_use, shmall = limits.shmall],
            "{pages} pages asked, {pages_in_use} in use, shmall is {shmall}"
        ));
    }
    Ok(())
}

/// Whether a file can be that long. Not asked of segments of huge pages.
pub fn check_file_size(size: u64) -> Ruling<()> {
    if i64::try_from(size).is_err() {
        // The manual is silent: a segment is a file inside, and the length of a file is a
        // signed number.
        return Err(refusal!(
            Einval,
            [size],
            "{size} bytes asked, no file can be that long"
        ));
    }
    Ok(())
}

/// Whether there may be one segment more than the `count` there are. Segments that are
/// marked and still attached count.
pub fn check_shmmni(count: u32, limits: &Limits) -> Ruling<()> {
    if count >= limits.shmmni {
        // "All possible shared memory IDs have been taken (SHMMNI)" - man shmget(2)
        return Err(refusal!(
            Enospc,
            [count, shmmni = limits.shmmni],
            "there are {count} segments, shmmni is {shmmni}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::flags::{SHM_HUGE_SHIFT, SHM_HUGETLB, SHM_NORESERVE};
    use super::super::huge_pages::check_hugetlb;
    use super::*;
    use crate::sysv::Capability;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{OWNER, Person, STRANGER, errno, refused, segment};
    use crate::sysv::new_mode;

    const LIMITS: Limits = Limits::KERNEL_DEFAULTS;
    const KIB64: i32 = 16 << SHM_HUGE_SHIFT;
    /// What an x86-64 machine has.
    const SIZES: &[u32] = &[21, 30];

    fn open(mode: u32, size: u64, shmflg: i32, euid: u32) -> Result<ShmId, Option<Errno>> {
        let ruling = open_existing(&segment(mode), size, shmflg, &Person::with_euid(euid));
        ruling.map_err(|refusal| Some(refusal.errno))
    }

    #[test]
    fn opening_refuses_exclusion_then_size_then_rights() {
        let id = segment(0).id;
        let exclusive = IPC_CREAT | IPC_EXCL;
        for (mode, size, shmflg, euid, expected) in [
            (0o600, 1, exclusive, OWNER, Err(Some(Errno::Eexist))),
            (
                0o600,
                u64::MAX,
                exclusive | 0o777,
                STRANGER,
                Err(Some(Errno::Eexist)),
            ),
            (0o600, 4097, 0o777, STRANGER, Err(Some(Errno::Einval))),
            (0o600, 4097, 0, OWNER, Err(Some(Errno::Einval))),
            (0o600, 4096, 0o777, STRANGER, Err(Some(Errno::Eacces))),
            (0o600, 4096, 0o600, OWNER, Ok(id)),
            // IPC_EXCL alone means nothing, IPC_CREAT alone opens.
            (0o600, 0, IPC_EXCL, OWNER, Ok(id)),
            (0o600, 0, IPC_CREAT | 0o600, OWNER, Ok(id)),
            // Unknown bits mean nothing here, nor do those of a creation.
            (0o600, 1, SHM_HUGETLB | KIB64 | SHM_NORESERVE, OWNER, Ok(id)),
            (0o600, 1, i32::MIN | 0x18000 | 1 << 30, OWNER, Ok(id)),
            // Nothing asked, nothing refused.
            (0o600, 0, 0, STRANGER, Ok(id)),
            (0, 4096, 0, STRANGER, Ok(id)),
        ] {
            assert_eq!(
                open(mode, size, shmflg, euid),
                expected,
                "mode {mode:o}, size {size}, shmflg {shmflg:o}, uid {euid}"
            );
        }
    }

    #[test]
    fn the_exact_size_counts_not_the_whole_pages() {
        let seg = Segment {
            segsz: 100,
            ..segment(0o600)
        };
        let owner = Person::with_euid(OWNER);
        assert!(open_existing(&seg, 100, 0, &owner).is_ok());
        let sentence = "segment 32769 holds 100 bytes, 101 asked";
        assert_eq!(
            refused(open_existing(&seg, 101, 0, &owner)),
            Some((Errno::Einval, sentence.into()))
        );
    }

    #[test]
    fn the_three_classes_of_shmflg_ask_the_same() {
        for (shmflg, wanted) in [
            (0o004, 4),
            (0o040, 4),
            (0o400, 4),
            (0o421, 7),
            (0o020, 2),
            (0o600, 6),
            (0o777, 7),
            (0, 0),
            (0o7000, 0),
            (i32::MIN, 0),
        ] {
            assert_eq!(wanted_bits(shmflg), wanted, "{shmflg:o}");
        }
    }

    #[test]
    fn a_new_segment_gets_the_low_nine_bits_as_its_mode() {
        assert_eq!(new_mode(IPC_CREAT | IPC_EXCL | 0o640), 0o640);
        assert_eq!(new_mode(-1), 0o777);
    }

    #[test]
    fn a_missing_key_is_created_only_when_asked_and_a_private_one_always() {
        assert_eq!(errno(missing_key(Key(5), 0o600)), Some(Errno::Enoent));
        assert_eq!(errno(missing_key(Key(-1), IPC_EXCL)), Some(Errno::Enoent));
        assert_eq!(missing_key(Key(5), IPC_CREAT), Ok(()));
        assert_eq!(missing_key(Key(5), IPC_CREAT | IPC_EXCL), Ok(()));
        assert_eq!(missing_key(Key::PRIVATE, 0o600), Ok(()));
    }

    /// The checks of a creation in their order; `no_memory` is what the memory says.
    fn create(
        (size, shmflg): (u64, i32),
        limits: &Limits,
        (pages_in_use, segments): (u64, u32),
        caller: &Person,
        no_memory: bool,
    ) -> Option<Errno> {
        let ruling = check_size(size, limits)
            .and_then(|()| check_shmall(size, pages_in_use, limits))
            .and_then(|()| check_hugetlb(shmflg, SIZES, false, caller))
            .and_then(|huge| match huge {
                Some(_) => Ok(()),
                None => check_file_size(size),
            })
            .and_then(|()| match no_memory {
                true => Err(refusal!(Enomem, [], "no memory")),
                false => Ok(()),
            })
            .and_then(|()| check_shmmni(segments, limits));
        errno(ruling)
    }

    #[test]
    fn a_creation_is_refused_in_the_kernels_order() {
        let small = Limits {
            shmmax: 1 << 20,
            shmall: 10,
            shmmni: 2,
            ..LIMITS
        };
        let none = (0, 0);
        let shmall_full = (10, 0);
        let shmmni_full = (0, 2);
        let user = Person::with_euid(OWNER);
        let root = Person::with_euid(0).with(&[Capability::IpcLock]);
        let ordinary = |size| (size, 0o600);
        let huge = |size| (size, SHM_HUGETLB);
        let bad_huge = |size| (size, SHM_HUGETLB | KIB64);
        use Errno::{Einval, Enomem, Enospc, Eperm};
        for (what, asked, used, caller, no_memory, expected) in [
            ("size 0", ordinary(0), none, &root, false, Some(Einval)),
            ("one byte", ordinary(1), none, &root, false, None),
            ("shmmax", ordinary(40960), none, &root, false, None),
            (
                "above shmmax",
                ordinary((1 << 20) + 1),
                none,
                &root,
                false,
                Some(Einval),
            ),
            ("shmall", ordinary(4097), (8, 0), &root, false, None),
            (
                "above shmall",
                ordinary(4097),
                (9, 0),
                &root,
                false,
                Some(Enospc),
            ),
            (
                "shmall full, size 0",
                ordinary(0),
                shmall_full,
                &root,
                false,
                Some(Einval),
            ),
            (
                "shmall full, above shmmax",
                ordinary(1 << 21),
                shmall_full,
                &root,
                false,
                Some(Einval),
            ),
            (
                "shmall full, bad huge size",
                bad_huge(1),
                shmall_full,
                &root,
                false,
                Some(Enospc),
            ),
            (
                "shmmni full",
                ordinary(1),
                shmmni_full,
                &root,
                false,
                Some(Enospc),
            ),
            (
                "shmmni full, size 0",
                ordinary(0),
                shmmni_full,
                &root,
                false,
                Some(Einval),
            ),
            (
                "shmmni full, bad huge size",
                bad_huge(1),
                shmmni_full,
                &root,
                false,
                Some(Einval),
            ),
            (
                "shmmni full, no huge pages",
                huge(1),
                shmmni_full,
                &root,
                true,
                Some(Enomem),
            ),
            (
                "shmmni full, no memory",
                ordinary(1),
                shmmni_full,
                &root,
                true,
                Some(Enomem),
            ),
            (
                "user, huge, size 0",
                huge(0),
                none,
                &user,
                false,
                Some(Einval),
            ),
            (
                "user, bad huge size",
                bad_huge(1),
                none,
                &user,
                false,
                Some(Einval),
            ),
            ("user, huge", huge(1), none, &user, false, Some(Eperm)),
            (
                "user, huge, no pages",
                huge(1),
                none,
                &user,
                true,
                Some(Eperm),
            ),
            ("root, huge", huge(1), none, &root, false, None),
        ] {
            assert_eq!(
                create(asked, &small, used, caller, no_memory),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn sizes_near_the_end_of_all_numbers() {
        // Rows of Linux 6.18 with both limits at 2^64 − 1.
        let unlimited = Limits {
            shmmax: u64::MAX,
            shmall: u64::MAX,
            ..LIMITS
        };
        let root = Person::with_euid(0).with(&[Capability::IpcLock]);
        for (size, expected) in [
            (u64::MAX, Some(Errno::Enospc)),
            (0xffff_ffff_ffff_f001, Some(Errno::Enospc)),
            (0xffff_ffff_ffff_f000, Some(Errno::Einval)),
            (0xffff_ffff_ffff_efff, Some(Errno::Einval)),
            (1 << 63, Some(Errno::Einval)),
            ((1 << 63) - 1, None),
        ] {
            assert_eq!(
                create((size, 0), &unlimited, (0, 0), &root, false),
                expected
            );
        }
        // Of huge pages the length of a file is not asked.
        let huge = (1 << 63, SHM_HUGETLB);
        assert_eq!(create(huge, &unlimited, (0, 0), &root, false), None);
        // The default shmmax itself.
        let default = (LIMITS.shmmax, 0);
        assert_eq!(
            create(default, &LIMITS, (0, 0), &root, false),
            Some(Errno::Einval)
        );
        // Pages that cannot even be added.
        let ruling = check_shmall(4096, u64::MAX, &unlimited);
        assert_eq!(errno(ruling), Some(Errno::Enospc));
    }

    #[test]
    fn shmmni_counts_the_segments_there_are() {
        let limits = Limits {
            shmmni: 2,
            ..LIMITS
        };
        assert_eq!(check_shmmni(1, &limits), Ok(()));
        assert_eq!(errno(check_shmmni(2, &limits)), Some(Errno::Enospc));
        // The limit was lowered meanwhile.
        assert_eq!(errno(check_shmmni(3, &limits)), Some(Errno::Enospc));
        let nought = Limits {
            shmmni: 0,
            ..LIMITS
        };
        assert_eq!(errno(check_shmmni(0, &nought)), Some(Errno::Enospc));
    }
}
