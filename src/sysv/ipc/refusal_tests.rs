//! What a trace shows of a refusal.

use crate::sysv::Errno::{Eacces, Eexist, Eidrm, Einval, Enoent, Enomem, Enospc, Eperm};
use crate::sysv::flags::{
    EXEC, IPC_CREAT, IPC_EXCL, READ, SHM_HUGE_SHIFT, SHM_HUGETLB, SHM_REMAP, SHM_RND, WRITE,
};
use crate::sysv::for_tests::{CREATOR, Person, STRANGER, refused, segment};
use crate::sysv::{
    Detach, Errno, Key, Kind, LimitName, Limits, LockBudget, NewPerm, Ruling, ShmId,
    check_file_size, check_hugetlb, check_range, check_shmall, check_shmmni, check_size,
    may_access, may_lock, may_remove, may_set, missing_key, open_existing, parse_shmat,
    parse_shmctl, removed_meanwhile, unknown_id, unused_index,
};

fn check<T>(ruling: Ruling<T>, errno: Errno, sentence: &str) {
    assert_eq!(refused(ruling), Some((errno, sentence.into())));
}

#[test]
fn every_errno_has_the_systems_number_for_its_name() {
    for (errno, raw) in [
        (Eacces, libc::EACCES),
        (Eexist, libc::EEXIST),
        (Errno::Efault, libc::EFAULT),
        (Eidrm, libc::EIDRM),
        (Einval, libc::EINVAL),
        (Enoent, libc::ENOENT),
        (Enomem, libc::ENOMEM),
        (Enospc, libc::ENOSPC),
        (Eperm, libc::EPERM),
        (Errno::Eagain, libc::EAGAIN),
        (Errno::E2big, libc::E2BIG),
        (Errno::Efbig, libc::EFBIG),
        (Errno::Eintr, libc::EINTR),
        (Errno::Enomsg, libc::ENOMSG),
        (Errno::Enosys, libc::ENOSYS),
        (Errno::Erange, libc::ERANGE),
    ] {
        assert_eq!(errno.raw(), raw);
    }
}

#[test]
fn an_identifier_is_refused_with_its_number() {
    let id = ShmId::new(1, 1);
    check(
        ShmId::from_raw(-3),
        Einval,
        "no identifier is negative, -3 is",
    );
    for (refusal, errno, sentence) in [
        (
            unknown_id(Kind::Segment, id),
            Einval,
            "no segment has the identifier 32769",
        ),
        (
            unknown_id(Kind::Queue, id),
            Einval,
            "no message queue has the identifier 32769",
        ),
        (
            removed_meanwhile(Kind::Segment, id),
            Eidrm,
            "segment 32769 was removed meanwhile",
        ),
        (
            removed_meanwhile(Kind::Set, id),
            Eidrm,
            "semaphore set 32769 was removed meanwhile",
        ),
        (
            unused_index(Kind::Segment, 5),
            Einval,
            "no segment has the index 5",
        ),
        (
            unused_index(Kind::Set, 5),
            Einval,
            "no semaphore set has the index 5",
        ),
    ] {
        check::<()>(Err(refusal), errno, sentence);
    }
}

#[test]
fn shmget_of_a_segment_says_what_it_has() {
    let owner = Person::with_euid(CREATOR);
    check(
        open_existing(&segment(0o600), 0, IPC_CREAT | IPC_EXCL, &owner),
        Eexist,
        "key 0x0000162e has segment 32769 already and IPC_EXCL was asked",
    );
    check(
        open_existing(&segment(0o600), 8192, 0, &owner),
        Einval,
        "segment 32769 holds 4096 bytes, 8192 asked",
    );
    check(
        may_access(
            &segment(0o070).perm(),
            READ | WRITE | EXEC,
            &Person::with_euid(STRANGER),
        ),
        Eacces,
        "segment 32769 with mode 0070 grants its others ---, rwx asked",
    );
    for (key, sentence) in [
        (
            0x162e,
            "key 0x0000162e has no segment and IPC_CREAT was not asked",
        ),
        (
            -2,
            "key 0xfffffffe has no segment and IPC_CREAT was not asked",
        ),
    ] {
        check(missing_key(Key(key), 0), Enoent, sentence);
    }
}

