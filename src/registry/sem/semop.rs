//! semop, as far as it does not sleep.

use super::{Found, UNDO, is_crowded};
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

/// semop(2), semtimedop(2): operations that were counted and read; `limit`: nanoseconds to sleep at most.
pub fn semop(id: i32, operations: &[Operation], limit: Option<u64>) -> Outcome<()> {
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
    };
    loop {
        let found = objects.set(id)?;
        if let Err(refused) = sem::check_operations(&found.facts(), operations, &Thread) {
            if found.is_still() {
                return Err(refused.into());
            }
            continue;
        }
        if objects.bury(&found, owes && is_crowded(&found.set, owner))? {
            continue;
        }
        match call.attempt(&found)? {
            Tried::Again => {}
            Tried::Answer(None) => return Ok(()),
            Tried::Answer(Some(at)) => return call.sleep(found, at, limit),
        }
    }
}

/// A semop on its way.
pub(super) struct SemCall<'a> {
    pub(super) objects: &'static Objects,
    pub(super) id: ShmId,
    pub(super) operations: &'a [Operation],
    pub(super) by: Process,
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
        let refused = sem::would_block(&found.set, self.operations, at);
        if found.is_still() {
            Err(refused.into())
        } else {
            Ok(Tried::Again)
        }
    }
}
