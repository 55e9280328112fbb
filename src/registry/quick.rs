//! What can be answered at once: no lock is taken, no system call made, nothing has to be found out first.
//!
//! These functions answer the commonest questions, and only when everything is as usual: the namespace is open, nobody
//! changes the table at this moment, the caller's uid is known and decides. Otherwise they say `None`, and the caller
//! asks the function of the same name that answers everything, and gives a reason with each refusal.

use super::host::{Host, host_if_open};
use super::segment;
use crate::os::credentials;
use crate::storage::index::{self, Glance};
use crate::storage::layout::FLAG_RIGHTS;
use crate::sysv::{self, Command, Errno, Key, Segment, ShmId, flags};

/// The namespace, if it is open and neither a child has to be noticed nor an orphan to be dropped.
#[inline(always)]
fn settled_host() -> Option<&'static Host> {
    let host = host_if_open()?;
    let unnoticed = host.local.identity() == 0 && host.has_attaches();
    (!unnoticed && !host.namespace.is_rmid_forced()).then_some(host)
}

/// Whether the caller certainly has the rights `wanted`, of which there are some.
#[inline(always)]
fn is_granted(mode: u32, uid: u32, cuid: u32, wanted: u32) -> bool {
    match credentials::known_euid() {
        Some(euid) => sysv::owners_bits_grant(mode, euid == uid || euid == cuid, wanted),
        None => false,
    }
}

/// `shmget(2)` of a key that has a segment, or has none and asks for none.
#[inline]
pub fn shmget(key: i32, size: u64, shmflg: i32) -> Option<Result<i32, Errno>> {
    look_up(key, size, shmflg, u32::MAX, sysv::wanted_bits(shmflg))
}

/// The same for most calls that ask for no rights: those whose key is, or would be, where it is looked for first. It is
/// short enough for the registers that a function need not save.
#[inline(always)]
pub fn shmget_at_first_place(key: i32, size: u64, shmflg: i32) -> Option<Result<i32, Errno>> {
    if sysv::wanted_bits(shmflg) != 0 {
        return None;
    }
    look_up(key, size, shmflg, 1, 0)
}

#[inline(always)]
fn look_up(
    key: i32,
    size: u64,
    shmflg: i32,
    places: u32,
    wanted: u32,
) -> Option<Result<i32, Errno>> {
    let host = settled_host()?;
    if Key(key).is_private() || shmflg & flags::IPC_EXCL != 0 {
        return None;
    }
    match index::find_at_once(host.namespace.table(), key, places, wanted != 0) {
        Glance::Found(known) if size > known.segsz => None,
        Glance::Found(known) => match known.owners {
            Some(whose) if !is_granted(whose.mode, whose.uid, whose.cuid, wanted) => None,
            _ => Some(Ok(known.id)),
        },
        Glance::Absent => {
            let refusal = sysv::missing_key(Key(key), shmflg).err()?;
            Some(Err(refusal.errno))
        }
        Glance::Unsure => None,
    }
}

/// IPC_STAT, SHM_STAT and SHM_STAT_ANY of a segment that nobody else has attached.
#[inline]
pub fn stat(shmid: i32, cmd: Command) -> Option<Segment> {
    let host = settled_host()?;
    let id = ShmId::from_raw(shmid).ok()?;
    let image = host.namespace.table().glance(id.slot())?;
    if !image.is_live() || (cmd == Command::IpcStat && image.id != shmid) {
        return None;
    }
    if image.nattch != 0 && host.me().is_none_or(|me| image.sole_cell != me.cell() + 1) {
        return None;
    }
    let allowed =
        cmd == Command::ShmStatAny || is_granted(image.mode, image.uid, image.cuid, flags::READ);
    (allowed && image.flags & FLAG_RIGHTS == 0).then(|| segment(&image))
}
