//! Writing an archive.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use shmshim_core::sysv::Kind;
use shmshim_core::sysv::msg::QueueFacts;
use shmshim_core::sysv::sem::SetPerm;
use tar::{Builder, EntryType, Header};

use super::contents::{Known, QueueBytes, QueueReader, read_set, set_bytes};
use super::sparse::{Extent, extents, map};
use super::{
    CHECKSUMS, Checksums, DESCRIPTION, Described, Description, Wrong, hexadecimal, name_of,
};

/// Why something was not written.
#[derive(Debug)]
pub enum Unwritten {
    /// The output, or what was to be read.
    Failed(io::Error),
    /// It would be refused when it is restored.
    Impossible(String),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Unwritten {
        Unwritten::Failed(error)
    }
}

impl From<Wrong> for Unwritten {
    fn from(wrong: Wrong) -> Unwritten {
        match wrong {
            Wrong::Archive(why) => Unwritten::Impossible(why),
            Wrong::Target(error) => Unwritten::Failed(error),
        }
    }
}

/// An archive that is being written.
pub struct Writer<W: Write> {
    archive: Builder<GzEncoder<W>>,
    checksums: Checksums,
    /// The sets and queues that were written.
    known: Known,
    /// When, for the members' times.
    saved: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive with the description of a namespace.
    pub fn new(output: W, description: &Description) -> Result<Writer<W>, Unwritten> {
        let mut writer = Writer {
            archive: Builder::new(GzEncoder::new(output, Compression::fast())),
            checksums: Checksums::default(),
            known: Known::new(),
            saved: description.saved,
        };
        let text = serde_json::to_vec_pretty(description).map_err(io::Error::from)?;
        Description::parse(&text).map_err(Unwritten::Impossible)?;
        writer.append(DESCRIPTION, text.len() as u64, &mut &text[..])?;
        Ok(writer)
    }

    /// Adds a semaphore set: value and process id of each semaphore.
    pub fn add_set(&mut self, stat: &SetPerm, semaphores: &[(u16, i32)]) -> Result<(), Unwritten> {
        let id = stat.perm.id.raw();
        let bytes = set_bytes(stat, semaphores)?;
        read_set(&mut &bytes[..], id, &mut self.known)?;
        let name = name_of(Kind::Set, id);
        Ok(self.append(&name, bytes.len() as u64, &mut &bytes[..])?)
    }

    /// Adds a message queue with these messages: type and text, the oldest first.
    pub fn add_queue(
        &mut self,
        stat: &QueueFacts,
        messages: &[(i64, &[u8])],
    ) -> Result<(), Unwritten> {
        let id = stat.perm.id.raw();
        let bytes = BufReader::new(QueueBytes::new(stat, messages)?);
        let mut reader = QueueReader::new(bytes, id, &mut self.known)?;
        let mut text = Vec::new();
        while reader.next(&mut text)?.is_some() {}
        let mut bytes = QueueBytes::new(stat, messages)?;
        Ok(self.append(&name_of(Kind::Queue, id), bytes.len(), &mut bytes)?)
    }

    /// Adds a segment's bytes, as they are while they are read.
    pub fn add_segment(&mut self, segment: &Described, file: &File) -> io::Result<()> {
        let name = name_of(Kind::Segment, segment.id);
        let extents = extents(file, segment.size)?;
        let map = map(&extents, segment.size);
        self.append_pax_header(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", &name),
            ("GNU.sparse.realsize", &segment.size.to_string()),
        ])?;
        let held: u64 = extents.iter().map(|extent| extent.len).sum();
        let mut bytes = Bytes {
            map: &map,
            file,
            part: Extent { offset: 0, len: 0 },
            behind: extents.iter(),
        };
        let len = map.len() as u64 + held;
        // As GNU tar names them for programs that know nothing of sparse files.
        let path = format!("GNUSparseFile.0/{name}");
        self.append_as(&path, &name, len, &mut bytes)
    }

    /// Notes that a segment is gone that the description has.
    pub fn note_removed(&mut self, segment: &Described) {
        self.checksums.removed.push(segment.id);
    }

    /// Ends the archive, and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        let text = serde_json::to_vec_pretty(&self.checksums)?;
        self.append(CHECKSUMS, text.len() as u64, &mut &text[..])?;
        self.archive.into_inner()?.finish()
    }

    fn header(&self, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.saved);
        header
    }

    /// Adds a member, and its checksum to those of the others.
    fn append(&mut self, name: &str, len: u64, bytes: &mut dyn Read) -> io::Result<()> {
        self.append_as(name, name, len, bytes)
    }

    /// The same under another path than it is called by.
    fn append_as(
        &mut self,
        path: &str,
        name: &str,
        len: u64,
        bytes: &mut dyn Read,
    ) -> io::Result<()> {
        let mut summed = Summed {
            sum: Sha256::new(),
            bytes,
        };
        let mut header = self.header(EntryType::Regular, len);
        self.archive.append_data(&mut header, path, &mut summed)?;
        let sum = hexadecimal(summed.sum.finalize());
        self.checksums.sha256.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Adds records about the next member.
    fn append_pax_header(&mut self, records: &[(&str, &str)]) -> io::Result<()> {
        let text: String = records
            .iter()
            .map(|(name, value)| pax_record(name, value))
            .collect();
        let mut header = self.header(EntryType::XHeader, text.len() as u64);
        self.archive
            .append_data(&mut header, "PaxHeaders/segment", text.as_bytes())
    }
}

/// `LENGTH NAME=VALUE`, where the length counts its own digits.
fn pax_record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut len = rest.len();
    while format!("{len}{rest}").len() != len {
        len = format!("{len}{rest}").len();
    }
    format!("{len}{rest}")
}

/// What is read, and its sum.
struct Summed<'a> {
    sum: Sha256,
    bytes: &'a mut dyn Read,
}

impl Read for Summed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(out)?;
        self.sum.update(out.get(..count).unwrap_or(&[]));
        Ok(count)
    }
}

/// A segment's member: the map, and the parts of the file.
struct Bytes<'a> {
    map: &'a [u8],
    file: &'a File,
    /// What is left of the part that is being read.
    part: Extent,
    behind: std::slice::Iter<'a, Extent>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.map.is_empty() {
            true => self.read_part(out),
            false => self.map.read(out),
        }
    }
}

impl Bytes<'_> {
    fn read_part(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.part.len == 0 {
            match self.behind.next() {
                Some(part) => self.part = *part,
                None => return Ok(0),
            }
        }
        let most = usize::try_from(self.part.len).map_or(out.len(), |len| len.min(out.len()));
        let out = out.get_mut(..most).unwrap_or(&mut []);
        let count = self.file.read_at(out, self.part.offset)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a segment's file was cut meanwhile",
            ));
        }
        self.part.offset += count as u64;
        self.part.len -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(pax_record("a", "b"), "6 a=b\n");
        assert_eq!(pax_record("ab", "cde"), "9 ab=cde\n");
        for len in 1..300 {
            let record = pax_record("name", &"x".repeat(len));
            let digits = record.split(' ').next().unwrap();
            assert_eq!(digits.parse(), Ok(record.len()));
        }
    }
}
