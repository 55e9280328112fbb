//! The end of the process, as far as it announces itself.

use super::host::host_if_open;
use crate::os::signals::Blocked;
use crate::storage::layout::FLAG_UNLINKED;
use crate::storage::slots;
use crate::sysv::flags::SHM_DEST;

/// Unlinks the files of segments that will go with this process, so that their memory is free at once rather than
/// when the next one looks. Runs at exit; a process that is killed or calls `_exit` leaves that to the next one.
///
/// Everything else stays as it is: other threads and later destructors may still use what is attached.
pub fn at_exit() {
    let Some(host) = host_if_open().filter(|host| host.has_attaches() && host.me().is_some())
    else {
        return;
    };
    let _blocked = Blocked::all();
    // exit() from a signal handler may have interrupted one of our own calls: then let it be.
    let Some(local) = host.local.try_lock() else {
        return;
    };
    let Some(me) = host.me() else { return };
    for entry in local.attaches.entries() {
        let slot = entry.piece.id.slot();
        let Some(image) = host.namespace.table().snapshot(slot) else {
            continue;
        };
        let goes = image.id == entry.piece.id.raw()
            && image.mode & SHM_DEST != 0
            && image.sole_cell == me.cell() + 1
            && image.flags & FLAG_UNLINKED == 0;
        if goes && host.namespace.unlink_segment_file(&image).is_ok() {
            slots::set_flags(&host.namespace.lock(me), slot, FLAG_UNLINKED);
        }
    }
}
