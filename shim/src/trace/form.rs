//! How strace writes these calls: flags by name, addresses in hex, modes in octal, a key in hex
//! where it is asked for and in decimal where it is told.

use core::fmt;

use shmshim_core::os::OsError;
use shmshim_core::sysv::flags::{
    IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, SHM_EXEC,
    SHM_HUGE_MASK, SHM_HUGE_SHIFT, SHM_HUGETLB, SHM_INFO, SHM_LOCK, SHM_NORESERVE, SHM_RDONLY,
    SHM_REMAP, SHM_RND, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK,
};
use shmshim_core::sysv::{IpcPerm, Key, Limits, NewPerm, Segment};

use super::line::Line;
use super::{Answer, Call, Told};

mod msg;
mod sem;

/// The line of a call: what was asked, what was told, what was answered, and how long it slept.
pub fn call(line: &mut Line, call: &Call, told: &Told, answer: &Answer<'_>, slept: u64) {
    question(line, call, told);
    match (answer, call) {
        (Answer::Value(addr @ 1..), Call::Shmat { .. }) => line.put(format_args!(") = {addr:#x}")),
        (Answer::Value(value), _) => line.put(format_args!(") = {value}")),
        (Answer::Refused { errno, why }, _) => {
            line.put(format_args!(") = -1 {} ({why}", Errno(*errno)));
        }
    }
    match (answer, slept) {
        (Answer::Value(_), 0) => {}
        (Answer::Value(_), _) => line.put(format_args!(" (slept {})", Slept(slept))),
        (Answer::Refused { .. }, 0) => line.put(format_args!(")")),
        (Answer::Refused { .. }, _) => line.put(format_args!("; slept {})", Slept(slept))),
    }
}

/// How long a call slept, from nanoseconds.
struct Slept(u64);

impl fmt::Display for Slept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        write!(out, "{}.{:03} s", millis / 1000, millis % 1000)
    }
}

/// The call and its arguments, without the bracket behind them.
pub fn question(line: &mut Line, call: &Call, told: &Told) {
    line.put(format_args!("{}(", call.name()));
    match *call {
        Call::Shmget { key, size, shmflg } => {
            line.put(format_args!("{}, {size}, ", AskedKey(key)));
            get_flags(line, shmflg);
        }
        Call::Shmat {
            shmid,
            addr,
            shmflg,
        } => {
            line.put(format_args!("{shmid}, {}, ", Address(addr)));
            attach_flags(line, shmflg);
        }
        Call::Shmdt { addr } => line.put(format_args!("{}", Address(addr))),
        Call::Shmctl { shmid, cmd, buf } => {
            line.put(format_args!("{shmid}, "));
            command(line, cmd);
            line.put(format_args!(", "));
            buffer(line, buf, told);
        }
        Call::Semget { .. }
        | Call::Semop { .. }
        | Call::Semtimedop { .. }
        | Call::Semctl { .. } => set_question(line, call, told),
        Call::Msgget { .. } | Call::Msgsnd { .. } | Call::Msgrcv { .. } | Call::Msgctl { .. } => {
            queue_question(line, call, told);
        }
    }
}

/// The same of a set.
fn set_question(line: &mut Line, call: &Call, told: &Told) {
    match *call {
        Call::Semget { key, count, flags } => {
            line.put(format_args!("{}, {count}, ", AskedKey(key)));
            plain_get_flags(line, flags);
        }
        Call::Semop {
            semid,
            operations,
            count,
        } => {
            line.put(format_args!("{semid}, "));
            sem::operations(line, operations, count, told);
            line.put(format_args!(", {count}"));
        }
        Call::Semtimedop {
            semid,
            operations,
            count,
            timeout,
        } => {
            line.put(format_args!("{semid}, "));
            sem::operations(line, operations, count, told);
            line.put(format_args!(", {count}, "));
            sem::limit(line, timeout, told);
        }
        Call::Semctl {
            semid,
            number,
            cmd,
            arg,
        } => {
            line.put(format_args!("{semid}, {number}, "));
            sem_command(line, cmd);
            line.put(format_args!(", "));
            sem::buffer(line, arg, told);
        }
        _ => {}
    }
}

