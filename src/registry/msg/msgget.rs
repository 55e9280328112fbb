//! msgget.

use super::limits_of;
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{self, Wanted, now, objects, objects_if_open};
use crate::storage::ipc::{ObjectKind, Root, Seen};
use crate::sysv::msg::{self, QueueState};
use crate::sysv::{Key, ShmId};

/// msgget(2): the identifier.
pub fn msgget(key: i32, flags: i32) -> Outcome<i32> {
    let objects = objects()?;
    let limits = limits_of(objects);
    let mut found = |root: Root, _: Seen| {
        let Some(found) = objects.queue_behind(root) else {
            return Ok(None);
        };
        let (facts, is_removed) = (found.queue.facts(), found.queue.is_removed());
        if is_removed || facts.key.0 != key || !found.is_still() {
            return Ok(None);
        }
        msg::open_queue(&facts, flags, &Thread)?;
        Ok(Some(facts.perm.id.raw()))
    };
    let mut missing = |queues: u32, _: u32| {
        msg::missing_queue_key(Key(key), flags)?;
        msg::check_new_queue(queues, &limits)
    };
    let mut build = |id: ShmId| {
        let words = objects::words_of_new(id, flags);
        let owner = objects.holder();
        let queue = objects
            .file
            .new_queue(words, key, limits.msgmnb, now(), owner)?;
        Ok(queue.block())
    };
    let wanted = Wanted {
        kind: ObjectKind::Queue,
        key,
        size: 0,
        id: None,
    };
    objects.get(wanted, &mut found, &mut missing, &mut build)
}

/// msgget of a key that has a queue: its identifier, without a system call. What is not plain is left to [`msgget`].
#[inline]
pub fn msgget_at_once(key: i32, flags: i32) -> Option<i32> {
    let objects = objects_if_open()?;
    let entry = objects.known_at_once(ObjectKind::Queue, key, flags)?;
    Some(entry.id)
}
