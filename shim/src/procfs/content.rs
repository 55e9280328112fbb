//! The memory file that stands in for one of the files, and its text.

use core::ffi::c_int;
use core::fmt::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};

use memfd::{FileSeal, Memfd, MemfdOptions};
use shmshim_core::os::OsResult;
use shmshim_core::registry::{self, Outcome};
use shmshim_core::sysv::{self, LimitName};

use super::name::File;
use super::sys::{self, Short};

/// Makes the file: empty, close-on-exec, with the permission bits of the kernel's.
pub fn create(file: File) -> Result<Memfd, c_int> {
    let (name, mode) = match file {
        File::Segments => ("shmshim-proc-shm", 0o444),
        File::Limit(LimitName::Shmmax) => ("shmshim-proc-shmmax", 0o644),
        File::Limit(LimitName::Shmall) => ("shmshim-proc-shmall", 0o644),
        File::Limit(LimitName::Shmmni) => ("shmshim-proc-shmmni", 0o644),
        File::Limit(LimitName::ShmRmidForced) => ("shmshim-proc-shm_rmid_forced", 0o644),
    };
    let memfd = MemfdOptions::new()
        .allow_sealing(true)
        .close_on_exec(true)
        .create(name)
        .map_err(|error| match error {
            memfd::Error::Create(error) => error.raw_os_error().unwrap_or(libc::ENOMEM),
            _ => libc::ENOMEM,
        })?;
    // Only what `fstat` shows depends on it.
    let _ = sys::set_permissions(memfd.as_raw_fd(), mode);
    Ok(memfd)
}

/// Writes the text of this moment into it.
pub fn fill(memfd: &Memfd, file: File) -> Result<(), c_int> {
    let mut text = Text::new(memfd.as_raw_fd());
    let outcome = match file {
        File::Segments => segments(&mut text),
        File::Limit(name) => limit(name).map(|value| text.put(value.bytes())),
    };
    outcome.map_err(|failure| failure.errno)?;
    text.end().map_err(|error| error.0)
}

fn segments(text: &mut Text) -> Outcome<()> {
    // A failure to write is kept in `text`, here and below.
    let _ = text.write_str(sysv::SHM_HEADER);
    registry::list(&mut |segment, rss_bytes, swap_bytes| {
        let _ = sysv::write_shm_line(text, segment, rss_bytes, swap_bytes);
    })
}

/// The text of a limit: its value and a newline.
pub fn limit(name: LimitName) -> Outcome<Short> {
    let (limits, _) = registry::limits()?;
    let mut value = Short::new();
    // Twenty digits fit.
    let _ = limits.write_value(name, &mut value);
    Ok(value)
}

/// Hands the file out: a descriptor of the lowest number that is free, opened as `flags` say, at its beginning.
/// One that cannot be written has been sealed, so that it cannot be opened for writing through `/proc` either.
pub fn hand_out(memfd: Memfd, flags: c_int, writable: bool) -> c_int {
    if !writable {
        // Without it the text could be changed, which harms nobody but the host.
        let _ = memfd.add_seals(&[
            FileSeal::SealShrink,
            FileSeal::SealGrow,
            FileSeal::SealWrite,
            FileSeal::SealSeal,
        ]);
    }
    let fd = memfd.into_raw_fd();
    let cloexec = flags & libc::O_CLOEXEC;
    let kept = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let path = Short::of(format_args!("/proc/self/fd/{fd}"));
    // The new description takes the old one's number.
    let reopened = sys::open(path.path(), flags & kept).and_then(|opened| {
        let replaced = sys::replace(fd, opened, cloexec);
        sys::close(opened);
        replaced
    });
    if reopened.is_err() {
        // No descriptor left, or no /proc, or sealed and asked for to be written: the one that wrote the text.
        sys::seek(fd, 0);
        if cloexec == 0 {
            sys::keep_over_exec(fd);
        }
    }
    fd
}

/// Text on its way into the file.
struct Text {
    fd: c_int,
    waiting: [u8; 1024],
    len: usize,
    failed: OsResult<()>,
}

impl Text {
    fn new(fd: c_int) -> Text {
        Text {
            fd,
            waiting: [0; 1024],
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
    use std::io::{Read, Seek};

    #[test]
    fn a_text_longer_than_the_buffer_arrives_whole() {
        let memfd = MemfdOptions::new().create("test").unwrap();
        let mut text = Text::new(memfd.as_raw_fd());
        let mut expected = String::new();
        for number in 0..5000 {
            write!(text, "{number} ").unwrap();
            write!(expected, "{number} ").unwrap();
        }
        text.put(&[b'x'; 10_000]);
        expected.push_str(&"x".repeat(10_000));
        text.end().unwrap();
        let mut got = String::new();
        memfd.as_file().rewind().unwrap();
        memfd.as_file().read_to_string(&mut got).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_text_that_cannot_be_written_fails() {
        let mut text = Text::new(-1);
        text.put(b"x");
        assert_eq!(text.end(), Err(OsError(libc::EBADF)));
    }
}
