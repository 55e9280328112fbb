//! What can be answered at once: no lock is taken, no system call made, nothing has to be found out first.
//!
//! The functions `..._at_once` answer the commonest questions, each beside the one that answers everything and by the same
//! rules, and only when everything is as usual: the namespace is open, nobody changes the table at this moment, the
//! caller's uid is known and decides. Otherwise they say `None`, and the caller asks the other, which gives a reason with
//! each refusal.

use super::host::{Host, host_if_open};
use crate::os::credentials;
use crate::sysv;

pub use super::shmctl::stat_at_once as stat;
pub use super::shmget::{shmget_at_first_place, shmget_at_once as shmget};

/// The namespace, if it is open and neither a child has to be noticed nor an orphan to be dropped.
#[inline(always)]
pub(super) fn usual_host() -> Option<&'static Host> {
    let host = host_if_open()?;
    let unnoticed = host.local.identity() == 0 && host.has_attaches();
    (!unnoticed && !host.namespace.is_rmid_forced()).then_some(host)
}

/// Whether the caller certainly has the rights `wanted`, of which there are some.
#[inline(always)]
pub(super) fn is_granted(mode: u32, uid: u32, cuid: u32, wanted: u32) -> bool {
    match credentials::known_euid() {
        Some(euid) => sysv::owners_bits_grant(mode, sysv::is_owner(euid, uid, cuid), wanted),
        None => false,
    }
}
