//! open, openat, fopen and their forms; write and execve, for what was written to a limit.
//!
//! The frames of these functions are the ones that a cancelled thread unwinds: see `lib.rs`. So each of them makes
//! its real call and otherwise only calls functions that are `extern "C"`.
#![allow(non_snake_case)] // Some of libc's names begin with underscores.

use core::ffi::{CStr, c_char, c_int, c_void};

use libc::{FILE, mode_t, size_t, ssize_t};
use shmshim_core::os::{OsResult, errno, raw};

use super::access::{self, Grant};
use super::name::{self, File, Look};
use super::sys::{self, Short};
use super::{content, pending};
use crate::next::next;
use crate::panic_guard;

/// Straight to the kernel, for the moment in which the function behind ours is still being looked up.
pub(super) fn kernel(answer: OsResult<usize>) -> isize {
    match answer {
        Ok(answer) => answer as isize,
        Err(error) => {
            errno::set(error.0);
            -1
        }
    }
}

extern "C" fn kernel_openat(
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    let flags = flags
        | if cfg!(target_pointer_width = "32") {
            libc::O_LARGEFILE
        } else {
            0
        };
    let args = [dirfd as usize, path as usize, flags as usize, mode as usize];
    // SAFETY: the host asked for it, and the kernel checks the pointer.
    kernel(unsafe { raw::call(libc::SYS_openat, args) }) as c_int
}

/// Defines one form of open: `form!(name(arguments) real type, directory)`. The checked forms have no
/// mode: they stop the program when one would be needed.
macro_rules! form {
    ($name:ident($($dirfd:ident)?; $($mode:ident)?) as $real:ty, at $at:expr) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(
            $($dirfd: c_int,)?
            path: *const c_char,
            flags: c_int,
            $($mode: mode_t,)?
        ) -> c_int {
            let before = errno::get();
            let fd = match next!($name: $real) {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real($($dirfd,)? path, flags $(, $mode)?) },
                None => kernel_openat($at, path, flags, 0 $(| $mode)?),
            };
            // SAFETY: the kernel has just read the path.
            if read_by_kernel(fd < 0) && unsafe { may_mean_ours(path) } {
                return look_closer(fd, $at, path, flags, before);
            }
            fd
        }
    };
}

type Open = unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int;
type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, ...) -> c_int;

form!(open(; mode) as Open, at libc::AT_FDCWD);
form!(openat(dirfd; mode) as OpenAt, at dirfd);

#[cfg(target_env = "gnu")]
mod gnu {
    use super::*;

    type Open2 = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
    type OpenAt2 = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;

    form!(open64(; mode) as Open, at libc::AT_FDCWD);
    form!(__open_2(;) as Open2, at libc::AT_FDCWD);
    form!(__openat_2(dirfd;) as OpenAt2, at dirfd);
    // Where a word has 32 bits nearly every program asks for 64-bit file sizes.
    #[cfg(target_pointer_width = "32")]
    mod large {
        use super::*;
        form!(openat64(dirfd; mode) as OpenAt, at dirfd);
        form!(__open64_2(;) as Open2, at libc::AT_FDCWD);
        form!(__openat64_2(dirfd;) as OpenAt2, at dirfd);
    }
    #[cfg(target_pointer_width = "32")]
    pub use large::{__open64_2, __openat64_2, openat64};
}
#[cfg(target_env = "gnu")]
pub use gnu::*;

/// Whether the kernel has read the path: it opened the file, or answered with an errno that says so and that one
/// of our files might get too (absent, not for this user, on a `/proc` that is read-only).
#[inline(always)]
pub(super) fn read_by_kernel(failed: bool) -> bool {
    !failed
        || matches!(
            errno::get(),
            libc::ENOENT | libc::EACCES | libc::EPERM | libc::EROFS
        )
}

/// Whether a path is worth a closer look: relative, or beginning with `/p`.
///
/// # Safety
/// `path` is a C string that can be read.
#[inline(always)]
pub(super) unsafe fn may_mean_ours(path: *const c_char) -> bool {
    // SAFETY: the second byte is read only when the first is not the last.
    unsafe { *path != b'/' as c_char || *path.add(1) == b'p' as c_char }
}

