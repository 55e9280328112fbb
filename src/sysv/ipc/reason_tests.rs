//! What a trace shows of a refusal.

use crate::sysv::{Class, Errno, Key, Reason, ShmId};

#[test]
fn every_errno_has_the_systems_number_for_its_name() {
    for (errno, raw, name) in [
        (Errno::Eacces, libc::EACCES, "EACCES"),
        (Errno::Eexist, libc::EEXIST, "EEXIST"),
        (Errno::Efault, libc::EFAULT, "EFAULT"),
        (Errno::Eidrm, libc::EIDRM, "EIDRM"),
        (Errno::Einval, libc::EINVAL, "EINVAL"),
        (Errno::Enoent, libc::ENOENT, "ENOENT"),
        (Errno::Enomem, libc::ENOMEM, "ENOMEM"),
        (Errno::Enospc, libc::ENOSPC, "ENOSPC"),
        (Errno::Eperm, libc::EPERM, "EPERM"),
        (Errno::Eagain, libc::EAGAIN, "EAGAIN"),
    ] {
        assert_eq!((errno.raw(), errno.name()), (raw, name));
    }
}

#[test]
fn a_reason_is_one_sentence_without_its_dot() {
    let id = ShmId::new(1, 1);
    let key = Key(0x162e);
    let (addr, len) = (0x7f0000001000, 8192);
    for (reason, sentence) in [
        (Reason::NegativeId(-3), "no identifier is negative, -3 is"),
        (Reason::UnknownId(id), "no segment has the identifier 32769"),
        (
            Reason::RemovedMeanwhile(id),
            "segment 32769 was removed meanwhile",
        ),
        (Reason::UnusedIndex(5), "no segment has the index 5"),
        (
            Reason::KeyExists { key, id },
            "key 0x0000162e has segment 32769 already and IPC_EXCL was asked",
        ),
        (
            Reason::KeyUnknown(key),
            "key 0x0000162e has no segment and IPC_CREAT was not asked",
        ),
        (
            Reason::SegmentSmaller {
                id,
                segsz: 4096,
                asked: 8192,
            },
            "segment 32769 holds 4096 bytes, 8192 asked",
        ),
        (
            Reason::NotGranted {
                id,
                mode: 0o070,
                class: Class::Other,
                wanted: 7,
            },
            "segment 32769 with mode 0070 grants its others ---, rwx asked",
        ),
        (Reason::SizeZero, "a new segment needs at least one byte"),
        (
            Reason::AboveShmmax {
                asked: 9,
                shmmax: 8,
            },
            "9 bytes asked, shmmax is 8",
        ),
        (
            Reason::AboveShmall {
                pages: 2,
                in_use: 9,
                shmall: 10,
            },
            "2 pages asked, 9 in use, shmall is 10",
        ),
        (
            Reason::NoSuchHugePage { size_log2: 0 },
            "this machine has no huge pages",
        ),
        (
            Reason::NoSuchHugePage { size_log2: 16 },
            "this machine has no huge pages of 2^16 bytes",
        ),
        (
            Reason::HugePagesNotAllowed,
            "huge pages take CAP_IPC_LOCK or the group vm.hugetlb_shm_group",
        ),
        (
            Reason::NoHugePages { asked: 100 },
            "too few free huge pages for 100 bytes",
        ),
        (
            Reason::AboveFileSize { asked: 1 << 63 },
            "9223372036854775808 bytes asked, no file can be that long",
        ),
        (
            Reason::MemoryRefused { asked: 100 },
            "100 bytes asked, there is no memory for them",
        ),
        (
            Reason::ShmmniReached {
                count: 3,
                shmmni: 2,
            },
            "there are 3 segments, shmmni is 2",
        ),
        (Reason::NoFreeId, "every identifier is taken"),
        (Reason::RemapWithoutAddress, "SHM_REMAP needs an address"),
        (
            Reason::RemapRoundsToNull(17),
            "SHM_REMAP needs an address, SHM_RND makes NULL of 0x11",
        ),
        (
            Reason::UnalignedAddress(addr + 1),
            "address 0x7f0000001001 is not page aligned",
        ),
        (
            Reason::RangeWraps { addr, len },
            "8192 bytes from 0x7f0000001000 end behind the last address",
        ),
        (
            Reason::RangeOccupied { addr, len },
            "something is mapped within 8192 bytes from 0x7f0000001000",
        ),
        (
            Reason::RangeBeyondUserSpace { addr, len },
            "8192 bytes from 0x7f0000001000 end beyond user space",
        ),
        (
            Reason::BelowMmapMinAddr { addr: 0 },
            "address 0x0 is below vm.mmap_min_addr",
        ),
        (
            Reason::RangeSealed { addr, len },
            "a sealed mapping lies within 8192 bytes from 0x7f0000001000",
        ),
        (
            Reason::NoRoom { len },
            "the address space has no room for 8192 bytes",
        ),
        (
            Reason::MlockLimit { len },
            "future mappings are locked and 8192 bytes exceed RLIMIT_MEMLOCK",
        ),
        (
            Reason::NotAttached(addr),
            "no segment is attached at 0x7f0000001000",
        ),
        (Reason::UnknownCommand(16), "there is no command 16"),
        (Reason::BadBuffer(8), "the buffer at 0x8 is not accessible"),
        (
            Reason::NotOwner {
                id,
                uid: 1,
                cuid: 2,
                euid: 3,
            },
            "segment 32769 is owned by uid 1 and was created by uid 2, the caller is uid 3",
        ),
        (
            Reason::NobodysId {
                uid: u32::MAX,
                gid: 5,
            },
            "uid -1 and gid 5 asked, nobody has the id -1",
        ),
        (
            Reason::LockingForbidden { id },
            "segment 32769 cannot be locked, RLIMIT_MEMLOCK is 0",
        ),
        (
            Reason::LockLimit {
                id,
                pages: 2,
                locked_bytes: 4096,
                rlimit_bytes: 8192,
            },
            "segment 32769 has 2 pages to lock, 4096 bytes are locked, RLIMIT_MEMLOCK is 8192",
        ),
        (
            Reason::LimitNotANumber("shmmax"),
            "what was written to shmmax is not one number",
        ),
        (
            Reason::LimitOutOfRange {
                name: "shmmni",
                negative: true,
                magnitude: 1,
            },
            "-1 is out of the range of shmmni",
        ),
        (
            Reason::SystemCall {
                call: "ftruncate",
                errno: 28,
            },
            "the system refused ftruncate with errno 28",
        ),
        (
            Reason::Other("the table is of another version"),
            "the table is of another version",
        ),
    ] {
        assert_eq!(reason.to_string(), sentence);
    }
}

#[test]
fn a_refusal_shows_its_errno_and_its_reason() {
    let refusal = Errno::Einval.because(Reason::SizeZero);
    assert_eq!(
        refusal.to_string(),
        "EINVAL (a new segment needs at least one byte)"
    );
}
