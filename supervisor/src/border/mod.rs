//! The calls as the kernel has them: registers in, a value or a negative errno out, buffers in the client's memory; and their
//! lines in the trace.

mod asked;
mod asleep;
mod msg;
mod sem;
mod shm;
mod text;

use crate::trace::Call;
use asked::Asked;
use shmshim_core::registry;

pub use asked::{End, Memory};
pub use asleep::{Asleep, Served};

/// A call by its number and arguments. `None`: it is none of those that are served.
fn call_of(number: i64, args: [u64; 5]) -> Option<Call> {
    let [first, second, third, fourth, fifth] = args;
    Some(match number {
        libc::SYS_shmget => Call::Shmget {
            key: first as i32,
            size: second,
            shmflg: third as i32,
        },
        libc::SYS_shmat => Call::Shmat {
            shmid: first as i32,
            addr: second,
            shmflg: third as i32,
        },
        libc::SYS_shmdt => Call::Shmdt { addr: first },
        libc::SYS_shmctl => Call::Shmctl {
            shmid: first as i32,
            cmd: second as i32,
            buf: third,
        },
        libc::SYS_semget => Call::Semget {
            key: first as i32,
            count: second as i32,
            flags: third as i32,
        },
        // glibc's semop makes the other call, without a limit.
        libc::SYS_semtimedop if fourth != 0 => Call::Semtimedop {
            semid: first as i32,
            operations: second,
            count: third as u32,
            timeout: fourth,
        },
        libc::SYS_semop | libc::SYS_semtimedop => Call::Semop {
            semid: first as i32,
            operations: second,
            count: third as u32,
        },
        libc::SYS_semctl => Call::Semctl {
            semid: first as i32,
            number: second as i32,
            cmd: third as i32,
            arg: fourth,
        },
        libc::SYS_msgget => Call::Msgget {
            key: first as i32,
            flags: second as i32,
        },
        libc::SYS_msgsnd => Call::Msgsnd {
            msqid: first as i32,
            message: second,
            size: third as i64,
            flags: fourth as i32,
        },
        libc::SYS_msgrcv => Call::Msgrcv {
            msqid: first as i32,
            message: second,
            size: third as i64,
            mtype: fourth as i64,
            flags: fifth as i32,
        },
        libc::SYS_msgctl => Call::Msgctl {
            msqid: first as i32,
            cmd: second as i32,
            buf: third,
        },
        _ => return None,
    })
}

/// Whether a call may sleep.
pub fn may_sleep(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_semop | libc::SYS_semtimedop | libc::SYS_msgsnd | libc::SYS_msgrcv
    )
}

/// Serves a call.
pub fn serve(memory: &dyn Memory, number: i64, args: [u64; 5]) -> Served {
    let Some(call) = call_of(number, args) else {
        return Served::ByKernel;
    };
    let asked = Asked::new(memory, call);
    Served::of(match call {
        Call::Shmget { key, size, shmflg } => {
            asked.answer(&registry::shmget(key, size, shmflg), |id| *id as u64)
        }
        Call::Shmat {
            shmid,
            addr,
            shmflg,
        } => asked.answer(&registry::shmat(shmid, addr, shmflg), |addr| *addr),
        Call::Shmdt { addr } => asked.answer(&registry::shmdt(addr), |()| 0),
        Call::Shmctl { shmid, cmd, buf } => shm::control(asked, shmid, cmd, buf),
        Call::Semget { key, count, flags } => {
            asked.answer(&registry::sem::semget(key, count, flags), |id| *id as u64)
        }
        Call::Semop { .. } | Call::Semtimedop { .. } => return sem::operate(asked),
        Call::Semctl {
            semid,
            number,
            cmd,
            arg,
        } => sem::control(asked, semid, number, cmd, arg),
        Call::Msgget { key, flags } => {
            asked.answer(&registry::msg::msgget(key, flags), |id| *id as u64)
        }
        Call::Msgsnd { .. } => return msg::send(asked),
        Call::Msgrcv { .. } => return msg::receive(asked),
        Call::Msgctl { msqid, cmd, buf } => msg::control(asked, msqid, cmd, buf),
    })
}

/// Refuses a call for a reason of the supervisor's.
pub fn refuse(memory: &dyn Memory, number: i64, args: [u64; 5], errno: i32, why: &str) -> Served {
    match call_of(number, args) {
        Some(call) => Served::of(Err(Asked::new(memory, call).refuse(errno, &why))),
        None => Served::ByKernel,
    }
}
