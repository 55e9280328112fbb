//! What is asked of the kernel that no crate has a safe function for. The only place of this program with `unsafe`.
//!
//! Callers may rely on it that the program has one thread in each of its processes.

use libc::{c_int, c_long, c_void, rlimit, sock_filter};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use shmshim_core::os::file::Fd;
use std::ffi::OsStr;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use libc::{seccomp_notif as Notification, user_regs_struct as Registers};

/// Takes over a descriptor that the kernel has just made for this process.
pub fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller has it from the kernel, and no other thread knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A descriptor of the library's, for a message.
pub fn borrow(fd: &Fd) -> BorrowedFd<'_> {
    // SAFETY: it is open for as long as `fd` is borrowed.
    unsafe { BorrowedFd::borrow_raw(fd.number()) }
}

/// Has the kernel drop this process's children when they end.
pub fn ignore_children() {
    // SAFETY: takes numbers; no handler runs.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn checked(answer: c_long) -> nix::Result<c_long> {
    Errno::result(answer)
}

/// Makes a child with a copy of all that this process has.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: this process has one thread, so the child's memory is as consistent as its parent's.
    unsafe { nix::unistd::fork() }
}

/// Sets a variable of this process's environment.
pub fn set_variable(name: &OsStr, value: &OsStr) {
    // SAFETY: no other thread reads it.
    unsafe { std::env::set_var(name, value) }
}

/// In a fresh child: closes all descriptors but the standard ones and `kept`.
pub fn close_but(kept: RawFd) {
    let kept = kept as u32;
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        // SAFETY: the child's owners of what is closed here never run again.
        let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// A copy of `fd` whose number is the first free one from `number` on.
pub fn place_at(fd: &OwnedFd, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let placed = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) };
    Ok(own(checked(placed.into())? as RawFd))
}

/// A descriptor of the process with this id.
pub fn pidfd(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    Ok(own(checked(fd)? as RawFd))
}

/// Whether `tid` is a thread of the process `tgid`, which is there.
pub fn is_thread_of(tgid: Pid, tid: Pid) -> bool {
    // SAFETY: takes numbers; signal 0 is none.
    let asked = unsafe { libc::syscall(libc::SYS_tgkill, tgid.as_raw(), tid.as_raw(), 0) };
    checked(asked) != Err(Errno::ESRCH)
}

/// How long the threads of a process have run, those that are asleep or have ended, to the nanosecond.
pub fn time_run(pid: Pid) -> Option<Duration> {
    // As `clock_getcpuclockid` has it.
    const CPUCLOCK_SCHED: i32 = 2;
    let clock = (!pid.as_raw() << 3) | CPUCLOCK_SCHED;
    // SAFETY: integers; the structure is live.
    let (asked, time) = unsafe {
        let mut time: libc::timespec = zeroed();
        (libc::clock_gettime(clock, &mut time), time)
    };
    checked(asked.into()).ok()?;
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Whether there is a thread with this id.
pub fn is_thread(tid: Pid) -> bool {
    // SAFETY: takes numbers; signal 0 is none.
    let asked = unsafe { libc::syscall(libc::SYS_tkill, tid.as_raw(), 0) };
    checked(asked) != Err(Errno::ESRCH)
}

/// Whether two processes share their memory. Where the kernel cannot tell, they do not.
pub fn share_memory(one: Pid, other: Pid) -> bool {
    const KCMP_VM: c_int = 1;
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_kcmp, one.as_raw(), other.as_raw(), KCMP_VM, 0, 0) == 0 }
}

/// How many descriptors this process may have, and how far that may be raised.
pub fn descriptor_limit() -> rlimit {
    let mut limit = rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is live.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit
}

/// Whether this newest descriptor, below which all numbers are taken, leaves some for those that are needed for a moment.
pub fn leaves_some(newest: &impl AsRawFd) -> bool {
    const SPARE: u64 = 8;
    newest.as_raw_fd() as u64 + SPARE <= descriptor_limit().rlim_cur
}

/// Sets that.
pub fn set_descriptor_limit(limit: &rlimit) -> nix::Result<()> {
    // SAFETY: the structure is live.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    checked(set.into()).map(|_| ())
}

