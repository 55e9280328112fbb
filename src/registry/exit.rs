//! The end of the process, as far as it announces itself.

use super::error::Outcome;
use super::process::{Registry, live_locked, registry_if_open};
use crate::os::process;
use crate::os::timed_lock::WithinASecond;
use crate::storage::table::layout::FLAG_UNLINKED;
use crate::storage::table::{attach_record, slot_life};
use crate::sysv::{self, flags::SHM_DEST};

/// At exit: stamps each attached segment with this time and this pid, as its last use, so that the stamp does not depend on
/// which process reaps this one, and when. Unlinks the files of segments that will be destroyed with this process, so that
/// their memory is free at once. For a process that is killed, calls `_exit` or starts another program, the process
/// that reaps it does both.
///
/// Everything else stays as it is: other threads and later destructors may still use what is attached.
///
/// `before` is called first. Together they wait for no lock for longer than a second.
pub fn at_exit(before: impl FnOnce()) {
    let _short = WithinASecond::begin();
    before();
    if let Some(registry) =
        registry_if_open().filter(|registry| registry.has_attaches() && registry.me().is_some())
    {
        // Refused, the process that reaps this one does it.
        let _ = announce(registry);
    }
}

fn announce(registry: &'static Registry) -> Outcome<()> {
    let session = registry.enter()?;
    let now = process::now_secs();
    for entry in session.local.attaches.entries() {
        let id = entry.piece.id;
        let Some(record) = session.local.attaches.record_of(id.slot()) else {
            continue;
        };
        let me = session.me;
        let held = session.lock()?;
        let Some(image) = live_locked(&held, id) else {
            continue;
        };
        if !attach_record::counts_for(&held, record, me, id.raw()) {
            continue;
        }
        attach_record::announce_end(&held, id.slot(), record, registry.local.pid(), now);
        let others = u64::from(image.sole_cell != me.cell() + 1);
        let goes = sysv::must_destroy(
            image.mode & SHM_DEST != 0,
            others,
            registry.namespace.is_rmid_forced(),
        ) && image.flags & FLAG_UNLINKED == 0;
        if !goes {
            continue;
        }
        // Noted under the lock that has shown this process to be the only one that has it attached: from now on no shmat
        // succeeds.
        slot_life::update(&held, id.slot(), |image| image.flags |= FLAG_UNLINKED);
        drop(held);
        // Crash here: the segment goes with this process, and the file then, if it is still there.
        if registry.namespace.files().unlink(&image).is_err() {
            let held = session.lock()?;
            slot_life::update(&held, id.slot(), |image| image.flags &= !FLAG_UNLINKED);
        }
    }
    Ok(())
}
