//! Every symbol that the library exports, each with its reason. `scripts/check-exports` holds the same list.
//!
//! `open`, `mremap` and `semctl` are variadic in C. They are taken here with their last argument always there: on every
//! architecture of Linux that we build for, a variadic integer travels where a named one does, and one that the
//! caller did not pass is passed on unread.
//!
//! Not here, on purpose: `freopen`, `creat`, `openat2` (no program opens these files so), `lstat`, `fstatat`, `statx` (of these
//! files `ls` and `find` ask so, and nothing that uses them), the
//! symbols of programs older or stranger than glibc's headers make today, and libc's inner calls, which no
//! symbol can intercept.
#![allow(missing_docs)] // The names are libc's, and so is their documentation.
#![allow(unused_unsafe)] // Most of the calls are safe.

use libc::{
    FILE, c_char, c_int, c_long, c_ulong, c_void, key_t, mode_t, off_t, size_t, ssize_t, timespec,
    uid_t,
};

use shmshim_core::sysv::sem::Operation;

use crate::hook::hook;
use crate::{calls, identity, jumps, memory, procfs};

/// Exports functions of ours under the names of libc's, with the same arguments: `name(…) -> … => hook's name, ours`.
macro_rules! export {
    ($($(#[$when:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty => $hook:ident, $ours:path;)*) => {$(
        $(#[$when])*
        hook! {
            unsafe fn $name($($arg: $type),*) -> $answer => $hook {
                // SAFETY: the caller's promise is passed on.
                unsafe { $ours($($arg),*) }
            }
        }
    )*};
}

export! {
    // What it is all about.
    shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int => our_shmget, calls::shmget;

    shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> *mut c_void => our_shmat, calls::shmat;

    shmdt(shmaddr: *const c_void) -> c_int => our_shmdt, calls::shmdt;

    shmctl(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_shmctl, calls::shmctl;

    // The same of semaphores: PostgreSQL, Apache, ipcmk.
    semget(key: key_t, count: c_int, flags: c_int) -> c_int => our_semget, calls::semget;

    semop(semid: c_int, sops: *mut Operation, nsops: size_t) -> c_int => our_semop, calls::semop;

    // perl's and python's modules that wait with a limit.
    semtimedop(
        semid: c_int, sops: *mut Operation, nsops: size_t, timeout: *const timespec
    ) -> c_int => our_semtimedop, calls::semtimedop;

    semctl(semid: c_int, number: c_int, cmd: c_int, arg: size_t) -> c_int => our_semctl, calls::semctl;

    // The same of message queues: ipcmk, perl.
    msgget(key: key_t, flags: c_int) -> c_int => our_msgget, calls::msgget;

    msgsnd(
        msqid: c_int, message: *const c_void, size: size_t, flags: c_int
    ) -> c_int => our_msgsnd, calls::msgsnd;

    msgrcv(
        msqid: c_int, message: *mut c_void, size: size_t, mtype: c_long, flags: c_int
    ) -> ssize_t => our_msgrcv, calls::msgrcv;

    msgctl(msqid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_msgctl, calls::msgctl;

    // A handler that jumps out of a sleep leaves its queue: programs that end a wait by an alarm and a jump (perl's `alarm`
    // with `die`, older daemons).
    longjmp(environment: *mut c_void, value: c_int) -> () => our_longjmp, jumps::longjmp;

    // The same, without the signal mask.
    _longjmp(environment: *mut c_void, value: c_int) -> () => our_bare_longjmp, jumps::_longjmp;

    // The same, with it.
    siglongjmp(environment: *mut c_void, value: c_int) -> () => our_siglongjmp, jumps::siglongjmp;

    // Attaches end by it, whole or in part: nattch.
    munmap(addr: *mut c_void, length: size_t) -> c_int => our_munmap, memory::munmap;

    // Attaches move, shrink and grow by it.
    mremap(
        old: *mut c_void, old_length: size_t, new_length: size_t, flags: c_int, new: *mut c_void
    ) -> *mut c_void => our_mremap, memory::mremap;

    // MAP_FIXED puts something else over an attach.
    mmap(
        addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void => our_mmap, memory::mmap;

    // MADV_DONTFORK: a child is not counted for what it does not inherit.
    madvise(addr: *mut c_void, length: size_t, advice: c_int) -> c_int => our_madvise, memory::madvise;

    // The files under /proc show the namespace, whichever function opens them: cat, bash, head, mawk.
    open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_open, procfs::hooks::open;

    // The same: grep.
    openat(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_openat, procfs::hooks::openat;

    // The same: ipcs and lsipc (the list), sed, tee.
    fopen(path: *const c_char, mode: *const c_char) -> *mut FILE => our_fopen, procfs::hooks::fopen;

    // Where the kernel has no System V files: sysctl, and bash's `test -e`.
    stat(path: *const c_char, out: *mut libc::stat) -> c_int => our_stat, procfs::exists::stat;

    // The same: ipcs and lsipc, busybox sysctl, python's os.access.
    access(path: *const c_char, mode: c_int) -> c_int => our_access, procfs::exists::access;

    // The same: `test -r` of bash and dash.
    faccessat(
        dirfd: c_int, path: *const c_char, mode: c_int, flags: c_int
    ) -> c_int => our_faccessat, procfs::exists::faccessat;

    // The same: sysctl, between stat and open.
    realpath(path: *const c_char, out: *mut c_char) -> *mut c_char => our_realpath, procfs::exists::realpath;

    // What is written to a limit is in force, or refused, when write returns.
    write(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t => our_write, procfs::hooks::write;

    // A limit that was written by stdio is in force before the next program starts.
    execve(
        path: *const c_char, argv: *const *const c_char, envp: *const *const c_char
    ) -> c_int => our_execve, procfs::hooks::execve;

    // The effective uid that rights are judged by is remembered, and these change it: su, nsenter.
    // (In user scope a process without a cell takes one before it may no longer: dash, python, perl.)
    setuid(uid: uid_t) -> c_int => our_setuid, identity::setuid;

    // The same: perl, python; servers that act for their users.
    seteuid(euid: uid_t) -> c_int => our_seteuid, identity::seteuid;

    // The same: su, perl, python.
    setreuid(ruid: uid_t, euid: uid_t) -> c_int => our_setreuid, identity::setreuid;

    // The same: setpriv, bash, perl, python.
    setresuid(ruid: uid_t, euid: uid_t, suid: uid_t) -> c_int => our_setresuid, identity::setresuid;

    // Uids may have other names afterwards: unshare.
    unshare(flags: c_int) -> c_int => our_unshare, identity::unshare;

    // The same: nsenter.
    setns(fd: c_int, kind: c_int) -> c_int => our_setns, identity::setns;

    // A filter that the program puts on itself is heeded.
    prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int => our_prctl, identity::prctl;

    // All of these by number: libseccomp, setuid of one thread. Elsewhere the core itself enters the kernel by it.
    #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
    syscall(
        number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long
    ) -> c_long => our_syscall, identity::syscall;
}

/// The forms that glibc has besides: for 64-bit file sizes, and the checked ones of `_FORTIFY_SOURCE`. Where a word has 64
/// bits, no program was found that opens these files by `openat64`, `__open64_2` or `__openat64_2`.
#[cfg(target_env = "gnu")]
mod gnu {
    use super::*;
    use libc::off64_t;
    use libc::stat64 as Stat64;

    export! {
        // shmctl of programs that are built for times of 64 bits: the structure is the same, its high halves have names.
        #[cfg(target_arch = "x86")]
        __shmctl64(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_shmctl64, calls::shmctl;

        // The same of semctl, semtimedop and msgctl.
        #[cfg(target_arch = "x86")]
        __semctl64(
            semid: c_int, number: c_int, cmd: c_int, arg: size_t
        ) -> c_int => our_semctl64, calls::semctl;

        #[cfg(target_arch = "x86")]
        __semtimedop64(
            semid: c_int, sops: *mut Operation, nsops: size_t, timeout: *const c_void
        ) -> c_int => our_semtimedop64, calls::semtimedop64;

        #[cfg(target_arch = "x86")]
        __msgctl64(msqid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_msgctl64, calls::msgctl;

        // As longjmp: what is built with _FORTIFY_SOURCE.
        __longjmp_chk(environment: *mut c_void, value: c_int) -> () => our_longjmp_chk, jumps::__longjmp_chk;

        // As mmap: python, and what else is built for 64-bit file sizes.
        mmap64(
            addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off64_t
        ) -> *mut c_void => our_mmap64, memory::mmap64;

        // As stat: dash, perl, python, busybox.
        stat64(path: *const c_char, out: *mut Stat64) -> c_int => our_stat64, procfs::exists::stat64;

        // As open: dash, perl, python, node, busybox.
        open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_open64, procfs::hooks::open64;

        #[cfg(target_pointer_width = "32")]
        openat64(
            dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t
        ) -> c_int => our_openat64, procfs::hooks::openat64;

        // As open: ipcs and lsipc (the limits).
        __open_2(path: *const c_char, flags: c_int) -> c_int => our_open_2, procfs::hooks::__open_2;

        #[cfg(target_pointer_width = "32")]
        __open64_2(path: *const c_char, flags: c_int) -> c_int => our_open64_2, procfs::hooks::__open64_2;

        // As openat: sysctl.
        __openat_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int => our_openat_2, procfs::hooks::__openat_2;

        #[cfg(target_pointer_width = "32")]
        __openat64_2(
            dirfd: c_int, path: *const c_char, flags: c_int
        ) -> c_int => our_openat64_2, procfs::hooks::__openat64_2;

        // As fopen: busybox.
        fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE => our_fopen64, procfs::hooks::fopen64;
    }
}
