//! What all objects of System V IPC share.

pub mod id;
pub mod permission;
pub mod reason;

#[cfg(test)]
mod reason_tests;

pub use id::{IdCursor, Key, SLOTS, ShmId};
pub use permission::{
    Caller, Capability, is_owner, may_access, may_unlink, owners_bits_grant, owns,
};
pub use reason::{Class, Errno, Reason, Refusal, Ruling};
