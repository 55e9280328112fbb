//! How strace writes these calls: flags by name, addresses in hex, modes in octal, a key in hex
//! where it is asked for and in decimal where it is told.

use core::fmt;

use shmshim_core::os::OsError;
use shmshim_core::sysv::flags::{
    IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, SHM_EXEC, SHM_HUGE_MASK,
    SHM_HUGE_SHIFT, SHM_HUGETLB, SHM_INFO, SHM_LOCK, SHM_NORESERVE, SHM_RDONLY, SHM_REMAP, SHM_RND,
    SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK,
};
use shmshim_core::sysv::{Limits, NewPerm, Segment};

use super::line::Line;
use super::{Answer, Call, Told};

/// The line of a call: what was asked, what was told, what was answered.
pub fn call(line: &mut Line, call: &Call, told: &Told, answer: &Answer<'_>) {
    match *call {
        Call::Shmget { key, size, shmflg } => {
            line.put(format_args!("shmget({}, {size}, ", AskedKey(key)));
            get_flags(line, shmflg);
        }
        Call::Shmat {
            shmid,
            addr,
            shmflg,
        } => {
            line.put(format_args!("shmat({shmid}, {}, ", Address(addr)));
            attach_flags(line, shmflg);
        }
        Call::Shmdt { addr } => line.put(format_args!("shmdt({}", Address(addr))),
        Call::Shmctl { shmid, cmd, buf } => {
            line.put(format_args!("shmctl({shmid}, "));
            command(line, cmd);
            line.put(format_args!(", "));
            buffer(line, buf, told);
        }
    }
    match (answer, call) {
        (Answer::Value(addr @ 1..), Call::Shmat { .. }) => line.put(format_args!(") = {addr:#x}")),
        (Answer::Value(value), _) => line.put(format_args!(") = {value}")),
        (Answer::Refused { errno, why }, _) => {
            line.put(format_args!(") = -1 {} ({why})", Errno(*errno)));
        }
    }
}

/// Why semaphores and message queues have a line here.
const NOT_SERVED: &str = ") goes to the kernel: this library serves shared memory only";

/// A call of semget.
pub fn semget(line: &mut Line, key: i32, count: i32, flags: i32) {
    line.put(format_args!("semget({}, {count}, ", AskedKey(key)));
    get_flags(line, flags);
    line.put(format_args!("{NOT_SERVED}"));
}

/// A call of msgget.
pub fn msgget(line: &mut Line, key: i32, flags: i32) {
    line.put(format_args!("msgget({}, ", AskedKey(key)));
    get_flags(line, flags);
    line.put(format_args!("{NOT_SERVED}"));
}

/// shmget's flags, the permission bits last.
fn get_flags(line: &mut Line, flags: i32) {
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
fn attach_flags(line: &mut Line, flags: i32) {
    let names = [
        (SHM_RDONLY, "SHM_RDONLY"),
        (SHM_RND, "SHM_RND"),
        (SHM_REMAP, "SHM_REMAP"),
        (SHM_EXEC, "SHM_EXEC"),
    ];
    let mut rest = flags;
    let mut between = "";
    for (flag, name) in names {
        if rest & flag != 0 {
            line.put(format_args!("{between}{name}"));
            between = "|";
            rest &= !flag;
        }
    }
    match (flags, rest) {
        (0, _) => line.put(format_args!("0")),
        (_, 0) => {}
        _ if rest == flags => line.put(format_args!("{rest:#x} /* SHM_??? */")),
        _ => line.put(format_args!("|{rest:#x}")),
    }
}

/// shmctl's command.
fn command(line: &mut Line, cmd: i32) {
    const IPC_64: i32 = 0x100;
    if cmd & IPC_64 != 0 {
        line.put(format_args!("IPC_64|"));
    }
    let name = match cmd & !IPC_64 {
        IPC_RMID => "IPC_RMID",
        IPC_SET => "IPC_SET",
        IPC_STAT => "IPC_STAT",
        IPC_INFO => "IPC_INFO",
        SHM_LOCK => "SHM_LOCK",
        SHM_UNLOCK => "SHM_UNLOCK",
        SHM_STAT => "SHM_STAT",
        SHM_INFO => "SHM_INFO",
        SHM_STAT_ANY => "SHM_STAT_ANY",
        unknown => return line.put(format_args!("{unknown:#x} /* SHM_??? */")),
    };
    line.put(format_args!("{name}"));
}

/// shmctl's buffer: what is in it, or where it is.
fn buffer(line: &mut Line, addr: u64, told: &Told) {
    match told {
        Told::Nothing => line.put(format_args!("{}", Address(addr))),
        Told::Segment(segment) => stat(line, segment),
        Told::NewPerm(NewPerm { uid, gid, mode }) => line.put(format_args!(
            "{{shm_perm={{uid={}, gid={}, mode={}}}}}",
            User(*uid),
            User(*gid),
            Mode(*mode)
        )),
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
    }
}

fn stat(line: &mut Line, segment: &Segment) {
    line.put(format_args!(
        "{{shm_perm={{uid={}, gid={}, mode={}, key={}, cuid={}, cgid={}}}, ",
        User(segment.uid),
        User(segment.gid),
        Mode(segment.mode),
        segment.key.0 as u32,
        User(segment.cuid),
        User(segment.cgid)
    ));
    line.put(format_args!(
        "shm_segsz={}, shm_cpid={}, shm_lpid={}, shm_nattch={}, shm_atime={}, shm_dtime={}, shm_ctime={}}}",
        segment.segsz,
        segment.cpid,
        segment.lpid,
        segment.nattch,
        segment.atime,
        segment.dtime,
        segment.ctime
    ));
}

/// A word as strace writes it.
enum Word {
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
