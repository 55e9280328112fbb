//! The file that a namespace is saved to: a gzip-compressed tar archive, which tar can list and unpack, too.
//!
//! ```text
//!   namespace.json      what the table says: limits, where ids go on, and each segment (`description.rs`)
//!   sets/ID             a semaphore set: a line of JSON, and behind it its semaphores (`contents.rs`)
//!   queues/ID           a message queue: a line of JSON, and behind it its messages
//!   segments/ID         a segment's bytes, as GNU tar writes a sparse file (format 1.0 in pax headers)
//!   checksums.json      the SHA-256 of each member before it; the last member, so that a file that was cut is known
//! ```
//!
//! A segment that was removed while the archive was written is described and has no member: `checksums.json` says so.
//!
//! What is written was read by the functions first that read it when it is restored: so nothing is saved that would be refused
//! then. Of a member that is read no more is held in memory than a set, or a message.

mod contents;
mod description;
mod objects;
mod read;
mod sparse;
mod write;

pub use contents::{Known, QueueReader, read_set};
pub use description::{Described, Description};
pub use objects::{Objects, Perm};
pub use read::{Member, Reader, Wrong, unpack};
pub use write::{Unwritten, Writer};

use shmshim_core::sysv::{Kind, SLOTS};

/// The name of the member that describes the namespace.
const DESCRIPTION: &str = "namespace.json";
/// The name of the member with the checksums.
const CHECKSUMS: &str = "checksums.json";
/// No description is longer: a kilobyte for each segment.
const LONGEST_DESCRIPTION: u64 = (SLOTS as u64 + 1) * 1024;

/// What the last member says.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Checksums {
    /// The SHA-256 of each member, in hexadecimal.
    sha256: std::collections::BTreeMap<String, String>,
    /// The ids of the segments that were removed while the archive was written.
    removed: Vec<i32>,
}

/// A SHA-256 in hexadecimal.
fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// The directory of the members of a kind.
const fn directory(kind: Kind) -> &'static str {
    match kind {
        Kind::Segment => "segments/",
        Kind::Set => "sets/",
        Kind::Queue => "queues/",
    }
}

/// The name of an object's member.
fn name_of(kind: Kind, id: i32) -> String {
    format!("{}{id}", directory(kind))
}

/// Whose member has this name.
fn named(name: &str) -> Option<(Kind, i32)> {
    let kinds = [Kind::Segment, Kind::Set, Kind::Queue].into_iter();
    let mut found = kinds.filter_map(|kind| {
        let id = name.strip_prefix(directory(kind))?.parse().ok()?;
        Some((kind, id))
    });
    // A number has other spellings, too.
    found.find(|(kind, id)| name_of(*kind, *id) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_one_name() {
        for kind in [Kind::Segment, Kind::Set, Kind::Queue] {
            assert_eq!(named(&name_of(kind, 17)), Some((kind, 17)));
        }
        for name in [
            "17",
            "sets",
            "sets/",
            "sets/017",
            "sets/+17",
            "queues/17/",
            "/sets/17",
        ] {
            assert_eq!(named(name), None);
        }
    }
}
