//! The system calls that the stand-ins need, without libc's cancellation points and without its `errno`.

use core::ffi::{CStr, c_int};
use core::fmt;

use shmshim_core::os::{OsError, OsResult, file, raw};

/// The kernel's call with arguments that the functions below have checked.
fn call<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<usize> {
    // SAFETY: only the functions below call this. They pass numbers, and pointers taken from references that live
    // through the call, with the lengths that belong to them.
    unsafe { raw::call(number, args) }
}

/// Opens a file, following links.
pub fn open(path: &CStr, flags: c_int) -> OsResult<c_int> {
    let at = libc::AT_FDCWD as usize;
    let fd = call(
        libc::SYS_openat,
        [at, path.as_ptr() as usize, flags as usize, 0],
    )?;
    Ok(fd as c_int)
}

/// Closes a descriptor.
pub fn close(fd: c_int) {
    let _ = call(libc::SYS_close, [fd as usize]);
}

/// Makes `fd` stand for what `other` stands for.
pub fn replace(fd: c_int, other: c_int, flags: c_int) -> OsResult<()> {
    call(
        libc::SYS_dup3,
        [other as usize, fd as usize, flags as usize, 0],
    )
    .map(drop)
}

/// Lets a descriptor survive an exec.
pub fn keep_over_exec(fd: c_int) {
    let _ = call(libc::SYS_fcntl, [fd as usize, libc::F_SETFD as usize, 0]);
}

/// Changes the permission bits.
pub fn set_permissions(fd: c_int, mode: u32) -> OsResult<()> {
    call(libc::SYS_fchmod, [fd as usize, mode as usize]).map(drop)
}

/// Writes all of `bytes` at the descriptor's position.
pub fn write_all(fd: c_int, mut bytes: &[u8]) -> OsResult<()> {
    while !bytes.is_empty() {
        let args = [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0];
        match call(libc::SYS_write, args) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes from the host's memory, as the host asked. The kernel checks the address.
pub fn write_hosts(fd: c_int, addr: usize, count: usize) -> OsResult<usize> {
    call(libc::SYS_write, [fd as usize, addr, count])
}

/// The descriptor's position.
pub fn position(fd: c_int) -> OsResult<usize> {
    call(libc::SYS_lseek, [fd as usize, 0, libc::SEEK_CUR as usize])
}

/// Sets the descriptor's position.
pub fn seek(fd: c_int, position: usize) {
    let _ = call(
        libc::SYS_lseek,
        [fd as usize, position, libc::SEEK_SET as usize],
    );
}

/// Cuts the file off behind its first `len` bytes.
pub fn truncate(fd: c_int, len: usize) {
    let _ = call(libc::SYS_ftruncate, [fd as usize, len]);
}

/// Seals a memory file, so that nothing of it can be changed any more.
pub fn seal(fd: c_int) {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    let args = [fd as usize, libc::F_ADD_SEALS as usize, seals as usize];
    let _ = call(libc::SYS_fcntl, args);
}

/// Which file it is: device and inode.
pub fn identity(fd: c_int) -> OsResult<(u64, u64)> {
    file::status_of_number(fd).map(|status| status.identity())
}

/// Where a symbolic link leads, in `out`. A longer answer is cut off.
pub fn read_link<'a>(path: &CStr, out: &'a mut [u8]) -> OsResult<&'a [u8]> {
    let at = libc::AT_FDCWD as usize;
    let args = [
        at,
        path.as_ptr() as usize,
        out.as_mut_ptr() as usize,
        out.len(),
    ];
    let len = call(libc::SYS_readlinkat, args)?;
    out.get(..len).ok_or(OsError(libc::EIO))
}

/// Bytes of a file that [`map`] maps.
pub const MAPPED_BYTES: usize = 4096;

/// Maps the beginning of a file, to be read only through [`shmshim_core::os::usermem`]: where the file is shorter,
/// there may be nothing.
pub fn map(fd: c_int) -> OsResult<usize> {
    let (prot, flags) = (libc::PROT_READ as usize, libc::MAP_SHARED as usize);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    unsafe {
        raw::call(
            raw::number::MMAP,
            [0, MAPPED_BYTES, prot, flags, fd as usize],
        )
    }
}

/// Ends a mapping.
///
/// # Safety
/// `addr` came from [`map`] and is used no more.
pub unsafe fn unmap(addr: usize) {
    // SAFETY: the caller's promise.
    let _ = unsafe { raw::call(libc::SYS_munmap, [addr, MAPPED_BYTES]) };
}

/// A short text made on the stack, NUL-terminated: a path, or a number.
pub struct Short {
    bytes: [u8; 40],
    len: usize,
}

impl Short {
    /// The text of `what`; nothing at all when it does not fit.
    pub fn of(what: fmt::Arguments<'_>) -> Short {
        let mut short = Short::new();
        if fmt::write(&mut short, what).is_err() {
            return Short::new();
        }
        short
    }

    /// No text.
    pub fn new() -> Short {
        Short {
            bytes: [0; 40],
            len: 0,
        }
    }

    /// As a path.
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        // The last byte stays NUL.
        if end >= self.bytes.len() {
            return Err(fmt::Error);
        }
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
