//! Files and their locks.

use super::pages::PageVec;
use super::path::Path;
use super::{OsError, OsResult, raw};
use core::ffi::CStr;
use core::str::FromStr;
use std::os::fd::{FromRawFd, OwnedFd};

pub use super::status::{
    FileSystem, Status, file_system_of, kind_of, status, status_following, status_in, status_of,
    status_of_number,
};

/// An open descriptor of ours: closed when dropped, close-on-exec always.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// The open descriptor with this number, which is closed by what is returned, and by nothing else.
    pub(super) fn of_number(number: i32) -> Fd {
        Fd(number)
    }

    /// The number, for messages and for `/proc/self/fd`.
    pub fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the descriptor was opened by us and is closed once.
        let _ = unsafe { raw::call(libc::SYS_close, [self.0 as usize]) };
    }
}

impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> OwnedFd {
        let fd = core::mem::ManuallyDrop::new(fd);
        // SAFETY: the descriptor is open and ours, and will not be closed by the one that gives it away.
        unsafe { OwnedFd::from_raw_fd(fd.0) }
    }
}

/// Where a path begins: with an open directory only its last name counts, which is looked up there; without one the whole
/// of it.
pub type At<'a> = Option<&'a Fd>;

/// Descriptor and address of the text, as the system calls want them.
#[inline]
pub(super) fn place(dir: At<'_>, path: &Path) -> (i32, usize) {
    match dir {
        Some(dir) => (dir.0, path.name_addr()),
        None => (libc::AT_FDCWD, path.addr()),
    }
}

/// O_NONBLOCK: a fifo in place of a file of ours must not hold the host up.
pub(super) const ALWAYS: i32 =
    libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK | LARGE;
#[cfg(target_pointer_width = "64")]
const LARGE: i32 = 0;
#[cfg(not(target_pointer_width = "64"))]
const LARGE: i32 = libc::O_LARGEFILE;

/// Opens `path` with `flags`; a symbolic link at its end is refused (`ELOOP`).
pub fn open(path: &Path, flags: i32, mode: u32) -> OsResult<Fd> {
    open_in(None, path, flags, mode)
}

/// [`open`], in a directory: see [`At`].
#[inline]
pub fn open_in(dir: At<'_>, path: &Path, flags: i32, mode: u32) -> OsResult<Fd> {
    let (dir, name) = place(dir, path);
    open_at(dir, name, flags | ALWAYS, mode)
}

