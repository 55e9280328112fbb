//! The one door to the kernel: [`call`].
//!
//! On x86 and AArch64 it is the system call instruction itself; elsewhere libc's `syscall` (which we do not
//! export there either), with `errno` put back.

use super::{OsError, OsResult};

/// The calls that have two numbers where a word has 32 bits: the plain name is that of 16-bit ids there, or of an offset
/// in bytes that takes a structure.
#[cfg(target_pointer_width = "64")]
pub mod number {
    pub use libc::{
        SYS_fchown as FCHOWN, SYS_fcntl as FCNTL, SYS_getegid as GETEGID, SYS_geteuid as GETEUID,
        SYS_getgroups as GETGROUPS, SYS_getuid as GETUID, SYS_mmap as MMAP,
        SYS_setfsgid as SETFSGID,
    };
}

/// As above. `MMAP` takes its offset in units of 4096 bytes.
#[cfg(target_pointer_width = "32")]
pub mod number {
    pub use libc::{
        SYS_fchown32 as FCHOWN, SYS_fcntl64 as FCNTL, SYS_getegid32 as GETEGID,
        SYS_geteuid32 as GETEUID, SYS_getgroups32 as GETGROUPS, SYS_getuid32 as GETUID,
        SYS_mmap2 as MMAP, SYS_setfsgid32 as SETFSGID,
    };
}

/// The calls that the libc crate does not know on 32-bit x86, where they came with Linux 5.1: glibc makes them by `ipc`.
#[cfg(target_arch = "x86")]
pub mod sysv {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    use libc::c_long;
    pub const SEMGET: c_long = 393;
    pub const SEMCTL: c_long = 394;
    pub const SHMGET: c_long = 395;
    pub const SHMCTL: c_long = 396;
    pub const SHMAT: c_long = 397;
    pub const SHMDT: c_long = 398;
    pub const MSGGET: c_long = 399;
    pub const MSGSND: c_long = 400;
    pub const MSGRCV: c_long = 401;
    pub const MSGCTL: c_long = 402;
    /// With a limit of twice 64 bits.
    pub const SEMTIMEDOP: c_long = 420;
}

/// As above.
#[cfg(not(target_arch = "x86"))]
pub mod sysv {
    pub use libc::{
        SYS_msgctl as MSGCTL, SYS_msgget as MSGGET, SYS_msgrcv as MSGRCV, SYS_msgsnd as MSGSND,
        SYS_semctl as SEMCTL, SYS_semget as SEMGET, SYS_semop as SEMOP,
        SYS_semtimedop as SEMTIMEDOP, SYS_shmat as SHMAT, SYS_shmctl as SHMCTL, SYS_shmdt as SHMDT,
        SYS_shmget as SHMGET,
    };
}

/// A number of 64 bits as the two arguments that it takes where a word has 32.
#[cfg(target_pointer_width = "32")]
pub(super) fn halves(number: u64) -> [usize; 2] {
    let (low, high) = (number as usize, (number >> 32) as usize);
    if cfg!(target_endian = "little") {
        [low, high]
    } else {
        [high, low]
    }
}

/// Whether a seccomp filter of the host would end the program for this call, or raise SIGSYS. For the few calls that
/// enter the kernel by a function of libc or of a crate.
pub fn is_forbidden<const N: usize>(number: libc::c_long, args: [usize; N]) -> bool {
    super::seccomp::forbids(number, &six(args))
}

/// Enters the kernel with system call `number` and its arguments, six at most. The rest are zeros: a filter sees all six.
///
/// # Safety
/// The arguments must be what that system call takes: pointers among them must be valid for what the call does
/// with them, and the call must not break what the rest of the program relies on.
#[cfg_attr(not(target_arch = "x86"), inline(always))]
#[cfg_attr(target_arch = "x86", inline(never))] // With so few registers, each copy would take its part of the stack.
pub unsafe fn call<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<usize> {
    let args = six(args);
    if super::seccomp::forbids(number, &args) {
        return Err(OsError(libc::EPERM));
    }
    // SAFETY: the caller's promise is passed on.
    let answer = unsafe { enter(number, args) };
    if (-4095..0).contains(&answer) {
        Err(OsError(-answer as i32))
    } else {
        Ok(answer as usize)
    }
}

/// The arguments with zeros behind them.
#[inline(always)]
pub(super) fn six<const N: usize>(given: [usize; N]) -> [usize; 6] {
    const { assert!(N <= 6) };
    let mut args = [0; 6];
    for (place, arg) in args.iter_mut().zip(given) {
        *place = arg;
    }
    args
}

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[inline]
unsafe fn enter(number: libc::c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the kernel preserves all registers but rax, rcx and r11; memory is taken as clobbered.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn enter(number: libc::c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the kernel preserves all registers but x0; memory is taken as clobbered.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] => answer,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack),
        );
    }
    answer
}

#[cfg(target_arch = "x86")]
#[inline]
unsafe fn enter(number: libc::c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: three of the registers that the kernel wants are not the compiler's to give: they are kept on the stack. The
    // kernel preserves all but eax; memory is taken as clobbered.
    unsafe {
        core::arch::asm!(
            "push ebx",
            "push esi",
            "push ebp",
            "mov ebx, [edx]",
            "mov ecx, [edx + 4]",
            "mov esi, [edx + 12]",
            "mov edi, [edx + 16]",
            "mov ebp, [edx + 20]",
            "mov edx, [edx + 8]",
            "int 0x80",
            "pop ebp",
            "pop esi",
            "pop ebx",
            inlateout("eax") number as isize => answer,
            inlateout("edx") args.as_ptr() => _,
            out("ecx") _,
            out("edi") _,
        );
    }
    answer
}

#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64",
    target_arch = "x86"
)))]
unsafe fn enter(number: libc::c_long, args: [usize; 6]) -> isize {
    let kept = super::errno::get();
    // SAFETY: the caller's promise is passed on.
    let answer = unsafe {
        libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) as isize
    };
    if answer == -1 {
        let error = super::errno::get();
        super::errno::set(kept);
        return -(error as isize);
    }
    answer
}
