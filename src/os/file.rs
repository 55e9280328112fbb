//! Files, directories and their locks.

use super::path::Path;
use super::{OsError, OsResult, raw};
use core::ffi::CStr;

/// An open descriptor of ours: closed when dropped, close-on-exec always.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
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

/// What `fstat` says of a file, as far as we ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits.
    pub mode: u32,
    /// Number of hard links.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub len_bytes: u64,
    /// Memory or disk that is really used, in bytes.
    pub allocated_bytes: u64,
}

impl Status {
    /// Which file it is, among all that are there: device and inode.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }

    /// Permission bits with set-uid, set-gid and sticky.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// What kind of file it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.mode & libc::S_IFMT {
            libc::S_IFREG => "a regular file",
            libc::S_IFDIR => "a directory",
            libc::S_IFLNK => "a symbolic link",
            libc::S_IFIFO => "a fifo",
            libc::S_IFSOCK => "a socket",
            libc::S_IFBLK => "a block device",
            libc::S_IFCHR => "a character device",
            _ => "something unknown",
        }
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

/// Opens `path` and follows links, for files of the system such as `/proc`.
pub fn open_following(path: &CStr, flags: i32) -> OsResult<Fd> {
    open_at(
        libc::AT_FDCWD,
        path.as_ptr() as usize,
        (flags | ALWAYS) & !libc::O_NOFOLLOW,
        0,
    )
}

pub(super) fn open_at(dir: i32, path: usize, flags: i32, mode: u32) -> OsResult<Fd> {
    loop {
        // SAFETY: the kernel only reads the path, and finds out itself how far it can.
        let answer = unsafe {
            raw::call(
                libc::SYS_openat,
                [dir as usize, path, flags as usize, mode as usize],
            )
        };
        match answer {
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
            Ok(number) => return Ok(Fd(number as i32)),
        }
    }
}

/// The length of an open file, in bytes. Takes half as long as `fstat`; of a file that has none (a pipe) it fails.
#[inline]
pub fn len_of(fd: &Fd) -> OsResult<u64> {
    #[cfg(target_pointer_width = "64")]
    {
        let args = [fd.0 as usize, 0, libc::SEEK_END as usize];
        // SAFETY: takes numbers; the position that it moves is that of a descriptor of ours.
        let end = unsafe { raw::call(libc::SYS_lseek, args) };
        end.map(|end| end as u64)
    }
    #[cfg(not(target_pointer_width = "64"))]
    status(fd).map(|status| status.len_bytes)
}

/// `fstat`.
pub fn status(fd: &Fd) -> OsResult<Status> {
    stat_with(fd.0, c"".as_ptr() as usize, libc::AT_EMPTY_PATH)
}

/// `fstat` of a descriptor of the host's.
pub fn status_of_number(number: i32) -> OsResult<Status> {
    stat_with(number, c"".as_ptr() as usize, libc::AT_EMPTY_PATH)
}

/// `lstat`: of the link itself where `path` is one.
pub fn status_of(path: &Path) -> OsResult<Status> {
    status_in(None, path)
}

/// [`status_of`], in a directory.
pub fn status_in(dir: At<'_>, path: &Path) -> OsResult<Status> {
    let (dir, name) = place(dir, path);
    stat_with(dir, name, libc::AT_SYMLINK_NOFOLLOW)
}

/// `stat`: of what a link of the system's leads to.
pub fn status_following(path: &CStr) -> OsResult<Status> {
    stat_with(libc::AT_FDCWD, path.as_ptr() as usize, 0)
}

#[cfg(target_pointer_width = "64")]
fn stat_with(dir: i32, path: usize, flags: i32) -> OsResult<Status> {
    let mut raw_stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is NUL-terminated and live, the buffer of the size that the call writes.
    unsafe {
        if flags == libc::AT_EMPTY_PATH {
            // fstat proper is a little cheaper than newfstatat with an empty path.
            raw::call(
                libc::SYS_fstat,
                [dir as usize, raw_stat.as_mut_ptr() as usize],
            )?;
        } else {
            raw::call(
                libc::SYS_newfstatat,
                [
                    dir as usize,
                    path,
                    raw_stat.as_mut_ptr() as usize,
                    flags as usize,
                ],
            )?;
        }
    }
    // SAFETY: zeroed at first and filled by the kernel.
    let raw_stat = unsafe { raw_stat.assume_init() };
    Ok(Status {
        device: raw_stat.st_dev,
        inode: raw_stat.st_ino,
        mode: raw_stat.st_mode,
        links: links(&raw_stat),
        uid: raw_stat.st_uid,
        gid: raw_stat.st_gid,
        len_bytes: raw_stat.st_size as u64,
        allocated_bytes: (raw_stat.st_blocks as u64).saturating_mul(512),
    })
}

