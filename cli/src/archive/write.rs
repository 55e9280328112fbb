//! Writing an archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::sparse::{Extent, extents, map};
use super::{CHECKSUMS, Checksums, DESCRIPTION, Described, Description, SEGMENTS, hexadecimal};

/// An archive that is being written.
pub struct Writer<W: Write> {
    archive: Builder<GzEncoder<W>>,
    checksums: Checksums,
    /// When, for the members' times.
    saved: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive with the description of a namespace.
    pub fn new(output: W, description: &Description) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            archive: Builder::new(GzEncoder::new(output, Compression::fast())),
            checksums: Checksums::default(),
            saved: description.saved,
        };
        let text = serde_json::to_vec_pretty(description)?;
        writer.append_text(DESCRIPTION, &text)?;
        let sum = hexadecimal(Sha256::digest(&text));
        writer.checksums.sha256.insert(DESCRIPTION.to_owned(), sum);
        Ok(writer)
    }

    /// Adds a segment's bytes, as they are while they are read.
    pub fn add(&mut self, segment: &Described, file: &File) -> io::Result<()> {
        let name = format!("{SEGMENTS}{}", segment.id);
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
            sum: Sha256::new(),
            map: &map,
            file,
            part: Extent { offset: 0, len: 0 },
            behind: extents.iter(),
        };
        let mut header = self.header(EntryType::Regular, map.len() as u64 + held);
        // As GNU tar names them for programs that know nothing of sparse files.
        self.archive
            .append_data(&mut header, format!("GNUSparseFile.0/{name}"), &mut bytes)?;
        let sum = hexadecimal(bytes.sum.finalize());
        self.checksums.sha256.insert(name, sum);
        Ok(())
    }

    /// Notes that a segment is gone that the description has.
    pub fn note_removed(&mut self, segment: &Described) {
        self.checksums.removed.push(segment.id);
    }

    /// Ends the archive, and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        let text = serde_json::to_vec_pretty(&self.checksums)?;
        self.append_text(CHECKSUMS, &text)?;
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

    fn append_text(&mut self, name: &str, text: &[u8]) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, text.len() as u64);
        self.archive.append_data(&mut header, name, text)
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

/// A member's bytes: the map, and the parts of the file.
struct Bytes<'a> {
    sum: Sha256,
    map: &'a [u8],
    file: &'a File,
    /// What is left of the part that is being read.
    part: Extent,
    behind: std::slice::Iter<'a, Extent>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = if self.map.is_empty() {
            self.read_part(out)?
        } else {
            self.map.read(out)?
        };
        self.sum.update(out.get(..count).unwrap_or(&[]));
        Ok(count)
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
