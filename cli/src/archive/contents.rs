//! The member of a semaphore set, and that of a message queue: a line of JSON, and behind it, lowest byte first,
//!
//! ```text
//!   a semaphore         2 bytes its value, 4 the process id
//!   a message           8 bytes its type, 4 its length, and its text; the oldest first
//! ```

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;
use shmshim_core::registry::saved::{Room, Unfit};
use shmshim_core::sysv::Kind;
use shmshim_core::sysv::msg::QueueFacts;
use shmshim_core::sysv::sem::SetPerm;
use shmshim_core::sysv::sem::flags::SEMVMX;

use super::objects::{Perm, Queue, Set};
use super::read::Wrong;

/// No line of JSON is longer.
const LONGEST_LINE: u64 = 1024;

/// The objects of an archive that are known by now: no two have one place or one key, and all of them fit into a namespace.
#[derive(Debug)]
pub struct Known {
    /// Kind and slot.
    slots: BTreeSet<(&'static str, u32)>,
    keys: BTreeSet<(&'static str, i32)>,
    room: Room,
}

impl Known {
    /// None.
    pub fn new() -> Known {
        Known {
            slots: BTreeSet::new(),
            keys: BTreeSet::new(),
            room: Room::of_a_namespace(),
        }
    }

    /// Takes up an object that is to have that id.
    fn note(&mut self, kind: Kind, id: i32, perm: &Perm) -> Result<(), String> {
        let word = kind.word();
        let is_possible = perm.id == id
            && perm.of_kind(kind).is_some_and(|its| {
                self.slots.insert((word, its.id.slot()))
                    && (perm.key == 0 || self.keys.insert((word, perm.key)))
            });
        match is_possible {
            true => Ok(()),
            false => Err(format!("it describes a {word} {id} that cannot be")),
        }
    }
}

fn unfit(kind: Kind, id: i32) -> impl Fn(Unfit) -> Wrong {
    move |why| format!("{} {id} cannot be: {why}", kind.word()).into()
}

fn line(facts: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(facts)?;
    line.push(b'\n');
    Ok(line)
}

fn read_line<T: DeserializeOwned>(input: &mut impl BufRead, kind: Kind) -> Result<T, Wrong> {
    let mut text = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut text)?;
    let facts = text
        .strip_suffix(b"\n")
        .and_then(|line| serde_json::from_slice(line).ok());
    facts.ok_or_else(|| format!("a {} in it cannot be understood", kind.word()).into())
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn check_end(input: &mut impl BufRead, kind: Kind, id: i32) -> Result<(), Wrong> {
    match input.fill_buf()?.is_empty() {
        true => Ok(()),
        false => Err(format!("{} {id} is longer in it than it says", kind.word()).into()),
    }
}

/// The member of a set.
pub fn set_bytes(stat: &SetPerm, semaphores: &[(u16, i32)]) -> io::Result<Vec<u8>> {
    let mut bytes = line(&Set::new(stat))?;
    for (value, pid) in semaphores {
        bytes.extend(value.to_le_bytes());
        bytes.extend(pid.to_le_bytes());
    }
    Ok(bytes)
}

/// Reads the member of a set with that id: value and process id of each semaphore.
pub fn read_set(
    input: &mut impl BufRead,
    id: i32,
    known: &mut Known,
) -> Result<(Set, Vec<(u16, i32)>), Wrong> {
    let set: Set = read_line(input, Kind::Set)?;
    known.note(Kind::Set, id, &set.perm)?;
    let fits = known.room.take_set(set.semaphores);
    fits.map_err(unfit(Kind::Set, id))?;
    let mut semaphores = Vec::with_capacity(set.semaphores as usize);
    for number in 0..set.semaphores {
        let value = u16::from_le_bytes(read_array(input)?);
        let pid = i32::from_le_bytes(read_array(input)?);
        if value > SEMVMX {
            return Err(format!("semaphore {number} of set {id} cannot be {value}").into());
        }
        semaphores.push((value, pid));
    }
    check_end(input, Kind::Set, id)?;
    Ok((set, semaphores))
}

/// The member of a queue, to be read.
pub struct QueueBytes<'a> {
    /// What is left of the line or of a message's head, and of a text.
    head: Vec<u8>,
    at: usize,
    text: &'a [u8],
    behind: std::slice::Iter<'a, (i64, &'a [u8])>,
}

