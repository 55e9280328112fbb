//! open, openat, fopen and their forms; write and execve, for what was written to a limit.
//!
//! The frames of these functions are the ones that a cancelled thread unwinds: see `lib.rs`. So each of them makes
//! its real call and otherwise only calls functions that are `extern "C"`.
#![allow(non_snake_case)] // Some of libc's names begin with underscores.

use core::ffi::{CStr, c_char, c_int, c_void};

use libc::{FILE, mode_t, size_t, ssize_t};
use shmshim_core::os::{OsError, errno, raw};
use shmshim_core::registry;

use super::access::{self, Grant};
use super::name::{self, File};
use super::{content, pending, sys};
use crate::direct::{Answer, kernel, not_there};
use crate::events;
use crate::next::next;
use crate::panic_guard;

/// Defines a function that takes a path: `real` is the function behind ours, `or` stands in for one that is not found. Then
/// `ours` is asked, `if` what the real function has answered and the path allow for one of the files.
///
/// The frame must need no cleanup, so all that is called here is `extern "C"`.
macro_rules! by_path {
    ($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;
     real $real:expr, or $or:expr;
     if $looks:ident($path:ident), $ours:ident($($given:expr),*)) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name($($arg: $type),*) -> $answer {
            let before = errno::get();
            let answer = match $real {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real($($arg),*) },
                None => $or,
            };
            let failed = answer == <$answer as $crate::direct::Answer>::FAILED;
            // SAFETY: the kernel has just read the path.
            if $looks(failed) && unsafe { may_mean_ours($path) } {
                return $ours(answer, before, $($given),*);
            }
            answer
        }
    };
}
pub(super) use by_path;

/// Whether a file was opened, or [`is_missing`].
#[inline(always)]
fn is_open_or_missing(failed: bool) -> bool {
    !failed || is_missing(failed)
}

