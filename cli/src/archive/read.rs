//! Reading an archive, from its beginning to its end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, Entries, Entry};

use super::sparse::read_map;
use super::{CHECKSUMS, Checksums, DESCRIPTION, Description, LONGEST_TEXT, SEGMENTS, hexadecimal};

/// The archive's bytes, unpacked: read by the archive, and behind its end by us.
pub struct Source<R>(Rc<RefCell<MultiGzDecoder<R>>>);

impl<R> Clone for Source<R> {
    fn clone(&self) -> Source<R> {
        Source(Rc::clone(&self.0))
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

/// What is wrong with an archive, or why what it holds could not be used.
#[derive(Debug)]
pub enum Wrong {
    /// The archive.
    Archive(String),
    /// The file that a segment's bytes go to.
    Target(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        Wrong::Archive(error.to_string())
    }
}

impl From<String> for Wrong {
    fn from(sentence: String) -> Wrong {
        Wrong::Archive(sentence)
    }
}

/// Takes a compressed archive.
pub fn unpack<R: Read>(input: R) -> (Archive<Source<R>>, Source<R>) {
    let source = Source(Rc::new(RefCell::new(MultiGzDecoder::new(input))));
    (Archive::new(source.clone()), source)
}

/// An archive that is being read.
pub struct Reader<'a, R: Read> {
    members: Entries<'a, Source<R>>,
    behind: Source<R>,
    /// The sums of what was read so far.
    sums: BTreeMap<String, String>,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Begins to read, with the description.
    pub fn new(
        archive: &'a mut Archive<Source<R>>,
        behind: Source<R>,
    ) -> Result<(Reader<'a, R>, Description), Wrong> {
        let mut reader = Reader {
            members: archive.entries()?,
            behind,
            sums: BTreeMap::new(),
        };
        let (name, mut member) = reader.member()?;
        if name != DESCRIPTION {
            return Err("it does not begin with the description of a namespace"
                .to_owned()
                .into());
        }
        let text = whole(&mut member)?;
        let sum = hexadecimal(Sha256::digest(&text));
        reader.sums.insert(name, sum);
        let description = Description::parse(&text)?;
        Ok((reader, description))
    }

    fn member(&mut self) -> Result<(String, Entry<'a, Source<R>>), Wrong> {
        let member = self
            .members
            .next()
            .ok_or_else(|| "it ends in its midst".to_owned())??;
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let name = path.strip_prefix("GNUSparseFile.0/").unwrap_or(&path);
        Ok((name.to_owned(), member))
    }

    /// The next segment's id and bytes. `None`: that was the last; everything was compared with the checksums, and the archive
    /// ends as it should.
    pub fn next_segment(&mut self, described: &Description) -> Result<Option<Bytes<'a, R>>, Wrong> {
        let (name, mut member) = self.member()?;
        if name == CHECKSUMS {
            let sums: Checksums = serde_json::from_slice(&whole(&mut member)?)
                .map_err(|error| format!("its checksums cannot be understood ({error})"))?;
            self.check(&sums, described)?;
            self.check_end()?;
            return Ok(None);
        }
        let id = name
            .strip_prefix(SEGMENTS)
            .and_then(|id| id.parse().ok())
            .filter(|_| !self.sums.contains_key(&name));
        match id {
            Some(id) => Ok(Some(Bytes {
                id,
                name,
                member,
                sum: Sha256::new(),
            })),
            None => Err(format!("its member {name} is none of a saved namespace's").into()),
        }
    }

    /// Notes that a segment was read.
    pub fn note(&mut self, bytes: Bytes<'a, R>) {
        let sum = hexadecimal(bytes.sum.finalize());
        self.sums.insert(bytes.name, sum);
    }

    fn check(&self, sums: &Checksums, described: &Description) -> Result<(), Wrong> {
        if sums.sha256 != self.sums {
            return Err("its checksums are others than those of what it holds"
                .to_owned()
                .into());
        }
        let removed: BTreeSet<i32> = sums.removed.iter().copied().collect();
        for segment in &described.segments {
            let is_there = self.sums.contains_key(&format!("{SEGMENTS}{}", segment.id));
            if is_there == removed.contains(&segment.id) {
                return Err(format!("segment {} is missing in it", segment.id).into());
            }
        }
        Ok(())
    }

    /// That nothing comes behind the last member but what a tar archive ends with: the check of the compression is only made
    /// when all is read.
    fn check_end(&mut self) -> Result<(), Wrong> {
        const LONGEST_END: u64 = 1 << 20;
        if self.members.next().is_some() {
            return Err("something stands behind its checksums".to_owned().into());
        }
        let mut end = Vec::new();
        let read = (&mut self.behind).take(LONGEST_END).read_to_end(&mut end)?;
        if read as u64 == LONGEST_END || end.iter().any(|byte| *byte != 0) {
            return Err("something stands behind its end".to_owned().into());
        }
        Ok(())
    }
}

fn whole(member: &mut impl Read) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    let len = member.take(LONGEST_TEXT).read_to_end(&mut text)?;
    if len as u64 == LONGEST_TEXT {
        return Err("a part of it is too long to be true".to_owned().into());
    }
    Ok(text)
}

/// A segment's bytes.
pub struct Bytes<'a, R: Read> {
    /// Whose.
    pub id: i32,
    name: String,
    member: Entry<'a, Source<R>>,
    sum: Sha256,
}

impl<R: Read> Read for Bytes<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.member.read(out)?;
        self.sum.update(out.get(..count).unwrap_or(&[]));
        Ok(count)
    }
}

impl<R: Read> Bytes<'_, R> {
    /// Writes them to an empty file of `size` bytes. What holds nothing is not written.
    pub fn write_to(&mut self, file: &File, size: u64) -> Result<(), Wrong> {
        let mut chunk = vec![0; 1 << 18];
        for part in read_map(self, size)? {
            let (mut at, end) = (part.offset, part.offset + part.len);
            while at < end {
                let most =
                    usize::try_from(end - at).map_or(chunk.len(), |len| len.min(chunk.len()));
                let bytes = chunk.get_mut(..most).unwrap_or(&mut []);
                self.read_exact(bytes)?;
                file.write_all_at(bytes, at).map_err(Wrong::Target)?;
                at += most as u64;
            }
        }
        match self.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(format!("its member {} is longer than it says", self.name).into()),
        }
    }
}
