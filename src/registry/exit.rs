//! The end of the process, as far as it announces itself.

use super::error::Outcome;
use super::host::{Host, host_if_open, live_locked};
use crate::os::process;
use crate::os::timed_lock::WithinASecond;
use crate::storage::layout::FLAG_UNLINKED;
use crate::storage::slots;
use crate::sysv::{self, flags::SHM_DEST};

/// Says to each attached segment that this process goes: its last use bears this time and this pid, whoever looks
/// first afterwards. And unlinks the files of segments that will go with this process, so that their memory is free
/// at once rather than when the next one looks. Runs at exit; for a process that is killed, calls `_exit` or starts
/// another program, the next one who looks does what is left to do.
///
/// Everything else stays as it is: other threads and later destructors may still use what is attached.
///
/// `before` is called first. Together they wait for no lock for longer than a second.
pub fn at_exit(before: impl FnOnce()) {
    let _short = WithinASecond::begin();
    before();
    if let Some(host) = host_if_open().filter(|host| host.has_attaches() && host.me().is_some()) {
        // Whatever refuses it, the next one who looks does what is left to do.
        let _ = announce(host);
    }
}

fn announce(host: &'static Host) -> Outcome<()> {
    let session = host.enter()?;
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
        if !slots::counts_for(&held, record, me, id.raw()) {
            continue;
        }
        slots::announce_end(&held, id.slot(), record, host.local.pid(), now);
        let others = u64::from(image.sole_cell != me.cell() + 1);
        let goes = sysv::must_destroy(
            image.mode & SHM_DEST != 0,
            others,
            host.namespace.is_rmid_forced(),
        ) && image.flags & FLAG_UNLINKED == 0;
        if !goes {
            continue;
        }
        // Said first, in the step that has seen that nobody else has it: from now on nobody attaches it.
        slots::set_flags(&held, id.slot(), FLAG_UNLINKED);
        drop(held);
        // Crash here: the segment goes with this process, and the file then, if it is still there.
        if host.namespace.unlink_segment_file(&image).is_err() {
            slots::clear_flags(&session.lock()?, id.slot(), FLAG_UNLINKED);
        }
    }
    Ok(())
}
