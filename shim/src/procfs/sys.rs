//! The system calls that the stand-ins need, without libc's cancellation points and without its `errno`.

use core::ffi::c_int;

use shmshim_core::os::path::Path;
use shmshim_core::os::{OsError, OsResult, file, raw};

/// The kernel's call with arguments that the functions below have checked.
fn call<const N: usize>(number: libc::c_long, args: [usize; N]) -> OsResult<usize> {
    // SAFETY: only the functions below call this. They pass numbers, and pointers taken from references that live
    // through the call, with the lengths that belong to them, or addresses that the kernel checks; `unmap`, what its
    // caller promises.
    unsafe { raw::call(number, args) }
}

/// Closes a descriptor.
pub fn close(fd: c_int) {
    let _ = call(libc::SYS_close, [fd as usize]);
}

/// Makes `fd` a new descriptor of its file, opened as `flags` say.
pub fn reopen(fd: c_int, flags: c_int) -> OsResult<()> {
    let (at, path) = (libc::AT_FDCWD as usize, path_of(fd));
    let opened = call(
        libc::SYS_openat,
        [at, path.as_bytes().as_ptr() as usize, flags as usize, 0],
    )?;
    let cloexec = flags & libc::O_CLOEXEC;
    let replaced = call(libc::SYS_dup3, [opened, fd as usize, cloexec as usize]);
    close(opened as c_int);
    replaced.map(drop)
}

/// Changes the permission bits.
pub fn set_permissions(fd: c_int, mode: u32) {
    let _ = call(libc::SYS_fchmod, [fd as usize, mode as usize]);
}

/// Writes all of `bytes` at the descriptor's position.
pub fn write_all(fd: c_int, mut bytes: &[u8]) -> OsResult<()> {
    while !bytes.is_empty() {
        match write(fd, bytes.as_ptr() as usize, bytes.len()) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(OsError(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes once, perhaps from the host's memory: the kernel checks the address.
pub fn write(fd: c_int, addr: usize, count: usize) -> OsResult<usize> {
    call(libc::SYS_write, [fd as usize, addr, count])
}

/// The descriptor's position.
pub fn position(fd: c_int) -> OsResult<usize> {
    call(libc::SYS_lseek, [fd as usize, 0, libc::SEEK_CUR as usize])
}

/// Goes back to the beginning.
pub fn rewind(fd: c_int) {
    let _ = call(libc::SYS_lseek, [fd as usize, 0, libc::SEEK_SET as usize]);
}

/// Which file it is: device and inode.
pub fn identity(fd: c_int) -> OsResult<(u64, u64)> {
    file::status_of_number(fd).map(|status| status.identity())
}

/// The path of a descriptor's file, in `out`; for `AT_FDCWD` that of the working directory. A longer one is cut off.
pub fn name_of(fd: c_int, out: &mut [u8]) -> Option<&[u8]> {
    let (at, path) = (libc::AT_FDCWD as usize, path_of(fd));
    let room = out.as_mut_ptr() as usize;
    let args = [at, path.as_bytes().as_ptr() as usize, room, out.len()];
    let len = call(libc::SYS_readlinkat, args).ok()?;
    out.get(..len)
}

/// The link to a descriptor's file. A NUL stands behind every `Path`.
fn path_of(fd: c_int) -> Path {
    let mut path = Path::new();
    // It fits.
    let _ = match fd {
        libc::AT_FDCWD => path.push(b"/proc/self/cwd"),
        _ => path
            .push(b"/proc/self/fd/")
            .and_then(|()| path.push_decimal(fd as u32)),
    };
    path
}

/// Bytes of a file that [`map`] maps.
const MAPPED_BYTES: usize = 4096;

/// Maps the beginning of a file, to be read only through [`shmshim_core::os::usermem`]: where the file is shorter,
/// there may be nothing.
pub fn map(fd: c_int) -> OsResult<usize> {
    let (prot, flags) = (libc::PROT_READ as usize, libc::MAP_SHARED as usize);
    let args = [0, MAPPED_BYTES, prot, flags, fd as usize];
    // A new mapping, at an address of the kernel's choice.
    call(raw::number::MMAP, args)
}

/// Ends a mapping.
///
/// # Safety
/// `addr` came from [`map`] and is used no more.
pub unsafe fn unmap(addr: usize) {
    let _ = call(libc::SYS_munmap, [addr, MAPPED_BYTES]);
}