/// Opens the directory `path` to look names up in it: what stands there and is none, a link included, is refused
/// (`ENOTDIR`).
pub fn open_dir(dir: At<'_>, path: &Path) -> OsResult<Fd> {
    open_in(dir, path, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// Opens the directory `path` to read it, lock it, or change its mode.
pub fn open_dir_to_read(dir: At<'_>, path: &Path) -> OsResult<Fd> {
    open_in(dir, path, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

pub(super) fn open_at(dir: i32, path: usize, flags: i32, mode: u32) -> OsResult<Fd> {
    let args = [dir as usize, path, flags as usize, mode as usize];
    retry(libc::SYS_openat, args).map(|number| Fd(number as i32))
}

/// The length of an open file, in bytes. Takes half as long as `fstat`; of a file that has none (a pipe) it fails.
#[inline]
pub fn len_of(fd: &Fd) -> OsResult<u64> {
    #[cfg(target_pointer_width = "64")]
    {
        let args = [fd.0 as usize, 0, libc::SEEK_END as usize];
        retry(libc::SYS_lseek, args).map(|end| end as u64)
    }
    #[cfg(not(target_pointer_width = "64"))]
    status(fd).map(|status| status.len_bytes)
}

/// How a lock is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Lock {
    /// `LOCK_SH`, at once or not at all.
    TryShared = libc::LOCK_SH | libc::LOCK_NB,
    /// `LOCK_EX`, at once or not at all.
    TryExclusive = libc::LOCK_EX | libc::LOCK_NB,
}

/// `flock`. `Ok(false)`: it is held by another.
pub fn lock(fd: &Fd, how: Lock) -> OsResult<bool> {
    match retry(libc::SYS_flock, [fd.0 as usize, how as usize]) {
        Err(OsError(libc::EWOULDBLOCK)) => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// `linux/fcntl.h`; not in the libc crate for Android.
const F_OFD_GETLK: i32 = 36;
const F_OFD_SETLK: i32 = 37;

/// `struct flock`, of 64 bits on every machine.
#[repr(C)]
struct Range {
    kind: i16,
    whence: i16,
    start: i64,
    len: i64,
    pid: i32,
}

/// `fcntl` with a lock of this kind on the whole file, as a record lock of the open file: none of `flock`'s.
fn record_lock(fd: &Fd, command: i32, kind: i32) -> OsResult<bool> {
    let mut range = Range {
        kind: kind as i16,
        whence: libc::SEEK_SET as i16,
        start: 0,
        len: 0,
        pid: 0,
    };
    let range_at = &raw mut range as usize;
    retry(
        raw::number::FCNTL,
        [fd.0 as usize, command as usize, range_at],
    )?;
    Ok(range.kind != libc::F_UNLCK as i16)
}

/// Has an open file hold a shared record lock (F_OFD_SETLK), which ends with its last descriptor, and is independent of `flock`.
pub fn hold(fd: &Fd) -> OsResult<()> {
    record_lock(fd, F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

/// Whether another open file of the same file holds that.
pub fn is_held(fd: &Fd) -> OsResult<bool> {
    record_lock(fd, F_OFD_GETLK, libc::F_WRLCK)
}

/// `ftruncate`.
pub fn set_len(fd: &Fd, len_bytes: u64) -> OsResult<()> {
    let fd = fd.0 as usize;
    #[cfg(target_pointer_width = "64")]
    return done(libc::SYS_ftruncate, [fd, len_bytes as usize]);
    #[cfg(target_pointer_width = "32")]
    {
        let [low, high] = raw::halves(len_bytes);
        // On ARM a pair of registers begins at an even one.
        #[cfg(target_arch = "arm")]
        return done(libc::SYS_ftruncate64, [fd, 0, low, high]);
        #[cfg(not(target_arch = "arm"))]
        return done(libc::SYS_ftruncate64, [fd, low, high]);
    }
}

/// `mknod` of an empty regular file; the umask takes its bits. `EEXIST`: something is there.
pub fn make_file(path: &Path, mode: u32) -> OsResult<()> {
    let kind_and_mode = (libc::S_IFREG | mode) as usize;
    let args = [libc::AT_FDCWD as usize, path.addr(), kind_and_mode];
    done(libc::SYS_mknodat, args)
}

/// `truncate`: only for a path in a directory that only its owner can write to, for it follows links.
pub fn set_len_of(path: &Path, len_bytes: u64) -> OsResult<()> {
    #[cfg(target_pointer_width = "64")]
    return done(libc::SYS_truncate, [path.addr(), len_bytes as usize]);
    #[cfg(target_pointer_width = "32")]
    return set_len(&open(path, libc::O_RDWR, 0)?, len_bytes);
}

/// `fallocate`: afterwards the range can be written without the file system running out of room. On a file system that
/// cannot do that zeros are written, but not over the first `used` bytes, which were written before.
pub fn allocate_behind(fd: &Fd, offset: u64, used: u64, len_bytes: u64) -> OsResult<()> {
    let number = fd.0 as usize;
    #[cfg(target_pointer_width = "64")]
    let args = [number, 0, offset as usize, len_bytes as usize];
    #[cfg(target_pointer_width = "32")]
    let args = {
        let ([from, from_high], [len, len_high]) = (raw::halves(offset), raw::halves(len_bytes));
        [number, 0, from, from_high, len, len_high]
    };
    match done(libc::SYS_fallocate, args) {
        Err(OsError(libc::EOPNOTSUPP)) => {
            write_zeros(fd, offset + used, len_bytes.saturating_sub(used))
        }
        answer => answer,
    }
}

#[cold]
fn write_zeros(fd: &Fd, offset: u64, len_bytes: u64) -> OsResult<()> {
    static ZEROS: [u8; 4096] = [0; 4096];
    let start = [fd.0 as usize, offset as usize, libc::SEEK_SET as usize];
    done(libc::SYS_lseek, start)?;
    let mut left = len_bytes;
    while left > 0 {
        let count = left.min(ZEROS.len() as u64) as usize;
        let args = [fd.0 as usize, ZEROS.as_ptr() as usize, count];
        left = left.saturating_sub(retry(libc::SYS_write, args)? as u64);
    }
    Ok(())
}

/// `fchmod`.
pub fn set_permissions(fd: &Fd, mode: u32) -> OsResult<()> {
    done(libc::SYS_fchmod, [fd.0 as usize, mode as usize])
}

/// `fchown`.
pub fn set_owner(fd: &Fd, uid: u32, gid: u32) -> OsResult<()> {
    let args = [fd.0 as usize, uid as usize, gid as usize];
    done(raw::number::FCHOWN, args)
}

/// `chmod`: only for a path in a directory that only its owner can write to, for it follows links.
pub fn set_permissions_of(path: &Path, mode: u32) -> OsResult<()> {
    let args = [libc::AT_FDCWD as usize, path.addr(), mode as usize];
    done(libc::SYS_fchmodat, args)
}

/// Changes the permissions of whatever a descriptor opened with `O_PATH` stands for.
pub fn set_permissions_of_path_fd(fd: &Fd, mode: u32) -> OsResult<()> {
    set_permissions_of(&proc_self_fd(fd), mode)
}

/// `/proc/thread-self/fd/N` of a descriptor of ours. (`/proc/self` is the main thread, which may have ended.)
pub fn proc_self_fd(fd: &Fd) -> Path {
    let mut link = Path::from_bytes(b"/proc/thread-self/fd/").unwrap_or_default();
    let _ = link.push_decimal(fd.0 as u32);
    link
}

/// Sets one extended attribute of whatever an `O_PATH` descriptor stands for.
pub fn set_attribute_of_path_fd(fd: &Fd, name: &CStr, value: &[u8]) -> OsResult<()> {
    let (link, name) = (proc_self_fd(fd), name.as_ptr() as usize);
    let args = [link.addr(), name, value.as_ptr() as usize, value.len()];
    done(libc::SYS_setxattr, args)
}

/// Removes one extended attribute of whatever an `O_PATH` descriptor stands for.
pub fn remove_attribute_of_path_fd(fd: &Fd, name: &CStr) -> OsResult<()> {
    let link = proc_self_fd(fd);
    done(libc::SYS_removexattr, [link.addr(), name.as_ptr() as usize])
}

/// Whether something could be made in the directory `path`: not on a read-only file system.
pub fn is_writable(path: &Path) -> bool {
    let args = [libc::AT_FDCWD as usize, path.addr(), libc::W_OK as usize];
    done(libc::SYS_faccessat, args).is_ok()
}

/// Reads up to `out.len()` bytes at the descriptor's position. Returns how many came.
pub fn read(fd: &Fd, out: &mut [u8]) -> OsResult<usize> {
    let args = [fd.0 as usize, out.as_mut_ptr() as usize, out.len()];
    retry(libc::SYS_read, args)
}

/// All that a file of the kernel's says, such as those in `/proc`.
pub fn read_whole(path: &CStr) -> OsResult<PageVec<u8>> {
    const AT_ONCE: usize = 4096;
    let fd = open_at(libc::AT_FDCWD, path.as_ptr() as usize, ALWAYS, 0)?;
    let (mut text, mut len) = (PageVec::new(), 0);
    loop {
        text.resize(len + AT_ONCE, 0)?;
        let more = read(&fd, text.get_mut(len..).unwrap_or(&mut []))?;
        if more == 0 {
            text.resize(len, 0)?;
            return Ok(text);
        }
        len += more;
    }
}

/// The number that the digits, with blanks around them, stand for.
pub(super) fn parse<T: FromStr>(digits: &[u8]) -> Option<T> {
    core::str::from_utf8(digits.trim_ascii()).ok()?.parse().ok()
}

/// Writes `bytes` to the host's descriptor `number`, once; an error is ignored.
pub fn write_fd(number: i32, bytes: &[u8]) {
    let args = [number as usize, bytes.as_ptr() as usize, bytes.len()];
    // SAFETY: the buffer is live and as long as said.
    let _ = unsafe { raw::call(libc::SYS_write, args) };
}

/// [`retry`] for a call whose answer says nothing more.
#[inline(always)]
pub(super) fn done<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<()> {
    retry(number, args).map(|_| ())
}

/// Makes a call until no signal interrupts it.
#[inline(always)]
pub(super) fn retry<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<usize> {
    retry_six(number, raw::six(args))
}

fn retry_six(number: libc::c_long, args: [usize; 6]) -> OsResult<usize> {
    loop {
        // SAFETY: all callers, here, in `status.rs` and in `dir.rs`, pass live, NUL-terminated paths and live buffers as long
        // as said; the descriptors whose position is moved are ours.
        match unsafe { raw::call(number, args) } {
            Err(OsError(libc::EINTR)) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_however_long_it_is() {
        let mut path = std::env::temp_dir();
        path.push(format!("shmshim-whole-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        for len in [0, 1, 4095, 4096, 4097, 30_000] {
            let text: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &text).unwrap();
            let read = read_whole(&name);
            std::fs::remove_file(&path).unwrap();
            assert_eq!(read.as_deref(), Ok(&text[..]));
        }
        assert_eq!(read_whole(&name).err(), Some(OsError(libc::ENOENT)));
    }
}
