//! Who we are and what time it is.

use super::path::Path;
use super::{OsResult, raw, served};
use super::{file, pages};
use core::sync::atomic::{AtomicUsize, Ordering};

#[inline(always)]
fn simple(number: libc::c_long) -> u32 {
    // SAFETY: these calls take no arguments and cannot fail.
    unsafe { raw::call(number, []) }.unwrap_or(0) as u32
}

/// The process id (that of the thread group).
#[inline(always)]
pub fn pid() -> i32 {
    match served::client() {
        Some(client) => client.pid(),
        None => simple(libc::SYS_getpid) as i32,
    }
}

/// The process that a system call means that takes 0 for the caller.
fn host() -> usize {
    served::client().map_or(0, |client| client.pid() as usize)
}

/// The process id of the parent.
pub fn parent_pid() -> i32 {
    simple(libc::SYS_getppid) as i32
}

/// The session's id.
pub fn session() -> i32 {
    // SAFETY: takes a number only.
    unsafe { raw::call(libc::SYS_getsid, [host()]) }.unwrap_or(0) as i32
}

/// The effective user id.
pub fn euid() -> u32 {
    simple(raw::number::GETEUID)
}

/// The effective group id.
pub fn egid() -> u32 {
    simple(raw::number::GETEGID)
}

/// The group id that file access is judged by.
pub fn fsgid() -> u32 {
    // SAFETY: an impossible id changes nothing, and the present one is returned.
    unsafe { raw::call(raw::number::SETFSGID, [u32::MAX as usize]) }.unwrap_or(0) as u32
}

/// Whether `gid` is among the supplementary groups.
pub fn has_supplementary_group(gid: u32) -> bool {
    let mut few = [0u32; 64];
    match groups(&mut few) {
        Ok(count) => few.get(..count).unwrap_or(&[]).contains(&gid),
        Err(_) => {
            // More than fit: 65536 at most. The pages are given back at the end.
            let mut many = pages::PageVec::new();
            if many.reserve(65536).is_err() {
                return false;
            }
            while many.len() < 65536 && many.insert(many.len(), 0u32) {}
            match groups(&mut many) {
                Ok(count) => many.get(..count).unwrap_or(&[]).contains(&gid),
                Err(_) => false,
            }
        }
    }
}

fn groups(out: &mut [u32]) -> OsResult<usize> {
    // SAFETY: the buffer is live and holds as many ids as said.
    unsafe {
        raw::call(
            raw::number::GETGROUPS,
            [out.len(), out.as_mut_ptr() as usize],
        )
    }
}

/// Whether the capability with this number (`linux/capability.h`) is effective.
pub fn capable(number: u32) -> bool {
    match served::client() {
        Some(client) => client.capable(number),
        None => is_capable(number),
    }
}

fn is_capable(number: u32) -> bool {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    // Two triples of effective, permitted, inheritable: the low and the high 32 capabilities.
    let mut data = [0u32; 6];
    // SAFETY: header and data are live and laid out as version 3 wants them.
    let asked = unsafe {
        raw::call(
            libc::SYS_capget,
            [&raw const header as usize, data.as_mut_ptr() as usize],
        )
    };
    let effective = data
        .get(if number < 32 { 0 } else { 3 })
        .copied()
        .unwrap_or(0);
    asked.is_ok() && effective & (1 << (number % 32)) != 0
}

/// The soft limit of memory that may be locked, in bytes; `u64::MAX` for none.
pub fn memlock_limit_bytes() -> u64 {
    limit(libc::RLIMIT_MEMLOCK as usize)
}

/// The soft limit of one of the `RLIMIT_` numbers; `u64::MAX` for none.
pub fn limit(which: usize) -> u64 {
    let mut limits = [0u64; 2];
    let place = limits.as_mut_ptr() as usize;
    // SAFETY: the buffer is a struct rlimit64; asking only.
    let asked = unsafe { raw::call(libc::SYS_prlimit64, [host(), which, 0, place]) };
    let [soft, _] = limits;
    if asked.is_ok() { soft } else { 0 }
}

/// Seconds since 1970, as the kernel stamps its own segments.
pub fn now_secs() -> i64 {
    // SAFETY: a null pointer asks for the return value only. Served by the vDSO, without a system call.
    #[allow(clippy::useless_conversion, reason = "32 bits wide on some machines")]
    i64::from(unsafe { libc::time(core::ptr::null_mut()) })
}

/// Nanoseconds on a clock that never jumps and is read without a system call; coarse, some milliseconds.
pub fn coarse_nanos() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the buffer is live. Served by the vDSO.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    (now.tv_sec as u64).saturating_mul(1_000_000_000) + now.tv_nsec as u64
}

/// Lets other threads run.
pub fn yield_now() {
    simple(libc::SYS_sched_yield);
}

/// Sleeps for `nanos`, a fraction of a second.
pub fn nap(nanos: u32) {
    let length = libc::timespec {
        tv_sec: 0,
        tv_nsec: nanos as libc::c_long,
    };
    // SAFETY: the argument is live; the rest is not asked for.
    let _ = unsafe { raw::call(libc::SYS_nanosleep, [&raw const length as usize]) };
}

/// The page size in bytes.
pub fn page_size() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: reads the auxiliary vector.
            let size = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
            let size = if size.is_power_of_two() { size } else { 4096 };
            KNOWN.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// Whether a process with this id is there, a zombie included. What is asked is its process group: that takes half as long
/// as signal 0, and no rights.
pub fn exists(pid: i32) -> bool {
    // SAFETY: takes a number, and only answers.
    let asked = unsafe { raw::call(libc::SYS_getpgid, [pid as usize]) };
    pid > 0 && asked != Err(super::OsError(libc::ESRCH))
}

/// The real user id.
pub fn uid() -> u32 {
    match served::client() {
        Some(client) => client.uid(),
        None => simple(raw::number::GETUID),
    }
}

/// Whether a process with this id is there and has not ended: a zombie has. Where `/proc` cannot be read, one that is
/// there counts.
pub fn is_running(pid: i32) -> bool {
    if !exists(pid) {
        return false;
    }
    let Some(mut path) = Path::from_bytes(b"/proc/") else {
        return true;
    };
    if path
        .push_decimal(pid as u32)
        .and_then(|()| path.push(b"/stat"))
        .is_none()
    {
        return true;
    }
    let mut text = [0u8; 256];
    let read = file::open(&path, libc::O_RDONLY, 0).and_then(|fd| file::read(&fd, &mut text));
    let Ok(len) = read else { return true };
    // "pid (name) state …", and the name may hold anything.
    let text = text.get(..len).unwrap_or(&[]);
    let behind_name = text
        .iter()
        .rposition(|&byte| byte == b')')
        .and_then(|at| text.get(at + 2..));
    !matches!(behind_name, Some([b'Z' | b'X' | b'x', ..]))
}
