//! The calls by which a program changes who it is, or confines itself: passed on, and the core is told.
//!
//! The core remembers the effective uid, because asking for it costs more than a lookup; it must forget it around
//! every call that may change it. And it must know of seccomp filters, so that none of its own calls is the
//! program's death. Both can be asked for through libc's `syscall` as well, which is how libseccomp does it.

use core::ffi::{c_char, c_int, c_long, c_ulong};

use libc::uid_t;
use shmshim_core::os::{credentials, errno, seccomp};
use shmshim_core::registry;

use crate::next::next;
use crate::{by_number, panic_guard, remarks};

/// When there is no such function behind ours: only a stranger libc can lack one of these.
fn not_there() -> c_int {
    errno::set(libc::ENOSYS);
    -1
}

macro_rules! changes_identity {
    ($before:expr, $after:expr; $($name:ident ( $($arg:ident : $kind:ty),* );)*) => {$(
        /// As libc's.
        ///
        /// # Safety
        /// As libc's.
        pub unsafe fn $name($($arg: $kind),*) -> c_int {
            let Some(real) = next!($name: unsafe extern "C" fn($($kind),*) -> c_int) else {
                return not_there();
            };
            $before();
            // SAFETY: the caller's promise is passed on.
            let answer = unsafe { real($($arg),*) };
            $after();
            answer
        }
    )*};
}

changes_identity! {
    before_a_change_of_uid, credentials::forget;
    setuid(uid: uid_t);
    seteuid(euid: uid_t);
    setreuid(ruid: uid_t, euid: uid_t);
    setresuid(ruid: uid_t, euid: uid_t, suid: uid_t);
}

changes_identity! {
    before_other_namespaces, after_other_namespaces;
    unshare(flags: c_int);
    setns(fd: c_int, kind: c_int);
}

/// The uids may get other names, of which none counts that is learned from now on.
#[inline(never)]
extern "C" fn before_other_namespaces() {
    panic_guard::catch(|| {
        registry::before_change_of_credentials();
        credentials::keep_over_namespaces();
    });
}

/// What is remembered by now is who the process is outside: it stays so.
fn after_other_namespaces() {}

/// The process takes its cell while it still may; and it may be about to give up root.
#[inline(never)]
extern "C" fn before_a_change_of_uid() {
    panic_guard::catch(|| {
        registry::before_change_of_credentials();
        registry::on_giving_up_root();
    });
    credentials::forget();
}

/// prctl(2): PR_SET_SECCOMP.
///
/// # Safety
/// As libc's.
#[inline]
pub unsafe fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
    let Some(real) = next!(prctl: Prctl) else {
        return not_there();
    };
    if option != libc::PR_SET_SECCOMP {
        // SAFETY: the caller's promise is passed on.
        return unsafe { real(option, a, b, c, d) };
    }
    let confinement = will_confine(a == c_ulong::from(libc::SECCOMP_MODE_FILTER), b as usize);
    // SAFETY: the caller's promise is passed on.
    let answer = unsafe { real(option, a, b, c, d) };
    confinement.end(answer == 0);
    answer
}

/// Whether a system call changes the caller's uid. 32-bit x86 and ARM have the calls twice: libc's setuid uses those for ids of
/// 32 bits.
fn changes_uid(number: c_long) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    if matches!(
        number,
        libc::SYS_setuid32 | libc::SYS_setreuid32 | libc::SYS_setresuid32
    ) {
        return true;
    }
    matches!(
        number,
        libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid
    )
}

/// syscall(2): the numbers that do one of these things, the calls of System V IPC, and what changes an attach.
///
/// # Safety
/// As libc's.
#[inline]
pub unsafe fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let args = [a, b, c, d, e, f];
    if let Some(answer) = by_number::serve(number, args) {
        return answer;
    }
    let Some(real) = next!(syscall: by_number::Syscall) else {
        return c_long::from(not_there());
    };
    if by_number::concerns_attach(number, &args) {
        return by_number::on_attach(number, &args, real);
    }
    // SAFETY: the caller's promise is passed on.
    let make = || unsafe { real(number, a, b, c, d, e, f) };
    match number {
        number if changes_uid(number) => {
            before_a_change_of_uid();
            // Of this thread alone.
            credentials::never_remember();
            make()
        }
        libc::SYS_unshare | libc::SYS_setns => {
            before_other_namespaces();
            make()
        }
        libc::SYS_prctl if a == c_long::from(libc::PR_SET_SECCOMP) => {
            let confinement = will_confine(b == libc::SECCOMP_MODE_FILTER as c_long, c as usize);
            let answer = make();
            confinement.end(answer == 0);
            answer
        }
        libc::SYS_seccomp if a <= libc::SECCOMP_SET_MODE_FILTER as c_long => {
            let filter = a == libc::SECCOMP_SET_MODE_FILTER as c_long;
            let confinement = will_confine(filter, c as usize);
            let answer = make();
            // With SECCOMP_FILTER_FLAG_NEW_LISTENER the answer is a descriptor.
            confinement.end(answer >= 0);
            answer
        }
        _ => {
            let answer = make();
            if number == libc::SYS_openat && answer >= 0 {
                remarks::opened_by_number(b as *const c_char);
            }
            answer
        }
    }
}

/// What confines the process once the kernel has agreed: strict mode, or a filter.
#[cold]
fn will_confine(filter: bool, program: usize) -> seccomp::Prepared {
    match filter {
        true => seccomp::prepare_filter(program as u64),
        false => seccomp::Prepared::STRICT_MODE,
    }
}
