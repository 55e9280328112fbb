//! Appending to a file whose path the user chose, perhaps in a directory that others write to.

use super::file::{ALWAYS, kind_of, open_at, status, write_fd};
use super::{OsError, process};
use core::ffi::CStr;
use core::fmt;

/// Why nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The kernel's answer.
    Os(OsError),
    /// Something else than a regular file.
    Kind(&'static str),
    /// Another user's file.
    Owner(u32),
    /// A second name of some file.
    Links(u64),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The file is opened without following a link.
            Refused::Os(OsError(libc::ELOOP)) => {
                out.write_str("it is a symbolic link; name the file itself")
            }
            Refused::Os(error) => write!(out, "it cannot be opened for appending ({error})"),
            Refused::Kind(kind) => write!(out, "it is {kind}; name a regular file, or stderr"),
            Refused::Owner(uid) => write!(
                out,
                "it belongs to uid {uid}, who chose it and could read it; name another file"
            ),
            Refused::Links(links) => write!(out, "the file has {links} names; name another file"),
        }
    }
}

/// Appends `bytes` to the file at `path` with one write, making the file (mode 0600) if need be. Refused is what another
/// user could have put there: a link, a second name of some file, a file of that user's; and what is no regular file, for a
/// fifo without a reader would hold the host up.
pub fn append_line(path: &CStr, bytes: &[u8]) -> Result<(), Refused> {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    let _blocked = super::signal_mask::Blocked::all();
    // A host that has no descriptor left wants to be told so, most of all.
    let refused = super::helper_process::with_descriptor(|| {
        let path = path.as_ptr() as usize;
        let fd = open_at(libc::AT_FDCWD, path, flags | ALWAYS, 0o600)?;
        let status = status(&fd)?;
        Ok(if !status.is_file() {
            Some(Refused::Kind(kind_of(status.mode)))
        } else if status.uid != 0 && status.uid != process::euid() {
            Some(Refused::Owner(status.uid))
        } else if status.links != 1 {
            Some(Refused::Links(status.links))
        } else {
            write_fd(fd.number(), bytes);
            None
        })
    });
    refused.map_err(Refused::Os)?.map_or(Ok(()), Err)
}
