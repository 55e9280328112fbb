//! A namespace as it is written to a file, and made again from one: for the command.
//!
//! What stands in the table is read at one moment, under its lock. A namespace that is made again is built out of everybody's
//! sight and appears whole: a program goes on there with the ids that it knows, and the next id is the one that the saved
//! namespace would have given.

use super::error::{Error, Outcome};
use super::process::registry;
use super::rules::{cursor_of, cursor_words, for_storage, segment, words_of};
use super::rules::{msg_words, sem_words};
use crate::os::{OsError, process};
use crate::storage::ipc::layout::{MOST_BYTES, SLAB};
use crate::storage::ipc::{
    MOST_MESSAGES, MOST_SEMAPHORES, MOST_TEXT_BYTES, ObjectKind, Words, queue_bytes, set_bytes,
    text_bytes,
};
use crate::storage::table::layout::FLAG_NORESERVE;
use crate::storage::table::{SlotImage, derived, slot_life};
use crate::storage::{Builder, Namespace, Rules, StorageError};
use crate::sysv::msg::{MsgLimits, QueueFacts, QueueState};
use crate::sysv::sem::{SemLimits, SetPerm, SetState};
use crate::sysv::{self, IdCursor, IpcPerm, Limits, Segment};
use core::fmt;
use std::os::fd::OwnedFd;

/// A segment, with what IPC_STAT does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What IPC_STAT tells.
    pub stat: Segment,
    /// Whose locked memory it counts as, while it is locked.
    pub locker: u32,
    /// Made with SHM_NORESERVE.
    pub is_unreserved: bool,
    /// The size of its huge pages.
    pub huge_page_bytes: Option<u64>,
}

/// Calls `each` with every segment, by rising index, as all of them are at one moment. Returns the limits, and where ids go on.
pub fn save(each: &mut dyn FnMut(&Saved)) -> Outcome<(Limits, IdCursor)> {
    let registry = registry()?;
    registry.enforce_forced()?;
    registry.reap_all()?;
    let session = registry.enter()?;
    let held = session.lock()?;
    for slot in derived::taken_slots(held.table()) {
        let image = held.table().image(slot);
        if image.is_live() {
            each(&Saved {
                stat: segment(&image),
                locker: image.locker,
                is_unreserved: image.flags & FLAG_NORESERVE != 0,
                huge_page_bytes: image.huge_page_log2().map(|log2| 1 << log2),
            });
        }
    }
    Ok((registry.limits(), cursor_of(slot_life::cursor(&held))))
}

/// Why a namespace was not made.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "made on the stack once, and there is no heap"
)]
pub enum Stopped<E> {
    /// A refusal of the library.
    Failed(Error),
    /// The caller's own reason.
    ByCaller(E),
}

impl<E> From<StorageError> for Stopped<E> {
    fn from(obstacle: StorageError) -> Stopped<E> {
        Stopped::Failed(obstacle.into())
    }
}

impl<E> From<Error> for Stopped<E> {
    fn from(failure: Error) -> Stopped<E> {
        Stopped::Failed(failure)
    }
}

/// A namespace that is being made.
pub struct Restoring<'n>(&'n Builder<'n>);

/// Makes the namespace that the settings name, with the segments that `fill` adds; a failure changes nothing. `Ok(false)`:
/// there is one already, with segments or processes in it.
pub fn restore<E>(
    limits: &Limits,
    cursor: IdCursor,
    fill: impl FnOnce(&Restoring<'_>) -> Result<(), Stopped<E>>,
) -> Result<bool, Stopped<E>> {
    sysv::set_page_size(process::page_size() as u64);
    let rules = Rules {
        limits: words_of(limits),
        ..for_storage()
    };
    Namespace::build(&rules, cursor_words(cursor), |builder| {
        fill(&Restoring(builder))
    })
}

impl Restoring<'_> {
    /// Adds a segment of ordinary pages, whose file `write` is given to fill.
    pub fn add<E>(
        &self,
        saved: &Saved,
        write: impl FnOnce(OwnedFd) -> Result<(), E>,
    ) -> Result<(), Stopped<E>> {
        let write = |fd| write(OwnedFd::from(fd)).map_err(Stopped::ByCaller);
        self.0.add(&image_of(saved), write)
    }
}

