//! stat, access, realpath: where the kernel has no System V files, they find what open finds.
//!
//! Only an answer that says "not there" (or "not for you") is looked at: what succeeds pays one comparison.
#![allow(non_snake_case)]

#[cfg(target_pointer_width = "32")]
use core::ffi::c_void;
use core::ffi::{c_char, c_int};

use shmshim_core::os::path::Path;
use shmshim_core::os::{errno, file, process, raw, usermem};

use super::access;
use super::hooks::{find, kernel, may_mean_ours, read_by_kernel};
use super::name::File;
use super::sys::Short;
use crate::next::next;
use crate::panic_guard;

type Access = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
type AccessAt = unsafe extern "C" fn(c_int, *const c_char, c_int, c_int) -> c_int;

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn access(path: *const c_char, mode: c_int) -> c_int {
    let before = errno::get();
    let answer = match next!(access: Access) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(path, mode) },
        None => kernel_access(libc::AT_FDCWD, path, mode),
    };
    // SAFETY: the kernel has just read the path.
    if answer != 0 && read_by_kernel(true) && unsafe { may_mean_ours(path) } {
        return may_access(libc::AT_FDCWD, path, mode, before);
    }
    answer
}

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn faccessat(dirfd: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
    let before = errno::get();
    let answer = match next!(faccessat: AccessAt) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(dirfd, path, mode, flags) },
        None => kernel_access(dirfd, path, mode),
    };
    // SAFETY: the kernel has just read the path.
    if answer != 0 && read_by_kernel(true) && unsafe { may_mean_ours(path) } {
        return may_access(dirfd, path, mode, before);
    }
    answer
}

extern "C" fn kernel_access(dirfd: c_int, path: *const c_char, mode: c_int) -> c_int {
    let args = [dirfd as usize, path as usize, mode as usize];
    // SAFETY: the host asked for it, and the kernel checks the pointer.
    kernel(unsafe { raw::call(libc::SYS_faccessat, args) }) as c_int
}

/// The answer of access to a path that the kernel has not found, or not granted.
#[inline(never)]
extern "C" fn may_access(dirfd: c_int, path: *const c_char, mode: c_int, before: c_int) -> c_int {
    instead(dirfd, path, before, |file| {
        let writes = mode & libc::W_OK != 0;
        let may = || matches!(access::judge(file, libc::O_WRONLY), Some(Ok(_)));
        if mode & libc::X_OK != 0 || (writes && !may()) {
            Err(libc::EACCES)
        } else {
            Ok(())
        }
    })
}

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn realpath(path: *const c_char, out: *mut c_char) -> *mut c_char {
    type Real = unsafe extern "C" fn(*const c_char, *mut c_char) -> *mut c_char;
    let before = errno::get();
    let answer = match next!(always realpath: Real) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(path, out) },
        None => core::ptr::null_mut(),
    };
    // SAFETY: the kernel has just read the path.
    if answer.is_null() && read_by_kernel(true) && unsafe { may_mean_ours(path) } {
        return show_path(path, out, before);
    }
    answer
}

/// The answer of realpath to a path that the kernel has not found.
#[inline(never)]
extern "C" fn show_path(path: *const c_char, out: *mut c_char, before: c_int) -> *mut c_char {
    let mut answer = core::ptr::null_mut();
    instead(libc::AT_FDCWD, path, before, |file| {
        let path = match file {
            File::Segments => Short::of(format_args!("/proc/sysvipc/shm")),
            File::Limit(name) => Short::of(format_args!("/proc/sys/kernel/{}", name.file_name())),
        };
        answer = if out.is_null() {
            // From the host's own heap, for the host frees it.
            // SAFETY: a C string.
            unsafe { libc::strdup(path.path().as_ptr()) }
        } else {
            let text = path.path().to_bytes_with_nul();
            // SAFETY: the caller's buffer has PATH_MAX bytes.
            unsafe { core::ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len()) };
            out
        };
        if answer.is_null() {
            Err(libc::ENOMEM)
        } else {
            Ok(())
        }
    });
    answer
}

