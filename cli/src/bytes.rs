//! The bytes of a segment or of a file, read a piece at a time while others may write them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use nix::unistd::{Whence, lseek};
use shmshim_core::os::kernel_shm::KernelAttach;

use crate::error::{Error, Outcome};
use crate::kernel;
use crate::output;

/// Bytes that can be read from any place.
pub struct Bytes {
    file: File,
    /// Where they begin in it.
    start: u64,
    len: u64,
    /// Held as long as they are read.
    _attach: Option<KernelAttach>,
}

impl Bytes {
    /// Those of a file.
    pub fn of_file(file: File, len: u64) -> Bytes {
        Bytes {
            file,
            start: 0,
            len,
            _attach: None,
        }
    }

    /// Those of a segment of the kernel's.
    pub fn of_kernel(bytes: kernel::Bytes, len: u64) -> Bytes {
        Bytes {
            start: bytes.attach.address(),
            file: bytes.memory,
            len,
            _attach: Some(bytes.attach),
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `out` with the bytes from `offset` on. What stands behind the end is an error.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Outcome<()> {
        let read = self.file.read_exact_at(out, self.start + offset);
        read.map_err(|error| {
            Error::refused(match error.kind() {
                ErrorKind::UnexpectedEof => {
                    format!("the bytes behind {offset:#x} are gone: it was truncated meanwhile")
                }
                _ => format!("the bytes at {offset:#x} cannot be read: {error}"),
            })
        })
    }

    /// The next place at or behind `offset` where there may be anything but zeros. Everywhere, where the file system does not
    /// tell; the end, where nothing follows.
    pub fn next_data(&self, offset: u64) -> u64 {
        let Ok(from) = i64::try_from(offset) else {
            return offset;
        };
        if self._attach.is_some() {
            return offset;
        }
        match lseek(&self.file, from, Whence::SeekData) {
            Ok(found) => (found as u64).clamp(offset, self.len.max(offset)),
            // Nothing but a hole follows.
            Err(nix::errno::Errno::ENXIO) => self.len.max(offset),
            Err(_) => offset,
        }
    }
}

/// Which bytes are meant: `A..B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: u64,
    to: Option<u64>,
}

impl Range {
    /// All of them.
    pub const ALL: Range = Range { from: 0, to: None };

    /// The part of `len` bytes that is meant: where it begins, and where it ends.
    pub fn within(self, len: u64) -> (u64, u64) {
        let end = self.to.unwrap_or(len).min(len);
        (self.from.min(end), end)
    }
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let wrong = || format!("write {text:?} as A..B, A.. or ..B, in bytes, decimal or with 0x");
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let number = |digits: &str| offset(digits).ok_or_else(wrong);
        let from = if from.is_empty() { 0 } else { number(from)? };
        let to = match to {
            "" => None,
            to => Some(number(to)?),
        };
        match to {
            Some(to) if to < from => Err(format!("{text:?} ends before it begins")),
            _ => Ok(Range { from, to }),
        }
    }
}

/// A number of bytes, decimal or with 0x.
pub fn offset(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

/// Calls `each` with all bytes of a part, a piece at a time; the second number says how many zeros stand in its place where
/// nothing was ever written.
pub fn for_each_piece(
    bytes: &Bytes,
    (from, to): (u64, u64),
    each: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> Outcome<bool> {
    let mut buffer = vec![0; PIECE];
    let mut at = from;
    while at < to {
        let data = bytes.next_data(at).min(to);
        let piece = if data > at {
            Piece::Zeros(data - at)
        } else {
            let len = (to - at).min(PIECE as u64) as usize;
            let piece = buffer.get_mut(..len).unwrap_or_default();
            bytes.read(at, piece)?;
            Piece::Bytes(piece)
        };
        at += piece.len();
        if !output::written(each(piece))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How much is read at once.
const PIECE: usize = 1 << 18;

/// A piece of a segment.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'b> {
    /// Bytes.
    Bytes(&'b [u8]),
    /// So many zeros.
    Zeros(u64),
}

impl Piece<'_> {
    fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Zeros(len) => *len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn ranges_are_two_numbers_with_dots_between() {
        let within = |text: &str| text.parse::<Range>().map(|range| range.within(100));
        assert_eq!(within("10..20"), Ok((10, 20)));
        assert_eq!(within("0x10.."), Ok((16, 100)));
        assert_eq!(within("..0x10"), Ok((0, 16)));
        assert_eq!(within(".."), Ok((0, 100)));
        assert_eq!(within("90..1000"), Ok((90, 100)));
        assert_eq!(within("200..300"), Ok((100, 100)));
        for wrong in ["", "5", "20..10", "a..b", "-1..5", "+1..5", "0x+1..5"] {
            assert!(within(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Range::ALL.within(7), (0, 7));
    }

    #[test]
    fn holes_are_not_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(8 << 30).unwrap();
        file.write_all(b"begin").unwrap();
        file.write_all_at(b"end", (8 << 30) - 3).unwrap();
        let bytes = Bytes::of_file(file, 8 << 30);
        let (mut read, mut total) = (0, 0);
        let done = for_each_piece(&bytes, (0, 8 << 30), &mut |piece| {
            total += piece.len();
            if let Piece::Bytes(bytes) = piece {
                read += bytes.len();
            }
            Ok(())
        });
        assert_eq!((done.ok(), total), (Some(true), 8 << 30));
        assert!(read < 1 << 20, "{read}");
    }
}
