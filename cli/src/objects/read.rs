//! How semaphore sets and message queues are read, of a namespace or of the kernel.

use std::collections::BTreeMap;

use shmshim_core::registry;
use shmshim_core::registry::inspect::{self, Inspection, Presence, Wish};
use shmshim_core::sysv::Kind;
use shmshim_core::sysv::msg::flags as msg_flags;

use super::{Does, Message, Queue, Set, ShownOperation, Use, pid, queue, set};
use crate::error::{Error, Outcome};
use crate::kernel_objects;
use crate::participant::Participant;
use crate::process;
use crate::segment::Which;
use crate::semaphore::Semaphore;
use crate::source::Source;
use crate::users::Names;

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
        since: Option<u64>,
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
        let object = (kind, id, key.to_owned());
        Use {
            who: Participant::new(object, number, facts.as_ref(), alive, &mut self.names),
            asleep_since: since.map(|tenths| tenths as f64 / 10.0),
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
        let one = known.use_of(object, debt.pid, debt.presence, None, does);
        shown.uses.push(one);
    }
    shown.uses.sort_by_key(|one| match one.does {
        Does::Owes { semaphore, .. } => (one.who.pid, semaphore),
        _ => (one.who.pid, 0),
    });
    for sleeper in found.sleepers {
        let operations = found.operations(sleeper);
        let does = Does::Operates {
            operations: operations.iter().map(ShownOperation::from).collect(),
            blocked_at: sleeper.blocked_at,
        };
        let one = known.use_of(object, sleeper.pid, sleeper.presence, sleeper.since, does);
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
        let one = known.use_of(object, sleeper.pid, sleeper.presence, sleeper.since, does);
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
