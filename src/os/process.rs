//! Who we are and what time it is.

use super::pages::PageVec;
use super::path::Path;
use super::{OsResult, file, raw, served};
use core::sync::atomic::{AtomicUsize, Ordering};

#[inline(always)]
fn simple(number: libc::c_long) -> u32 {
    // SAFETY: these calls take no arguments, or 0 for oneself, and cannot fail.
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

/// The process id of the parent.
pub fn parent_pid() -> i32 {
    simple(libc::SYS_getppid) as i32
}

/// The session's id.
pub fn session() -> i32 {
    // 0 means the caller.
    let host = served::client().map_or(0, |client| client.pid() as usize);
    // SAFETY: takes a number only.
    unsafe { raw::call(libc::SYS_getsid, [host]) }.unwrap_or(0) as i32
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
    let held = groups(&mut []).and_then(|count| {
        let mut held = PageVec::new();
        held.resize(count, 0)?;
        let count = groups(&mut held)?;
        Ok(held.get(..count).unwrap_or(&[]).contains(&gid))
    });
    held.unwrap_or(false)
}

fn groups(out: &mut [u32]) -> OsResult<usize> {
    let args = [out.len(), out.as_mut_ptr() as usize];
    // SAFETY: the buffer is live and holds as many ids as said; of one without room only their count is asked for.
    unsafe { raw::call(raw::number::GETGROUPS, args) }
}

/// Whether the capability with this number (`linux/capability.h`) is effective.
pub fn capable(number: u32) -> bool {
    if let Some(client) = served::client() {
        return client.capable(number);
    }
    // `struct __user_cap_header_struct`: version 3, and this thread.
    let header = [0x2008_0522u32, 0];
    // Two triples of effective, permitted, inheritable: the low and the high 32 capabilities.
    let mut data = [0u32; 6];
    let args = [header.as_ptr() as usize, data.as_mut_ptr() as usize];
    // SAFETY: header and data are live and laid out as version 3 wants them.
    let asked = unsafe { raw::call(libc::SYS_capget, args) };
    let [low, _, _, high, ..] = data;
    let effective = if number < 32 { low } else { high };
    asked.is_ok() && effective & (1 << (number % 32)) != 0
}

/// The soft limit of one of the `RLIMIT_` numbers; `u64::MAX` for none.
pub fn limit(which: usize) -> u64 {
    if let Some(client) = served::client() {
        return client.limit(which);
    }
    let mut limits = [0u64; 2];
    let place = limits.as_mut_ptr() as usize;
    // SAFETY: the buffer is a struct rlimit64; asking only.
    let asked = unsafe { raw::call(libc::SYS_prlimit64, [0, which, 0, place]) };
    let [soft, _] = limits;
    if asked.is_ok() { soft } else { 0 }
}

/// Seconds since 1970, as the kernel stamps its own segments.
pub fn now_secs() -> i64 {
    // SAFETY: a null pointer asks for the return value only. Served by the vDSO, without a system call.
    #[cfg(target_env = "gnu")]
    #[allow(clippy::useless_conversion, reason = "32 bits wide on some machines")]
    return i64::from(unsafe { libc::time(core::ptr::null_mut()) });
    // musl's `time` asks the fine clock, which is ahead of the kernel's stamps by a tick.
    #[cfg(not(target_env = "gnu"))]
    {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the buffer is live. Served by the vDSO.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
        now.tv_sec
    }
}

/// Nanoseconds on a clock that never jumps and is read without a system call; coarse, some milliseconds.
pub fn coarse_nanos() -> u64 {
    nanos(libc::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since 1970, read without a system call; coarse, some milliseconds.
pub fn now_coarse_nanos() -> u64 {
    nanos(libc::CLOCK_REALTIME_COARSE)
}

/// Nanoseconds since 1970.
pub fn now_nanos() -> u64 {
    nanos(libc::CLOCK_REALTIME)
}

/// Nanoseconds on a clock that never jumps.
pub fn fine_nanos() -> u64 {
    nanos(libc::CLOCK_MONOTONIC)
}

/// The id of the calling thread.
pub fn thread_id() -> i32 {
    match served::client() {
        Some(client) => client.thread(),
        None => simple(libc::SYS_gettid) as i32,
    }
}

fn nanos(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the buffer is live. Served by the vDSO.
    unsafe { libc::clock_gettime(clock, &mut now) };
    (now.tv_sec as u64).saturating_mul(1_000_000_000) + now.tv_nsec as u64
}

/// The first 15 bytes of the name of the program that was started, NULs behind it, as words: the last part of its path, as
/// the kernel has it for `/proc/PID/comm` until the program changes that. It takes no system call.
pub fn program_name() -> [u32; 4] {
    let mut name = [0u8; 16];
    if let Some(client) = served::client() {
        let mut path = Path::from_bytes(b"/proc/").unwrap_or_default();
        let _ = path.push_decimal(client.pid() as u32);
        let _ = path.push(b"/comm");
        let text = file::read_whole(path.as_c_str());
        let text = text.as_ref().map_or(&[][..], |text| text);
        copy_name(&mut name, text.strip_suffix(b"\n").unwrap_or(text));
    } else {
        // SAFETY: reads the auxiliary vector.
        let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const core::ffi::c_char;
        if !path.is_null() {
            // SAFETY: a text that the kernel has put at the end of the stack, above the environment.
            let path = unsafe { core::ffi::CStr::from_ptr(path) }.to_bytes();
            copy_name(
                &mut name,
                path.rsplit(|&byte| byte == b'/').next().unwrap_or(path),
            );
        }
    }
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(name.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// What a process, or a thread, is called (`/proc/PID/comm`), NULs behind it. `None`: there is none, or `/proc` does not tell.
pub fn name_of(pid: i32) -> Option<[u8; 16]> {
    let mut path = Path::from_bytes(b"/proc/").unwrap_or_default();
    let _ = path.push_decimal(u32::try_from(pid).ok()?);
    let _ = path.push(b"/comm");
    let text = file::read_whole(path.as_c_str()).ok()?;
    let text = text.get(..).unwrap_or_default();
    let mut name = [0; 16];
    copy_name(&mut name, text.strip_suffix(b"\n").unwrap_or(text));
    Some(name)
}

fn copy_name(name: &mut [u8; 16], text: &[u8]) {
    // The last one stays a NUL, as the kernel's.
    for (to, from) in name.iter_mut().take(15).zip(text) {
        *to = *from;
    }
}

/// Lets other threads run.
pub fn yield_now() {
    simple(libc::SYS_sched_yield);
}

/// Ends the process with this status; nothing of it runs any more.
pub fn end(status: i32) {
    // SAFETY: takes no pointers.
    let _ = unsafe { raw::call(libc::SYS_exit_group, [status as usize]) };
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
#[inline]
pub fn page_size() -> usize {
    if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
        return 4096;
    }
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

/// When a process began, and whether it is about to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// Ticks since the machine started: exec does not change it.
    pub at: u64,
    /// It has begun to end, or is a zombie.
    pub is_ending: bool,
}

/// When the process with this id began. `None`: there is none, or `/proc` does not tell.
pub fn started(pid: i32) -> Option<Started> {
    const EXITING: u32 = 4; // PF_EXITING
    let mut path = Path::from_bytes(b"/proc/").unwrap_or_default();
    let _ = path.push_decimal(pid as u32);
    let _ = path.push(b"/stat");
    let text = file::read_whole(path.as_c_str()).ok()?;
    // "pid (name) state ppid …", and the name may hold anything.
    let mut fields = text
        .rsplit(|&byte| byte == b')')
        .next()?
        .trim_ascii()
        .split(|&byte| byte == b' ');
    let state = fields.next()?;
    // Behind the state: ppid, pgrp, session, tty, tpgid, flags, …, and the 20th is the start.
    let flags: u32 = file::parse(fields.nth(5)?)?;
    let at = file::parse(fields.nth(12)?)?;
    Some(Started {
        at,
        is_ending: flags & EXITING != 0 || matches!(state, b"Z" | b"X" | b"x"),
    })
}

/// Whether a process with this id is there and has not ended: a zombie has. Where `/proc` cannot be read, one that is
/// there counts.
pub fn is_running(pid: i32) -> bool {
    if !exists(pid) {
        return false;
    }
    let mut path = Path::from_bytes(b"/proc/").unwrap_or_default();
    let _ = path.push_decimal(pid as u32);
    let _ = path.push(b"/stat");
    let text = file::read_whole(path.as_c_str());
    // "pid (name) state …", and the name may hold anything.
    let behind_name = text
        .as_ref()
        .ok()
        .and_then(|text| text.rsplit(|&byte| byte == b')').next());
    !matches!(behind_name, Some([b' ', b'Z' | b'X' | b'x', ..]))
}
