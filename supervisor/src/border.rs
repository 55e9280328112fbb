//! The four calls as the kernel has them: registers in, a value or a negative errno out, buffers in the client's memory; and
//! their lines in the trace.

use crate::abi::{Plain, ShmInfo, ShmidDs, Shminfo};
use crate::trace::{self, Answer, Call, Told};
use shmshim_core::registry::{self, Outcome};
use shmshim_core::sysv::{self, Command};
use std::fmt;

/// The client's memory.
pub trait Memory {
    /// Copies from there. Whether all of it could be read.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool;
    /// Copies to there. Whether all of it could be written.
    fn write(&self, addr: u64, bytes: &[u8]) -> bool;
    /// Whether nothing could be mapped there or unmapped in this call, because the client cannot be traced.
    fn is_out_of_reach(&self) -> bool;
}

/// Why a client's mappings cannot be changed.
const OUT_OF_REACH: &str = "nothing can be mapped into the caller or unmapped: another process traces it (a debugger, strace), or it has rights that the supervisor lacks";

/// Why there are no sets and queues.
const ONLY_MEMORY: &str = "programs that no library can be preloaded into are served shared memory alone, and the kernel's semaphores and queues would be others than the namespace's";

/// What becomes of a call.
pub enum Served {
    /// It returns this: a negative errno, or a value.
    Value(i64),
    /// The kernel serves it.
    ByKernel,
}

/// Serves a call.
pub fn serve(memory: &dyn Memory, number: i64, args: [u64; 3]) -> Served {
    let [first, second, third] = args;
    let outcome = match number {
        libc::SYS_shmget => {
            let (key, size, shmflg) = (first as i32, second, third as i32);
            let asked = Asked::new(memory, Call::Shmget { key, size, shmflg });
            asked.answer(&registry::shmget(key, size, shmflg), |id| *id as u64)
        }
        libc::SYS_shmat => {
            let (shmid, addr, shmflg) = (first as i32, second, third as i32);
            let asked = Asked::new(
                memory,
                Call::Shmat {
                    shmid,
                    addr,
                    shmflg,
                },
            );
            asked.answer(&registry::shmat(shmid, addr, shmflg), |addr| *addr)
        }
        libc::SYS_shmdt => {
            let asked = Asked::new(memory, Call::Shmdt { addr: first });
            asked.answer(&registry::shmdt(first), |()| 0)
        }
        libc::SYS_shmctl => {
            let (shmid, cmd, buf) = (first as i32, second as i32, third);
            control(
                Asked::new(memory, Call::Shmctl { shmid, cmd, buf }),
                shmid,
                cmd,
                buf,
            )
        }
        libc::SYS_semget => {
            let (key, count, flags) = (first as i32, second as i32, third as i32);
            Err(Asked::new(memory, Call::Semget { key, count, flags })
                .refuse(libc::ENOSYS, &ONLY_MEMORY))
        }
        libc::SYS_msgget => {
            let (key, flags) = (first as i32, second as i32);
            Err(Asked::new(memory, Call::Msgget { key, flags }).refuse(libc::ENOSYS, &ONLY_MEMORY))
        }
        _ => return Served::ByKernel,
    };
    Served::Value(match outcome {
        Ok(value) => value as i64,
        Err(errno) => -i64::from(errno),
    })
}

/// Refuses a call for a reason of the supervisor's.
pub fn refuse(memory: &dyn Memory, number: i64, args: [u64; 3], errno: i32, why: &str) -> Served {
    let [first, second, third] = args;
    let call = match number {
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
        libc::SYS_semget | libc::SYS_msgget => return serve(memory, number, args),
        _ => return Served::ByKernel,
    };
    Served::Value(-i64::from(Asked::new(memory, call).refuse(errno, &why)))
}

/// A call on its way, and what is told of it.
struct Asked<'a> {
    memory: &'a dyn Memory,
    call: Call,
    told: Told,
    /// When it began, if the trace tells.
    begun: u64,
}