impl<'a> QueueBytes<'a> {
    /// That of a queue with these messages.
    pub fn new(stat: &QueueFacts, messages: &'a [(i64, &'a [u8])]) -> io::Result<QueueBytes<'a>> {
        Ok(QueueBytes {
            head: line(&Queue::new(stat, messages.len() as u32))?,
            at: 0,
            text: &[],
            behind: messages.iter(),
        })
    }

    /// How long it is before anything of it was read.
    pub fn len(&self) -> u64 {
        let messages = self.behind.clone();
        let len: usize = messages.map(|(_, text)| 12 + text.len()).sum();
        (self.head.len() + len) as u64
    }
}

impl Read for QueueBytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut head = self.head.get(self.at..).unwrap_or(&[]);
        if head.is_empty() && self.text.is_empty() {
            let Some((mtype, text)) = self.behind.next() else {
                return Ok(0);
            };
            self.head.clear();
            self.head.extend(mtype.to_le_bytes());
            self.head.extend((text.len() as u32).to_le_bytes());
            (self.at, self.text) = (0, text);
            head = &self.head;
        }
        if head.is_empty() {
            return self.text.read(out);
        }
        let count = head.read(out)?;
        self.at += count;
        Ok(count)
    }
}

/// The member of a queue that is being read, a message at a time.
pub struct QueueReader<'k, R> {
    /// What is told of it.
    pub queue: Queue,
    input: R,
    known: &'k mut Known,
    left: u32,
}

