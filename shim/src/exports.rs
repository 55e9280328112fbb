//! Every symbol that the library exports, each with its reason. `scripts/check-exports` holds the same list.
//!
//! `open` and `mremap` are variadic in C. They are taken here with their last argument always there: on every
//! architecture of Linux that we build for, a variadic integer travels where a named one does, and one that the
//! caller did not pass is passed on unread.
//!
//! Not here, on purpose: `freopen`, `creat`, `openat2` (no program opens these files so), `lstat`, `fstatat`, `statx` (of these
//! files `ls` and `find` ask so, and nothing that uses them), the
//! symbols of programs older or stranger than glibc's headers make today, and libc's inner calls, which no
//! symbol can intercept.
#![allow(missing_docs)] // The names are libc's, and so is their documentation.

use libc::{
    FILE, c_char, c_int, c_long, c_ulong, c_void, key_t, mode_t, off_t, size_t, ssize_t, uid_t,
};

use crate::hook::hook;
use crate::{calls, identity, memory, passed_on, procfs};

// What it is all about.
hook! {
    unsafe fn shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int => our_shmget {
        calls::shmget(key, size, shmflg)
    }
}

hook! {
    unsafe fn shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> *mut c_void => our_shmat {
        calls::shmat(shmid, shmaddr, shmflg)
    }
}

hook! {
    unsafe fn shmdt(shmaddr: *const c_void) -> c_int => our_shmdt {
        calls::shmdt(shmaddr)
    }
}

