//! The kernel's own System V segments, to be read: `--kernel`.
//!
//! The list is asked of the kernel directly, as the library's own files are, and not by libc: this command may itself run
//! under the library, which would answer with its own. Who has a segment attached the kernel tells nobody, but each
//! process's maps do: a segment is a file on device 00:01 there whose inode is the id.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::sys::stat::makedev;
use shmshim_core::os::kernel_shm::KernelAttach;
use shmshim_core::os::{OsError, file};
use shmshim_core::sysv::{Key, LimitName, Limits, Segment, ShmId};

use crate::error::{Error, Outcome};
use crate::process::Mapping;

/// A segment of the kernel's, with its resident and its swapped bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// What IPC_STAT tells.
    pub stat: Segment,
    /// Bytes that are in memory.
    pub resident: u64,
    /// Bytes that are swapped out.
    pub swapped: u64,
}

/// All segments of this IPC namespace of the kernel's.
pub fn segments() -> Outcome<Vec<Listed>> {
    let text = file::read_whole(c"/proc/sysvipc/shm").map_err(|error| match error {
        OsError(libc::ENOENT) => Error::absent(
            "this kernel has no System V shared memory, or /proc is not mounted: there is no /proc/sysvipc/shm",
        ),
        error => Error::refused(format!("/proc/sysvipc/shm cannot be read: {error}")),
    })?;
    let lines = String::from_utf8_lossy(&text).into_owned();
    lines
        .lines()
        .skip(1)
        .map(|line| {
            parse(line).ok_or_else(|| {
                Error::refused(format!(
                    "/proc/sysvipc/shm has a line that this version does not understand: {line}"
                ))
            })
        })
        .collect()
}

/// The kernel's limits; what it does not tell stands at its default.
pub fn limits() -> Limits {
    let mut limits = Limits::KERNEL_DEFAULTS;
    for name in LimitName::ALL {
        let path = format!("/proc/sys/kernel/{}", name.file_name());
        if let Some(text) = CString::new(path)
            .ok()
            .and_then(|path| file::read_whole(&path).ok())
        {
            let _ = limits.parse_and_set(name, &text);
        }
    }
    limits
}

/// A line of `/proc/sysvipc/shm`. Older kernels have no last two columns.
fn parse(line: &str) -> Option<Listed> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let signed = |at: usize| fields.get(at)?.parse::<i64>().ok();
    let unsigned = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let word = |at: usize| fields.get(at)?.parse::<u32>().ok();
    let number = |at: usize| fields.get(at)?.parse::<i32>().ok();
    Some(Listed {
        stat: Segment {
            key: Key(number(0)?),
            id: ShmId::from_raw(number(1)?).ok()?,
            mode: u32::from_str_radix(fields.get(2)?, 8).ok()?,
            segsz: unsigned(3)?,
            cpid: number(4)?,
            lpid: number(5)?,
            nattch: unsigned(6)?,
            uid: word(7)?,
            gid: word(8)?,
            cuid: word(9)?,
            cgid: word(10)?,
            atime: signed(11)?,
            dtime: signed(12)?,
            ctime: signed(13)?,
        },
        resident: unsigned(14).unwrap_or(0),
        swapped: unsigned(15).unwrap_or(0),
    })
}

/// The id of the kernel's segment that is mapped there, if one is.
pub fn mapped_segment(mapping: &Mapping) -> Option<i32> {
    let (device, inode) = mapping.file;
    let is_one = device == makedev(0, 1) && mapping.path.starts_with(b"/SYSV");
    is_one.then(|| i32::try_from(inode).ok())?
}

/// A segment's bytes: where they are attached in this process, whose memory is read as a file.
pub struct Bytes {
    /// This process's memory.
    pub memory: File,
    /// Held as long as the bytes are read.
    pub attach: KernelAttach,
}

impl Bytes {
    /// Hands out what is not zeros in the first `len` bytes, page by page, with the offset of each.
    pub fn copy(
        &self,
        len: u64,
        write: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        const PAGE: usize = 4096;
        let mut chunk = vec![0; 256 * PAGE];
        let mut at = 0;
        while at < len {
            let most = usize::try_from(len - at).map_or(chunk.len(), |len| len.min(chunk.len()));
            let bytes = chunk.get_mut(..most).unwrap_or(&mut []);
            self.memory
                .read_exact_at(bytes, self.attach.address() + at)?;
            let mut offset = at;
            for page in bytes.chunks(PAGE) {
                if page.iter().any(|byte| *byte != 0) {
                    write(page, offset)?;
                }
                offset += page.len() as u64;
            }
            at += most as u64;
        }
        Ok(())
    }
}

/// Attaches a segment to read its bytes.
pub fn bytes(id: ShmId) -> Outcome<Bytes> {
    let attach = KernelAttach::to_read(id.raw()).map_err(|error| match error {
        OsError(libc::EACCES) => Error::refused(format!(
            "the kernel's segment {id} may not be read by this user; ask its owner for the right, or do it as root"
        )),
        OsError(libc::EINVAL | libc::EIDRM) => {
            Error::absent(format!("the kernel's segment {id} was removed meanwhile"))
        }
        error => Error::refused(format!(
            "the kernel's segment {id} cannot be attached: {error}"
        )),
    })?;
    let memory = File::open("/proc/self/mem")
        .map_err(|error| Error::refused(format!("/proc/self/mem cannot be opened: {error}")))?;
    Ok(Bytes { memory, attach })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_list_is_read() {
        let line = "1583640577      98305  1600                  4096  1234    77      2 100000     0 100000     0 1700000001          0 1700000000                  8192                     0";
        let listed = parse(line).unwrap();
        assert_eq!(listed.stat.key, Key(1_583_640_577));
        assert_eq!(listed.stat.id.raw(), 98305);
        assert!(listed.stat.is_marked());
        assert_eq!((listed.stat.uid, listed.stat.nattch), (100_000, 2));
        assert_eq!((listed.resident, listed.stat.dtime), (8192, 0));
        assert_eq!(parse("1 2 3"), None);
    }
}