#[cfg(not(target_pointer_width = "64"))]
fn stat_with(dir: i32, path: usize, flags: i32) -> OsResult<Status> {
    let mut raw_stat = core::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is NUL-terminated and live, the buffer of the size that the call writes.
    unsafe {
        raw::call(
            libc::SYS_statx,
            [
                dir as usize,
                path,
                flags as usize,
                libc::STATX_BASIC_STATS as usize,
                raw_stat.as_mut_ptr() as usize,
            ],
        )?;
    }
    // SAFETY: zeroed at first and filled by the kernel.
    let raw_stat = unsafe { raw_stat.assume_init() };
    Ok(Status {
        device: u64::from(raw_stat.stx_dev_major) << 32 | u64::from(raw_stat.stx_dev_minor),
        inode: raw_stat.stx_ino,
        mode: u32::from(raw_stat.stx_mode),
        links: u64::from(raw_stat.stx_nlink),
        uid: raw_stat.stx_uid,
        gid: raw_stat.stx_gid,
        len_bytes: raw_stat.stx_size,
        allocated_bytes: raw_stat.stx_blocks.saturating_mul(512),
    })
}

/// The count of hard links, whose width differs between machines.
#[cfg(target_pointer_width = "64")]
#[allow(clippy::useless_conversion, reason = "32 bits wide on AArch64")]
fn links(raw_stat: &libc::stat) -> u64 {
    u64::from(raw_stat.st_nlink)
}

/// How a lock is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    /// `LOCK_SH`, at once or not at all.
    TryShared,
    /// `LOCK_EX`, at once or not at all.
    TryExclusive,
}

