//! semget.

use super::limits_of;
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{self, Wanted, now, objects};
use crate::storage::ipc::{ObjectKind, Root, Seen};
use crate::sysv::sem;
use crate::sysv::{Key, ShmId};

/// semget(2): the identifier.
pub fn semget(key: i32, count: i32, flags: i32) -> Outcome<i32> {
    let objects = objects()?;
    let limits = limits_of(objects);
    sem::check_count(count, &limits)?;
    let mut found = |root: Root, _: Seen| {
        let Some(found) = objects.set_behind(root) else {
            return Ok(None);
        };
        let facts = found.facts();
        if found.set.is_removed() || facts.key.0 != key || !found.is_still() {
            return Ok(None);
        }
        sem::open_set(&facts, count, flags, &Thread)?;
        // As it was read then: the block may be another set's by now.
        Ok(Some(facts.perm.id.raw()))
    };
    let mut missing = |sets: u32, semaphores: u32| {
        sem::missing_set_key(Key(key), flags)?;
        sem::check_new_set(count, semaphores, sets, &limits)
    };
    let mut build = |id: ShmId| {
        let words = objects::words_of_new(id, flags);
        let owner = objects.holder();
        let set = objects
            .file
            .new_set(words, key, count as u32, now(), owner)?;
        Ok(set.block())
    };
    let wanted = Wanted {
        kind: ObjectKind::Set,
        key,
        size: count as u32,
        id: None,
    };
    objects.get(wanted, &mut found, &mut missing, &mut build)
}