/// The same of a queue.
fn queue_question(line: &mut Line, call: &Call, told: &Told) {
    match *call {
        Call::Msgget { key, flags } => {
            line.put(format_args!("{}, ", AskedKey(key)));
            plain_get_flags(line, flags);
        }
        Call::Msgsnd {
            msqid,
            message,
            size,
            flags,
        } => {
            line.put(format_args!("{msqid}, "));
            msg::message(line, message, told);
            line.put(format_args!(", {}, ", size as usize));
            msg_flags(line, flags);
        }
        Call::Msgrcv {
            msqid,
            message,
            size,
            mtype,
            flags,
        } => {
            line.put(format_args!("{msqid}, "));
            msg::message(line, message, told);
            line.put(format_args!(", {}, {mtype}, ", size as usize));
            msg_flags(line, flags);
        }
        Call::Msgctl { msqid, cmd, buf } => {
            line.put(format_args!("{msqid}, "));
            msg_command(line, cmd);
            line.put(format_args!(", "));
            msg::buffer(line, buf, told);
        }
        _ => {}
    }
}

pub use msg::{command as msg_command, flags as msg_flags};
pub use sem::{command as sem_command, operations as sem_operations};

/// The flags of semget and msgget, the permission bits last.
pub fn plain_get_flags(line: &mut Line, flags: i32) {
    let rest = flags & !0o777;
    if rest != 0 {
        let names = [
            (IPC_CREAT, "IPC_CREAT"),
            (IPC_EXCL, "IPC_EXCL"),
            (IPC_NOWAIT, "IPC_NOWAIT"),
        ];
        named_bits(line, rest, &names, "");
        line.put(format_args!("|"));
    }
    line.put(format_args!("{}", Mode(flags as u32 & 0o777)));
}

/// Bits by their names; what has none in hex, with a word about it where there is nothing else.
fn named_bits(line: &mut Line, bits: i32, names: &[(i32, &str)], unknown: &str) {
    let mut rest = bits;
    let mut between = "";
    for (bit, name) in names {
        if rest & bit != 0 {
            line.put(format_args!("{between}{name}"));
            between = "|";
            rest &= !bit;
        }
    }
    match (bits, rest) {
        (0, _) => line.put(format_args!("0")),
        (_, 0) => {}
        _ if rest == bits => line.put(format_args!("{rest:#x}{unknown}")),
        _ => line.put(format_args!("|{rest:#x}")),
    }
}

/// The command of one of the ctl calls, or `None` where the one with this number has no name.
fn named_command(line: &mut Line, cmd: i32, unknown: &str, name: fn(i32) -> Option<&'static str>) {
    const IPC_64: i32 = 0x100;
    if cmd & IPC_64 != 0 {
        line.put(format_args!("IPC_64|"));
    }
    match name(cmd & !IPC_64) {
        Some(name) => line.put(format_args!("{name}")),
        None => line.put(format_args!("{:#x} /* {unknown} */", cmd & !IPC_64)),
    }
}

/// shmget's flags, the permission bits last.
pub fn get_flags(line: &mut Line, flags: i32) {
    let huge = (SHM_HUGE_MASK << SHM_HUGE_SHIFT) as i32;
    let names = [
        (IPC_CREAT, "IPC_CREAT"),
        (IPC_EXCL, "IPC_EXCL"),
        (SHM_HUGETLB, "SHM_HUGETLB"),
        (SHM_NORESERVE, "SHM_NORESERVE"),
    ];
    let mut rest = flags & !huge & !0o777;
    for (flag, name) in names {
        if rest & flag != 0 {
            line.put(format_args!("{name}|"));
            rest &= !flag;
        }
    }
    if rest != 0 {
        line.put(format_args!("{rest:#x}|"));
    }
    let log2 = (flags & huge) as u32 >> SHM_HUGE_SHIFT;
    if log2 != 0 {
        line.put(format_args!("{log2}<<SHM_HUGE_SHIFT|"));
    }
    line.put(format_args!("{}", Mode(flags as u32 & 0o777)));
}

