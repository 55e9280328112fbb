//! The expected lines were printed by strace 6.1 for the same calls; its `-1 EINVAL (Invalid argument)` gives way
//! to our reason, its alignment to a single space.

use shmshim_core::sysv::{Key, ShmId};

use super::*;

fn shown(asked: Call, told: Told, answer: Answer<'_>) -> String {
    let mut line = Line::new();
    call(&mut line, &asked, &told, &answer);
    String::from_utf8(line.text().to_vec()).unwrap()
}

fn segment() -> Segment {
    Segment {
        id: ShmId::new(0, 0),
        key: Key(0x162e),
        uid: 0,
        gid: 0,
        cuid: 0,
        cgid: 0,
        mode: 0o600,
        segsz: 4096,
        atime: 1795416149,
        dtime: 0,
        ctime: 1795416149,
        cpid: 13500,
        lpid: 13501,
        nattch: 2,
    }
}

#[test]
fn shmget_as_strace_shows_it() {
    let rows = [
        (
            0x162e,
            4096,
            0o3600,
            "shmget(0x162e, 4096, IPC_CREAT|IPC_EXCL|0600) = 7",
        ),
        (
            0,
            4096,
            0o1600,
            "shmget(IPC_PRIVATE, 4096, IPC_CREAT|0600) = 7",
        ),
        (-1, 0, 0, "shmget(0xffffffff, 0, 000) = 7"),
        (
            5,
            1,
            0o15600,
            "shmget(0x5, 1, IPC_CREAT|SHM_HUGETLB|SHM_NORESERVE|0600) = 7",
        ),
        (
            5,
            4096,
            0o5600 | 21 << 26,
            "shmget(0x5, 4096, IPC_CREAT|SHM_HUGETLB|21<<SHM_HUGE_SHIFT|0600) = 7",
        ),
        (
            6,
            u64::MAX,
            0o1000 | 0x8000 | 0o4777,
            "shmget(0x6, 18446744073709551615, IPC_CREAT|SHM_HUGETLB|0x8000|0777) = 7",
        ),
        (
            7,
            100,
            16 << 26 | 0x10000 | 7,
            "shmget(0x7, 100, 0x10000|16<<SHM_HUGE_SHIFT|007) = 7",
        ),
        (
            7,
            100,
            i32::MIN | 0x10000 | 0o100000,
            "shmget(0x7, 100, 0x18000|32<<SHM_HUGE_SHIFT|000) = 7",
        ),
    ];
    for (key, size, shmflg, expected) in rows {
        let asked = Call::Shmget { key, size, shmflg };
        assert_eq!(shown(asked, Told::Nothing, Answer::Value(7)), expected);
    }
}

#[test]
fn shmat_as_strace_shows_it() {
    let rows = [
        (0, 0, 0, "shmat(0, NULL, 0) = 0x7f84d5355000"),
        (0, 1, 0o20000, "shmat(0, 0x1, SHM_RND) = 0x7f84d5355000"),
        (
            32769,
            0,
            0o170000,
            "shmat(32769, NULL, SHM_RDONLY|SHM_RND|SHM_REMAP|SHM_EXEC) = 0x7f84d5355000",
        ),
        (
            0,
            12345,
            0o10000 | 0o777 | 1 << 30,
            "shmat(0, 0x3039, SHM_RDONLY|0x400001ff) = 0x7f84d5355000",
        ),
        (
            -1,
            0,
            8,
            "shmat(-1, NULL, 0x8 /* SHM_??? */) = 0x7f84d5355000",
        ),
    ];
    for (shmid, addr, shmflg, expected) in rows {
        let asked = Call::Shmat {
            shmid,
            addr,
            shmflg,
        };
        assert_eq!(
            shown(asked, Told::Nothing, Answer::Value(0x7f84_d535_5000)),
            expected
        );
    }
}

#[test]
fn shmctl_as_strace_shows_it() {
    let rows = [
        (2, 0, "shmctl(0, IPC_STAT, NULL) = 0"),
        (0, 16, "shmctl(0, IPC_RMID, 0x10) = 0"),
        (5, 16, "shmctl(0, 0x5 /* SHM_??? */, 0x10) = 0"),
        (
            -1,
            16,
            "shmctl(0, IPC_64|0xfffffeff /* SHM_??? */, 0x10) = 0",
        ),
        (0x102, 16, "shmctl(0, IPC_64|IPC_STAT, 0x10) = 0"),
        (11, 0, "shmctl(0, SHM_LOCK, NULL) = 0"),
    ];
    for (cmd, buf, expected) in rows {
        let asked = Call::Shmctl { shmid: 0, cmd, buf };
        assert_eq!(shown(asked, Told::Nothing, Answer::Value(0)), expected);
    }
}

#[test]
fn what_shmctl_told_is_shown_in_place_of_the_address() {
    let asked = |cmd| Call::Shmctl {
        shmid: 0,
        cmd,
        buf: 16,
    };
    assert_eq!(
        shown(asked(2), Told::Segment(segment()), Answer::Value(0)),
        "shmctl(0, IPC_STAT, {shm_perm={uid=0, gid=0, mode=0600, key=5678, cuid=0, cgid=0}, \
         shm_segsz=4096, shm_cpid=13500, shm_lpid=13501, shm_nattch=2, shm_atime=1795416149, \
         shm_dtime=0, shm_ctime=1795416149}) = 0"
    );
    let removed = Segment {
        key: Key::PRIVATE,
        mode: 0o1000,
        ..segment()
    };
    assert!(
        shown(asked(2), Told::Segment(removed), Answer::Value(0)).contains("mode=01000, key=0, "),
    );
    let new = NewPerm {
        uid: 384,
        gid: u32::MAX,
        mode: 0,
    };
    assert_eq!(
        shown(asked(1), Told::NewPerm(new), Answer::Value(0)),
        "shmctl(0, IPC_SET, {shm_perm={uid=384, gid=-1, mode=000}}) = 0"
    );
    assert_eq!(
        shown(
            asked(3),
            Told::Limits(Limits::KERNEL_DEFAULTS),
            Answer::Value(3)
        ),
        "shmctl(0, IPC_INFO, {shmmax=18446744073692774399, shmmin=1, shmmni=4096, shmseg=4096, \
         shmall=18446744073692774399}) = 3"
    );
}

#[test]
fn a_failure_tells_its_reason() {
    let refused = Answer::Refused {
        errno: libc::EINVAL,
        why: &"segment 32769 holds 4096 bytes, 8192 asked",
    };
    let asked = Call::Shmget {
        key: 0x162e,
        size: 8192,
        shmflg: 0o600,
    };
    assert_eq!(
        shown(asked, Told::Nothing, refused),
        "shmget(0x162e, 8192, 0600) = -1 EINVAL (segment 32769 holds 4096 bytes, 8192 asked)"
    );
    let removed = Answer::Refused {
        errno: libc::EIDRM,
        why: &"gone",
    };
    assert_eq!(
        shown(Call::Shmdt { addr: 0 }, Told::Nothing, removed),
        "shmdt(NULL) = -1 EIDRM (gone)"
    );
}
