//! Semaphore sets and message queues: in a namespace of the library's, or in the kernel. What is told of them has one form for
//! both.

mod read;

use serde::Serialize;
use shmshim_core::sysv::msg::QueueFacts;
use shmshim_core::sysv::sem::{Operation, SetPerm};
use shmshim_core::sysv::{self, IpcPerm, Kind};

use crate::kinds;
use crate::participant::Participant;
use crate::rights::Rights;
use crate::semaphore::Semaphore;
use crate::users::Names;

pub use read::{queues_of, sets_of};

/// A semaphore set.
#[derive(Debug, Clone, Serialize)]
pub struct Set {
    /// What it is.
    pub kind: &'static str,
    /// Its id.
    pub id: i32,
    /// Its key, eight hexadecimal digits behind 0x.
    pub key: String,
    /// How many semaphores it has.
    pub semaphores: u32,
    /// How many threads sleep in it; none where it is not known.
    pub sleepers: Option<usize>,
    /// How many processes owe it something (SEM_UNDO).
    pub debtors: Option<usize>,
    /// See there.
    #[serde(flatten)]
    pub rights: Rights,
    /// When it was made or changed by semctl, in seconds since 1970.
    pub changed: Option<i64>,
    /// When semop was carried out last.
    pub operated: Option<i64>,
    /// Its semaphores, where they are known.
    #[serde(skip)]
    pub values: Vec<Semaphore>,
    /// Who owes it something, and who sleeps in it.
    #[serde(skip)]
    pub uses: Vec<Use>,
    /// The key as a number.
    #[serde(skip)]
    pub raw_key: i32,
    /// As the rules have it.
    #[serde(skip)]
    pub perm: IpcPerm,
}

/// A message queue.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    /// What it is.
    pub kind: &'static str,
    /// Its id.
    pub id: i32,
    /// Its key, eight hexadecimal digits behind 0x.
    pub key: String,
    /// How many messages are in it.
    pub messages: u32,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Bytes that it may hold; none where it is not known.
    pub capacity: Option<u32>,
    /// How many threads sleep in it; none where it is not known.
    pub sleepers: Option<usize>,
    /// See there.
    #[serde(flatten)]
    pub rights: Rights,
    /// When it was made or changed by msgctl, in seconds since 1970.
    pub changed: Option<i64>,
    /// When a message was sent last.
    pub sent: Option<i64>,
    /// When one was received last.
    pub received: Option<i64>,
    /// Who sent last.
    pub last_sender: Option<i32>,
    /// Who received last.
    pub last_receiver: Option<i32>,
    /// Its messages, where they are known.
    #[serde(skip)]
    pub list: Option<Vec<Message>>,
    /// Who sleeps in it.
    #[serde(skip)]
    pub uses: Vec<Use>,
    /// The key as a number.
    #[serde(skip)]
    pub raw_key: i32,
}

/// A message.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Its type.
    #[serde(rename = "type")]
    pub mtype: i64,
    /// Bytes of its text.
    pub bytes: u32,
}

/// What one process has to do with a set or a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Use {
    /// Which process, and which object.
    #[serde(flatten)]
    pub who: Participant,
    /// Since when it sleeps, in seconds since 1970, to the tenth; none: it does not.
    pub asleep_since: Option<f64>,
    /// What it has to do with it.
    #[serde(flatten)]
    pub does: Does,
}

/// Since when the first of them sleeps, in seconds since 1970.
pub fn asleep_since(uses: &[Use]) -> Option<f64> {
    let all = uses.iter().filter_map(|one| one.asleep_since);
    all.min_by(f64::total_cmp)
}

