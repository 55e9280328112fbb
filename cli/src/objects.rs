//! Semaphore sets and message queues: in a namespace of the library's, or in the kernel. What is told of them has one form for
//! both.

use std::collections::BTreeMap;

use serde::Serialize;
use shmshim_core::registry;
use shmshim_core::registry::inspect::{self, Inspection, Presence, Wish};
use shmshim_core::sysv::msg::{QueueFacts, flags as msg_flags};
use shmshim_core::sysv::sem::{Operation, SetPerm};
use shmshim_core::sysv::{self, IpcPerm, Kind};

use crate::error::{Error, Outcome};
use crate::kernel_objects;
use crate::kinds;
use crate::process;
use crate::segment::Which;
use crate::source::Source;
use crate::users::Names;

/// Whose an object is, and who may use it; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Rights {
    /// Owner, and what it is called.
    pub uid: u32,
    /// See `uid`.
    pub owner: Option<String>,
    /// Group.
    pub gid: u32,
    /// See `gid`.
    pub group: Option<String>,
    /// Creator.
    pub cuid: u32,
    /// See `cuid`.
    pub creator: Option<String>,
    /// Creator's group.
    pub cgid: u32,
    /// The permission bits, octal.
    pub mode: String,
}

fn rights(perm: &IpcPerm, names: &mut Names) -> Rights {
    Rights {
        uid: perm.uid,
        owner: names.user(perm.uid),
        gid: perm.gid,
        group: names.group(perm.gid),
        cuid: perm.cuid,
        creator: names.user(perm.cuid),
        cgid: perm.cgid,
        mode: format!("{:04o}", perm.mode & 0o777),
    }
}

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