impl Asked<'_> {
    fn new(memory: &dyn Memory, call: Call) -> Asked<'_> {
        Asked {
            memory,
            call,
            told: Told::Nothing,
            begun: trace::begin(),
        }
    }

    fn refuse(&self, errno: i32, why: &dyn fmt::Display) -> i32 {
        if trace::is_on() {
            let answer = Answer::Refused { errno, why };
            trace::line(&self.call, &self.told, &answer, self.begun);
        }
        errno
    }

    fn answer<T>(&self, outcome: &Outcome<T>, value: impl FnOnce(&T) -> u64) -> Result<u64, i32> {
        let is_detach = matches!(self.call, Call::Shmdt { .. });
        match outcome {
            // A detach counts as one where nothing is unmapped: the kernel's does, too, for a sealed mapping.
            answer if self.memory.is_out_of_reach() && (is_detach || answer.is_err()) => {
                Err(self.refuse(libc::EPERM, &OUT_OF_REACH))
            }
            Ok(answer) => {
                let value = value(answer);
                if trace::is_on() {
                    trace::line(&self.call, &self.told, &Answer::Value(value), self.begun);
                }
                Ok(value)
            }
            Err(error) => Err(self.refuse(error.errno, &error.why)),
        }
    }

    /// The answer, copied into the client's buffer before it counts as one.
    fn give<T, S: Plain>(
        &mut self,
        outcome: &Outcome<T>,
        buf: u64,
        structure: impl FnOnce(&T) -> S,
        told: impl FnOnce(&T) -> Told,
        value: impl FnOnce(&T) -> u64,
    ) -> Result<u64, i32> {
        if let Ok(answer) = outcome {
            let structure = structure(answer);
            let bytes = structure.bytes();
            if !self.memory.write(buf, bytes) {
                return Err(self.bad_buffer(buf, bytes.len()));
            }
            self.told = told(answer);
        }
        self.answer(outcome, value)
    }

    fn bad_buffer(&self, buf: u64, len: usize) -> i32 {
        let why = format!("the {len} bytes at {buf:#x} cannot all be accessed");
        self.refuse(libc::EFAULT, &why)
    }
}

fn control(mut asked: Asked<'_>, shmid: i32, cmd: i32, buf: u64) -> Result<u64, i32> {
    // Whether command and id can be right at all comes before everything.
    let command = sysv::parse_shmctl(shmid, cmd)
        .map_err(|refusal| asked.refuse(refusal.errno.raw(), &refusal.reason))?;
    match command {
        Command::IpcRmid => asked.answer(&registry::remove(shmid), |()| 0),
        Command::ShmLock => asked.answer(&registry::lock(shmid), |()| 0),
        Command::ShmUnlock => asked.answer(&registry::unlock(shmid), |()| 0),
        Command::IpcSet => {
            let mut copied = [0; size_of::<ShmidDs>()];
            if !asked.memory.read(buf, &mut copied) {
                return Err(asked.bad_buffer(buf, copied.len()));
            }
            let new = ShmidDs::new_perm(&copied);
            asked.told = Told::NewPerm(new);
            asked.answer(&registry::set(shmid, new), |()| 0)
        }
        Command::IpcStat | Command::ShmStat | Command::ShmStatAny => asked.give(
            &registry::stat(shmid, command),
            buf,
            ShmidDs::of,
            |segment| Told::Segment(*segment),
            |segment| match command {
                Command::IpcStat => 0,
                _ => segment.id.raw() as u64,
            },
        ),
        Command::IpcInfo => asked.give(
            &registry::limits(),
            buf,
            |(limits, _)| Shminfo::of(limits),
            |(limits, _)| Told::Limits(*limits),
            |(_, highest)| *highest as u64,
        ),
        Command::ShmInfo => asked.give(
            &registry::usage(),
            buf,
            ShmInfo::of,
            |usage| Told::Usage(*usage),
            |usage| usage.highest as u64,
        ),
    }
}
