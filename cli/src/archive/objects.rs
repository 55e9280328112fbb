//! What an archive says of semaphore sets and message queues, but for what is in them.

use serde::{Deserialize, Serialize};
use shmshim_core::registry::Outcome;
use shmshim_core::registry::inspect;
use shmshim_core::registry::saved::Restoring;
use shmshim_core::sysv::flags::MODE_BITS;
use shmshim_core::sysv::msg::{self, MsgLimits};
use shmshim_core::sysv::sem::{SemLimits, SetPerm};
use shmshim_core::sysv::{IdCursor, IpcPerm, Key, Kind, SLOTS, ShmId};

use crate::kernel_objects;

/// What holds for all of them; a part of the description.
#[derive(Debug, Serialize, Deserialize)]
pub struct Objects {
    /// semmsl, semmns, semopm, semmni.
    sem: [i32; 4],
    /// msgmax, msgmnb, msgmni.
    msg: [u32; 3],
    /// Where ids go on: next, last, sequence.
    next_set: Option<(u32, i32, u32)>,
    next_queue: Option<(u32, i32, u32)>,
}

/// Whose one is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Perm {
    /// Its id.
    pub id: i32,
    /// Its key.
    pub key: i32,
    mode: u32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
}

/// A set: the line of JSON in front of its semaphores.
#[derive(Debug, Serialize, Deserialize)]
pub struct Set {
    /// See there.
    pub perm: Perm,
    otime: i64,
    ctime: i64,
    /// How many it has.
    pub semaphores: u32,
}

/// A queue: the line of JSON in front of its messages.
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
    /// How many it has.
    pub messages: u32,
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

    /// What it says; `None`: that cannot be.
    pub fn of_kind(&self, kind: Kind) -> Option<IpcPerm> {
        let id = ShmId::from_raw(self.id).ok()?;
        (self.mode & !MODE_BITS == 0).then_some(IpcPerm {
            kind,
            id,
            uid: self.uid,
            gid: self.gid,
            cuid: self.cuid,
            cgid: self.cgid,
            mode: self.mode,
        })
    }
}

impl Set {
    /// What is told of a set.
    pub fn new(stat: &SetPerm) -> Set {
        Set {
            perm: Perm::new(&stat.perm, stat.key),
            otime: stat.otime,
            ctime: stat.ctime,
            semaphores: stat.count,
        }
    }

    /// The same as the rules have it.
    pub fn stat(&self) -> Option<SetPerm> {
        Some(SetPerm {
            perm: self.perm.of_kind(Kind::Set)?,
            key: Key(self.perm.key),
            otime: self.otime,
            ctime: self.ctime,
            count: self.semaphores,
        })
    }
}

impl Queue {
    /// What is told of a queue with so many messages.
    pub fn new(stat: &msg::QueueFacts, messages: u32) -> Queue {
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

    /// The same as the rules have it, before its messages are in it.
    pub fn facts(&self) -> Option<msg::QueueFacts> {
        Some(msg::QueueFacts {
            perm: self.perm.of_kind(Kind::Queue)?,
            key: Key(self.perm.key),
            stime: self.stime,
            rtime: self.rtime,
            ctime: self.ctime,
            cbytes: 0,
            qnum: 0,
            qbytes: self.qbytes,
            lspid: self.lspid,
            lrpid: self.lrpid,
        })
    }
}

fn numbers(cursor: IdCursor) -> (u32, i32, u32) {
    (cursor.next, cursor.last, cursor.seq)
}

impl Objects {
    fn new((sem, msg): (SemLimits, MsgLimits), [set, queue]: [Option<IdCursor>; 2]) -> Objects {
        Objects {
            sem: [sem.semmsl, sem.semmns, sem.semopm, sem.semmni],
            msg: [msg.msgmax, msg.msgmnb, msg.msgmni],
            next_set: set.map(numbers),
            next_queue: queue.map(numbers),
        }
    }

    /// Those of a namespace.
    pub fn of(found: &inspect::Objects<'_>) -> Outcome<Objects> {
        Ok(Objects::new(found.limits(), found.cursors()?))
    }

    /// Those of the kernel. Ids go on at `cursor`.
    pub fn of_kernel(cursor: IdCursor) -> Objects {
        Objects::new(kernel_objects::limits(), [Some(cursor); 2])
    }

    fn limits(&self) -> (SemLimits, MsgLimits) {
        let [semmsl, semmns, semopm, semmni] = self.sem;
        let [msgmax, msgmnb, msgmni] = self.msg;
        let sem = SemLimits {
            semmsl,
            semmns,
            semopm,
            semmni,
        };
        let msg = MsgLimits {
            msgmax,
            msgmnb,
            msgmni,
        };
        (sem, msg)
    }

    /// That it describes something that can be.
    pub fn check(&self) -> Result<(), String> {
        let (sem, msg) = self.limits();
        if !sem.are_possible() || !msg.are_possible() {
            return Err(format!(
                "it describes limits that nobody can have set: semmni {}, msgmax {}, msgmnb {}, msgmni {}",
                sem.semmni, msg.msgmax, msg.msgmnb, msg.msgmni
            ));
        }
        let is_cursor = |cursor: &Option<(u32, i32, u32)>| {
            cursor.is_none_or(|(next, last, _)| {
                next <= SLOTS && last >= -1 && i64::from(last) < i64::from(SLOTS)
            })
        };
        match is_cursor(&self.next_set) && is_cursor(&self.next_queue) {
            true => Ok(()),
            false => Err("it describes a next id that cannot be".to_owned()),
        }
    }

    /// Where the ids of a kind go on.
    pub fn cursor(&self, kind: Kind) -> IdCursor {
        let known = match kind {
            Kind::Queue => self.next_queue,
            _ => self.next_set,
        };
        known.map_or(IdCursor::fresh(0), |(next, last, seq)| IdCursor {
            next,
            last,
            seq,
        })
    }

    /// Gives the limits to a namespace that is being made.
    pub fn restore_limits(&self, restoring: &Restoring<'_>) {
        let (sem, msg) = self.limits();
        restoring.set_object_limits(&sem, &msg);
    }
}
