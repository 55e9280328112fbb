//! The rules of System V shared memory, and nothing else.
//!
//! Everything here decides from values and returns values: a segment as a snapshot, a
//! caller as a trait that is asked only what the rule needs, a limit as a number. There is
//! no I/O, no clock, no allocation and no `unsafe` in this room, so each rule can be read
//! beside the manual's sentence and tested by itself. Whoever holds the table's lock and
//! the mappings (`registry`) asks here, and then does what was decided.
//!
//! | file | decides |
//! |---|---|
//! | [`shmget`](open_existing) | which segment a key opens, what may be created |
//! | [`shmat`](parse_shmat) | address and flags, right to attach |
//! | [`pieces`](Piece) | what shmdt and munmap leave of the attaches |
//! | [`mremap`](Mremap) | what mremap makes of them |
//! | [`shmctl`](Command) | commands, who may stat, set, remove, lock |
//! | [`rights`](may_access) | the permission rule they all share |
//! | [`ids`](IdCursor) | keys, ids, which id is next |
//! | [`limits`](Limits) | shmmax, shmall, shmmni, shm_rmid_forced and their files |
//! | [`segment`](Segment) | what is known of a segment |
//! | [`destroy`](must_destroy) | when a segment is destroyed |
//! | [`procfs`](write_shm_line) | the text of `/proc/sysvipc/shm` |
//! | [`reason`](Reason) | each errno with the reason it was given |
//!
//! A refusal is `Err(Refusal { errno, reason })`. Above every one stands the sentence of
//! the manual that it implements; where the manual is silent or wrong about Linux, the
//! comment says in its own words what Linux does. The functions of one call are to be
//! asked in the order in which they stand in their file: that order decides which errno
//! wins when several would apply.
//!
//! Whatever comes in may be another process's claim. Nothing here can overflow, index out
//! of bounds or panic because of it.

mod destroy;
pub mod flags;
mod ids;
mod limits;
mod mremap;
mod pieces;
mod procfs;
mod reason;
mod rights;
mod segment;
pub mod shmat;
pub mod shmctl;
pub mod shmget;

#[cfg(test)]
mod pieces_tests;
#[cfg(test)]
mod reason_tests;
#[cfg(test)]
mod testing;

pub use destroy::{must_destroy, must_destroy_orphan};
pub use ids::{IdCursor, Key, SLOTS, ShmId};
pub use limits::{LimitName, Limits, may_set_limits};
pub use mremap::{Join, Moved, Mremap, MremapKind, join, moved};
pub use pieces::{Cut, Detach, Piece, cut};
pub use procfs::{SHM_HEADER, write_shm_line};
pub use reason::{Class, Errno, Reason, Refusal, Ruling};
pub use rights::{Caller, Capability, is_owner, may_access, may_unlink, owners_bits_grant, owns};
pub use segment::{PAGE_SIZE, SHMLBA, SHMMIN, Segment, page_align, pages_of};
pub use shmat::{AttachRequest, check_range, may_attach, parse as parse_shmat};
pub use shmctl::{
    Command, LockBudget, NewPerm, is_by_index, is_for_all, may_lock, may_remove, may_set, may_stat,
    may_unlock, parse as parse_shmctl,
};
pub use shmget::{
    HugePages, check_file_size, check_hugetlb, check_shmall, check_shmmni, check_size,
    is_no_lookup, is_too_small, missing_key, new_mode, open_existing, wanted_bits,
};