/// `flock`. `Ok(false)`: somebody else holds it.
pub fn lock(fd: &Fd, how: Lock) -> OsResult<bool> {
    let operation = match how {
        Lock::TryShared => libc::LOCK_SH | libc::LOCK_NB,
        Lock::TryExclusive => libc::LOCK_EX | libc::LOCK_NB,
    };
    loop {
        // SAFETY: no memory is involved.
        match unsafe { raw::call(libc::SYS_flock, [fd.0 as usize, operation as usize]) } {
            Ok(_) => return Ok(true),
            Err(OsError(libc::EWOULDBLOCK)) => return Ok(false),
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// `ftruncate`.
pub fn set_len(fd: &Fd, len_bytes: u64) -> OsResult<()> {
    retry(libc::SYS_ftruncate, [fd.0 as usize, len_bytes as usize])
}

/// `mknod` of an empty regular file; the umask takes its bits. `EEXIST`: something is there.
pub fn make_file(path: &Path, mode: u32) -> OsResult<()> {
    retry(
        libc::SYS_mknodat,
        [
            libc::AT_FDCWD as usize,
            path.addr(),
            (libc::S_IFREG | mode) as usize,
        ],
    )
}

/// `truncate`: only for a path in a directory that nobody else can write to, for it follows links.
#[cfg(target_pointer_width = "64")]
pub fn set_len_of(path: &Path, len_bytes: u64) -> OsResult<()> {
    retry(libc::SYS_truncate, [path.addr(), len_bytes as usize])
}

/// `truncate`: only for a path in a directory that nobody else can write to, for it follows links.
#[cfg(not(target_pointer_width = "64"))]
pub fn set_len_of(path: &Path, len_bytes: u64) -> OsResult<()> {
    set_len(&open(path, libc::O_RDWR, 0)?, len_bytes)
}

/// `fallocate`: afterwards the range can be written without the file system running out of room.
#[cfg(target_pointer_width = "64")]
pub fn allocate(fd: &Fd, offset: u64, len_bytes: u64) -> OsResult<()> {
    retry(
        libc::SYS_fallocate,
        [fd.0 as usize, 0, offset as usize, len_bytes as usize],
    )
}

/// `fallocate`: afterwards the range can be written without the file system running out of room.
#[cfg(not(target_pointer_width = "64"))]
pub fn allocate(fd: &Fd, offset: u64, len_bytes: u64) -> OsResult<()> {
    retry(
        libc::SYS_fallocate,
        [fd.0 as usize, 0, offset as usize, 0, len_bytes as usize],
    )
}

/// [`allocate`], also on a file system that cannot do that: there zeros are written, but not over the first `used` bytes,
/// which were written before.
pub fn allocate_behind(fd: &Fd, offset: u64, used: u64, len_bytes: u64) -> OsResult<()> {
    match allocate(fd, offset, len_bytes) {
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
    // SAFETY: takes numbers; the position that it moves is that of a descriptor of ours.
    unsafe { raw::call(libc::SYS_lseek, start)? };
    let mut left = len_bytes;
    while left > 0 {
        let count = left.min(ZEROS.len() as u64) as usize;
        let args = [fd.0 as usize, ZEROS.as_ptr() as usize, count];
        // SAFETY: the bytes are a constant, and as many as said.
        match unsafe { raw::call(libc::SYS_write, args) } {
            Ok(written) => left = left.saturating_sub(written as u64),
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `fchmod`.
pub fn set_permissions(fd: &Fd, mode: u32) -> OsResult<()> {
    retry(libc::SYS_fchmod, [fd.0 as usize, mode as usize])
}

/// Changes the permissions of whatever a descriptor opened with `O_PATH` stands for.
pub fn set_permissions_of_path_fd(fd: &Fd, mode: u32) -> OsResult<()> {
    let link = proc_self_fd(fd);
    retry(
        libc::SYS_fchmodat,
        [libc::AT_FDCWD as usize, link.addr(), mode as usize],
    )
}

/// `/proc/thread-self/fd/N` of a descriptor of ours. (`/proc/self` is the main thread, which may have ended.)
pub fn proc_self_fd(fd: &Fd) -> Path {
    let mut link = Path::from_bytes(b"/proc/thread-self/fd/").unwrap_or_default();
    let _ = link.push_decimal(fd.0 as u32);
    link
}

/// Sets one extended attribute of whatever an `O_PATH` descriptor stands for.
pub fn set_attribute_of_path_fd(fd: &Fd, name: &CStr, value: &[u8]) -> OsResult<()> {
    let link = proc_self_fd(fd);
    retry(
        libc::SYS_setxattr,
        [
            link.addr(),
            name.as_ptr() as usize,
            value.as_ptr() as usize,
            value.len(),
        ],
    )
}

/// Removes one extended attribute of whatever an `O_PATH` descriptor stands for.
pub fn remove_attribute_of_path_fd(fd: &Fd, name: &CStr) -> OsResult<()> {
    let link = proc_self_fd(fd);
    retry(libc::SYS_removexattr, [link.addr(), name.as_ptr() as usize])
}

/// Whether something could be made in the directory `path`: not on a read-only file system.
pub fn is_writable(path: &Path) -> bool {
    retry(
        libc::SYS_faccessat,
        [libc::AT_FDCWD as usize, path.addr(), libc::W_OK as usize],
    )
    .is_ok()
}

/// A file system, as far as `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// The magic number of its type.
    pub magic: u64,
    /// What it can hold in all, in bytes; 0 where it has no bound of its own.
    pub total_bytes: u64,
    /// What an ordinary user could still store, in bytes.
    pub available_bytes: u64,
}

/// `statfs`.
#[cfg(target_pointer_width = "64")]
pub fn file_system_of(path: &Path) -> OsResult<FileSystem> {
    let mut answer = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    retry(
        libc::SYS_statfs,
        [path.addr(), answer.as_mut_ptr() as usize],
    )?;
    // SAFETY: zeroed at first and filled by the kernel.
    let answer = unsafe { answer.assume_init() };
    let block = answer.f_bsize as u64;
    Ok(FileSystem {
        magic: answer.f_type as u64,
        total_bytes: answer.f_blocks.saturating_mul(block),
        available_bytes: answer.f_bavail.saturating_mul(block),
    })
}

/// `statfs`.
#[cfg(not(target_pointer_width = "64"))]
pub fn file_system_of(path: &Path) -> OsResult<FileSystem> {
    let mut answer = core::mem::MaybeUninit::<libc::statfs64>::zeroed();
    retry(
        libc::SYS_statfs64,
        [
            path.addr(),
            size_of::<libc::statfs64>(),
            answer.as_mut_ptr() as usize,
        ],
    )?;
    // SAFETY: zeroed at first and filled by the kernel.
    let answer = unsafe { answer.assume_init() };
    let block = answer.f_bsize as u64;
    Ok(FileSystem {
        magic: answer.f_type as u64,
        total_bytes: (answer.f_blocks as u64).saturating_mul(block),
        available_bytes: (answer.f_bavail as u64).saturating_mul(block),
    })
}

/// Reads up to `out.len()` bytes at the descriptor's position. Returns how many came.
pub fn read(fd: &Fd, out: &mut [u8]) -> OsResult<usize> {
    loop {
        // SAFETY: the buffer is live and as long as said.
        match unsafe {
            raw::call(
                libc::SYS_read,
                [fd.0 as usize, out.as_mut_ptr() as usize, out.len()],
            )
        } {
            Err(OsError(libc::EINTR)) => {}
            answer => return answer,
        }
    }
}

/// Writes `bytes` to the host's descriptor `number`, once; whatever goes wrong is nobody's business.
pub fn write_fd(number: i32, bytes: &[u8]) {
    // SAFETY: the buffer is live and as long as said.
    let _ = unsafe {
        raw::call(
            libc::SYS_write,
            [number as usize, bytes.as_ptr() as usize, bytes.len()],
        )
    };
}

#[inline]
pub(super) fn retry<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<()> {
    loop {
        // SAFETY: every caller, here and in `dir.rs`, passes live, NUL-terminated paths and live buffers of the right size.
        match unsafe { raw::call(number, args) } {
            Ok(_) => return Ok(()),
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}
