//! What can be answered without a sleep, a change of more than one block, or a system call, in as few steps as can be. Whatever
//! is not plain is left to the full functions, which find the same objects and take the same rules.

use super::{Found, UNDO, is_crowded};
use crate::registry::objects::{Objects, is_granted, now, objects_if_open};
use crate::storage::ipc::ObjectKind;
use crate::sysv;
use crate::sysv::sem::{self, Attempt, Operation, Process, SetState};

/// Operations, if they can be answered without sleeping: 0, or the errno. Makes no system call where that can be avoided.
#[inline(always)]
pub fn semop_at_once(id: i32, operations: &[Operation]) -> Option<Result<(), i32>> {
    let objects = objects_if_open()?;
    let owner = objects.owner_if_entered();
    let owes = operations
        .iter()
        .any(|operation| operation.flags & UNDO != 0);
    let semopm = objects.file.sem_limit(2);
    if owes && owner == 0 || id < 0 || operations.len() > semopm as usize {
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
    if owes && is_crowded(&set, owner) {
        return None;
    }
    if let [operation] = operations {
        if sem::blocks(set.value(operation.number.into()), operation.change) {
            let is_answer =
                i32::from(operation.flags) & sem::flags::IPC_NOWAIT != 0 && found.is_still();
            return is_answer.then_some(Err(libc::EAGAIN));
        }
    }
    let by = Process {
        owner,
        pid: objects.pid(),
    };
    let mut undos = set.undos();
    for operation in operations {
        if operation.flags & UNDO != 0 && !sem::has_undo_of(&set, owner, operation.number) {
            undos += 1;
        }
    }
    let kept = objects.take_kept(set.words_of_quiet_copy(undos))?;
    let is_right = match set.copy_quiet(kept.block, undos) {
        Some(mut copy) if found.is_still() => matches!(
            sem::operate(&mut copy, operations, by, now()),
            Ok(Attempt::Done)
        ),
        _ => false,
    };
    // Refused or changed meanwhile: the full function finds out.
    objects
        .exchange_kept(&found, &kept, is_right)
        .then_some(Ok(()))
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
    let words = set.words();
    let is_quiet =
        words.id == id && !set.is_removed() && set.sleepers() == 0 && number < set.count();
    let owner = objects.owner_if_entered();
    if !is_quiet || !is_granted(&words, wanted) {
        return None;
    }
    for index in 0..set.undos() {
        let undo = set.undo(index);
        if undo.owner != owner && undo.adjust != 0 {
            return None;
        }
    }
    Some(found)
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
    let semmsl = objects.file.sem_limit(0) as i32;
    (count >= 0 && count <= semmsl && count as u32 <= entry.size).then_some(entry.id)
}
