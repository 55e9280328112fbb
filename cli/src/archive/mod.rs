//! The file that a namespace is saved to: a gzip-compressed tar archive, which tar can list and unpack, too.
//!
//! ```text
//!   namespace.json      what the table says: limits, where ids go on, and each segment (`description.rs`); semaphore
//!                       sets and message queues with what is in them (`objects.rs`)
//!   segments/ID         a segment's bytes, as GNU tar writes a sparse file (format 1.0 in pax headers)
//!   checksums.json      the SHA-256 of each member before it; the last member, so that a file that was cut is known
//! ```
//!
//! A segment that was removed while the archive was written is described and has no member: `checksums.json` says so.

mod description;
mod objects;
mod read;
mod sparse;
mod write;

pub use description::{Described, Description};
pub use objects::Objects;
pub use read::{Reader, Wrong, unpack};
pub use write::Writer;

/// The name of the member that describes the namespace.
const DESCRIPTION: &str = "namespace.json";
/// The name of the member with the checksums.
const CHECKSUMS: &str = "checksums.json";
/// The directory of the segments' members.
const SEGMENTS: &str = "segments/";
/// No description is longer: 32768 segments of half a kilobyte.
const LONGEST_TEXT: u64 = 64 << 20;

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