/// A semaphore.
#[derive(Debug, Clone, Serialize)]
pub struct Semaphore {
    /// Its number in the set.
    pub number: u32,
    /// Its value, without what dead processes owe it.
    pub value: i32,
    /// The process that changed it last.
    pub last_pid: Option<i32>,
    /// How many sleep until it grows.
    pub waiting_for_growth: u32,
    /// How many sleep until it is 0.
    pub waiting_for_zero: u32,
    /// What is added to it when those end that owe it something.
    pub owed: Option<i64>,
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
    /// What the object is.
    pub kind: &'static str,
    /// The object.
    pub id: i32,
    /// Its key.
    pub key: String,
    /// The process.
    pub pid: Option<i32>,
    /// Its effective user, and what that is called.
    pub uid: Option<u32>,
    /// See `uid`.
    pub user: Option<String>,
    /// Its command line.
    pub command: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: Option<i64>,
    /// False for a process that has ended, and with which nobody has dealt yet.
    pub alive: bool,
    /// What it has to do with it.
    #[serde(flatten)]
    pub does: Does,
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
        rights: rights(&stat.perm, names),
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
        rights: rights(&stat.perm, names),
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

/// What was asked for so far: many debts are one process's.
#[derive(Default)]
struct Known {
    names: Names,
    processes: BTreeMap<i32, Option<process::Facts>>,
}

impl Known {
    fn use_of(
        &mut self,
        (kind, id, key): (Kind, i32, &str),
        number: i32,
        presence: Presence,
        does: Does,
    ) -> Use {
        // Behind an exec a sleeper is gone, and what the process owes is not.
        let alive = match does {
            Does::Owes { .. } => presence != Presence::Gone,
            _ => presence == Presence::There,
        };
        let look_up = || process::facts(number).filter(|facts| !facts.is_zombie);
        let facts = match alive && number != 0 {
            true => self.processes.entry(number).or_insert_with(look_up).clone(),
            false => None,
        };
        let uid = facts.as_ref().map(|facts| facts.uid);
        Use {
            kind: kinds::name(kind),
            id,
            key: key.to_owned(),
            pid: pid(number),
            uid,
            user: uid.and_then(|uid| self.names.user(uid)),
            started: facts.as_ref().and_then(|facts| facts.started),
            command: facts.map(|facts| facts.command),
            alive,
            does,
        }
    }
}

fn of_set(found: &inspect::Set<'_>, known: &mut Known) -> Set {
    let mut shown = set(&found.stat, &mut known.names);
    let key = shown.key.clone();
    let object = (Kind::Set, shown.id, key.as_str());
    let debts = found.debts.iter().filter(|debt| debt.adjust != 0);
    let mut debtors: Vec<i32> = debts.clone().map(|debt| debt.pid).collect();
    debtors.sort_unstable();
    debtors.dedup();
    for debt in debts {
        let does = Does::Owes {
            semaphore: debt.number,
            adjust: debt.adjust,
        };
        let one = known.use_of(object, debt.pid, debt.presence, does);
        shown.uses.push(one);
    }
    shown.uses.sort_by_key(|one| match one.does {
        Does::Owes { semaphore, .. } => (one.pid, semaphore),
        _ => (one.pid, 0),
    });
    for sleeper in found.sleepers {
        let operations = found.operations(sleeper);
        let does = Does::Operates {
            operations: operations.iter().map(ShownOperation::from).collect(),
            blocked_at: sleeper.blocked_at,
        };
        let one = known.use_of(object, sleeper.pid, sleeper.presence, does);
        shown.uses.push(one);
    }
    shown.sleepers = Some(found.sleepers.len());
    shown.debtors = Some(debtors.len());
    shown.values = (0..)
        .zip(found.semaphores)
        .map(|(number, semaphore)| {
            let waiting = |is_asked_for: fn(i16) -> bool| {
                let blocked = found.sleepers.iter().filter_map(|sleeper| {
                    found
                        .operations(sleeper)
                        .get(usize::from(sleeper.blocked_at))
                });
                let its = blocked.filter(|one| u32::from(one.number) == number);
                its.filter(|one| is_asked_for(one.change)).count() as u32
            };
            let owed = found
                .debts
                .iter()
                .filter(|debt| u32::from(debt.number) == number);
            Semaphore {
                number,
                value: semaphore.value.into(),
                last_pid: pid(semaphore.pid),
                waiting_for_growth: waiting(|change| change < 0),
                waiting_for_zero: waiting(|change| change == 0),
                owed: Some(owed.map(|debt| i64::from(debt.adjust)).sum()),
            }
        })
        .collect();
    shown
}

fn of_queue(found: &inspect::Queue<'_>, known: &mut Known) -> Queue {
    let mut shown = queue(&found.stat, &mut known.names);
    let key = shown.key.clone();
    let object = (Kind::Queue, shown.id, key.as_str());
    for sleeper in found.sleepers {
        let does = match sleeper.wish {
            Wish::Message { mtype, flags } => Does::Receives {
                mtype,
                except: flags & msg_flags::MSG_EXCEPT != 0 && mtype > 0,
            },
            Wish::Room(bytes) => Does::Sends { bytes },
        };
        let one = known.use_of(object, sleeper.pid, sleeper.presence, does);
        shown.uses.push(one);
    }
    shown.sleepers = Some(found.sleepers.len());
    shown.capacity = Some(found.stat.qbytes);
    let messages = found.messages.iter().map(|message| Message {
        mtype: message.mtype,
        bytes: message.len,
    });
    shown.list = Some(messages.collect());
    shown
}

/// The semaphore sets of a namespace.
pub fn sets_of(inspection: &Inspection) -> registry::Outcome<Vec<Set>> {
    let (mut known, mut shown) = (Known::default(), Vec::new());
    if let Some(objects) = inspection.objects()? {
        objects.each_set(&mut |set| shown.push(of_set(set, &mut known)))?;
    }
    Ok(shown)
}

/// The message queues of a namespace.
pub fn queues_of(inspection: &Inspection) -> registry::Outcome<Vec<Queue>> {
    let (mut known, mut shown) = (Known::default(), Vec::new());
    if let Some(objects) = inspection.objects()? {
        objects.each_queue(&mut |queue| shown.push(of_queue(queue, &mut known)))?;
    }
    Ok(shown)
}

impl Source {
    /// All semaphore sets, by rising index.
    pub fn sets(&self) -> Outcome<Vec<Set>> {
        let mut names = Names::default();
        match self {
            Source::Kernel => {
                let sets = kernel_objects::sets()?;
                Ok(sets.iter().map(|stat| set(stat, &mut names)).collect())
            }
            Source::Namespace(inspection) => Ok(sets_of(inspection)?),
        }
    }

    /// All message queues, by rising index.
    pub fn queues(&self) -> Outcome<Vec<Queue>> {
        let mut names = Names::default();
        match self {
            Source::Kernel => {
                let queues = kernel_objects::queues()?;
                Ok(queues.iter().map(|stat| queue(stat, &mut names)).collect())
            }
            Source::Namespace(inspection) => Ok(queues_of(inspection)?),
        }
    }

    /// The set that is meant, with its values.
    pub fn set(&self, which: &Which) -> Outcome<Set> {
        let mut sets = self.sets()?;
        let known: Vec<_> = sets.iter().map(|one| (one.id, one.raw_key)).collect();
        let id = which.find_of(Kind::Set, &known, &self.name())?;
        sets.retain(|one| one.id == id);
        let mut found = sets
            .pop()
            .ok_or_else(|| Error::absent(format!("semaphore set {id} was removed meanwhile")))?;
        if matches!(self, Source::Kernel) {
            found.values = kernel_objects::values(found.id, found.semaphores)?;
        }
        Ok(found)
    }

    /// The queue that is meant.
    pub fn queue(&self, which: &Which) -> Outcome<Queue> {
        let mut queues = self.queues()?;
        let known: Vec<_> = queues.iter().map(|one| (one.id, one.raw_key)).collect();
        let id = which.find_of(Kind::Queue, &known, &self.name())?;
        queues.retain(|one| one.id == id);
        queues
            .pop()
            .ok_or_else(|| Error::absent(format!("message queue {id} was removed meanwhile")))
    }
}