/// Makes those of this process's capabilities effective that are in `wanted`, and no other.
pub fn set_effective_capabilities(wanted: u64) -> nix::Result<()> {
    // `struct __user_cap_header_struct`: version 3, and this thread.
    let header = [0x2008_0522u32, 0];
    // Two triples of effective, permitted, inheritable: the low and the high 32 capabilities.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets are live and laid out as version 3 wants them.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) })?;
    for (half, [effective, permitted, _]) in sets.iter_mut().enumerate() {
        *effective = *permitted & (wanted >> (32 * half)) as u32;
    }
    // SAFETY: the same.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) })?;
    Ok(())
}

/// Has this process make no core dump.
pub fn forbid_core_dump() {
    let none = rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is live.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}

/// Ends this process by a signal, as its default action does.
pub fn die_of(signal: c_int) {
    // SAFETY: takes numbers; the mask is a live local.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Sends a signal by its number, of which there are more than names.
pub fn kill(pid: Pid, signal: c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::kill(pid.as_raw(), signal) };
}

/// Leaves this process without running what its parent has registered for its exit.
pub fn leave(code: c_int) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Waits for a change of the state of a child or tracee: its id and its raw status. `None`: there is nothing yet.
pub fn wait(pid: Pid, options: c_int) -> nix::Result<Option<(Pid, c_int)>> {
    let mut status = 0;
    // SAFETY: the status is a live local.
    let changed = unsafe { libc::waitpid(pid.as_raw(), &mut status, options) };
    let changed = checked(changed.into())? as i32;
    Ok((changed != 0).then(|| (Pid::from_raw(changed), status)))
}

// ---- seccomp

/// Installs a filter for this process and all its children. Returns the descriptor that the notified calls come by.
pub fn install_filter(code: &[sock_filter]) -> nix::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: code.len() as u16,
        filter: code.as_ptr().cast_mut(),
    };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the program is live, and the kernel copies and checks it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    Ok(own(checked(fd)? as RawFd))
}

fn ioctl<T>(fd: &OwnedFd, request: libc::Ioctl, argument: &mut T) -> nix::Result<c_int> {
    // SAFETY: each caller's structure is the one of its request.
    let answer = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            request,
            (&raw mut *argument).cast::<c_void>(),
        )
    };
    Errno::result(answer)
}

/// Takes the next notified call. It is there when this is called; where its caller is killed in between, the kernel would
/// wait for another one, so an alarm ends that: `EINTR`.
pub fn next_notification(listener: &OwnedFd) -> nix::Result<Notification> {
    const MOST_MICROS: i64 = 10_000;
    // SAFETY: integers; the kernel wants them zeroed.
    let mut notification: Notification = unsafe { zeroed() };
    set_alarm(MOST_MICROS);
    let taken = ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut notification);
    set_alarm(0);
    taken.map(|_| notification)
}

extern "C" fn ignore(_signal: c_int) {}

/// Has SIGALRM interrupt what this process waits in, again and again until it is set to 0.
fn set_alarm(micros: i64) {
    static HANDLED: std::sync::Once = std::sync::Once::new();
    HANDLED.call_once(|| {
        // SAFETY: integers, of which zeros are a value; a handler that does nothing, without SA_RESTART.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = ignore as extern "C" fn(c_int) as usize;
            libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        }
    });
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: micros,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the structure is live.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Whether the caller of a notified call still waits in it.
pub fn is_notification_valid(listener: &OwnedFd, id: u64) -> bool {
    let mut id = id;
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
}

/// Answers a notified call with a value, or a negative errno; or lets the kernel serve it.
pub fn answer_notification(listener: &OwnedFd, id: u64, answer: Option<i64>) -> nix::Result<()> {
    let value = answer.unwrap_or(0);
    let is_error = (-4095..0).contains(&value);
    let mut response = libc::seccomp_notif_resp {
        id,
        val: if is_error { 0 } else { value },
        error: if is_error { value as i32 } else { 0 },
        flags: if answer.is_none() {
            libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32
        } else {
            0
        },
    };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut response).map(|_| ())
}

