//! stat, access, realpath: where the kernel has no System V files, they find what open finds.
//!
//! Only an answer that says "not there" (or "not for you") is looked at: what succeeds pays one comparison.

use core::ffi::{c_char, c_int};

use shmshim_core::os::errno;

use super::access;
use super::hooks::{answer, by_path, find, is_missing, may_mean_ours};
use crate::direct::not_there;
use crate::next::next;

type Access = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
type AccessAt = unsafe extern "C" fn(c_int, *const c_char, c_int, c_int) -> c_int;
type Stat<T> = unsafe extern "C" fn(*const c_char, *mut T) -> c_int;
type RealPath = unsafe extern "C" fn(*const c_char, *mut c_char) -> *mut c_char;

by_path!(access(path: *const c_char, mode: c_int) -> c_int;
    real next!(access: Access), or not_there();
    if is_missing(path), may_access(libc::AT_FDCWD, path, mode));

by_path!(faccessat(dirfd: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int;
    real next!(faccessat: AccessAt), or not_there();
    if is_missing(path), may_access(dirfd, path, mode));

/// The answer of access to a path that the kernel has not found, or not granted.
#[inline(never)]
extern "C" fn may_access(
    left: c_int,
    before: c_int,
    dirfd: c_int,
    path: *const c_char,
    mode: c_int,
) -> c_int {
    answer(left, before, || {
        // SAFETY: the kernel has just read the path.
        let file = unsafe { find(-1, dirfd, path) }?;
        let may_write = || matches!(access::judge(file, libc::O_WRONLY), Some(Ok(_)));
        let is_refused = mode & libc::X_OK != 0 || (mode & libc::W_OK != 0 && !may_write());
        Some(if is_refused { Err(libc::EACCES) } else { Ok(0) })
    })
}

by_path!(realpath(path: *const c_char, out: *mut c_char) -> *mut c_char;
    real next!(realpath: RealPath), or not_there();
    if is_missing(path), show_path(path, out));

/// The answer of realpath to a path that the kernel has not found.
#[inline(never)]
extern "C" fn show_path(
    left: *mut c_char,
    before: c_int,
    path: *const c_char,
    out: *mut c_char,
) -> *mut c_char {
    answer(left, before, || {
        // SAFETY: the kernel has just read the path.
        let path = unsafe { find(-1, libc::AT_FDCWD, path) }?.path();
        if !out.is_null() {
            let (from, len) = (path.as_ptr(), path.count_bytes() + 1);
            // SAFETY: the caller's buffer has PATH_MAX bytes.
            unsafe { core::ptr::copy_nonoverlapping(from, out, len) };
            return Some(Ok(out));
        }
        // From the host's own heap, for the host frees it.
        // SAFETY: a C string.
        let copy = unsafe { libc::strdup(path.as_ptr()) };
        Some(if copy.is_null() {
            Err(libc::ENOMEM)
        } else {
            Ok(copy)
        })
    })
}

/// Defines stat and its 64-bit twin. Where the kernel has none of the files it is asked for another one of `/proc`: root's,
/// of no length, to be read by all.
macro_rules! status {
    ($name:ident, $show:ident, $status:ty) => {
        by_path!($name(path: *const c_char, out: *mut $status) -> c_int;
            real next!($name: Stat<$status>), or not_there();
            if is_missing(path), $show(path, out));

        #[inline(never)]
        extern "C" fn $show(
            left: c_int,
            before: c_int,
            path: *const c_char,
            out: *mut $status,
        ) -> c_int {
            answer(left, before, || {
                // SAFETY: the kernel has just read the path.
                let file = unsafe { find(-1, libc::AT_FDCWD, path) }?;
                let real = next!($name: Stat<$status>)?;
                // SAFETY: the caller's promise is passed on.
                if unsafe { real(c"/proc/version".as_ptr(), out) } != 0 {
                    return Some(Err(errno::get()));
                }
                // SAFETY: it has just been written.
                unsafe {
                    (*out).st_mode = libc::S_IFREG | file.mode();
                    // A user namespace may have another number for root.
                    ((*out).st_uid, (*out).st_gid) = (0, 0);
                }
                Some(Ok(0))
            })
        }
    };
}

status!(stat, show_stat, libc::stat);
#[cfg(target_env = "gnu")]
status!(stat64, show_stat64, libc::stat64);
