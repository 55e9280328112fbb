//! The bytes: runtime directory, shared table, segment files, sets and queues, liveness, recovery.
//!
//! # Theory
//!
//! A namespace is a directory ([`runtime_dir`]). In it lies one table ([`table::layout`]) that every process of the
//! namespace maps, a file per segment ([`segment_file`]) and a locked file per process ([`process`]).
//!
//! *Primary* data cannot be computed from anything else in the table: a slot per segment, a record per (process,
//! segment) with its number of attaches, a cell per process, the cursor of ids, the limits. It is changed through a
//! redo journal ([`table::Journal`]), so each change of [`table::slot_life`] and [`table::attach_record`] is done whole
//! or not at all, wherever the process that makes it is killed. *Derived* data ([`table::derived`],
//! [`table::key_index`]) is what makes reading fast: it follows the primary, and [`table::rebuild`] makes all of it anew.
//!
//! Readers take no lock; versions tell them that what they read was there at one moment. Writers take one lock
//! whose word names its owner ([`table::lock`]); a dead owner's lock is taken over and the table recovered first.
//!
//! Semaphore sets and message queues lie in a file of their own ([`ipc`]): each is a block that is never changed, and one exchange
//! of a word puts another in its place. So they know neither lock nor journal.
//!
//! Nothing needs to run when a process ends. Its liveness lock vanishes with its address space, and the next process that
//! needs the truth about a segment probes the processes that have it attached and reaps the dead.
//!
//! Imports go one way: error ← runtime_dir, table ← process, segment_file ← ipc ← namespace. The table knows neither
//! directories nor processes nor rules: what a change needs of them it asks by way of its lock.
//!
//! This room knows nothing of keys' meaning, of rights or limits: it stores what [`crate::registry`] decided.

pub mod error;
mod error_text;
pub mod invariant;
pub mod ipc;
pub mod namespace;
pub mod process;
pub mod runtime_dir;
pub mod segment_file;
pub(crate) mod sentence;
pub mod table;

pub use error::{Refused, StorageError, Stored};
pub use namespace::{Builder, LimitWords, Member, Namespace, Reading, Rules, View, Whole};