/// Gives the caller of a notified call a copy of a descriptor, which no program that it executes keeps. Returns its number.
pub fn give_descriptor(listener: &OwnedFd, id: u64, fd: &OwnedFd) -> nix::Result<i32> {
    let mut given = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: libc::O_CLOEXEC as u32,
    };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut given)
}

// ---- words of shared memory

const BELLS: usize = 1024;
static SHARED_BELLS: OnceLock<&'static [AtomicU32]> = OnceLock::new();
/// Where there is no memory for others.
static OWN_BELL: AtomicU32 = AtomicU32::new(0);

/// Sets words aside that this process shares with all that it forks from now on.
pub fn make_bells() {
    let (access, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    let bytes = BELLS * size_of::<AtomicU32>();
    // SAFETY: a new mapping, which stays, of zeros.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0);
        if at != libc::MAP_FAILED {
            let _ = SHARED_BELLS.set(std::slice::from_raw_parts(at.cast(), BELLS));
        }
    }
}

/// The word that is changed to wake the agent of this process, and perhaps another one.
pub fn bell(pid: Pid) -> &'static AtomicU32 {
    let words = SHARED_BELLS.get().copied().unwrap_or(&[]);
    words
        .get(pid.as_raw() as usize % BELLS)
        .unwrap_or(&OWN_BELL)
}

/// Changes the word and wakes the threads that wait for that.
pub fn ring(bell: &AtomicU32) {
    bell.fetch_add(1, Ordering::Release);
    let (at, all) = (bell.as_ptr(), c_int::MAX);
    // SAFETY: the word stays mapped.
    let _ = unsafe { libc::syscall(libc::SYS_futex, at, libc::FUTEX_WAKE, all) };
}

/// `struct futex_waitv`.
#[repr(C)]
struct Waited {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Waits until one of these words does not hold what it is paired with, this thread is woken, or so much time has passed.
pub fn wait_for_words(words: &[(&AtomicU32, u32)], most: Duration) {
    /// Linux 5.16.
    const SYS_FUTEX_WAITV: c_long = 449;
    const MOST: usize = 128;
    const SIZE_U32: u32 = 2;
    /// Where the kernel has no such call, or forbids it.
    const NAP: Duration = Duration::from_millis(2);
    let waited: Vec<Waited> = words
        .iter()
        .take(MOST)
        .map(|(word, seen)| Waited {
            value: (*seen).into(),
            address: word.as_ptr() as u64,
            flags: SIZE_U32,
            reserved: 0,
        })
        .collect();
    let clock = libc::CLOCK_MONOTONIC;
    // SAFETY: words, list and time are live for the call.
    let ended = unsafe {
        let mut until: libc::timespec = zeroed();
        libc::clock_gettime(clock, &mut until);
        let nanos = until.tv_nsec + i64::from(most.subsec_nanos());
        until.tv_sec += most.as_secs() as i64 + nanos / 1_000_000_000;
        until.tv_nsec = nanos % 1_000_000_000;
        let (list, count) = (waited.as_ptr(), waited.len());
        checked(libc::syscall(
            SYS_FUTEX_WAITV,
            list,
            count,
            0,
            &raw const until,
            clock,
        ))
    };
    if matches!(ended, Err(Errno::ENOSYS | Errno::EPERM)) {
        std::thread::sleep(most.min(NAP));
    }
}

// ---- ptrace

/// The signal mask of a stopped tracee.
pub fn signal_mask(tid: Pid) -> nix::Result<u64> {
    let mut mask = 0u64;
    signal_mask_request(0x420a, tid, &mut mask)?;
    Ok(mask)
}

/// Sets it.
pub fn set_signal_mask(tid: Pid, mask: u64) -> nix::Result<()> {
    let mut mask = mask;
    signal_mask_request(0x420b, tid, &mut mask)
}

fn signal_mask_request(request: libc::c_uint, tid: Pid, mask: &mut u64) -> nix::Result<()> {
    // SAFETY: PTRACE_GETSIGMASK or PTRACE_SETSIGMASK, which take the size of the mask and its place.
    let answer = unsafe { libc::ptrace(request, tid.as_raw(), size_of::<u64>(), &raw mut *mask) };
    checked(answer).map(|_| ())
}
