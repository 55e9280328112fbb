//! Semaphore sets and message queues that have been elsewhere, with the identifier, the owners and the times that they had there: for
//! the command, which brings the kernel's into a namespace.

use super::error::Outcome;
use super::objects::{Objects, Wanted, objects};
use super::rules;
use super::saved::words_of_perm;
use crate::os::pages::PageVec;
use crate::storage::StorageError;
use crate::storage::ipc::{Block, ObjectKind, Words};
use crate::sysv::msg::{self, Message, QueueFacts, QueueState};
use crate::sysv::sem::{self, SetPerm, SetState};
use crate::sysv::{IpcPerm, Ruling, ShmId};

/// Adds a semaphore set with these values and process ids: with its identifier, if that is free, else with another one, which is
/// returned. `None`: another set has its key. Nobody sees it before it is whole.
pub fn import_set(stat: &SetPerm, semaphores: &[(u16, i32)]) -> Outcome<Option<i32>> {
    let objects = objects()?;
    let limits = rules::sem_limits_of(objects.file.sem_limits());
    let count = semaphores.len() as u32;
    sem::check_count(count as i32, &limits)?;
    let wanted = Wanted {
        kind: ObjectKind::Set,
        key: stat.key.0,
        size: count,
        id: Some(stat.perm.id),
    };
    let may_be = |sets, sum| sem::check_new_set(count as i32, sum, sets, &limits);
    objects.import(wanted, may_be, |id| {
        let words = words_with(id, &stat.perm);
        let holder = objects.holder();
        let file = &objects.file;
        let mut set = file.new_set(words, stat.key.0, count, stat.ctime, holder)?;
        for (number, (value, pid)) in (0..).zip(semaphores) {
            set.set(number, *value, *pid);
        }
        set.set_otime(stat.otime);
        Ok(set.block())
    })
}

/// The same of a message queue with these messages, the oldest first: type and text.
pub fn import_queue(stat: &QueueFacts, messages: &[(i64, &[u8])]) -> Outcome<Option<i32>> {
    let objects = objects()?;
    let mut made = PageVec::new();
    let imported = objects.import_queue(stat, messages, &mut made);
    if !matches!(imported, Ok(Some(_))) {
        for message in made.iter() {
            objects.give_text(message.text);
        }
    }
    imported
}

impl Objects {
    fn import_queue(
        &self,
        stat: &QueueFacts,
        messages: &[(i64, &[u8])],
        made: &mut PageVec<Message>,
    ) -> Outcome<Option<i32>> {
        let no_room = |error| StorageError::Call {
            doing: "set memory aside",
            error,
        };
        let (file, holder) = (&self.file, self.holder());
        made.reserve(messages.len()).map_err(no_room)?;
        for (mtype, text) in messages {
            let message = file.new_message(*mtype, text, holder)?;
            made.insert(made.len(), message);
        }
        let limits = rules::msg_limits_of(file.msg_limits());
        let wanted = Wanted {
            kind: ObjectKind::Queue,
            key: stat.key.0,
            size: 0,
            id: Some(stat.perm.id),
        };
        let may_be = |queues, _| msg::check_new_queue(queues, &limits);
        self.import(wanted, may_be, |id| {
            let words = words_with(id, &stat.perm);
            let count = made.len() as u32;
            let key = stat.key.0;
            let mut queue = file.new_queue_with_room(words, key, stat.qbytes, count, holder)?;
            for message in made.iter() {
                queue.push_message(*message);
            }
            queue.set_facts(*stat);
            Ok(queue.block())
        })
    }

    /// `may_be`: whether there may be one more beside so many, whose sizes have this sum. `None`: the key is taken.
    fn import(
        &self,
        wanted: Wanted,
        may_be: impl Fn(u32, u32) -> Ruling<()>,
        build: impl Fn(ShmId) -> Result<Block, StorageError>,
    ) -> Outcome<Option<i32>> {
        // What no identifier is.
        const TAKEN: i32 = -1;
        let id = self.get(
            wanted,
            &mut |_, _| Ok(Some(TAKEN)),
            &mut |objects, sum| may_be(objects, sum),
            &mut |id| build(id),
        )?;
        Ok((id != TAKEN).then_some(id))
    }
}

fn words_with(id: ShmId, perm: &IpcPerm) -> Words {
    Words {
        id: id.raw(),
        ..words_of_perm(perm)
    }
}
