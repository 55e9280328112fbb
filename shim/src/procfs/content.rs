//! The memory file that stands in for one of the files, and its text.

use core::ffi::c_int;
use core::fmt::{self, Write};
use std::os::fd::IntoRawFd;

use memfd::MemfdOptions;
use shmshim_core::os::{OsResult, raw};
use shmshim_core::registry::{self, Outcome};
use shmshim_core::sysv::{self, msg, sem};

use super::name::File;
use super::sys;

/// A memory file, closed when dropped.
pub struct MemoryFile(c_int);

impl MemoryFile {
    /// The descriptor's number.
    pub fn fd(&self) -> c_int {
        self.0
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// Makes the file: empty, with the permission bits of the kernel's. The crate enters the kernel by itself, so that a filter
/// of the host's is asked first; all that follows goes by `sys`, for libc's `close`, which the crate would call, ends a
/// cancelled thread.
pub fn create(file: File, flags: c_int) -> Result<MemoryFile, c_int> {
    let cloexec = flags & libc::O_CLOEXEC != 0;
    let bits = if cloexec { libc::MFD_CLOEXEC } else { 0 };
    if raw::is_forbidden(libc::SYS_memfd_create, [0, bits as usize]) {
        return Err(libc::EPERM);
    }
    let memory = MemfdOptions::new()
        .close_on_exec(cloexec)
        .create(file.path().to_str().unwrap_or_default())
        .map(|memory| MemoryFile(memory.into_raw_fd()))
        .map_err(|error| match error {
            memfd::Error::Create(error) => error.raw_os_error().unwrap_or(libc::ENOMEM),
            _ => libc::ENOMEM,
        })?;
    // Only what `fstat` shows depends on it.
    sys::set_permissions(memory.fd(), file.mode());
    Ok(memory)
}

/// Writes the text of this moment into it.
#[inline(never)]
pub fn fill(memory: &MemoryFile, file: File) -> Result<(), c_int> {
    let mut text = Text::new(memory.fd());
    let written = match file {
        File::Segments => segments(&mut text),
        File::Sets => sets(&mut text),
        File::Queues => queues(&mut text),
        File::Limit(limit) => limit.write(&mut text),
    };
    written.map_err(|error| error.errno)?;
    text.end().map_err(|error| error.0)
}

// A failure to write is kept in the text.

fn segments(text: &mut Text) -> Outcome<()> {
    let _ = text.write_str(sysv::SHM_HEADER);
    registry::list(&mut |segment, rss_bytes, swap_bytes| {
        let _ = sysv::write_shm_line(text, segment, rss_bytes, swap_bytes);
    })
}

fn sets(text: &mut Text) -> Outcome<()> {
    let _ = text.write_str(sem::SEM_HEADER);
    registry::sem::sem_list(&mut |set| {
        let _ = sem::write_sem_line(text, set);
    })
}

fn queues(text: &mut Text) -> Outcome<()> {
    let _ = text.write_str(msg::MSG_HEADER);
    registry::msg::msg_list(&mut |queue| {
        let _ = msg::write_msg_line(text, queue);
    })
}

/// Hands the file out: a descriptor of the lowest number that is free, opened as `flags` say, at its beginning.
pub fn hand_out(memory: MemoryFile, flags: c_int) -> c_int {
    let fd = memory.fd();
    core::mem::forget(memory);
    let kept = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_CLOEXEC;
    if sys::reopen(fd, flags & kept).is_err() {
        // No descriptor left, or no /proc: the one that wrote the text.
        sys::rewind(fd);
    }
    fd
}

/// A few lines of the list: every write takes longer than making them, but small stacks are small.
const ROOM: usize = 512;

/// Text on its way into the file.
struct Text {
    fd: c_int,
    waiting: [u8; ROOM],
    len: usize,
    failed: OsResult<()>,
}

impl Text {
    fn new(fd: c_int) -> Text {
        Text {
            fd,
            waiting: [0; ROOM],
            len: 0,
            failed: Ok(()),
        }
    }

    fn put(&mut self, text: &[u8]) {
        for part in text.chunks(self.waiting.len()) {
            if self.waiting.len() - self.len < part.len() {
                self.flush();
            }
            if let Some(room) = self.waiting.get_mut(self.len..self.len + part.len()) {
                room.copy_from_slice(part);
                self.len += part.len();
            }
        }
    }

    fn flush(&mut self) {
        if self.failed.is_ok() {
            self.failed = sys::write_all(self.fd, self.waiting.get(..self.len).unwrap_or(&[]));
        }
        self.len = 0;
    }

    fn end(mut self) -> OsResult<()> {
        self.flush();
        self.failed
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmshim_core::os::OsError;
    use std::io::Read;
    use std::os::fd::FromRawFd;

    #[test]
    fn a_text_longer_than_the_buffer_arrives_whole() {
        let memory = create(File::Segments, libc::O_CLOEXEC).unwrap();
        let mut text = Text::new(memory.fd());
        let mut expected = String::new();
        for number in 0..5000 {
            write!(text, "{number} ").unwrap();
            write!(expected, "{number} ").unwrap();
        }
        text.put(&[b'x'; 10_000]);
        expected.push_str(&"x".repeat(10_000));
        text.end().unwrap();
        let mut got = String::new();
        // SAFETY: the descriptor is handed over.
        let mut file = unsafe { std::fs::File::from_raw_fd(hand_out(memory, libc::O_RDONLY)) };
        file.read_to_string(&mut got).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_text_that_cannot_be_written_fails() {
        let mut text = Text::new(-1);
        text.put(b"x");
        assert_eq!(text.end(), Err(OsError(libc::EBADF)));
    }
}