hook! {
    unsafe fn shmctl(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_shmctl {
        calls::shmctl(shmid, cmd, buf)
    }
}

// Attaches end by it, whole or in part: nattch.
hook! {
    unsafe fn munmap(addr: *mut c_void, length: size_t) -> c_int => our_munmap {
        // SAFETY: the caller's promise is passed on, here and in all that follow.
        unsafe { memory::munmap(addr, length) }
    }
}

// Attaches move, shrink and grow by it.
hook! {
    unsafe fn mremap(
        old: *mut c_void, old_length: size_t, new_length: size_t, flags: c_int, new: *mut c_void
    ) -> *mut c_void => our_mremap {
        // SAFETY: as above.
        unsafe { memory::mremap(old, old_length, new_length, flags, new) }
    }
}

// MAP_FIXED puts something else over an attach.
hook! {
    unsafe fn mmap(
        addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void => our_mmap {
        // SAFETY: as above.
        unsafe { memory::mmap(addr, length, prot, flags, fd, offset) }
    }
}

// MADV_DONTFORK: a child is not counted for what it does not inherit.
hook! {
    unsafe fn madvise(addr: *mut c_void, length: size_t, advice: c_int) -> c_int => our_madvise {
        // SAFETY: as above.
        unsafe { memory::madvise(addr, length, advice) }
    }
}

// The files under /proc show the namespace, whichever function opens them: cat, bash, head, mawk.
hook! {
    unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_open {
        // SAFETY: as above.
        unsafe { procfs::hooks::open(path, flags, mode) }
    }
}

// The same: grep.
hook! {
    unsafe fn openat(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_openat {
        // SAFETY: as above.
        unsafe { procfs::hooks::openat(dirfd, path, flags, mode) }
    }
}

// The same: ipcs and lsipc (the list), sed, tee.
hook! {
    unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE => our_fopen {
        // SAFETY: as above.
        unsafe { procfs::hooks::fopen(path, mode) }
    }
}

// Where the kernel has no System V files: sysctl, and bash's `test -e`.
hook! {
    unsafe fn stat(path: *const c_char, out: *mut libc::stat) -> c_int => our_stat {
        // SAFETY: as above.
        unsafe { procfs::exists::stat(path, out) }
    }
}

// The same: ipcs and lsipc, busybox sysctl, python's os.access.
hook! {
    unsafe fn access(path: *const c_char, mode: c_int) -> c_int => our_access {
        // SAFETY: as above.
        unsafe { procfs::exists::access(path, mode) }
    }
}

// The same: `test -r` of bash and dash.
hook! {
    unsafe fn faccessat(
        dirfd: c_int, path: *const c_char, mode: c_int, flags: c_int
    ) -> c_int => our_faccessat {
        // SAFETY: as above.
        unsafe { procfs::exists::faccessat(dirfd, path, mode, flags) }
    }
}

// The same: sysctl, between stat and open.
hook! {
    unsafe fn realpath(path: *const c_char, out: *mut c_char) -> *mut c_char => our_realpath {
        // SAFETY: as above.
        unsafe { procfs::exists::realpath(path, out) }
    }
}

// So that the trace can say that these are the kernel's: every use of semaphores and message queues begins here.
hook! {
    unsafe fn semget(key: key_t, count: c_int, flags: c_int) -> c_int => our_semget {
        // SAFETY: as above.
        unsafe { passed_on::semget(key, count, flags) }
    }
}

// The same.
hook! {
    unsafe fn msgget(key: key_t, flags: c_int) -> c_int => our_msgget {
        // SAFETY: as above.
        unsafe { passed_on::msgget(key, flags) }
    }
}

// What is written to a limit is in force, or refused, when write returns.
hook! {
    unsafe fn write(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t => our_write {
        // SAFETY: as above.
        unsafe { procfs::hooks::write(fd, buf, count) }
    }
}

// A limit that was written by stdio is in force before the next program starts.
hook! {
    unsafe fn execve(
        path: *const c_char, argv: *const *const c_char, envp: *const *const c_char
    ) -> c_int => our_execve {
        // SAFETY: as above.
        unsafe { procfs::hooks::execve(path, argv, envp) }
    }
}

// The effective uid that rights are judged by is remembered, and these change it: su, nsenter.
// (In user scope a process without a cell takes one before it may no longer: dash, python, perl.)
hook! {
    unsafe fn setuid(uid: uid_t) -> c_int => our_setuid {
        // SAFETY: as above.
        unsafe { identity::setuid(uid) }
    }
}

// The same: perl, python; servers that act for their users.
hook! {
    unsafe fn seteuid(euid: uid_t) -> c_int => our_seteuid {
        // SAFETY: as above.
        unsafe { identity::seteuid(euid) }
    }
}

// The same: su, perl, python.
hook! {
    unsafe fn setreuid(ruid: uid_t, euid: uid_t) -> c_int => our_setreuid {
        // SAFETY: as above.
        unsafe { identity::setreuid(ruid, euid) }
    }
}

// The same: setpriv, bash, perl, python.
hook! {
    unsafe fn setresuid(ruid: uid_t, euid: uid_t, suid: uid_t) -> c_int => our_setresuid {
        // SAFETY: as above.
        unsafe { identity::setresuid(ruid, euid, suid) }
    }
}

// Uids may have other names afterwards: unshare.
hook! {
    unsafe fn unshare(flags: c_int) -> c_int => our_unshare {
        // SAFETY: as above.
        unsafe { identity::unshare(flags) }
    }
}

// The same: nsenter.
hook! {
    unsafe fn setns(fd: c_int, kind: c_int) -> c_int => our_setns {
        // SAFETY: as above.
        unsafe { identity::setns(fd, kind) }
    }
}

// A filter that the program puts on itself is heeded.
hook! {
    unsafe fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int => our_prctl {
        // SAFETY: as above.
        unsafe { identity::prctl(option, a, b, c, d) }
    }
}

// All of these by number: libseccomp, setuid of one thread. Elsewhere the core itself enters the kernel by it.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
hook! {
    unsafe fn syscall(
        number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long
    ) -> c_long => our_syscall {
        // SAFETY: as above.
        unsafe { identity::syscall(number, [a, b, c, d, e, f]) }
    }
}

/// The forms that glibc has besides: for 64-bit file sizes, and the checked ones of `_FORTIFY_SOURCE`. Where a word has 64
/// bits, no program was found that opens these files by `openat64`, `__open64_2` or `__openat64_2`.
#[cfg(target_env = "gnu")]
mod gnu {
    use super::*;
    use libc::off64_t;
    use libc::stat64 as Stat64;

    // shmctl of programs that are built for times of 64 bits: the structure is the same, its high halves have names.
    #[cfg(target_arch = "x86")]
    hook! {
        unsafe fn __shmctl64(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int => our_shmctl64 {
            calls::shmctl(shmid, cmd, buf)
        }
    }

    // As mmap: python, and what else is built for 64-bit file sizes.
    hook! {
        unsafe fn mmap64(
            addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off64_t
        ) -> *mut c_void => our_mmap64 {
            // SAFETY: as above.
            unsafe { memory::mmap64(addr, length, prot, flags, fd, offset) }
        }
    }

    // As stat: dash, perl, python, busybox.
    hook! {
        unsafe fn stat64(path: *const c_char, out: *mut Stat64) -> c_int => our_stat64 {
            // SAFETY: as above.
            unsafe { procfs::exists::stat64(path, out) }
        }
    }

    // As open: dash, perl, python, node, busybox.
    hook! {
        unsafe fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => our_open64 {
            // SAFETY: as above.
            unsafe { procfs::hooks::open64(path, flags, mode) }
        }
    }

    #[cfg(target_pointer_width = "32")]
    hook! {
        unsafe fn openat64(
            dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t
        ) -> c_int => our_openat64 {
            // SAFETY: as above.
            unsafe { procfs::hooks::openat64(dirfd, path, flags, mode) }
        }
    }

    // As open: ipcs and lsipc (the limits).
    hook! {
        unsafe fn __open_2(path: *const c_char, flags: c_int) -> c_int => our_open_2 {
            // SAFETY: as above.
            unsafe { procfs::hooks::__open_2(path, flags) }
        }
    }

    #[cfg(target_pointer_width = "32")]
    hook! {
        unsafe fn __open64_2(path: *const c_char, flags: c_int) -> c_int => our_open64_2 {
            // SAFETY: as above.
            unsafe { procfs::hooks::__open64_2(path, flags) }
        }
    }

    // As openat: sysctl.
    hook! {
        unsafe fn __openat_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int => our_openat_2 {
            // SAFETY: as above.
            unsafe { procfs::hooks::__openat_2(dirfd, path, flags) }
        }
    }

    #[cfg(target_pointer_width = "32")]
    hook! {
        unsafe fn __openat64_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int => our_openat64_2 {
            // SAFETY: as above.
            unsafe { procfs::hooks::__openat64_2(dirfd, path, flags) }
        }
    }

    // As fopen: busybox.
    hook! {
        unsafe fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE => our_fopen64 {
            // SAFETY: as above.
            unsafe { procfs::hooks::fopen64(path, mode) }
        }
    }
}
