//! One operation of semop that needs no sleep, in as few steps as can be.

use super::{Found, UNDO, is_crowded};
use crate::registry::credentials;
use crate::registry::objects::{now, objects_if_open};
use crate::storage::ipc::ObjectKind;
use crate::sysv;
use crate::sysv::sem::{self, Attempt, Operation, Process, SetState};

/// One operation, if it can be answered without sleeping: 0, or the errno. Makes no system call where that can be avoided.
#[inline]
pub fn semop_at_once(id: i32, operation: Operation) -> Option<Result<(), i32>> {
    let objects = objects_if_open()?;
    let owner = objects.owner_if_entered();
    let [_, _, semopm, _] = objects.file.sem_limits();
    if operation.flags & UNDO != 0 && owner == 0 || id < 0 || semopm == 0 {
        return None;
    }
    let root = objects
        .file
        .root(ObjectKind::Set, id as u32 % sysv::SLOTS)?;
    let seen = root.seen();
    let set = objects.file.set(seen)?;
    let found = Found { root, seen, set };
    let facts = found.facts();
    let wanted = if operation.change != 0 {
        sysv::flags::WRITE
    } else {
        sysv::flags::READ
    };
    let is_plain = set.id() == id
        && !set.is_removed()
        && set.sleepers() == 0
        && u32::from(operation.number) < facts.count
        && credentials::is_granted_at_once(
            facts.perm.mode,
            facts.perm.uid,
            facts.perm.cuid,
            wanted,
        );
    // Whoever else owes something may have died.
    let others = || {
        (0..set.undos())
            .map(|index| set.undo(index))
            .any(|undo| undo.owner != owner && undo.adjust != 0)
    };
    if !is_plain || others() || operation.flags & UNDO != 0 && is_crowded(&set, owner) {
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
    let mut copy = objects.file.copy_quiet_set(&set, undos, owner).ok()?;
    let operated = found.is_still()
        && matches!(
            sem::operate(&mut copy, &[operation], by, now()),
            Ok(Attempt::Done)
        );
    let is_done = operated && found.root.change(seen, copy.block().unit);
    let unused = if is_done { set } else { copy };
    objects.file.give_unpublished(unused.block());
    // Refused or changed meanwhile: the full function finds out.
    is_done.then_some(Ok(()))
}
