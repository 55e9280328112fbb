//! What the kernel says of a file (`stat`) and of the file system that it lies on (`statfs`).

use super::OsResult;
use super::file::{At, Fd, done, place};
use super::path::Path;
use core::ffi::CStr;

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
}

/// What kind of file has this mode, in words.
pub fn kind_of(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
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

/// `fstat`.
pub fn status(fd: &Fd) -> OsResult<Status> {
    stat_with(fd.number(), c"".as_ptr() as usize, libc::AT_EMPTY_PATH)
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
#[allow(clippy::useless_conversion, reason = "32 bits wide on AArch64")]
fn stat_with(dir: i32, path: usize, flags: i32) -> OsResult<Status> {
    let mut raw_stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    let (dir, out) = (dir as usize, raw_stat.as_mut_ptr() as usize);
    if flags == libc::AT_EMPTY_PATH {
        // fstat proper is a little cheaper than newfstatat with an empty path.
        done(libc::SYS_fstat, [dir, out])?;
    } else {
        done(libc::SYS_newfstatat, [dir, path, out, flags as usize])?;
    }
    // SAFETY: zeroed at first and filled by the kernel.
    let raw_stat = unsafe { raw_stat.assume_init() };
    Ok(Status {
        device: raw_stat.st_dev,
        inode: raw_stat.st_ino,
        mode: raw_stat.st_mode,
        links: u64::from(raw_stat.st_nlink),
        uid: raw_stat.st_uid,
        gid: raw_stat.st_gid,
        len_bytes: raw_stat.st_size as u64,
        allocated_bytes: (raw_stat.st_blocks as u64).saturating_mul(512),
    })
}

#[cfg(not(target_pointer_width = "64"))]
fn stat_with(dir: i32, path: usize, flags: i32) -> OsResult<Status> {
    let mut raw_stat = core::mem::MaybeUninit::<libc::statx>::zeroed();
    let (dir, out) = (dir as usize, raw_stat.as_mut_ptr() as usize);
    let (flags, wanted) = (flags as usize, libc::STATX_BASIC_STATS as usize);
    done(libc::SYS_statx, [dir, path, flags, wanted, out])?;
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
pub fn file_system_of(path: &Path) -> OsResult<FileSystem> {
    #[cfg(target_pointer_width = "64")]
    let mut answer = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    #[cfg(target_pointer_width = "64")]
    done(
        libc::SYS_statfs,
        [path.addr(), answer.as_mut_ptr() as usize],
    )?;
    #[cfg(target_pointer_width = "32")]
    let mut answer = core::mem::MaybeUninit::<libc::statfs64>::zeroed();
    #[cfg(target_pointer_width = "32")]
    done(
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
        // A number of 32 bits, whose sign means nothing.
        magic: u64::from(answer.f_type as u32),
        total_bytes: answer.f_blocks.saturating_mul(block),
        available_bytes: answer.f_bavail.saturating_mul(block),
    })
}