/// Answers for a file of ours, with `errno` as it was before on success; for any other leaves the kernel's answer.
fn instead(
    dirfd: c_int,
    path: *const c_char,
    before: c_int,
    answer: impl FnOnce(File) -> Result<(), c_int>,
) -> c_int {
    let left = errno::get();
    // SAFETY: the kernel has just read the path.
    let answer = panic_guard::catch(|| Some(answer(unsafe { find(-1, dirfd, path) }?)));
    match answer.flatten() {
        Some(Ok(())) => errno::set(before),
        Some(Err(error)) => errno::set(error),
        None => errno::set(left),
    }
    if matches!(answer.flatten(), Some(Ok(()))) {
        0
    } else {
        -1
    }
}

/// Defines stat and its 64-bit twin: `status!(name, structure, way to the next function, answer without one)`.
macro_rules! status {
    ($name:ident, $show:ident, $structure:ty, $($always:ident)?, $kernel:ident) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(path: *const c_char, out: *mut $structure) -> c_int {
            type Stat = unsafe extern "C" fn(*const c_char, *mut $structure) -> c_int;
            let before = errno::get();
            let answer = match next!($($always)? $name: Stat) {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real(path, out) },
                None => $kernel(path, out.cast()),
            };
            // SAFETY: the kernel has just read the path.
            if answer != 0 && read_by_kernel(true) && unsafe { may_mean_ours(path) } {
                return $show(path, out, before);
            }
            answer
        }

        /// The answer of stat to a path that the kernel has not found: what stat says of the kernel's file: root's, of no
        /// length, on the file system of `/proc`.
        #[allow(clippy::unnecessary_cast)] // The types differ between architectures.
        #[inline(never)]
        extern "C" fn $show(path: *const c_char, out: *mut $structure, before: c_int) -> c_int {
            instead(libc::AT_FDCWD, path, before, |file| {
                let (mode, inode) = match file {
                    File::Segments => (0o444, 1),
                    File::Limit(name) => (0o644, 2 + name as u64),
                };
                // SAFETY: plain integers, of which zeros are a value.
                let mut status: $structure = unsafe { core::mem::zeroed() };
                status.st_dev = proc_device() as _;
                status.st_ino = inode as _;
                status.st_mode = libc::S_IFREG | mode;
                status.st_nlink = 1;
                status.st_blksize = 1024;
                let now = process::now_secs();
                (status.st_atime, status.st_mtime, status.st_ctime) = (now as _, now as _, now as _);
                let mut bytes = [0; size_of::<$structure>()];
                // SAFETY: as many bytes as the structure has; what lies between its fields was zeroed with it.
                unsafe {
                    let from = (&raw const status).cast::<u8>();
                    core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len());
                }
                if usermem::copy_out(out as u64, &bytes) {
                    Ok(())
                } else {
                    Err(libc::EFAULT)
                }
            })
        }
    };
}

#[cfg(target_pointer_width = "64")]
status!(stat, show_stat, libc::stat, , kernel_stat);
#[cfg(all(target_pointer_width = "64", target_env = "gnu"))]
status!(stat64, show_stat64, libc::stat, , kernel_stat);
// There the kernel's structure is not libc's, so only libc's own function will do.
#[cfg(target_pointer_width = "32")]
status!(stat, show_stat, libc::stat, always, no_stat);
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
status!(stat64, show_stat64, libc::stat64, always, no_stat);

#[cfg(target_pointer_width = "64")]
extern "C" fn kernel_stat(path: *const c_char, out: *mut libc::stat) -> c_int {
    let args = [libc::AT_FDCWD as usize, path as usize, out as usize];
    // SAFETY: the host asked for it, and the kernel checks the pointers.
    kernel(unsafe { raw::call(libc::SYS_newfstatat, args) }) as c_int
}

#[cfg(target_pointer_width = "32")]
extern "C" fn no_stat(_path: *const c_char, _out: *mut c_void) -> c_int {
    errno::set(libc::ENOSYS);
    -1
}

/// The device that `/proc` is, as stat says it.
fn proc_device() -> u64 {
    let proc = Path::from_bytes(b"/proc").and_then(|path| file::status_of(&path).ok());
    let device = proc.map_or(0, |proc| proc.device);
    #[cfg(target_pointer_width = "32")]
    let device = libc::makedev((device >> 32) as _, device as _);
    device
}