/// Ends an open whose path may mean one of the files: `fd` is the real function's answer.
#[inline(never)]
extern "C" fn look_closer(
    fd: c_int,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    before: c_int,
) -> c_int {
    let left = errno::get();
    let answer = panic_guard::catch(|| {
        // SAFETY: the kernel has just read the path.
        let file = unsafe { find(fd, dirfd, path) }?;
        stand_in(file, flags, || {
            if fd >= 0 {
                sys::close(fd);
            }
        })
    });
    match answer.flatten() {
        Some(Ok(fd)) => {
            errno::set(before);
            fd
        }
        Some(Err(error)) => {
            errno::set(error);
            -1
        }
        None => {
            errno::set(left);
            fd
        }
    }
}

/// Which of the files `path` means; `fd` is it, if it could be opened.
///
/// # Safety
/// `path` is a C string that can be read.
pub(super) unsafe fn find(fd: c_int, dirfd: c_int, path: *const c_char) -> Option<File> {
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    match name::look(path) {
        Look::No => return None,
        Look::Yes(file) => return Some(file),
        Look::Perhaps(_) => {}
    }
    // Longer than any of their paths.
    let mut room = [0; 64];
    if fd >= 0 {
        let link = Short::of(format_args!("/proc/self/fd/{fd}"));
        return exactly(sys::read_link(link.path(), &mut room).ok()?);
    }
    let link = match (path.first(), dirfd) {
        (Some(b'/'), _) => return None,
        (_, libc::AT_FDCWD) => Short::of(format_args!("/proc/self/cwd")),
        _ => Short::of(format_args!("/proc/self/fd/{dirfd}")),
    };
    let len = sys::read_link(link.path(), &mut room).ok()?.len();
    for (at, byte) in [b'/'].iter().chain(path).enumerate() {
        *room.get_mut(len + at)? = *byte;
    }
    exactly(room.get(..len + 1 + path.len())?)
}

fn exactly(path: &[u8]) -> Option<File> {
    match name::look(path) {
        Look::Yes(file) => Some(file),
        _ => None,
    }
}

/// A descriptor of what stands in for `file`, or an errno; `None` when the kernel's own answer will do. `give_up`
/// closes that, before a descriptor is needed.
fn stand_in(file: File, flags: c_int, give_up: impl FnOnce()) -> Option<Result<c_int, c_int>> {
    pending::apply();
    let judged = access::judge(file, flags)?;
    give_up();
    Some(judged.and_then(|grant| make(file, flags, grant)))
}

fn make(file: File, flags: c_int, grant: Grant) -> Result<c_int, c_int> {
    let memory = content::create(file)?;
    let readable = flags & libc::O_ACCMODE != libc::O_WRONLY;
    if readable {
        content::fill(&memory, file)?;
    }
    if let (Grant::Take, File::Limit(name)) = (grant, file) {
        // Also where nothing is shown: a namespace that cannot be used is to be noticed now.
        let value = content::limit(name).map_err(|failure| failure.errno)?;
        let shown = if readable { value.bytes() } else { &[] };
        pending::remember(name, memory.fd(), readable, shown)?;
    }
    Ok(content::hand_out(memory, flags, grant == Grant::Take))
}

/// Defines fopen and its 64-bit twin.
macro_rules! stream {
    ($name:ident) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(path: *const c_char, mode: *const c_char) -> *mut FILE {
            type Real = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE;
            let before = errno::get();
            let Some(real) = next!(always $name: Real) else {
                return none(libc::ENOSYS);
            };
            // SAFETY: the caller's promise is passed on.
            let stream = unsafe { real(path, mode) };
            // SAFETY: the kernel has just read the path.
            if read_by_kernel(stream.is_null()) && unsafe { may_mean_ours(path) } {
                return look_closer_at_stream(stream, path, mode, before);
            }
            stream
        }
    };
}

stream!(fopen);
#[cfg(target_env = "gnu")]
stream!(fopen64);

extern "C" fn none(error: c_int) -> *mut FILE {
    errno::set(error);
    core::ptr::null_mut()
}