/// shmat's flags.
pub fn attach_flags(line: &mut Line, flags: i32) {
    let names = [
        (SHM_RDONLY, "SHM_RDONLY"),
        (SHM_RND, "SHM_RND"),
        (SHM_REMAP, "SHM_REMAP"),
        (SHM_EXEC, "SHM_EXEC"),
    ];
    named_bits(line, flags, &names, " /* SHM_??? */");
}

/// shmctl's command.
pub fn command(line: &mut Line, cmd: i32) {
    named_command(line, cmd, "SHM_???", |cmd| {
        Some(match cmd {
            IPC_RMID => "IPC_RMID",
            IPC_SET => "IPC_SET",
            IPC_STAT => "IPC_STAT",
            IPC_INFO => "IPC_INFO",
            SHM_LOCK => "SHM_LOCK",
            SHM_UNLOCK => "SHM_UNLOCK",
            SHM_STAT => "SHM_STAT",
            SHM_INFO => "SHM_INFO",
            SHM_STAT_ANY => "SHM_STAT_ANY",
            _ => return None,
        })
    });
}

/// shmctl's buffer: what is in it, or where it is.
fn buffer(line: &mut Line, addr: u64, told: &Told) {
    match told {
        Told::Segment(segment) => stat(line, segment),
        Told::NewPerm(new) => {
            new_perm(line, "shm", new);
            line.put(format_args!("}}"));
        }
        Told::Limits(Limits {
            shmmax,
            shmall,
            shmmni,
            ..
        }) => line.put(format_args!(
            "{{shmmax={shmmax}, shmmin=1, shmmni={shmmni}, shmseg={shmmni}, shmall={shmall}}}"
        )),
        Told::Usage(usage) => line.put(format_args!(
            "{{used_ids={}, shm_tot={}, shm_rss={}, shm_swp={}, swap_attempts=0, swap_successes=0}}",
            usage.used_ids, usage.shm_tot, usage.shm_rss, usage.shm_swp
        )),
        _ => line.put(format_args!("{}", Address(addr))),
    }
}

fn stat(line: &mut Line, segment: &Segment) {
    perm(line, "shm", &segment.perm(), segment.key);
    line.put(format_args!(
        ", shm_segsz={}, shm_cpid={}, shm_lpid={}, shm_nattch={}, shm_atime={}, shm_dtime={}, shm_ctime={}}}",
        segment.segsz,
        segment.cpid,
        segment.lpid,
        segment.nattch,
        segment.atime,
        segment.dtime,
        segment.ctime
    ));
}

/// The beginning of a structure of IPC_STAT: the part that all three have.
fn perm(line: &mut Line, of: &str, perm: &IpcPerm, key: Key) {
    line.put(format_args!(
        "{{{of}_perm={{uid={}, gid={}, mode={}, key={}, cuid={}, cgid={}}}",
        User(perm.uid),
        User(perm.gid),
        Mode(perm.mode),
        key.0 as u32,
        User(perm.cuid),
        User(perm.cgid)
    ));
}

/// The beginning of a structure of IPC_SET: what all three set.
fn new_perm(line: &mut Line, of: &str, new: &NewPerm) {
    line.put(format_args!(
        "{{{of}_perm={{uid={}, gid={}, mode={}}}",
        User(new.uid),
        User(new.gid),
        Mode(new.mode)
    ));
}

/// A word as strace writes it.
pub enum Word {
    /// `NULL`, or in hex.
    Address(u64),
    /// The key that is asked for.
    AskedKey(i32),
    /// Octal, with a leading 0 and three digits at least.
    Mode(u32),
    /// A user or group, where −1 means none.
    User(u32),
    /// By its name.
    Errno(i32),
}
use Word::{Address, AskedKey, Errno, Mode, User};

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Address(0) => out.write_str("NULL"),
            Address(addr) => write!(out, "{addr:#x}"),
            AskedKey(0) => out.write_str("IPC_PRIVATE"),
            AskedKey(key) => write!(out, "{key:#x}"),
            Mode(bits @ 0..0o100) => write!(out, "{bits:03o}"),
            Mode(mode) => write!(out, "0{mode:o}"),
            User(u32::MAX) => out.write_str("-1"),
            User(id) => write!(out, "{id}"),
            Errno(errno) => OsError(errno).fmt(out),
        }
    }
}

#[cfg(test)]
mod tests;