impl Restoring<'_> {
    /// Sets the limits of semaphore sets and message queues.
    pub fn set_object_limits(&self, sem: &SemLimits, msg: &MsgLimits) {
        self.0.ipc().set_sem_limits(sem_words(sem));
        self.0.ipc().set_msg_limits(msg_words(msg));
    }

    /// Adds a semaphore set with these values and process ids. Nobody sleeps in it or owes it anything.
    pub fn add_set<E>(
        &self,
        stat: &SetPerm,
        semaphores: &[(u16, i32)],
        cursor: IdCursor,
    ) -> Result<(), Stopped<E>> {
        let file = self.0.ipc();
        let count = semaphores.len() as u32;
        let mut set = file.new_set(words_of_perm(&stat.perm), stat.key.0, count, stat.ctime, 0)?;
        for (number, (value, pid)) in (0..).zip(semaphores) {
            set.set(number, *value, *pid);
        }
        set.set_otime(stat.otime);
        let name = (stat.perm.id.raw(), stat.key.0);
        let cursor = (cursor.next, cursor.last, cursor.seq);
        match file.place_object(ObjectKind::Set, name, count, cursor, set.block())? {
            true => Ok(()),
            false => Err(two_of_one().into()),
        }
    }

    /// Adds a message queue with so many messages, of which `fill` hands over type and text, the oldest first.
    pub fn add_queue<E>(
        &self,
        stat: &QueueFacts,
        messages: u32,
        cursor: IdCursor,
        fill: impl FnOnce(&mut Messages<'_, E>) -> Result<(), Stopped<E>>,
    ) -> Result<(), Stopped<E>> {
        let file = self.0.ipc();
        let words = words_of_perm(&stat.perm);
        let mut queue = file.new_queue_with_room(words, stat.key.0, stat.qbytes, messages, 0)?;
        fill(&mut |mtype, text| {
            queue.push_message(file.new_message(mtype, text, 0)?);
            Ok(())
        })?;
        queue.set_facts(*stat);
        let name = (stat.perm.id.raw(), stat.key.0);
        let cursor = (cursor.next, cursor.last, cursor.seq);
        match file.place_object(ObjectKind::Queue, name, 0, cursor, queue.block())? {
            true => Ok(()),
            false => Err(two_of_one().into()),
        }
    }
}

/// Takes type and text of a message.
pub type Messages<'a, E> = dyn FnMut(i64, &[u8]) -> Result<(), Stopped<E>> + 'a;

/// The room that a namespace has for semaphore sets and message queues. What is saved is asked whether it fits, and what is
/// restored is asked the same.
#[derive(Debug)]
pub struct Room {
    left_bytes: u64,
}

/// Why something is in no namespace's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A set without semaphores.
    Empty,
    /// More than one object can have.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it has.
        has: u32,
        /// How many it can have.
        most: u32,
    },
    /// More than fits beside what was taken before.
    Together,
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Empty => out.write_str("it has no semaphores"),
            Unfit::TooMany { what, has, most } => {
                write!(out, "it has {has} {what}, and there can be {most}")
            }
            Unfit::Together => write!(
                out,
                "all sets, queues and messages together take more than {} MiB, each rounded up to a power of two",
                MOST_BYTES >> 20
            ),
        }
    }
}

impl Room {
    /// The room of an empty namespace.
    pub const fn of_a_namespace() -> Room {
        Room {
            // The first piece is no block.
            left_bytes: MOST_BYTES - SLAB as u64,
        }
    }

    /// Takes room for a set with so many semaphores.
    pub fn take_set(&mut self, semaphores: u32) -> Result<(), Unfit> {
        if semaphores == 0 {
            return Err(Unfit::Empty);
        }
        at_most("semaphores", semaphores, MOST_SEMAPHORES)?;
        self.take(set_bytes(semaphores))
    }

    /// Takes room for a queue with so many messages, without their texts.
    pub fn take_queue(&mut self, messages: u32) -> Result<(), Unfit> {
        at_most("messages", messages, MOST_MESSAGES)?;
        self.take(queue_bytes(messages))
    }

    /// Takes room for the text of a message.
    pub fn take_text(&mut self, len_bytes: u32) -> Result<(), Unfit> {
        at_most("bytes in a message", len_bytes, MOST_TEXT_BYTES)?;
        self.take(text_bytes(len_bytes))
    }

    fn take(&mut self, bytes: u64) -> Result<(), Unfit> {
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Unfit::Together)?;
        Ok(())
    }
}

fn at_most(what: &'static str, has: u32, most: u32) -> Result<(), Unfit> {
    match has <= most {
        true => Ok(()),
        false => Err(Unfit::TooMany { what, has, most }),
    }
}

pub(super) fn words_of_perm(perm: &IpcPerm) -> Words {
    Words {
        id: perm.id.raw(),
        uid: perm.uid,
        gid: perm.gid,
        cuid: perm.cuid,
        cgid: perm.cgid,
        mode: perm.mode & sysv::flags::MODE_BITS,
    }
}

fn two_of_one() -> StorageError {
    StorageError::Call {
        doing: "make two objects with one identifier or key",
        error: OsError(libc::EEXIST),
    }
}

/// The slot that a segment of ordinary pages is to have. Nobody has it attached.
pub(super) fn image_of(saved: &Saved) -> SlotImage {
    let stat = &saved.stat;
    SlotImage {
        id: stat.id.raw(),
        key: stat.key.0,
        name_key: stat.key.0,
        uid: stat.uid,
        gid: stat.gid,
        cuid: stat.cuid,
        cgid: stat.cgid,
        mode: stat.mode,
        segsz: stat.segsz,
        atime: stat.atime,
        dtime: stat.dtime,
        ctime: stat.ctime,
        cpid: stat.cpid,
        lpid: stat.lpid,
        locker: saved.locker,
        flags: if saved.is_unreserved {
            FLAG_NORESERVE
        } else {
            0
        },
        ..SlotImage::default()
    }
}
