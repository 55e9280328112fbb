//! What the objects of System V IPC have in common, segments, semaphores and message queues alike.

pub mod flags;
mod id;
mod id_cursor;
mod key;
mod kind;
pub mod limit_text;
mod lookup;
mod permission;
mod refusal;

#[cfg(test)]
mod refusal_tests;

pub use id::{SLOTS, ShmId};
pub use id_cursor::IdCursor;
pub use key::Key;
pub use kind::Kind;
pub use limit_text::Number;
pub use lookup::{removed_meanwhile, unknown_id, unused_index};
pub use permission::{
    Caller, Capability, IpcPerm, NewPerm, check_new_perm, is_owner, may_access, may_set_limits,
    may_unlink, must_own, new_mode, owners_bits_grant, owns, wanted_bits,
};
pub(crate) use refusal::refusal;
pub use refusal::{Errno, Reason, Refusal, Ruling};
