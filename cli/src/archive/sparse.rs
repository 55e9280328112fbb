//! The parts of a file that hold something, as GNU tar's sparse format 1.0 has them: a map of decimal numbers, a line each,
//! filled up to a whole block, and behind it the parts one after the other.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

const BLOCK: u64 = 512;
/// A file with more parts has some of them joined: a map is read into memory.
const MOST_PARTS: usize = 1 << 22;

/// A part of a file: where it begins, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub len: u64,
}

/// The parts of a segment's file of `size` bytes that hold something. What its file system cannot say holds something.
pub fn extents(file: &File, size: u64) -> io::Result<Vec<Extent>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) if at == 0 => 0,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::INVAL) => size,
            Err(error) => return Err(error.into()),
        };
        if start >= end {
            break;
        }
        found.push(Extent {
            offset: start,
            len: end - start,
        });
        if found.len() > MOST_PARTS {
            found = joined(&found);
        }
        at = end;
    }
    Ok(found)
}

/// Half as many parts: each two with what is between them.
fn joined(parts: &[Extent]) -> Vec<Extent> {
    let pairs = parts.chunks(2);
    let joined = pairs.filter_map(|pair| {
        let (first, last) = (pair.first()?, pair.last()?);
        Some(Extent {
            offset: first.offset,
            len: last.offset + last.len - first.offset,
        })
    });
    joined.collect()
}

/// The map of these parts of a file of `size` bytes.
pub fn map(extents: &[Extent], size: u64) -> Vec<u8> {
    // As GNU tar does, the file's end is told by an empty part.
    let mut text = format!("{}\n", extents.len() + 1);
    let end = Extent {
        offset: size,
        len: 0,
    };
    for extent in extents.iter().chain([&end]) {
        text.push_str(&format!("{}\n{}\n", extent.offset, extent.len));
    }
    let mut map = text.into_bytes();
    map.resize((map.len() as u64).next_multiple_of(BLOCK) as usize, 0);
    map
}

/// Reads a map. The parts rise, and none reaches beyond `size`.
pub fn read_map(member: &mut impl Read, size: u64) -> io::Result<Vec<Extent>> {
    let mut reader = MapReader {
        member,
        block: [0; BLOCK as usize],
        at: BLOCK as usize,
    };
    let count = reader.number()?;
    // The file's end is one, too.
    if count > MOST_PARTS as u64 + 1 {
        return Err(wrong_map());
    }
    let mut found: Vec<Extent> = Vec::new();
    let mut end = 0;
    for _ in 0..count {
        let (offset, len) = (reader.number()?, reader.number()?);
        let fits = offset >= end && offset.checked_add(len).is_some_and(|last| last <= size);
        if !fits {
            return Err(wrong_map());
        }
        end = offset + len;
        if len > 0 {
            found.push(Extent { offset, len });
        }
    }
    Ok(found)
}

fn wrong_map() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a map of parts cannot be")
}

struct MapReader<'r, R> {
    member: &'r mut R,
    block: [u8; BLOCK as usize],
    at: usize,
}

impl<R: Read> MapReader<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        if self.at == self.block.len() {
            self.member.read_exact(&mut self.block)?;
            self.at = 0;
        }
        let byte = self.block.get(self.at).copied().ok_or_else(wrong_map)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut digits = String::new();
        loop {
            match self.byte()? {
                b'\n' => return digits.parse().map_err(|_| wrong_map()),
                digit if digit.is_ascii_digit() && digits.len() < 20 => digits.push(digit.into()),
                _ => return Err(wrong_map()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let many: Vec<Extent> = (0..500)
            .map(|at| Extent {
                offset: at * 8192,
                len: 4096,
            })
            .collect();
        for extents in [&[][..], &many[..1], &many] {
            let text = map(extents, 1 << 30);
            assert_eq!(text.len() % 512, 0);
            let read = read_map(&mut &text[..], 1 << 30).unwrap();
            assert_eq!(read, extents);
        }
    }

    #[test]
    fn parts_are_joined_by_twos() {
        let part = |offset, len| Extent { offset, len };
        let parts = [
            part(0, 4),
            part(8, 4),
            part(20, 1),
            part(30, 2),
            part(90, 9),
        ];
        assert_eq!(joined(&parts), [part(0, 12), part(20, 12), part(90, 9)]);
    }

    #[test]
    fn a_map_with_too_many_parts_is_refused() {
        let lines = "0\n0\n".repeat(MOST_PARTS + 2);
        for (count, fits) in [(MOST_PARTS + 1, true), (MOST_PARTS + 2, false)] {
            let text = format!("{count}\n{lines}");
            let mut blocks = text.into_bytes();
            blocks.resize(blocks.len().next_multiple_of(512), 0);
            assert_eq!(read_map(&mut &blocks[..], 4096).is_ok(), fits);
        }
    }

    #[test]
    fn a_map_that_reaches_beyond_the_file_or_back_is_refused() {
        let wrong: [&[u8]; 5] = [
            b"1\n0\n4097\n",
            b"2\n100\n50\n120\n10\n",
            b"1\n-1\n4\n",
            b"1\n18446744073709551615\n2\n",
            b"x\n",
        ];
        for text in wrong {
            let mut block = text.to_vec();
            block.resize(512, 0);
            assert!(read_map(&mut &block[..], 4096).is_err());
        }
        assert!(read_map(&mut &b"1\n0\n"[..], 4096).is_err());
    }
}
