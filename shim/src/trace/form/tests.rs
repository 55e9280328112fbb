//! The expected lines were printed by strace 6.1 for the same calls; its `-1 EINVAL (Invalid argument)` gives way
//! to our reason, its alignment to a single space.

use shmshim_core::sysv::msg::{MsgLimits, NewQueue, QueueFacts};
use shmshim_core::sysv::sem::{Operation, SemLimits, SetPerm};
use shmshim_core::sysv::{IpcPerm, Key, Kind, ShmId};

use crate::trace::{SHOWN_BYTES, SHOWN_OPERATIONS};

use super::*;

fn shown(asked: Call, told: Told, answer: Answer<'_>) -> String {
    shown_of_sleeper(asked, told, answer, 0)
}

fn shown_of_sleeper(asked: Call, told: Told, answer: Answer<'_>, slept: u64) -> String {
    let mut line = Line::new();
    call(&mut line, &asked, &told, &answer, slept);
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
fn how_long_a_call_slept_stands_behind_its_answer() {
    let call = Call::Msgsnd {
        msqid: 3,
        message: 0,
        size: 0,
        flags: 0,
    };
    let refused = Answer::Refused {
        errno: libc::EINTR,
        why: &"a reason",
    };
    let sleep = 3_204_999_999;
    assert_eq!(
        shown_of_sleeper(call, Told::Nothing, refused, sleep),
        "msgsnd(3, NULL, 0, 0) = -1 EINTR (a reason; slept 3.204 s)"
    );
    assert_eq!(
        shown_of_sleeper(call, Told::Nothing, Answer::Value(0), sleep),
        "msgsnd(3, NULL, 0, 0) = 0 (slept 3.204 s)"
    );
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

fn told(call: Call, told: Told) -> String {
    shown(call, told, Answer::Value(0))
}

fn perm(kind: Kind) -> IpcPerm {
    IpcPerm {
        kind,
        id: ShmId::new(0, 0),
        uid: 0,
        gid: 0,
        cuid: 0,
        cgid: 0,
        mode: 0o600,
    }
}

#[test]
fn gets_of_sets_and_queues_as_strace_shows_them() {
    let semget = |key, flags| {
        told(
            Call::Semget {
                key,
                count: 3,
                flags,
            },
            Told::Nothing,
        )
    };
    assert_eq!(
        semget(0, 0o1600),
        "semget(IPC_PRIVATE, 3, IPC_CREAT|0600) = 0"
    );
    assert_eq!(
        semget(0x162e, 0o2644),
        "semget(0x162e, 3, IPC_EXCL|0644) = 0"
    );
    let msgget = |key, flags| told(Call::Msgget { key, flags }, Told::Nothing);
    assert_eq!(msgget(0, 0o1600), "msgget(IPC_PRIVATE, IPC_CREAT|0600) = 0");
    assert_eq!(msgget(0x55, 0), "msgget(0x55, 000) = 0");
}

#[test]
fn operations_as_strace_shows_them() {
    let operation = |number, change, flags| Operation {
        number,
        change,
        flags,
    };
    let mut first = [operation(0, 0, 0); SHOWN_OPERATIONS];
    first[0] = operation(0, 1, 0o10000);
    first[1] = operation(1, 2, 0o14000);
    first[2] = operation(2, 0, 0o44000);
    let semop = |count| Call::Semop {
        semid: 0,
        operations: 8,
        count,
    };
    let all = |limit| Told::Operations { first, limit };
    assert_eq!(
        told(semop(3), all(None)),
        "semop(0, [{sem_num=0, sem_op=1, sem_flg=SEM_UNDO}, \
         {sem_num=1, sem_op=2, sem_flg=SEM_UNDO|IPC_NOWAIT}, \
         {sem_num=2, sem_op=0, sem_flg=IPC_NOWAIT|0x4000}], 3) = 0"
    );
    first[0] = operation(0, -5, 0x24a);
    let all = |limit| Told::Operations { first, limit };
    assert!(told(semop(1), all(None)).contains("sem_op=-5, sem_flg=0x24a /* SEM_??? */}], 1)"));
    assert!(told(semop(501), all(None)).ends_with(", ...], 501) = 0"));
    assert_eq!(told(semop(1), Told::Nothing), "semop(0, 0x8, 1) = 0");
    assert_eq!(told(semop(0), Told::Nothing), "semop(0, [], 0) = 0");
    let timed = Call::Semtimedop {
        semid: 0,
        operations: 8,
        count: 0,
        timeout: 16,
    };
    assert_eq!(
        told(timed, all(Some((0, -1)))),
        format!(
            "semtimedop(0, [], 0, {{tv_sec=0, tv_nsec={}}}) = 0",
            usize::MAX
        )
    );
    assert_eq!(told(timed, Told::Nothing), "semtimedop(0, [], 0, 0x10) = 0");
}

#[test]
fn semctl_as_strace_shows_it() {
    let asked = |cmd, arg| Call::Semctl {
        semid: 0,
        number: 1,
        cmd,
        arg,
    };
    let commands = [
        (16, 5, "SETVAL, 0x5"),
        (12, 0, "GETVAL, NULL"),
        (13, 8, "GETALL, 0x8"),
        (0, 0, "IPC_RMID, NULL"),
        (77, 8, "0x4d /* SEM_??? */, 0x8"),
        (0x102, 8, "IPC_64|IPC_STAT, 0x8"),
    ];
    for (cmd, arg, expected) in commands {
        assert_eq!(
            told(asked(cmd, arg), Told::Nothing),
            format!("semctl(0, 1, {expected}) = 0")
        );
    }
    let set = SetPerm {
        perm: perm(Kind::Set),
        key: Key(0),
        otime: 1795914561,
        ctime: 1795914562,
        count: 3,
    };
    assert_eq!(
        told(asked(2, 8), Told::Set(set)),
        "semctl(0, 1, IPC_STAT, {sem_perm={uid=0, gid=0, mode=0600, key=0, cuid=0, cgid=0}, \
         sem_otime=1795914561, sem_ctime=1795914562, sem_nsems=3}) = 0"
    );
    let new = NewPerm {
        uid: 0,
        gid: 0,
        mode: 0o600,
    };
    assert_eq!(
        told(asked(1, 8), Told::NewPerm(new)),
        "semctl(0, 1, IPC_SET, {sem_perm={uid=0, gid=0, mode=0600}}) = 0"
    );
    assert_eq!(
        told(asked(3, 8), Told::SemLimits(SemLimits::KERNEL_DEFAULTS)),
        "semctl(0, 1, IPC_INFO, {semmap=1024000000, semmni=32000, semmns=1024000000, \
         semmnu=1024000000, semmsl=32000, semopm=500, semume=500, semusz=20, semvmx=32767, \
         semaem=32767}) = 0"
    );
}

#[test]
fn messages_as_strace_shows_them() {
    let message = |text: &[u8], len| {
        let mut first = [0; SHOWN_BYTES];
        first[..text.len()].copy_from_slice(text);
        Told::Message {
            mtype: 7,
            len,
            first,
        }
    };
    let sent = |size, flags| Call::Msgsnd {
        msqid: 0,
        message: 8,
        size,
        flags,
    };
    assert_eq!(
        told(sent(12, 0o4000), message(b"hello \"x\"\n", 12)),
        r#"msgsnd(0, {mtype=7, mtext="hello \"x\"\n\0\0"}, 12, IPC_NOWAIT) = 0"#
    );
    assert_eq!(
        told(sent(33, 0), message(&[b'a'; 32], 33)),
        r#"msgsnd(0, {mtype=7, mtext="aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"...}, 33, 0) = 0"#
    );
    assert_eq!(
        told(sent(3, 0), message(b"\x01\x012", 3)),
        r#"msgsnd(0, {mtype=7, mtext="\1\0012"}, 3, 0) = 0"#
    );
    let received = |flags| Call::Msgrcv {
        msqid: 0,
        message: 8,
        size: 200,
        mtype: -9,
        flags,
    };
    assert_eq!(
        shown(received(0o44000), message(b"", 0), Answer::Value(0)),
        r#"msgrcv(0, {mtype=7, mtext=""}, 200, -9, MSG_COPY|IPC_NOWAIT) = 0"#
    );
    assert_eq!(
        told(received(0o30000), Told::Nothing),
        "msgrcv(0, 0x8, 200, -9, MSG_NOERROR|MSG_EXCEPT) = 0"
    );
}

#[test]
fn msgctl_as_strace_shows_it() {
    let asked = |cmd| Call::Msgctl {
        msqid: 0,
        cmd,
        buf: 8,
    };
    let queue = QueueFacts {
        perm: perm(Kind::Queue),
        key: Key(0),
        stime: 1795914561,
        rtime: 1795914561,
        ctime: 1795914561,
        cbytes: 0,
        qnum: 0,
        qbytes: 16384,
        lspid: 29435,
        lrpid: 29435,
    };
    assert_eq!(
        told(asked(2), Told::Queue(queue)),
        "msgctl(0, IPC_STAT, {msg_perm={uid=0, gid=0, mode=0600, key=0, cuid=0, cgid=0}, \
         msg_stime=1795914561, msg_rtime=1795914561, msg_ctime=1795914561, msg_qnum=0, \
         msg_qbytes=16384, msg_lspid=29435, msg_lrpid=29435}) = 0"
    );
    let new = NewQueue {
        perm: NewPerm {
            uid: 0,
            gid: 0,
            mode: 0o600,
        },
        qbytes: 16384,
    };
    assert_eq!(
        told(asked(1), Told::NewQueue(new)),
        "msgctl(0, IPC_SET, {msg_perm={uid=0, gid=0, mode=0600}, msg_qbytes=16384}) = 0"
    );
    assert_eq!(
        told(asked(3), Told::MsgLimits(MsgLimits::KERNEL_DEFAULTS)),
        "msgctl(0, IPC_INFO, {msgpool=512000, msgmap=16384, msgmax=8192, msgmnb=16384, \
         msgmni=32000, msgssz=16, msgtql=16384, msgseg=65535}) = 0"
    );
    assert_eq!(
        told(asked(77), Told::Nothing),
        "msgctl(0, 0x4d /* MSG_??? */, 0x8) = 0"
    );
}
