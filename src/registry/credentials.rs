//! What must be done before a process becomes somebody else.

use super::host::host_if_open;
use crate::os::process;
use crate::storage::directory::Scope;

/// The process is about to change its uid, or the namespaces that it sees files in. In user scope the new uid cannot open
/// the runtime directory, so a process that has no cell yet could never have one, and without a cell it can change nothing
/// in the table: its lock names a cell, or nobody could tell when its holder is dead. So it takes its cell now. What it
/// may do in the table afterwards the rules say; what it may do with files, the directory.
pub fn before_change() {
    let Some(host) = host_if_open() else { return };
    if host.me().is_some() || host.namespace.scope() == Scope::System {
        return;
    }
    // The child of a vfork, whose memory is its parent's: the cell would be the parent's.
    if host.local.pid() != process::pid() {
        return;
    }
    // Refused for want of room, for example: then calls that need a cell are refused later, as they were without this.
    let _ = host.enter();
}
