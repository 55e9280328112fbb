//! The rules of System V shared memory, and nothing else.
//!
//! Everything here decides from values and returns values: a segment as a snapshot, a
//! caller as a trait that is asked only what the rule needs, a limit as a number. There is
//! no I/O, no clock, no allocation and no `unsafe` in this room, so each rule can be read
//! beside the manual's sentence and tested by itself. `registry`, which holds the table's
//! lock and the mappings, asks here, and then does what was decided.
//!
//! [`ipc`]: what the objects of System V IPC have in common.
//!
//! | file | decides |
//! |---|---|
//! | [`key`](Key), [`id`](ShmId) | names |
//! | [`id_cursor`](IdCursor) | which id is next |
//! | [`lookup`](unknown_id) | what is said of an id that names nothing |
//! | [`permission`](may_access) | the permission rule, who may remove, set, lock, unlink files, set limits |
//! | [`limit_text`](ipc::Number) | what number a write to a limit's file is |
//! | [`refusal`](Refusal) | what a refusal is; its sentence stands at the rule |
//!
//! [`shm`]: segments.
//!
//! | file | decides |
//! |---|---|
//! | [`shmget`](open_existing) | which segment a key opens, what may be created |
//! | [`huge_pages`](check_hugetlb) | which huge pages it gets |
//! | [`shmat`](parse_shmat) | address and flags, right to attach |
//! | [`shmdt`](Detach) | what of the attaches goes |
//! | [`pieces`](Piece) | what of an attach an unmapped range leaves |
//! | [`mremap`](Mremap) | what mremap makes of them |
//! | [`shmctl`](Command) | commands, who may stat, set, remove, lock |
//! | [`destroy`](must_destroy) | when a segment is destroyed |
//! | [`limits`](Limits) | shmmax, shmall, shmmni, shm_rmid_forced and their files |
//! | [`segment`](Segment) | what is known of a segment |
//! | [`procfs`](write_shm_line) | the text of `/proc/sysvipc/shm` |
//!
//! A refusal is `Err(Refusal { errno, reason })`. Above every one stands the sentence of
//! the manual that it implements; where the manual is silent or wrong about Linux, the
//! comment says in its own words what Linux does. The functions of one call are to be
//! asked in the order in which they stand in their file: that order decides which errno
//! wins when several would apply.
//!
//! What comes in may be another process's claim. Nothing here can overflow, index out
//! of bounds or panic because of it.

pub mod ipc;
pub mod page;
pub mod shm;

#[cfg(test)]
mod testing;

pub(crate) use ipc::refusal;
pub use ipc::{
    Caller, Capability, Errno, IdCursor, Key, Reason, Refusal, Ruling, SLOTS, ShmId, is_owner,
    may_access, may_set_limits, may_unlink, owners_bits_grant, owns, removed_meanwhile, unknown_id,
    unused_index,
};
pub use page::{page_align, page_size, pages_of, set_page_size};
pub use shm::{
    AttachRequest, Command, Cut, Detach, HugePages, Join, LimitName, Limits, LockBudget, Moved,
    Mremap, MremapKind, NewPerm, Piece, SHM_HEADER, SHMMIN, Segment, check_file_size,
    check_hugetlb, check_range, check_shmall, check_shmmni, check_size, cut, flags, is_by_index,
    is_for_all, is_no_lookup, is_too_small, join, may_attach, may_lock, may_remove, may_set,
    may_stat, may_unlock, missing_key, moved, must_destroy, must_destroy_orphan, new_mode,
    not_attached, open_existing, parse_shmat, parse_shmctl, shmget, wanted_bits, write_shm_line,
};
