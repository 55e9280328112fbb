//! What is fuzzed: everything that reads what somebody else has written.
//!
//! Each target takes bytes and panics when something is wrong that is more than a refusal. They are shared by
//! cargo-fuzz (`fuzz_targets/`) and by `replay.rs`, which needs a stable compiler and nothing else.

mod base;
mod ipc;
mod parsers;
mod table;

// The one parser that lies in the shim, which is no library that another program could link, and what it names.
#[path = "../../../shim/src/procfs/limits.rs"]
#[allow(dead_code, reason = "the shim's")]
mod limits;
#[path = "../../../shim/src/procfs/name.rs"]
mod name;

pub use ipc::ipc;
pub use parsers::{directories, environment, filters, limit_texts, mounts, names, proc_paths};
pub use table::table;

/// A target's name, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("table", table),
    ("ipc", ipc),
    ("names", names),
    ("environment", environment),
    ("limits", limit_texts),
    ("proc_paths", proc_paths),
    ("mounts", mounts),
    ("filters", filters),
    ("directories", directories),
];
