//! semget(2): which set a key opens, and what may be created.
//!
//! [`check_count`] comes before everything. Then, for a key that names a set: [`open_set`]. For one that does not:
//! [`missing_set_key`]; then, and for IPC_PRIVATE, [`check_new_set`].

use super::flags::{IPC_CREAT, IPC_EXCL};
use super::limits::SemLimits;
use super::state::SetPerm;
use crate::sysv::ipc::{Caller, Key, Ruling, may_access, refusal, wanted_bits};

/// Whether a set can have so many semaphores. Asked of existing sets, too.
pub fn check_count(count: i32, limits: &SemLimits) -> Ruling<()> {
    if count < 0 || count > limits.semmsl {
        // "nsems is less than 0 or greater than the limit on the number of semaphores per semaphore set (SEMMSL)."
        // - man semget(2)
        return Err(refusal!(
            Einval,
            [count, semmsl = limits.semmsl],
            "{} semaphores asked, semmsl is {}",
            count as i32,
            semmsl as i32
        ));
    }
    Ok(())
}

/// What semget gives for a key that names a set. Nothing about the set changes.
pub fn open_set(set: &SetPerm, count: i32, flags: i32, caller: &impl Caller) -> Ruling<()> {
    if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
        // "IPC_CREAT and IPC_EXCL were specified in semflg, but a semaphore set already exists for key."
        // - man semget(2)
        return Err(refusal!(
            Eexist,
            [key = set.key.0, id = set.perm.id.raw()],
            "key {} has semaphore set {id} already and IPC_EXCL was asked",
            Key(key as i32)
        ));
    }
    if i64::from(count) > i64::from(set.count) {
        // "A semaphore set corresponding to key already exists, but nsems is larger than the number of semaphores in that
        // set." - man semget(2)
        return Err(refusal!(
            Einval,
            [id = set.perm.id.raw(), has = set.count, count],
            "semaphore set {id} has {has} semaphores, {count} asked"
        ));
    }
    may_access(&set.perm, wanted_bits(flags), caller)
}

/// Whether semget may go on to create, when no set has `key`.
pub fn missing_set_key(key: Key, flags: i32) -> Ruling<()> {
    if flags & IPC_CREAT == 0 && !key.is_private() {
        // "No semaphore set exists for key and semflg did not specify IPC_CREAT." - man semget(2)
        return Err(refusal!(
            Enoent,
            [key = key.0],
            "key {} has no semaphore set and IPC_CREAT was not asked",
            Key(key as i32)
        ));
    }
    Ok(())
}

/// Whether there may be one set more, with `count` semaphores, than the `sets` that there are with `semaphores_in_use`.
pub fn check_new_set(
    count: i32,
    semaphores_in_use: u32,
    sets: u32,
    limits: &SemLimits,
) -> Ruling<()> {
    if count == 0 {
        // The manual is silent: 0 stands for any number where the set exists, and a new set needs a semaphore.
        return Err(refusal!(
            Einval,
            [],
            "a new semaphore set needs at least one semaphore"
        ));
    }
    // "A semaphore set has to be created but the system limit for the maximum number of semaphore sets (SEMMNI), or the
    // system wide maximum number of semaphores (SEMMNS), would be exceeded." - man semget(2)
    if i64::from(semaphores_in_use) + i64::from(count) > i64::from(limits.semmns) {
        return Err(refusal!(
            Enospc,
            [count, semaphores_in_use, semmns = limits.semmns],
            "{count} semaphores asked, {semaphores_in_use} in use, semmns is {}",
            semmns as i32
        ));
    }
    if i64::from(sets) >= i64::from(limits.semmni) {
        return Err(refusal!(
            Enospc,
            [sets, semmni = limits.semmni],
            "there are {sets} semaphore sets, semmni is {}",
            semmni as i32
        ));
    }
    Ok(())
}