#[test]
fn a_creation_says_what_was_asked_and_what_there_is() {
    let limits = Limits {
        shmmax: 8,
        shmall: 10,
        shmmni: 2,
        shm_rmid_forced: false,
    };
    check(
        check_size(0, &limits),
        Einval,
        "a new segment needs at least one byte",
    );
    check(check_size(9, &limits), Einval, "9 bytes asked, shmmax is 8");
    check(
        check_shmall(8192, 9, &limits),
        Enospc,
        "2 pages asked, 9 in use, shmall is 10",
    );
    check(
        check_file_size(1 << 63),
        Einval,
        "9223372036854775808 bytes asked, no file can be that long",
    );
    check(
        check_shmmni(3, &limits),
        Enospc,
        "there are 3 segments, shmmni is 2",
    );
}

#[test]
fn huge_pages_are_refused_by_their_size_or_for_want_of_a_right() {
    let caller = Person::with_euid(CREATOR);
    for (flags, sizes, errno, sentence) in [
        (0, &[][..], Einval, "this machine has no huge pages"),
        (
            16 << SHM_HUGE_SHIFT,
            &[21],
            Einval,
            "this machine has no huge pages of 2^16 bytes",
        ),
        (
            0,
            &[21],
            Eperm,
            "huge pages take CAP_IPC_LOCK or the group vm.hugetlb_shm_group",
        ),
    ] {
        let ruling = check_hugetlb(SHM_HUGETLB | flags, sizes, false, &caller);
        check(ruling, errno, sentence);
    }
}

#[test]
fn an_address_is_refused_in_hex() {
    let attach = |addr, flags| parse_shmat(32769, addr, flags);
    check(attach(0, SHM_REMAP), Einval, "SHM_REMAP needs an address");
    check(
        attach(17, SHM_REMAP | SHM_RND),
        Einval,
        "SHM_REMAP needs an address, SHM_RND makes NULL of 0x11",
    );
    let unaligned = "address 0x7f0000001001 is not page aligned";
    check(attach(0x7f0000001001, 0), Einval, unaligned);
    check(Detach::new(0x7f0000001001), Einval, unaligned);
    check(
        attach(0x7f0000001000, 0).and_then(|request| check_range(&request, u64::MAX)),
        Einval,
        "18446744073709551615 bytes from 0x7f0000001000 end behind the last address",
    );
    check(
        Detach::new(0x7f0000001000).and_then(|walk| walk.outcome()),
        Einval,
        "no segment is attached at 0x7f0000001000",
    );
}

#[test]
fn shmctl_says_whose_the_segment_is() {
    check(parse_shmctl(0, 16), Einval, "there is no command 16");
    check(parse_shmctl(0, -7), Einval, "there is no command -7");
    check(
        may_remove(&segment(0o600), &Person::with_euid(STRANGER)),
        Eperm,
        "segment 32769 is owned by uid 54002 and was created by uid 54001, the caller is uid 54003",
    );
    let new = NewPerm {
        uid: u32::MAX,
        gid: 5,
        mode: 0o600,
    };
    check(
        may_set(&segment(0o600), &new, &Person::with_euid(CREATOR)),
        Einval,
        "uid -1 and gid 5 asked, nobody has the id -1",
    );
}

#[test]
fn a_lock_is_refused_with_what_is_locked() {
    for (rlimit_bytes, errno, sentence) in [
        (
            0,
            Eperm,
            "segment 32769 cannot be locked, RLIMIT_MEMLOCK is 0",
        ),
        (
            4096,
            Enomem,
            "segment 32769 has 1 pages to lock, 8192 bytes are locked, RLIMIT_MEMLOCK is 4096",
        ),
    ] {
        let budget = || LockBudget {
            rlimit_bytes,
            locked_bytes: 8192,
        };
        let ruling = may_lock(&segment(0o600), &Person::with_euid(CREATOR), budget);
        check(ruling, errno, sentence);
    }
}

#[test]
fn a_limit_is_refused_by_its_name() {
    for (limit, text, sentence) in [
        (
            LimitName::Shmmax,
            "x",
            "what was written to shmmax is not one number",
        ),
        (
            LimitName::ShmRmidForced,
            "2",
            "2 is out of the range of shm_rmid_forced",
        ),
        (LimitName::Shmmni, "-1", "-1 is out of the range of shmmni"),
    ] {
        let mut limits = Limits::KERNEL_DEFAULTS;
        check(
            limits.parse_and_set(limit, text.as_bytes()),
            Einval,
            sentence,
        );
    }
}