/// Whether the kernel has read the path, and answered with an errno that one of our files might get too: absent, not for
/// this user, on a `/proc` that is read-only.
#[inline(always)]
pub(super) fn is_missing(failed: bool) -> bool {
    failed
        && matches!(
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

/// Ends a call: with our answer, where `errno` is untouched on success; or, where there is none, with the real one's.
pub(super) fn answer<T: Answer>(
    real: T,
    before: c_int,
    ours: impl FnOnce() -> Option<Result<T, c_int>>,
) -> T {
    let left = errno::get();
    let (answer, error) = match panic_guard::catch(ours).flatten() {
        Some(Ok(answer)) => (answer, before),
        Some(Err(error)) => (T::FAILED, error),
        None => (real, left),
    };
    errno::set(error);
    answer
}

extern "C" fn kernel_openat(
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // A kernel of 64 bits adds it by itself.
    let flags = flags | libc::O_LARGEFILE;
    let args = [dirfd as usize, path as usize, flags as usize, mode as usize];
    // SAFETY: the host asked for it, and the kernel checks the pointer.
    unsafe { kernel(libc::SYS_openat, &args) as c_int }
}

/// Defines one form of open: `form!(name(arguments) real type, directory)`. The checked forms have no
/// mode: they stop the program when one would be needed.
macro_rules! form {
    ($name:ident($($dirfd:ident)?; $($mode:ident)?) as $real:ty, at $at:expr) => {
        by_path!($name($($dirfd: c_int,)? path: *const c_char, flags: c_int $(, $mode: mode_t)?) -> c_int;
            real next!($name: $real), or kernel_openat($at, path, flags, 0 $(| $mode)?);
            if is_open_or_missing(path), look_closer($at, path, flags));
    };
}

type Open = unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int;
type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, ...) -> c_int;

form!(open(; mode) as Open, at libc::AT_FDCWD);
form!(openat(dirfd; mode) as OpenAt, at dirfd);
#[cfg(target_env = "gnu")]
form!(open64(; mode) as Open, at libc::AT_FDCWD);
#[cfg(target_env = "gnu")]
form!(__open_2(;) as Open, at libc::AT_FDCWD);
#[cfg(target_env = "gnu")]
form!(__openat_2(dirfd;) as OpenAt, at dirfd);
// Where a word has 32 bits nearly every program asks for 64-bit file sizes.
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
form!(openat64(dirfd; mode) as OpenAt, at dirfd);
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
form!(__open64_2(;) as Open, at libc::AT_FDCWD);
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
form!(__openat64_2(dirfd;) as OpenAt, at dirfd);

/// Ends an open whose path may mean one of the files: `fd` is the real function's answer.
#[inline(never)]
extern "C" fn look_closer(
    fd: c_int,
    before: c_int,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
) -> c_int {
    answer(fd, before, || {
        // SAFETY: the kernel has just read the path.
        let file = unsafe { find(fd, dirfd, path) }?;
        // Where nothing was opened, nothing is closed.
        stand_in(file, flags, || sys::close(fd))
    })
}

/// Which of the files `path` means; `fd` is it, if it could be opened.
///
/// # Safety
/// `path` is a C string that can be read.
pub(super) unsafe fn find(fd: c_int, dirfd: c_int, path: *const c_char) -> Option<File> {
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if let Some(file) = File::at(path) {
        return Some(file);
    }
    if !name::may_mean_one(path) {
        return None;
    }
    let mut room = [0; name::PATH_BYTES];
    if fd >= 0 {
        return File::at(sys::name_of(fd, &mut room)?);
    }
    if path.starts_with(b"/") {
        return None;
    }
    let slash = sys::name_of(dirfd, &mut room)?.len();
    let end = slash + 1 + path.len();
    *room.get_mut(slash)? = b'/';
    room.get_mut(slash + 1..end)?.copy_from_slice(path);
    File::at(room.get(..end)?)
}

/// A descriptor of what stands in for `file`, or an errno; `None` when the kernel's own answer will do. `give_up`
/// closes that, before a descriptor is needed.
fn stand_in(file: File, flags: c_int, give_up: impl FnOnce()) -> Option<Result<c_int, c_int>> {
    pending::apply();
    let judged = access::judge(file, flags)?;
    give_up();
    let opened = judged.and_then(|grant| make(file, flags, grant));
    tell_opened(file, opened.err());
    Some(opened)
}

/// No part of the hook's own frame, which must need no cleanup.
#[inline(never)]
extern "C" fn tell_exec() {
    events::executes();
}

fn tell_opened(file: File, error: Option<c_int>) {
    let path = file.path().to_str().unwrap_or("");
    events::say("proc-file", &[], &|line| match error {
        None => line.put(format_args!(
            "opens {path}: the namespace's, not the kernel's"
        )),
        Some(error) => line.put(format_args!(
            "is refused {path} of the namespace: {}",
            OsError(error)
        )),
    });
}

fn make(file: File, flags: c_int, grant: Grant) -> Result<c_int, c_int> {
    let memory = content::create(file, flags)?;
    if flags & libc::O_ACCMODE != libc::O_WRONLY {
        content::fill(&memory, file)?;
    } else {
        // Where nothing is shown a namespace that cannot be used is to be noticed now, too.
        registry::limits().map_err(|error| error.errno)?;
    }
    if let (Grant::Take, File::Limit(limit)) = (grant, file) {
        pending::remember(limit, memory.fd())?;
    }
    Ok(content::hand_out(memory, flags))
}

/// Defines fopen and its 64-bit twin.
macro_rules! stream {
    ($name:ident) => {
        by_path!($name(path: *const c_char, mode: *const c_char) -> *mut FILE;
            real next!($name: unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE),
            or not_there();
            if is_open_or_missing(path), look_closer_at_stream(path, mode));
    };
}

stream!(fopen);
#[cfg(target_env = "gnu")]
stream!(fopen64);

/// Ends an fopen whose path may mean one of the files: `stream` is the real function's answer.
#[inline(never)]
extern "C" fn look_closer_at_stream(
    stream: *mut FILE,
    before: c_int,
    path: *const c_char,
    mode: *const c_char,
) -> *mut FILE {
    answer(stream, before, || {
        let fd = if stream.is_null() {
            -1
        } else {
            // SAFETY: libc has just opened it.
            unsafe { libc::fileno(stream) }
        };
        // SAFETY: the kernel has just read the path, libc the mode.
        let (file, letters) = unsafe { (find(fd, libc::AT_FDCWD, path)?, CStr::from_ptr(mode)) };
        let made = stand_in(file, flags_of(letters.to_bytes()), || {
            // Where a filter would end the program for it, the stream is lost.
            if !stream.is_null() && !raw::is_forbidden(libc::SYS_close, [fd as usize]) {
                // SAFETY: no other code has seen it.
                unsafe { libc::fclose(stream) };
            }
        })?;
        Some(made.and_then(|fd| stream_of(fd, letters)))
    })
}

/// Makes a stream of a descriptor of our own, with a mode that libc has accepted.
fn stream_of(fd: c_int, mode: &CStr) -> Result<*mut FILE, c_int> {
    // By this call libc asks how the descriptor was opened.
    let asks = [fd as usize, libc::F_GETFL as usize];
    let mut made = Err(libc::EPERM);
    if !raw::is_forbidden(libc::SYS_fcntl, asks) {
        // SAFETY: the descriptor is handed over.
        let stream = unsafe { libc::fdopen(fd, mode.as_ptr()) };
        made = if stream.is_null() {
            Err(errno::get())
        } else {
            Ok(stream)
        };
    }
    if made.is_err() {
        sys::close(fd);
    }
    made
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

/// What [`write_limit`] answers when the write goes elsewhere. No write does.
const NO_LIMIT: ssize_t = ssize_t::MIN;

/// # Safety
/// As libc's.
#[inline]
pub unsafe fn write(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t {
    if pending::any() {
        let answer = write_limit(fd, buf, count);
        if answer != NO_LIMIT {
            return answer;
        }
    }
    match next!(write: unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(fd, buf, count) },
        // SAFETY: as above.
        None => unsafe { kernel(libc::SYS_write, &[fd as usize, buf as usize, count]) },
    }
}

#[cold]
#[inline(never)]
extern "C" fn write_limit(fd: c_int, buf: *const c_void, count: size_t) -> ssize_t {
    answer(NO_LIMIT, errno::get(), || {
        let written = pending::write(fd, buf as usize, count)?;
        Some(written.map(|count| count as ssize_t))
    })
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
    tell_exec();
    match next!(execve: Real) {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(path, argv, envp) },
        // SAFETY: as above.
        None => unsafe {
            let args = [path as usize, argv as usize, envp as usize];
            kernel(libc::SYS_execve, &args) as c_int
        },
    }
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
