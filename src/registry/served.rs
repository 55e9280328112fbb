//! Forks and the end of a client that is served from another process (`os/served.rs`).
//!
//! A client's fork is a fork of the process that serves it, taken in two: [`prepare_fork`], then this process forks and the
//! client does, then [`after_fork`] here and [`in_child`] in the new process, which serves the client's child.

use super::error::Outcome;
use super::process::{registry, registry_if_open};
use super::{attach_list, fork};
use crate::os::{errno, served};

/// Whether a child of the client would inherit something that counts.
pub fn has_attaches() -> bool {
    !attach_list::are_none()
}

/// Whether the client has a cell, which is seen by a mapping in it.
pub fn is_counted() -> bool {
    registry_if_open().is_some_and(|registry| registry.me().is_some())
}

/// Has the client take a cell, if it has none: a call on sets and queues that sleeps cannot do so when it sleeps already.
pub fn register() -> Outcome<()> {
    let registry = registry()?;
    match registry.me() {
        Some(_) => Ok(()),
        None => registry.enter().map(drop),
    }
}

/// Begins to work in the client's name, until [`end_work`]: its cell is not taken for a dead process's meanwhile. `false`: its
/// mappings are gone, because it has ended or executes another program.
pub fn begin_work() -> bool {
    let registry = registry_if_open();
    registry
        .and_then(|registry| registry.me().map(|me| (registry, me)))
        .is_none_or(|(registry, me)| registry.namespace.processes().begin_work(me.cell()))
}

/// The work is done.
pub fn end_work() {
    if let Some(client) = served::client() {
        client.hold_cell(None);
    }
}

/// Before the client forks.
pub fn prepare_fork() {
    fork::before_fork();
}

/// After the client has forked, or has failed to.
pub fn after_fork(failed: bool) {
    errno::set(if failed { libc::EAGAIN } else { 0 });
    fork::after_fork_in_parent();
}

/// In a fork of this process: it serves the client's child with this process id from now on.
pub fn in_child(pid: i32) {
    if let Some(client) = served::client() {
        client.hold_cell(None);
        client.become_child(pid);
    }
    fork::after_fork_in_child();
}

/// The client has ended, or executes another program: what it had attached is dropped at once. This process makes no more
/// calls in its name.
pub fn end() {
    served::end();
    let Some(registry) = registry_if_open() else {
        return;
    };
    if let Ok(mut local) = registry.local.lock_soon() {
        while !local.attaches.is_empty() {
            local.attaches.remove(0);
        }
        // Its mappings were the client's.
        local.fork = None;
    }
    registry.local.set_identity(0);
    // Refused, another process reaps it, as any that dies.
    let _ = registry.reap_all();
}
