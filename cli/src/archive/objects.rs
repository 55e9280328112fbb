//! What a description says of semaphore sets and message queues: they are small, and stand in it with all that is in them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shmshim_core::registry::Outcome;
use shmshim_core::registry::inspect;
use shmshim_core::registry::saved::{Restoring, Stopped};
use shmshim_core::sysv::flags::MODE_BITS;
use shmshim_core::sysv::msg::{MsgLimits, QueueFacts};
use shmshim_core::sysv::sem::{SemLimits, SetPerm};
use shmshim_core::sysv::{IdCursor, IpcPerm, Key, Kind, SLOTS, ShmId};

use crate::error::{self, ABSENT};
use crate::kernel_objects;

/// Semaphore sets and message queues.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Objects {
    /// semmsl, semmns, semopm, semmni.
    sem: [i32; 4],
    /// msgmax, msgmnb, msgmni.
    msg: [u32; 3],
    /// Where ids go on: next, last, sequence.
    next_set: Option<(u32, i32, u32)>,
    next_queue: Option<(u32, i32, u32)>,
    /// The sets.
    pub sets: Vec<Set>,
    /// The queues.
    pub queues: Vec<Queue>,
}

/// Whose one is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Perm {
    id: i32,
    key: i32,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Its creator.
    pub cuid: u32,
    cgid: u32,
}

/// A set.
#[derive(Debug, Serialize, Deserialize)]
pub struct Set {
    /// See there.
    pub perm: Perm,
    otime: i64,
    ctime: i64,
    /// Value and process id of each.
    semaphores: Vec<(u16, i32)>,
}

/// A queue.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// See there.
    pub perm: Perm,
    stime: i64,
    rtime: i64,
    ctime: i64,
    qbytes: u32,
    lspid: i32,
    lrpid: i32,
    /// Type and text of each, the oldest first; the text in hexadecimal.
    messages: Vec<(i64, String)>,
}

impl Set {
    fn new(stat: &SetPerm, semaphores: Vec<(u16, i32)>) -> Set {
        Set {
            perm: Perm::new(&stat.perm, stat.key),
            otime: stat.otime,
            ctime: stat.ctime,
            semaphores,
        }
    }
}

impl Queue {
    fn new(stat: &QueueFacts, messages: Vec<(i64, String)>) -> Queue {
        Queue {
            perm: Perm::new(&stat.perm, stat.key),
            stime: stat.stime,
            rtime: stat.rtime,
            ctime: stat.ctime,
            qbytes: stat.qbytes,
            lspid: stat.lspid,
            lrpid: stat.lrpid,
            messages,
        }
    }
}

/// A kernel may have been built without them.
fn if_any<T>(list: error::Outcome<Vec<T>>) -> error::Outcome<Vec<T>> {
    Ok(if_there(list)?.unwrap_or_default())
}

/// What is not there, or not any more, is none.
fn if_there<T>(read: error::Outcome<T>) -> error::Outcome<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.status == ABSENT => Ok(None),
        Err(error) => Err(error),
    }
}

impl Perm {
    fn new(perm: &IpcPerm, key: Key) -> Perm {
        Perm {
            id: perm.id.raw(),
            key: key.0,
            mode: perm.mode & MODE_BITS,
            uid: perm.uid,
            gid: perm.gid,
            cuid: perm.cuid,
            cgid: perm.cgid,
        }
    }

    /// Makes it one of one user and group alone.
    pub fn give_to(&mut self, uid: u32, gid: u32) {
        (self.uid, self.cuid, self.gid, self.cgid) = (uid, uid, gid, gid);
    }

    fn perm(&self, kind: Kind) -> Option<IpcPerm> {
        Some(IpcPerm {
            kind,
            id: ShmId::from_raw(self.id).ok()?,
            uid: self.uid,
            gid: self.gid,
            cuid: self.cuid,
            cgid: self.cgid,
            mode: self.mode,
        })
    }
}

fn hexadecimal(text: &[u8]) -> String {
    text.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
            _ => None,
        })
        .collect()
}

fn numbers(cursor: IdCursor) -> (u32, i32, u32) {
    (cursor.next, cursor.last, cursor.seq)
}

impl Objects {
    /// Those of a namespace: each as it is at one moment.
    pub fn of(found: &inspect::Objects<'_>) -> Outcome<Objects> {
        let (sem, msg) = found.limits();
        let [next_set, next_queue] = found.cursors()?.map(|cursor| cursor.map(numbers));
        let mut objects = Objects {
            sem: [sem.semmsl, sem.semmns, sem.semopm, sem.semmni],
            msg: [msg.msgmax, msg.msgmnb, msg.msgmni],
            next_set,
            next_queue,
            ..Objects::default()
        };
        found.each_set(&mut |set| {
            let semaphores = set.semaphores.iter().map(|one| (one.value, one.pid));
            objects.sets.push(Set::new(&set.stat, semaphores.collect()));
        })?;
        found.each_queue_with_texts(&mut |queue| {
            let mut texts = queue.texts;
            let messages = queue.messages.iter().map(|message| {
                let (text, behind) = texts
                    .split_at_checked(message.len as usize)
                    .unwrap_or((texts, &[]));
                texts = behind;
                (message.mtype, hexadecimal(text))
            });
            objects
                .queues
                .push(Queue::new(&queue.stat, messages.collect()));
        })?;
        Ok(objects)
    }

