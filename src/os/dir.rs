//! Directories: their names are made, removed, exchanged and read. A caller that makes or removes names where others can, too, opens
//! the directory first, and says so by [`At`].

use super::file::{At, Fd, done, place, retry};
use super::path::{CAPACITY, Path};
use super::{OsError, OsResult};

/// `unlink`, in a directory.
pub fn unlink_in(dir: At<'_>, path: &Path) -> OsResult<()> {
    let (dir, name) = place(dir, path);
    done(libc::SYS_unlinkat, [dir as usize, name])
}

/// `rmdir`, in a directory.
pub fn remove_dir_in(dir: At<'_>, path: &Path) -> OsResult<()> {
    let (dir, name) = place(dir, path);
    let flags = libc::AT_REMOVEDIR as usize;
    done(libc::SYS_unlinkat, [dir as usize, name, flags])
}

/// `mkdir`, in a directory; the umask takes its bits.
pub fn make_dir_in(dir: At<'_>, path: &Path, mode: u32) -> OsResult<()> {
    let (dir, name) = place(dir, path);
    done(libc::SYS_mkdirat, [dir as usize, name, mode as usize])
}

/// `rename` in one directory that never replaces: `EEXIST` when `to` is there. File systems without that ability answer
/// `EINVAL`.
pub fn rename_new_in(dir: At<'_>, from: &Path, to: &Path) -> OsResult<()> {
    let ((dir, from), (_, to)) = (place(dir, from), place(dir, to));
    let (dir, flags) = (dir as usize, libc::RENAME_NOREPLACE as usize);
    done(libc::SYS_renameat2, [dir, from, dir, to, flags])
}

/// What the symbolic link at `path` says.
pub fn read_link(path: &Path) -> OsResult<Path> {
    let mut text = [0u8; CAPACITY];
    let out = text.as_mut_ptr() as usize;
    let args = [libc::AT_FDCWD as usize, path.addr(), out, text.len()];
    let len = retry(libc::SYS_readlinkat, args)?;
    // What fills the buffer may be longer.
    let text = text.get(..len).filter(|text| text.len() < CAPACITY);
    text.and_then(Path::from_bytes)
        .ok_or(OsError(libc::ENAMETOOLONG))
}

/// Calls `each` with every name in the open directory but `.` and `..`, until it answers `false`.
pub fn for_each_entry(dir: &Fd, mut each: impl FnMut(&[u8]) -> bool) -> OsResult<()> {
    #[repr(align(8))]
    struct Buffer([u8; 1024]);
    let mut buffer = Buffer([0; 1024]);
    loop {
        let out = buffer.0.as_mut_ptr() as usize;
        let args = [dir.number() as usize, out, buffer.0.len()];
        let filled = retry(libc::SYS_getdents64, args)?;
        if filled == 0 || !each_in(buffer.0.get(..filled).unwrap_or(&[]), &mut each) {
            return Ok(());
        }
    }
}

/// Calls `each` with the names in what getdents64 has filled in, until it answers `false`. Returns the last answer.
pub(crate) fn each_in(filled: &[u8], each: &mut impl FnMut(&[u8]) -> bool) -> bool {
    // struct linux_dirent64: u64 inode, i64 offset, u16 length of this entry, u8 type, name with NUL.
    let mut rest = filled;
    while let (Some(&[low, high]), Some(tail)) = (rest.get(16..18), rest.get(19..)) {
        let entry_len = usize::from(u16::from_ne_bytes([low, high]));
        let name = tail.split(|&byte| byte == 0).next().unwrap_or(&[]);
        if name != b"." && name != b".." && !each(name) {
            return false;
        }
        match rest.get(entry_len..) {
            Some(next) if entry_len > 0 => rest = next,
            _ => break,
        }
    }
    true
}

/// The current working directory, absolute.
pub fn working_directory() -> OsResult<Path> {
    let mut buffer = [0u8; CAPACITY];
    let args = [buffer.as_mut_ptr() as usize, buffer.len()];
    done(libc::SYS_getcwd, args)?;
    let text = buffer.split(|&byte| byte == 0).next().unwrap_or(&[]);
    // A directory out of our reach is told as "(unreachable)/…".
    if text.first() != Some(&b'/') {
        return Err(OsError(libc::ENOENT));
    }
    Path::from_bytes(text).ok_or(OsError(libc::ENAMETOOLONG))
}
