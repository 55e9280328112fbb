//! The namespace that a program with these settings would use, with this process as one of its programs: what the commands
//! share that change something.

use std::fs::File;
use std::os::unix::fs::FileExt;

use shmshim_core::registry::inspect::{self, Inspection};
use shmshim_core::registry::{self, Error as Failure};
use shmshim_core::sysv::{Kind, Segment};

use crate::error::{ABSENT, Error, Outcome, REFUSED};
use crate::objects::{self, Queue, Set};
use crate::segment::Which;
use crate::source::NO_NAMESPACE;

/// The namespace, which must be there: what looks or removes does not make one.
pub fn existing() -> Outcome<Inspection> {
    inspect::here()
        .map_err(|failure| refusal(&failure))?
        .ok_or_else(|| Error::absent(NO_NAMESPACE))
}

/// All segments of the namespace, as a program sees them: no dead process is counted.
pub fn segments() -> Outcome<Vec<Segment>> {
    existing()?;
    let mut segments = Vec::new();
    registry::list(&mut |segment, _, _| segments.push(*segment))
        .map_err(|failure| refusal(&failure))?;
    Ok(segments)
}

/// All semaphore sets of the namespace.
pub fn sets() -> Outcome<Vec<Set>> {
    Ok(objects::sets_of(&existing()?)?)
}

/// All message queues of the namespace.
pub fn queues() -> Outcome<Vec<Queue>> {
    Ok(objects::queues_of(&existing()?)?)
}

/// The set or queue that is meant, of those with these ids and keys.
pub fn find_of(which: &Which, kind: Kind, names: &[(i32, i32)]) -> Outcome<i32> {
    which.find_of(kind, names, "the namespace")
}

/// The segment that is meant.
pub fn find(which: &Which) -> Outcome<Segment> {
    let segments = segments()?;
    let names: Vec<(i32, i32)> = segments
        .iter()
        .map(|segment| (segment.id.raw(), segment.key.0))
        .collect();
    let id = which.find(&names, "the namespace")?;
    segments
        .into_iter()
        .find(|segment| segment.id.raw() == id)
        .ok_or_else(|| Error::absent(format!("segment {id} was removed meanwhile")))
}

/// A failure of the library as this command says it.
pub fn refusal(failure: &Failure) -> Error {
    let status = match failure.errno {
        libc::EIDRM | libc::ENOENT => ABSENT,
        _ => REFUSED,
    };
    Error::new(status, failure.why.to_string())
}

/// The same of what was to be done with one segment.
pub fn refusal_of(id: i32, failure: &Failure) -> Error {
    refusal_of_kind(Kind::Segment, id, failure)
}

/// The same of another kind of objects.
pub fn refusal_of_kind(kind: Kind, id: i32, failure: &Failure) -> Error {
    let Error { status, sentence } = refusal(failure);
    let object = format!("{} {id}", kind.word());
    Error::new(status, with_object(&object, sentence))
}

/// A sentence with what it is about in front, unless it says so itself.
fn with_object(object: &str, sentence: String) -> String {
    let is_named = sentence.match_indices(object).any(|(at, _)| {
        let behind = sentence.get(at + object.len()..);
        !behind.is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
    });
    match is_named {
        true => sentence,
        false => format!("{object}: {sentence}"),
    }
}

/// A segment that this process has attached to write to it. Its bytes are written as those of a file are, so that a file
/// system without room is an error and no signal.
pub struct Attach {
    address: u64,
    memory: File,
}

impl Attach {
    /// Attaches it.
    pub fn to_write(id: i32) -> Outcome<Attach> {
        let memory = File::options()
            .read(true)
            .write(true)
            .open("/proc/self/mem")
            .map_err(|error| Error::refused(format!("/proc/self/mem cannot be opened: {error}")))?;
        let address = registry::shmat(id, 0, 0).map_err(|failure| refusal_of(id, &failure))?;
        Ok(Attach { address, memory })
    }

    /// Writes bytes that are inside of the segment.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Outcome<()> {
        self.memory
            .write_all_at(bytes, self.address + offset)
            .map_err(|error| {
                Error::refused(format!(
                    "the segment cannot be written, most likely because its file system is full ({error}); remove something there"
                ))
            })
    }
}

impl Drop for Attach {
    fn drop(&mut self) {
        let _ = registry::shmdt(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_once() {
        let said = |sentence: &str| with_object("segment 12", sentence.to_owned());
        assert_eq!(said("no right"), "segment 12: no right");
        assert_eq!(said("segment 12 has none"), "segment 12 has none");
        assert_eq!(said("what segment 12"), "what segment 12");
        assert_eq!(
            said("segment 123 has none"),
            "segment 12: segment 123 has none"
        );
    }
}
