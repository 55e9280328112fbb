//! What can be answered without a sleep, a change of more than one block, or a system call, in as few steps as can be. Whatever
//! is not plain is left to the full functions, which find the same objects and take the same rules.

use super::{Found, UNDO, is_crowded, limits_of};
use crate::registry::credentials;
use crate::registry::objects::{Objects, now, objects_if_open};
use crate::storage::ipc::ObjectKind;
use crate::sysv::sem::{self, Attempt, Operation, Process, SetState};
use crate::sysv::{self, IpcPerm};

/// One operation, if it can be answered without sleeping: 0, or the errno. Makes no system call where that can be avoided.
#[inline]
pub fn semop_at_once(id: i32, operation: Operation) -> Option<Result<(), i32>> {
    let objects = objects_if_open()?;
    let owner = objects.owner_if_entered();
    let [_, _, semopm, _] = objects.file.sem_limits();
    if operation.flags & UNDO != 0 && owner == 0 || id < 0 || semopm == 0 {
        return None;
    }
    let wanted = if operation.change != 0 {
        sysv::flags::WRITE
    } else {
        sysv::flags::READ
    };
    let found = quiet_set(objects, id, operation.number.into(), wanted)?;
    let set = found.set;
    if operation.flags & UNDO != 0 && is_crowded(&set, owner) {
        return None;
    }
    if sem::blocks(set.value(operation.number.into()), operation.change) {
        let is_answer =
            i32::from(operation.flags) & sem::flags::IPC_NOWAIT != 0 && found.is_still();
        return is_answer.then_some(Err(libc::EAGAIN));
    }
    let by = Process {
        owner,
        pid: objects.pid(),
    };
    let undos = u32::from(operation.flags & UNDO != 0);
    let holder = objects.holder_if_entered();
    if holder == 0 {
        return None;
    }
    let mut copy = objects.file.copy_quiet_set(&set, undos, holder).ok()?;
    let operated = found.is_still()
        && matches!(
            sem::operate(&mut copy, &[operation], by, now()),
            Ok(Attempt::Done)
        );
    if !operated {
        objects.give_unpublished(copy.block());
        return None;
    }
    // Refused or changed meanwhile: the full function finds out.
    objects.exchange(&found, &copy).then_some(Ok(()))
}

/// Several operations, if they can be carried out at once. Whether they were.
#[inline]
pub fn semops_at_once(id: i32, operations: &[Operation]) -> bool {
    try_several(id, operations).unwrap_or(false)
}

#[inline(always)]
fn try_several(id: i32, operations: &[Operation]) -> Option<bool> {
    let objects = objects_if_open()?;
    let owner = objects.owner_if_entered();
    let [_, _, semopm, _] = objects.file.sem_limits();
    let owing = operations
        .iter()
        .filter(|operation| operation.flags & UNDO != 0);
    let undos = owing.count() as u32;
    if undos != 0 && owner == 0 || id < 0 || operations.len() > semopm as usize {
        return None;
    }
    let highest = operations.iter().map(|operation| operation.number).max()?;
    let wanted = if sem::alters(operations) {
        sysv::flags::WRITE
    } else {
        sysv::flags::READ
    };
    let found = quiet_set(objects, id, highest.into(), wanted)?;
    let set = found.set;
    if undos != 0 && is_crowded(&set, owner) {
        return None;
    }
    let by = Process {
        owner,
        pid: objects.pid(),
    };
    let holder = objects.holder_if_entered();
    if holder == 0 {
        return None;
    }
    let mut copy = objects.file.copy_quiet_set(&set, undos, holder).ok()?;
    let operated = found.is_still()
        && matches!(
            sem::operate(&mut copy, operations, by, now()),
            Ok(Attempt::Done)
        );
    if !operated {
        objects.give_unpublished(copy.block());
        return None;
    }
    Some(objects.exchange(&found, &copy))
}

/// The set with this identifier and semaphore, if the caller surely may, no thread sleeps there, and no other process owes it
/// anything: such a process may have died.
#[inline(always)]
fn quiet_set(objects: &Objects, id: i32, number: u32, wanted: u32) -> Option<Found> {
    let index = id as u32 % sysv::SLOTS;
    let root = objects.file.root(ObjectKind::Set, index)?;
    let seen = root.seen();
    let set = objects.file.set(seen)?;
    let found = Found { root, seen, set };
    let facts = found.facts();
    let is_quiet =
        set.id() == id && !set.is_removed() && set.sleepers() == 0 && number < facts.count;
    let owner = objects.owner_if_entered();
    let others = || {
        (0..set.undos())
            .map(|index| set.undo(index))
            .any(|undo| undo.owner != owner && undo.adjust != 0)
    };
    (is_quiet && is_granted(&facts.perm, wanted) && !others()).then_some(found)
}

#[inline(always)]
fn is_granted(perm: &IpcPerm, wanted: u32) -> bool {
    wanted == 0 || credentials::is_granted_at_once(perm.mode, perm.uid, perm.cuid, wanted)
}

/// GETVAL.
#[inline]
pub fn sem_value_at_once(id: i32, number: i32) -> Option<i32> {
    let objects = objects_if_open()?;
    let number = u32::try_from(number).ok().filter(|_| id >= 0)?;
    let found = quiet_set(objects, id, number, sysv::flags::READ)?;
    let value = found.set.value(number);
    found.is_still().then_some(value.into())
}

/// semget of a key that has a set: its identifier.
#[inline]
pub fn semget_at_once(key: i32, count: i32, flags: i32) -> Option<i32> {
    let objects = objects_if_open()?;
    let entry = objects.known_at_once(ObjectKind::Set, key, flags)?;
    let limits = limits_of(objects);
    if sem::check_count(count, &limits).is_err() || count as u32 > entry.size {
        return None;
    }
    let root = objects
        .file
        .root(ObjectKind::Set, entry.id as u32 % sysv::SLOTS)?;
    let seen = root.seen();
    let set = objects.file.set(seen)?;
    let found = Found { root, seen, set };
    let is_granted = is_granted(&found.facts().perm, sysv::wanted_bits(flags));
    let is_it = set.id() == entry.id && !set.is_removed();
    (is_it && is_granted && found.is_still()).then_some(entry.id)
}