/// See [`Use::does`].
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "does", rename_all = "lowercase")]
pub enum Does {
    /// It owes a semaphore something.
    Owes {
        /// Which.
        semaphore: u16,
        /// What is added when the process ends.
        adjust: i16,
    },
    /// A thread of it sleeps in semop.
    Operates {
        /// What it is to carry out.
        operations: Vec<ShownOperation>,
        /// Which of them cannot go on.
        blocked_at: u16,
    },
    /// A thread of it sleeps in msgrcv.
    Receives {
        /// What type is waited for.
        #[serde(rename = "type")]
        mtype: i64,
        /// MSG_EXCEPT: any other.
        except: bool,
    },
    /// A thread of it sleeps in msgsnd.
    Sends {
        /// Bytes of its message's text.
        bytes: u32,
    },
}

/// An operation of semop.
#[derive(Debug, Clone, Serialize)]
pub struct ShownOperation {
    /// Which semaphore.
    pub semaphore: u16,
    /// What is added; 0: wait until it is 0.
    pub change: i16,
    /// SEM_UNDO.
    pub undo: bool,
}

impl From<&Operation> for ShownOperation {
    fn from(operation: &Operation) -> ShownOperation {
        ShownOperation {
            semaphore: operation.number,
            change: operation.change,
            undo: i32::from(operation.flags) & sysv::sem::flags::SEM_UNDO != 0,
        }
    }
}

impl Does {
    /// As people read it.
    pub fn text(&self) -> String {
        match self {
            Does::Owes { semaphore, adjust } => {
                format!("owes {adjust:+} to semaphore {semaphore}")
            }
            Does::Operates {
                operations,
                blocked_at,
            } => {
                let all: Vec<String> = (0..)
                    .zip(operations)
                    .map(|(nth, one)| {
                        let undo = if one.undo { " undo" } else { "" };
                        let what = match one.change {
                            0 => format!("{}=0{undo}", one.semaphore),
                            change => format!("{}{change:+}{undo}", one.semaphore),
                        };
                        match operations.len() > 1 && nth == *blocked_at {
                            true => format!("[{what}]"),
                            false => what,
                        }
                    })
                    .collect();
                format!("sleeps for {}", all.join(", "))
            }
            Does::Receives { mtype: 0, .. } => "sleeps for a message".to_owned(),
            Does::Receives {
                mtype,
                except: true,
            } => format!("sleeps for a message not of type {mtype}"),
            Does::Receives { mtype, .. } if *mtype < 0 => {
                format!(
                    "sleeps for a message of type {} or lower",
                    mtype.unsigned_abs()
                )
            }
            Does::Receives { mtype, .. } => format!("sleeps for a message of type {mtype}"),
            Does::Sends { bytes } => format!("sleeps for room for {bytes} bytes"),
        }
    }
}

fn time(secs: i64) -> Option<i64> {
    (secs != 0).then_some(secs)
}

fn pid(pid: i32) -> Option<i32> {
    (pid != 0).then_some(pid)
}

/// A set of which no more is known than what IPC_STAT tells.
pub fn set(stat: &SetPerm, names: &mut Names) -> Set {
    Set {
        kind: kinds::name(Kind::Set),
        id: stat.perm.id.raw(),
        key: stat.key.to_string(),
        semaphores: stat.count,
        sleepers: None,
        debtors: None,
        rights: Rights::of(&stat.perm, names),
        changed: time(stat.ctime),
        operated: time(stat.otime),
        values: Vec::new(),
        uses: Vec::new(),
        raw_key: stat.key.0,
        perm: stat.perm,
    }
}

/// A queue of which no more is known than what IPC_STAT tells.
pub fn queue(stat: &QueueFacts, names: &mut Names) -> Queue {
    Queue {
        kind: kinds::name(Kind::Queue),
        id: stat.perm.id.raw(),
        key: stat.key.to_string(),
        messages: stat.qnum,
        bytes: stat.cbytes,
        capacity: (stat.qbytes != 0).then_some(stat.qbytes),
        sleepers: None,
        rights: Rights::of(&stat.perm, names),
        changed: time(stat.ctime),
        sent: time(stat.stime),
        received: time(stat.rtime),
        last_sender: pid(stat.lspid),
        last_receiver: pid(stat.lrpid),
        list: None,
        uses: Vec::new(),
        raw_key: stat.key.0,
    }
}
