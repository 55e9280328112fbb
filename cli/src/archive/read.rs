//! Reading an archive, from its beginning to its end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use shmshim_core::sysv::Kind;
use tar::{Archive, Entries, Entry, EntryType};

use super::sparse::read_map;
use super::{
    CHECKSUMS, Checksums, DESCRIPTION, Description, LONGEST_DESCRIPTION, hexadecimal, name_of,
    named,
};

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
            // What headers tell of the next member is nothing that is needed here, and is not read into memory.
            members: archive.entries()?.raw(true),
            behind,
            sums: BTreeMap::new(),
        };
        let (name, mut member) = reader.member()?;
        if name != DESCRIPTION {
            return Err("it does not begin with the description of a namespace"
                .to_owned()
                .into());
        }
        let text = whole(&mut member, LONGEST_DESCRIPTION)?;
        let sum = hexadecimal(Sha256::digest(&text));
        reader.sums.insert(name, sum);
        let description = Description::parse(&text)?;
        Ok((reader, description))
    }

    fn member(&mut self) -> Result<(String, Entry<'a, Source<R>>), Wrong> {
        loop {
            let member = self
                .members
                .next()
                .ok_or_else(|| "it ends in its midst".to_owned())??;
            let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            match member.header().entry_type() {
                EntryType::Regular => {
                    let name = path.strip_prefix("GNUSparseFile.0/").unwrap_or(&path);
                    return Ok((name.to_owned(), member));
                }
                EntryType::XHeader => {}
                _ => return Err(foreign(&path)),
            }
        }
    }

    /// The next object's member. `None`: that was the last; everything was compared with the checksums, and the archive
    /// ends as it should.
    pub fn next_member(&mut self, described: &Description) -> Result<Option<Member<'a, R>>, Wrong> {
        let (name, mut member) = self.member()?;
        if name == CHECKSUMS {
            // A line for each member, and for each segment that has none.
            let lines = self.sums.len() + described.segments.len() + 8;
            let text = whole(&mut member, lines as u64 * LONGEST_SUM)?;
            let sums: Checksums = serde_json::from_slice(&text)
                .map_err(|error| format!("its checksums cannot be understood ({error})"))?;
            self.check(&sums, described)?;
            self.check_end()?;
            return Ok(None);
        }
        match named(&name).filter(|_| !self.sums.contains_key(&name)) {
            Some((kind, id)) => Ok(Some(Member {
                kind,
                id,
                name,
                member,
                sum: Sha256::new(),
            })),
            None => Err(foreign(&name)),
        }
    }

    /// Notes that a member was read.
    pub fn note(&mut self, member: Member<'a, R>) {
        let sum = hexadecimal(member.sum.finalize());
        self.sums.insert(member.name, sum);
    }

    fn check(&self, sums: &Checksums, described: &Description) -> Result<(), Wrong> {
        if sums.sha256 != self.sums {
            return Err("its checksums are others than those of what it holds"
                .to_owned()
                .into());
        }
        let removed: BTreeSet<i32> = sums.removed.iter().copied().collect();
        for segment in &described.segments {
            let name = name_of(Kind::Segment, segment.id);
            let is_there = self.sums.contains_key(&name);
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
        if self.members.next().transpose()?.is_some() {
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

/// No line of the checksums is longer.
const LONGEST_SUM: u64 = 128;

fn foreign(name: &str) -> Wrong {
    format!("its member {name} is none of a saved namespace's").into()
}

fn whole(member: &mut impl Read, longest: u64) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    let len = member.take(longest + 1).read_to_end(&mut text)?;
    if len as u64 > longest {
        return Err("a part of it is too long to be true".to_owned().into());
    }
    Ok(text)
}

/// What an archive holds of an object.
pub struct Member<'a, R: Read> {
    /// Of which kind it is.
    pub kind: Kind,
    /// Whose.
    pub id: i32,
    name: String,
    member: Entry<'a, Source<R>>,
    sum: Sha256,
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.member.read(out)?;
        self.sum.update(out.get(..count).unwrap_or(&[]));
        Ok(count)
    }
}

impl<R: Read> Member<'_, R> {
    /// Writes a segment's bytes to an empty file of `size` bytes. What holds nothing is not written.
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