/// Ends an fopen whose path may mean one of the files: `stream` is the real function's answer.
#[inline(never)]
extern "C" fn look_closer_at_stream(
    stream: *mut FILE,
    path: *const c_char,
    mode: *const c_char,
    before: c_int,
) -> *mut FILE {
    let left = errno::get();
    let answer = panic_guard::catch(|| {
        let fd = if stream.is_null() {
            -1
        } else {
            // SAFETY: libc has just opened it.
            unsafe { libc::fileno(stream) }
        };
        // SAFETY: the kernel has just read the path, libc the mode.
        let (file, mode) = unsafe { (find(fd, libc::AT_FDCWD, path)?, CStr::from_ptr(mode)) };
        stand_in(file, flags_of(mode.to_bytes()), || {
            // Where a filter would end the program for it, the stream is lost.
            if !stream.is_null() && !raw::is_forbidden(libc::SYS_close, [fd as usize]) {
                // SAFETY: no other code has seen it.
                unsafe { libc::fclose(stream) };
            }
        })
    });
    match answer.flatten() {
        // By this call libc asks how the descriptor was opened.
        Some(Ok(fd))
            if raw::is_forbidden(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize]) =>
        {
            sys::close(fd);
            none(libc::EPERM)
        }
        Some(Ok(fd)) => {
            // SAFETY: a descriptor of our own; the mode is the host's, which libc has accepted above.
            let stream = unsafe { libc::fdopen(fd, mode) };
            if stream.is_null() {
                sys::close(fd);
            } else {
                errno::set(before);
            }
            stream
        }
        Some(Err(error)) => none(error),
        None => {
            errno::set(left);
            stream
        }
    }
}

/// The flags of open that a mode of fopen stands for.
fn flags_of(mode: &[u8]) -> c_int {
    let mut letters = mode.iter().take_while(|letter| **letter != b',');
    let (mut access, mut flags) = match letters.next() {
        Some(b'w') => (libc::O_WRONLY, libc::O_CREAT | libc::O_TRUNC),
        Some(b'a') => (libc::O_WRONLY, libc::O_CREAT | libc::O_APPEND),
        _ => (libc::O_RDONLY, 0),
    };
    for letter in letters {
        match letter {
            b'+' => access = libc::O_RDWR,
            b'x' => flags |= libc::O_EXCL,
            b'e' => flags |= libc::O_CLOEXEC,
            _ => {}
        }
    }
    access | flags
}

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn write(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t {
    let mut answer = 0;
    if pending::any() && write_limit(fd, buf, count, &mut answer) {
        return answer;
    }
    match next!(write: unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(fd, buf, count) },
        None => kernel_write(fd, buf, count),
    }
}

#[inline(never)]
extern "C" fn kernel_write(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t {
    kernel(sys::write_hosts(fd, buf as usize, count))
}

/// Whether the write went to a limit; then with this answer.
#[cold]
#[inline(never)]
extern "C" fn write_limit(
    fd: c_int,
    buf: *const c_void,
    count: size_t,
    answer: &mut ssize_t,
) -> bool {
    let before = errno::get();
    match panic_guard::catch(|| pending::write(fd, buf as usize, count)).flatten() {
        Some(Ok(written)) => {
            *answer = written as ssize_t;
            errno::set(before);
            true
        }
        Some(Err(error)) => {
            *answer = -1;
            errno::set(error);
            true
        }
        None => {
            errno::set(before);
            false
        }
    }
}

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn execve(
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> c_int {
    type Real =
        unsafe extern "C" fn(*const c_char, *const *const c_char, *const *const c_char) -> c_int;
    pending::apply();
    match next!(execve: Real) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(path, argv, envp) },
        None => kernel_execve(path, argv, envp),
    }
}

extern "C" fn kernel_execve(
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> c_int {
    let args = [path as usize, argv as usize, envp as usize];
    // SAFETY: the host asked for it, and the kernel checks the pointers.
    kernel(unsafe { raw::call(libc::SYS_execve, args) }) as c_int
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_of_fopen_becomes_flags_of_open() {
        use libc::{O_APPEND, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
        let rows = [
            ("r", O_RDONLY),
            ("rb", O_RDONLY),
            ("re", O_RDONLY | O_CLOEXEC),
            ("r+", O_RDWR),
            ("rb+e", O_RDWR | O_CLOEXEC),
            ("w", O_WRONLY | O_CREAT | O_TRUNC),
            ("w+", O_RDWR | O_CREAT | O_TRUNC),
            ("wx", O_WRONLY | O_CREAT | O_TRUNC | O_EXCL),
            ("a", O_WRONLY | O_CREAT | O_APPEND),
            ("a+", O_RDWR | O_CREAT | O_APPEND),
            ("r,ccs=UTF-8", O_RDONLY),
        ];
        for (mode, flags) in rows {
            assert_eq!(flags_of(mode.as_bytes()), flags, "{mode}");
        }
    }
}
