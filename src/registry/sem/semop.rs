//! semop, as far as it does not sleep.

use super::{Found, UNDO, is_crowded};
use crate::registry::blocked::{Blocked, Listener};
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{Objects, now, objects};
use crate::storage::ipc::MoreRoom;
use crate::sysv::ShmId;
use crate::sysv::sem::{self, Attempt, Operation, Process};

/// What a change comes to: an answer, or that the set has changed meanwhile.
pub(super) enum Tried<T> {
    Answer(T),
    Again,
}

/// semop(2), semtimedop(2): operations that were counted and read; `limit`: nanoseconds to sleep at most. `asleep` is told when the
/// call begins to sleep.
pub fn semop(
    id: i32,
    operations: &[Operation],
    limit: Option<u64>,
    asleep: Listener<'_>,
) -> Outcome<()> {
    operate(id, operations, asleep, (), |call, found, at| {
        call.sleep(found, at, limit)
    })
}

/// `done` if the operations could be carried out; else what `sleep` makes of the set and the operation to sleep for.
#[inline(always)]
pub(super) fn operate<T>(
    id: i32,
    operations: &[Operation],
    asleep: Listener<'_>,
    done: T,
    sleep: impl FnOnce(&SemCall<'_>, Found, u16) -> Outcome<T>,
) -> Outcome<T> {
    let id = ShmId::from_raw(id)?;
    let objects = objects()?;
    let owes = operations
        .iter()
        .any(|operation| operation.flags & UNDO != 0);
    let owner = if owes {
        objects.owner()?
    } else {
        objects.owner_if_entered()
    };
    let call = SemCall {
        objects,
        id,
        operations,
        by: Process {
            owner,
            pid: objects.pid(),
        },
        asleep,
    };
    loop {
        let found = objects.set(id)?;
        if let Err(refused) = sem::check_operations(&found.facts(), operations, &Thread) {
            if found.is_still() {
                return Err(refused.into());
            }
            continue;
        }
        if objects.reap_in_set(&found, owes && is_crowded(&found.set, owner))? {
            continue;
        }
        match call.attempt(&found)? {
            Tried::Again => {}
            Tried::Answer(None) => return Ok(done),
            Tried::Answer(Some(at)) => return sleep(&call, found, at),
        }
    }
}

/// A semop on its way.
pub(super) struct SemCall<'a> {
    pub(super) objects: &'static Objects,
    pub(super) id: ShmId,
    pub(super) operations: &'a [Operation],
    pub(super) by: Process,
    pub(super) asleep: Listener<'a>,
}

impl SemCall<'_> {
    pub(super) fn undo_room(&self) -> u32 {
        self.operations
            .iter()
            .filter(|operation| operation.flags & UNDO != 0)
            .count() as u32
    }

    /// Tries the operations. `Some(at)`: the caller is to sleep for the operation `at`.
    #[inline]
    pub(super) fn attempt(&self, found: &Found) -> Outcome<Tried<Option<u16>>> {
        let objects = self.objects;
        if let [operation] = self.operations {
            // Where nothing is to be changed nothing is copied.
            let outlook = sem::outlook(&found.set, *operation, self.by.owner);
            if !found.is_still() {
                return Ok(Tried::Again);
            }
            if let Attempt::Blocked { at, no_wait } = outlook? {
                return self.blocked(found, at, no_wait);
            }
        }
        let more = MoreRoom {
            undos: self.undo_room(),
            ..MoreRoom::default()
        };
        let mut copy = objects.file.copy_set(&found.set, more, objects.holder())?;
        if !found.is_still() {
            objects.give_unpublished(copy.block());
            return Ok(Tried::Again);
        }
        match sem::operate(&mut copy, self.operations, self.by, now()) {
            Ok(Attempt::Done) if objects.publish(found, copy) => Ok(Tried::Answer(None)),
            Ok(Attempt::Done) => Ok(Tried::Again),
            Ok(Attempt::Blocked { at, no_wait }) => {
                objects.give_unpublished(copy.block());
                self.blocked(found, at, no_wait)
            }
            Err(refused) => {
                objects.give_unpublished(copy.block());
                Err(refused.into())
            }
        }
    }

    pub(super) fn blocked(
        &self,
        found: &Found,
        at: u16,
        no_wait: bool,
    ) -> Outcome<Tried<Option<u16>>> {
        if !no_wait {
            return Ok(Tried::Answer(Some(at)));
        }
        let refused = self.would_block(found, at, None);
        if found.is_still() {
            Err(refused.into())
        } else {
            Ok(Tried::Again)
        }
    }

    /// Why the operations cannot go on at `at`. `place`: the caller's own, if it sleeps there.
    pub(super) fn would_block(&self, found: &Found, at: u16, place: Option<u32>) -> Blocked {
        let operation = self.operations.get(usize::from(at)).copied();
        let refused = sem::would_block(&found.set, self.id.raw(), self.operations, at);
        let operation = operation.unwrap_or_default();
        Blocked::at_semaphore(refused, &found.facts(), &found.set, operation, place)
    }
}
