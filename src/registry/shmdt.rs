//! shmdt.

use super::error::{Error, Outcome};
use super::process::registry_if_open;
use crate::os::{map, process};
use crate::storage::table::{attach_record, slot_life};
use crate::sysv::{Detach, not_attached};

/// `shmdt(2)`: detaches what shmat gave at `addr`.
pub fn shmdt(addr: u64) -> Outcome<()> {
    let mut walk = Detach::new(addr)?;
    let registry = registry_if_open().ok_or_else(|| not_attached(addr))?;
    // A cell is not taken when there is nothing to detach.
    if !super::attach_list::may_touch(addr, u64::MAX) {
        return Err(not_attached(addr).into());
    }
    let enter = || registry.enter_to_detach().map_err(Error::of_shmdt);
    let mut session = enter()?;
    let slot = session.slot_attached_at(addr).filter(|_| session.counted);
    if let Some(slot) = slot.filter(|&slot| registry.has_lost_attachers(slot)) {
        drop(session);
        registry.reap_lost_attachers(slot)?;
        session = enter()?;
    }
    let mut gone = 0;
    let mut at = session.local.attaches.count_above(addr);
    // By rising address: the entries are kept by falling address.
    while let Some(next) = at.checked_sub(1) {
        at = next;
        let Some(entry) = session.local.attaches.entries().get(at).copied() else {
            break;
        };
        if walk.is_done(entry.piece.start) {
            break;
        }
        if walk.takes(&entry.piece) {
            // Refused for a sealed mapping: the kernel's shmdt says 0 then, too, and the attach stays.
            if map::unmap_segment(entry.piece.start, entry.piece.len).is_ok() {
                session.local.attaches.remove(at);
                gone += 1;
            }
        }
    }
    session.local.attaches.release_guards();
    let id = walk.outcome()?;
    // Crash here: what is unmapped already is still counted, until this process's cell is reaped.
    if gone > 0 && session.counted {
        // Refused, it is entered by a later call: what is unmapped cannot be put back.
        let Ok(held) = session.lock() else {
            return Ok(());
        };
        let Some(record) = session.record_of(&held, id) else {
            return Ok(());
        };
        let stamp = Some((registry.local.pid(), process::now_secs()));
        let ended = attach_record::detach(&held, record, gone, stamp, slot_life::Last::Claim);
        drop(held);
        if let Some(image) = ended {
            session.unlink_claimed(&image);
        }
    }
    Ok(())
}