impl<'k, R: BufRead> QueueReader<'k, R> {
    /// Begins to read that of the queue with that id.
    pub fn new(mut input: R, id: i32, known: &'k mut Known) -> Result<QueueReader<'k, R>, Wrong> {
        let queue: Queue = read_line(&mut input, Kind::Queue)?;
        known.note(Kind::Queue, id, &queue.perm)?;
        let fits = known.room.take_queue(queue.messages);
        fits.map_err(unfit(Kind::Queue, id))?;
        Ok(QueueReader {
            left: queue.messages,
            queue,
            input,
            known,
        })
    }

    /// The next message's type; `text` becomes its text. `None`: that was the last, and nothing stands behind it.
    pub fn next(&mut self, text: &mut Vec<u8>) -> Result<Option<i64>, Wrong> {
        let id = self.queue.perm.id;
        let Some(left) = self.left.checked_sub(1) else {
            check_end(&mut self.input, Kind::Queue, id)?;
            return Ok(None);
        };
        self.left = left;
        let mtype = i64::from_le_bytes(read_array(&mut self.input)?);
        let len = u32::from_le_bytes(read_array(&mut self.input)?);
        if mtype <= 0 {
            return Err(format!("a message of queue {id} cannot have type {mtype}").into());
        }
        let fits = self.known.room.take_text(len);
        fits.map_err(unfit(Kind::Queue, id))?;
        text.resize(len as usize, 0);
        self.input.read_exact(text)?;
        Ok(Some(mtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmshim_core::sysv::{IpcPerm, Key, ShmId};

    const ID: i32 = 1_500_000_007;

    fn perm(kind: Kind) -> IpcPerm {
        IpcPerm {
            kind,
            id: ShmId::from_raw(ID).unwrap(),
            uid: 1,
            gid: 2,
            cuid: 3,
            cgid: 4,
            mode: 0o640,
        }
    }

    fn set(count: u32) -> SetPerm {
        SetPerm {
            perm: perm(Kind::Set),
            key: Key(5),
            otime: 6,
            ctime: 7,
            count,
        }
    }

    fn queue() -> QueueFacts {
        QueueFacts {
            perm: perm(Kind::Queue),
            key: Key(5),
            stime: 6,
            rtime: 7,
            ctime: 8,
            cbytes: 0,
            qnum: 0,
            qbytes: 9,
            lspid: 10,
            lrpid: 11,
        }
    }

    fn whole(member: &[u8], known: &mut Known) -> Result<Vec<(i64, Vec<u8>)>, Wrong> {
        let mut reader = QueueReader::new(member, ID, known)?;
        assert_eq!(reader.queue.facts(), Some(queue()));
        let (mut messages, mut text) = (Vec::new(), Vec::new());
        while let Some(mtype) = reader.next(&mut text)? {
            messages.push((mtype, text.clone()));
        }
        Ok(messages)
    }

    #[test]
    fn a_set_comes_back() {
        let semaphores = [(0, 0), (32767, i32::MAX), (1, -1)];
        let bytes = set_bytes(&set(3), &semaphores).unwrap();
        let (read, values) = read_set(&mut &bytes[..], ID, &mut Known::new()).unwrap();
        assert_eq!((read.stat(), &values[..]), (Some(set(3)), &semaphores[..]));
        for len in 0..bytes.len() {
            assert!(read_set(&mut &bytes[..len], ID, &mut Known::new()).is_err());
        }
        let more = [&bytes[..], b"x"].concat();
        assert!(read_set(&mut &more[..], ID, &mut Known::new()).is_err());
        assert!(read_set(&mut &bytes[..], ID + 1, &mut Known::new()).is_err());
    }

    #[test]
    fn a_queue_comes_back() {
        let messages = [(1, &b""[..]), (i64::MAX, b"\0\n\xff"), (7, b"hello")];
        let mut bytes = QueueBytes::new(&queue(), &messages).unwrap();
        let (len, mut member) = (bytes.len(), Vec::new());
        bytes.read_to_end(&mut member).unwrap();
        assert_eq!(member.len() as u64, len);
        let read = whole(&member, &mut Known::new()).unwrap();
        let read: Vec<(i64, &[u8])> = read
            .iter()
            .map(|(mtype, text)| (*mtype, &text[..]))
            .collect();
        assert_eq!(read, messages);
        for len in 0..member.len() {
            assert!(whole(&member[..len], &mut Known::new()).is_err());
        }
        member.push(0);
        assert!(whole(&member, &mut Known::new()).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let set = |count, values: &[(u16, i32)], known: &mut Known| {
            let bytes = set_bytes(&set(count), values).unwrap();
            read_set(&mut &bytes[..], ID, known).map(|(_, values)| values.len())
        };
        assert!(set(0, &[], &mut Known::new()).is_err());
        assert!(set(1, &[(32768, 0)], &mut Known::new()).is_err());
        // Nothing is set aside for more than there can be.
        for count in [524_278, u32::MAX] {
            let wrong = set(count, &[], &mut Known::new()).unwrap_err();
            let said = format!("{wrong:?}");
            assert!(said.contains("and there can be 524277"), "{said}");
        }
        let mut known = Known::new();
        let most = vec![(0, 0); 524_277];
        assert_eq!(set(524_277, &most, &mut known).ok(), Some(524_277));
        assert!(set(1, &[(0, 0)], &mut known).is_err(), "the id is known");
        for (mtype, len) in [(0, 1), (-1, 1), (1, 4_194_289), (1, u32::MAX)] {
            let mut member = line(&Queue::new(&queue(), 1)).unwrap();
            member.extend(i64::to_le_bytes(mtype));
            member.extend(u32::to_le_bytes(len));
            member.push(0);
            assert!(whole(&member, &mut Known::new()).is_err());
        }
    }

    #[test]
    fn all_that_is_in_an_archive_fits_into_a_namespace() {
        let mut room = Room::of_a_namespace();
        // The first piece is no block, so the last large block has no room.
        for _ in 0..255 {
            assert_eq!(room.take_text(4_194_288), Ok(()));
        }
        assert_eq!(room.take_text(4_194_288), Err(Unfit::Together));
        assert_eq!(room.take_text(100_000), Ok(()));
        assert!(room.take_queue(262_138).is_err());
    }
}
