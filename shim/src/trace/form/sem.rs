//! What semop and semctl have beside their numbers.

use shmshim_core::sysv::flags::{IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT};
use shmshim_core::sysv::sem::flags::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SEM_UNDO, SETALL,
    SETVAL,
};
use shmshim_core::sysv::sem::{Operation, SemLimits, SetPerm};

use super::{Address, named_bits, named_command, new_perm, perm};
use crate::trace::Told;
use crate::trace::line::Line;

/// semctl's command.
pub fn command(line: &mut Line, cmd: i32) {
    named_command(line, cmd, "SEM_???", |cmd| {
        Some(match cmd {
            IPC_RMID => "IPC_RMID",
            IPC_SET => "IPC_SET",
            IPC_STAT => "IPC_STAT",
            IPC_INFO => "IPC_INFO",
            GETPID => "GETPID",
            GETVAL => "GETVAL",
            GETALL => "GETALL",
            GETNCNT => "GETNCNT",
            GETZCNT => "GETZCNT",
            SETVAL => "SETVAL",
            SETALL => "SETALL",
            SEM_STAT => "SEM_STAT",
            SEM_INFO => "SEM_INFO",
            SEM_STAT_ANY => "SEM_STAT_ANY",
            _ => return None,
        })
    });
}

/// semop's array: what is in it, or where it is.
pub fn operations(line: &mut Line, addr: u64, count: u32, told: &Told) {
    match told {
        _ if count == 0 && addr != 0 => line.put(format_args!("[]")),
        Told::Operations { first, .. } => {
            line.put(format_args!("["));
            let mut between = "";
            for operation in first.iter().take(count as usize) {
                line.put(format_args!("{between}"));
                one(line, operation);
                between = ", ";
            }
            if count as usize > first.len() {
                line.put(format_args!(", ..."));
            }
            line.put(format_args!("]"));
        }
        _ => line.put(format_args!("{}", Address(addr))),
    }
}

fn one(line: &mut Line, operation: &Operation) {
    line.put(format_args!(
        "{{sem_num={}, sem_op={}, sem_flg=",
        operation.number, operation.change
    ));
    let names = [(SEM_UNDO, "SEM_UNDO"), (IPC_NOWAIT, "IPC_NOWAIT")];
    let bits = i32::from(operation.flags as u16);
    named_bits(line, bits, &names, " /* SEM_??? */");
    line.put(format_args!("}}"));
}

/// semtimedop's time.
pub fn limit(line: &mut Line, addr: u64, told: &Told) {
    match told {
        Told::Operations {
            limit: Some((secs, nanos)),
            ..
        }
        | Told::Limit(secs, nanos) => {
            // As strace: the nanoseconds are no signed number there.
            let nanos = *nanos as usize;
            line.put(format_args!("{{tv_sec={secs}, tv_nsec={nanos}}}"));
        }
        _ => line.put(format_args!("{}", Address(addr))),
    }
}

/// semctl's argument: what is in the buffer, or the word as it is.
pub fn buffer(line: &mut Line, arg: u64, told: &Told) {
    match told {
        Told::Set(set) => stat(line, set),
        Told::NewPerm(new) => {
            new_perm(line, "sem", new);
            line.put(format_args!("}}"));
        }
        Told::SemLimits(limits) => info(line, limits, 20, 32767),
        Told::SemUsage(usage) => info(line, &usage.limits, usage.sets, usage.semaphores),
        _ => line.put(format_args!("{}", Address(arg))),
    }
}

fn stat(line: &mut Line, set: &SetPerm) {
    perm(line, "sem", &set.perm, set.key);
    line.put(format_args!(
        ", sem_otime={}, sem_ctime={}, sem_nsems={}}}",
        set.otime, set.ctime, set.count
    ));
}

fn info(line: &mut Line, limits: &SemLimits, semusz: u32, semaem: u32) {
    let SemLimits { semmns, semopm, .. } = SemLimits::KERNEL_DEFAULTS;
    line.put(format_args!(
        "{{semmap={semmns}, semmni={}, semmns={}, semmnu={semmns}, semmsl={}, semopm={}, semume={semopm}, semusz={semusz}, semvmx=32767, semaem={semaem}}}",
        limits.semmni, limits.semmns, limits.semmsl, limits.semopm
    ));
}