    /// Those of the kernel: the values of a set are of one moment, and so are the messages of a queue. Ids go on at `cursor`.
    pub fn of_kernel(cursor: IdCursor) -> error::Outcome<Objects> {
        let (sem, msg) = kernel_objects::limits();
        let next = Some(numbers(cursor));
        let mut objects = Objects {
            sem: [sem.semmsl, sem.semmns, sem.semopm, sem.semmni],
            msg: [msg.msgmax, msg.msgmnb, msg.msgmni],
            next_set: next,
            next_queue: next,
            ..Objects::default()
        };
        for stat in if_any(kernel_objects::sets())? {
            if let Some(semaphores) = if_there(kernel_objects::semaphores(&stat))? {
                objects.sets.push(Set::new(&stat, semaphores));
            }
        }
        for stat in if_any(kernel_objects::queues())? {
            if let Some((stat, messages)) = if_there(kernel_objects::messages(&stat))? {
                let texts = messages.iter();
                let messages = texts.map(|(mtype, text)| (*mtype, hexadecimal(text)));
                objects.queues.push(Queue::new(&stat, messages.collect()));
            }
        }
        Ok(objects)
    }

    /// That it describes something that can be.
    pub fn check(&self) -> Result<(), String> {
        let is_new = |perms: &[&Perm]| {
            let (mut slots, mut keys) = (BTreeSet::new(), BTreeSet::new());
            perms.iter().all(|perm| {
                ShmId::from_raw(perm.id).is_ok_and(|id| slots.insert(id.slot()))
                    && (perm.key == 0 || keys.insert(perm.key))
                    && perm.mode & !MODE_BITS == 0
            })
        };
        let sets = is_new(&self.sets.iter().map(|set| &set.perm).collect::<Vec<_>>())
            && self.sets.iter().all(|set| {
                let count = set.semaphores.len();
                (1..=65536).contains(&count)
                    && set.semaphores.iter().all(|(value, _)| *value <= 32767)
            });
        let queues = is_new(
            &self
                .queues
                .iter()
                .map(|queue| &queue.perm)
                .collect::<Vec<_>>(),
        ) && self.queues.iter().all(|queue| {
            let mut messages = queue.messages.iter();
            messages.all(|(mtype, text)| *mtype > 0 && bytes(text).is_some())
        });
        let is_cursor = |cursor: &Option<(u32, i32, u32)>| {
            cursor.is_none_or(|(next, last, _)| {
                next <= SLOTS && last >= -1 && i64::from(last) < i64::from(SLOTS)
            })
        };
        match sets && queues && is_cursor(&self.next_set) && is_cursor(&self.next_queue) {
            true => Ok(()),
            false => {
                Err("it describes a semaphore set or a message queue that cannot be".to_owned())
            }
        }
    }

    /// All owners and groups.
    pub fn perms(&mut self) -> impl Iterator<Item = &mut Perm> {
        let sets = self.sets.iter_mut().map(|set| &mut set.perm);
        sets.chain(self.queues.iter_mut().map(|queue| &mut queue.perm))
    }

    /// Adds them to a namespace that is being made.
    pub fn restore<E>(&self, restoring: &Restoring<'_>) -> Result<(), Stopped<E>> {
        let [semmsl, semmns, semopm, semmni] = self.sem;
        let [msgmax, msgmnb, msgmni] = self.msg;
        restoring.set_object_limits(
            &SemLimits {
                semmsl,
                semmns,
                semopm,
                semmni,
            },
            &MsgLimits {
                msgmax,
                msgmnb,
                msgmni,
            },
        );
        let cursor = |known: Option<(u32, i32, u32)>| {
            known.map_or(IdCursor::fresh(0), |(next, last, seq)| IdCursor {
                next,
                last,
                seq,
            })
        };
        for set in &self.sets {
            let Some(perm) = set.perm.perm(Kind::Set) else {
                continue;
            };
            let stat = SetPerm {
                perm,
                key: Key(set.perm.key),
                otime: set.otime,
                ctime: set.ctime,
                count: set.semaphores.len() as u32,
            };
            restoring.add_set(&stat, &set.semaphores, cursor(self.next_set))?;
        }
        for queue in &self.queues {
            let Some(perm) = queue.perm.perm(Kind::Queue) else {
                continue;
            };
            let texts: Vec<_> = queue
                .messages
                .iter()
                .map(|(mtype, text)| (*mtype, bytes(text).unwrap_or_default()))
                .collect();
            let messages: Vec<(i64, &[u8])> = texts
                .iter()
                .map(|(mtype, text)| (*mtype, text.as_slice()))
                .collect();
            let stat = QueueFacts {
                perm,
                key: Key(queue.perm.key),
                stime: queue.stime,
                rtime: queue.rtime,
                ctime: queue.ctime,
                cbytes: 0,
                qnum: 0,
                qbytes: queue.qbytes,
                lspid: queue.lspid,
                lrpid: queue.lrpid,
            };
            restoring.add_queue(&stat, &messages, cursor(self.next_queue))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in [&b""[..], b"\0", b"abc\xff\n"] {
            assert_eq!(bytes(&hexadecimal(text)).as_deref(), Some(text));
        }
        assert_eq!(bytes("abc"), None);
        assert_eq!(bytes("ag"), None);
    }
}
