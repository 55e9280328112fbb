//! The calling thread's credentials, and what must be done before they change.

use super::process::{registry, registry_if_open};
use super::rules;
use crate::os::signal_mask::Blocked;
use crate::os::{credentials, process};
use crate::storage::Namespace;
use crate::storage::runtime_dir::{Place, Scope};
use crate::sysv::{self, Caller, Capability};

/// The calling thread. Every question but the first is a system call; the rules ask only what they need.
pub struct Thread;

impl Caller for Thread {
    fn euid(&self) -> u32 {
        credentials::euid()
    }

    fn in_group(&self, gid: u32) -> bool {
        (process::fsgid() == gid || process::has_supplementary_group(gid))
            && !credentials::is_elsewhere()
    }

    fn capable(&self, capability: Capability) -> bool {
        // Numbers of linux/capability.h.
        let number = match capability {
            Capability::IpcLock => 14,
            Capability::IpcOwner => 15,
            Capability::SysAdmin => 21,
            Capability::SysResource => 24,
        };
        process::capable(number) && !credentials::is_elsewhere()
    }
}

/// Whether the caller's uid, if it is known without a system call, already gives the rights `wanted`, of which there are some.
#[inline(always)]
pub fn is_granted_at_once(mode: u32, uid: u32, cuid: u32, wanted: u32) -> bool {
    match credentials::known_euid() {
        Some(euid) => sysv::owners_bits_grant(mode, sysv::is_owner(euid, uid, cuid), wanted),
        None => false,
    }
}

/// Whether the calling thread may set the namespace's limits.
pub fn may_set_limits() -> bool {
    let euid = Thread.euid();
    // Root's right needs no namespace to be known.
    sysv::may_set_limits(euid, None)
        || registry().is_ok_and(|registry| {
            let is_own = registry.namespace.directory().scope() == Scope::User;
            sysv::may_set_limits(
                euid,
                is_own.then(|| registry.namespace.directory().opened_by()),
            )
        })
}

/// The process is about to change its uid, or the namespaces that it sees files in. In user scope the new uid cannot open
/// the runtime directory, so a process that has no cell yet could never have one, and without a cell it can change nothing
/// in the table: its lock names a cell, by which others find out when the holder is dead. So it takes its cell now. What it
/// may do in the table afterwards the rules say; what it may do with files, the directory.
pub fn before_change() {
    let Some(registry) = registry_if_open() else {
        return;
    };
    if registry.me().is_some() || registry.namespace.directory().scope() == Scope::System {
        return;
    }
    // The child of a vfork, whose memory is its parent's: the cell would be the parent's.
    if registry.local.pid() != process::pid() {
        return;
    }
    // Refused for want of room, for example: then calls that need a cell are refused later, as they were without this.
    let _ = registry.enter();
}

/// A program that runs as root is about to become another user. In system scope the namespace must be root's to be there for
/// all, so root makes it while there is one: a daemon that gives up root before its first segment could not.
pub fn on_giving_up_root() {
    if registry_if_open().is_none() && Place::is_for_all() && credentials::euid() == 0 {
        let _blocked = Blocked::all();
        Namespace::make_for_all(&rules::for_storage());
    }
}
