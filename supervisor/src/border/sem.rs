//! semop, semtimedop and semctl. What is checked and copied comes in the kernel's order.

use super::asked::Asked;
use super::asleep::{Asleep, Served, What, wanted};
use crate::abi::{SemidDs, Seminfo};
use crate::trace::{self, Call, SHOWN_OPERATIONS, Told};
use shmshim_core::registry::Blocked;
use shmshim_core::registry::sem::{self as registry, Operating};
use shmshim_core::sysv::sem::{self, Operation, SemCommand};

const OPERATION_BYTES: usize = size_of::<Operation>();

/// semop(2), semtimedop(2).
pub fn operate(mut asked: Asked<'_>) -> Served {
    let (semid, at, count, timeout) = match asked.call {
        Call::Semtimedop {
            semid,
            operations,
            count,
            timeout,
        } => (semid, operations, count, timeout),
        Call::Semop {
            semid,
            operations,
            count,
        } => (semid, operations, count, 0),
        _ => return Served::ByKernel,
    };
    let (operations, limit) = match take(&mut asked, at, count, timeout) {
        Ok(taken) => taken,
        Err(errno) => return Served::of(Err(errno)),
    };
    let listener = |why: &Blocked| asked.falls_asleep(why);
    let begun = Operating::begin(semid, &operations, limit, wanted(&listener));
    match begun {
        Ok(Some(operating)) => sleep(asked, operating, operations),
        Ok(None) => Served::of(asked.answer(&Ok(()), |()| 0)),
        Err(error) => Served::of(asked.answer(&Err::<(), _>(error), |()| 0)),
    }
}

fn sleep(asked: Asked<'_>, operating: Operating, operations: Vec<Operation>) -> Served {
    Asleep::begin(asked, What::Operates(operating, operations))
}

/// The limit is read, the operations are counted, then read; only then what was read is looked at.
fn take(
    asked: &mut Asked<'_>,
    at: u64,
    count: u32,
    timeout: u64,
) -> Result<(Vec<Operation>, Option<u64>), i32> {
    let mut limit = None;
    if timeout != 0 {
        let mut copied = [[0; 8]; 2];
        asked.take(timeout, copied.as_flattened_mut())?;
        let [secs, nanos] = copied.map(i64::from_ne_bytes);
        asked.told = Told::Limit(secs, nanos);
        limit = Some((secs, nanos));
    }
    let limits = asked.outcome(registry::sem_limits())?;
    let count = asked.ruling(sem::check_operations_count(u64::from(count), &limits))?;
    let mut copied = vec![0; count as usize * OPERATION_BYTES];
    asked.take(at, &mut copied)?;
    let operations: Vec<Operation> = copied
        .chunks_exact(OPERATION_BYTES)
        .map(|bytes| operation(bytes.try_into().unwrap_or_default()))
        .collect();
    if trace::is_on() {
        let mut first = [Operation::default(); SHOWN_OPERATIONS];
        for (shown, operation) in first.iter_mut().zip(&operations) {
            *shown = *operation;
        }
        asked.told = Told::Operations { first, limit };
    }
    let nanos = match limit {
        Some((secs, nanos)) => Some(asked.ruling(sem::check_limit(secs, nanos))?),
        None => None,
    };
    Ok((operations, nanos))
}

fn operation(copied: [u8; OPERATION_BYTES]) -> Operation {
    let [a, b, c, d, e, f] = copied;
    Operation {
        number: u16::from_ne_bytes([a, b]),
        change: i16::from_ne_bytes([c, d]),
        flags: i16::from_ne_bytes([e, f]),
    }
}

/// semctl(2).
pub fn control(
    mut asked: Asked<'_>,
    semid: i32,
    number: i32,
    cmd: i32,
    arg: u64,
) -> Result<u64, i32> {
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(sem::parse_semctl(semid, cmd))?;
    match command {
        SemCommand::IpcRmid => asked.answer(&registry::sem_remove(semid), |()| 0),
        SemCommand::IpcSet => {
            let mut copied = [0; size_of::<SemidDs>()];
            asked.take(arg, &mut copied)?;
            let new = SemidDs::new_perm(&copied);
            asked.told = Told::NewPerm(new);
            asked.answer(&registry::sem_set(semid, new), |()| 0)
        }
        SemCommand::IpcStat | SemCommand::SemStat | SemCommand::SemStatAny => asked.give(
            &registry::sem_stat(semid, command),
            arg,
            SemidDs::of,
            |set| Told::Set(*set),
            |set| match command {
                SemCommand::IpcStat => 0,
                _ => set.perm.id.raw() as u64,
            },
        ),
        SemCommand::IpcInfo => asked.give(
            &registry::sem_usage(),
            arg,
            |usage| Seminfo::of(&usage.limits),
            |usage| Told::SemLimits(usage.limits),
            |usage| usage.highest as u64,
        ),
        SemCommand::SemInfo => asked.give(
            &registry::sem_usage(),
            arg,
            Seminfo::with_usage,
            |usage| Told::SemUsage(*usage),
            |usage| usage.highest as u64,
        ),
        SemCommand::Get(question) => asked
            .answer(&registry::sem_ask(semid, number, question), |value| {
                *value as u64
            }),
        // The kernel takes the low 32 bits of the word.
        SemCommand::SetVal => {
            asked.answer(&registry::sem_set_value(semid, number, arg as i32), |()| 0)
        }
        SemCommand::GetAll => get_all(&asked, semid, arg),
        SemCommand::SetAll => set_all(&asked, semid, arg),
    }
}

fn get_all(asked: &Asked<'_>, semid: i32, buf: u64) -> Result<u64, i32> {
    let values = registry::sem_values(semid);
    if let Ok(values) = &values {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect();
        asked.put(buf, &bytes)?;
    }
    asked.answer(&values, |_| 0)
}

/// The set says how many values are to be read.
fn set_all(asked: &Asked<'_>, semid: i32, buf: u64) -> Result<u64, i32> {
    let count = asked.outcome(registry::sem_count_to_set(semid))?;
    let mut copied = vec![0; count as usize * size_of::<u16>()];
    asked.take(buf, &mut copied)?;
    let values: Vec<u16> = copied
        .chunks_exact(size_of::<u16>())
        .map(|bytes| u16::from_ne_bytes(bytes.try_into().unwrap_or_default()))
        .collect();
    asked.answer(&registry::sem_set_values(semid, &values), |()| 0)
}
