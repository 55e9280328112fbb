//! The bytes: runtime directory, shared table, segment files, liveness, recovery.
//!
//! # Theory
//!
//! A namespace is a directory ([`directory`]). In it lies one table ([`layout`], [`table`]) that every process of the
//! namespace maps, a file per segment ([`files`]) and a locked file per process ([`live`]).
//!
//! *Primary* data cannot be computed from anything else in the table: a slot per segment, a record per (process,
//! segment) with its number of attaches, a cell per process, the cursor of ids, the limits. It is changed through a
//! redo journal ([`table::Journal`]), so each change of [`slots`] is done whole or not at all, wherever the process
//! that makes it is killed. *Derived* data ([`books`], [`index`]) is what makes reading fast: it follows the
//! primary, and [`recover`] can rebuild all of it.
//!
//! Readers take no lock; versions tell them that what they read was there at one moment. Writers take one lock
//! whose word names its owner ([`lock`]); a dead owner's lock is taken over and the table recovered first.
//!
//! Nothing needs to run when a process ends. Its liveness lock vanishes with its address space, and the next one who
//! needs the truth about a segment looks at the processes that have it attached and reaps the dead.
//!
//! This room knows nothing of keys' meaning, of rights or limits: it stores what [`crate::registry`] decided.

mod access;
mod base;
pub mod books;
mod building;
pub mod directory;
pub mod files;
pub mod huge;
mod in_place;
pub mod index;
pub mod layout;
pub mod live;
pub mod lock;
mod lost;
mod making;
pub mod namespace;
pub mod obstacle;
pub mod prepared;
mod promise;
pub mod recover;
mod room;
mod sentences;
pub mod slots;
pub mod table;

pub use namespace::{LimitWords, Namespace, Rules, Unlinking};
pub use obstacle::{Obstacle, Stored};
