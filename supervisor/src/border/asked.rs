//! A call on its way: the client's memory, what is told of the call, and its answer.

use crate::abi::Plain;
use crate::trace::{self, Answer, Call, Told, Took};
use shmshim_core::os::process;
use shmshim_core::registry::{Blocked, Outcome};
use shmshim_core::sysv::Ruling;
use std::cell::Cell;
use std::fmt;

/// The client's memory.
pub trait Memory {
    /// Copies from there. Whether all of it could be read.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool;
    /// Copies to there. Whether all of it could be written.
    fn write(&self, addr: u64, bytes: &[u8]) -> bool;
    /// Whether nothing could be copied, mapped or unmapped there in this call, because the client cannot be traced.
    fn is_out_of_reach(&self) -> bool;
    /// Whether nothing can be copied there for that reason. Asked of the kernel only if it was so before.
    fn will_be_out_of_reach(&self, addr: u64) -> bool;
}

/// Why a client's mappings cannot be changed, nor its memory read or written.
const OUT_OF_REACH: &str = "nothing can be mapped into the caller, unmapped or copied: another process traces it (a debugger, strace), it has rights that the supervisor lacks, is not dumpable, or its file may not be read";

/// Why a sleep is to end that is not over.
pub enum End {
    /// A signal is there.
    Signal,
    /// The call is made again: it fails with `EINTR`, of which nobody is told.
    Again,
    /// It cannot go on: the errno, and why.
    Refused(i32, String),
}

/// A call on its way, and what is told of it.
pub struct Asked<'a> {
    /// The client's memory.
    pub memory: &'a dyn Memory,
    /// The call.
    pub call: Call,
    /// What its buffers held.
    pub told: Told,
    /// When it began, if the trace tells.
    pub begun: u64,
    /// When it began to sleep, if it does and the trace is on.
    pub asleep: Cell<u64>,
    /// Why its sleep is to end, if it is.
    pub end: Option<&'a End>,
}

impl Asked<'_> {
    /// A call that begins.
    pub fn new(memory: &dyn Memory, call: Call) -> Asked<'_> {
        Asked {
            memory,
            call,
            told: Told::Nothing,
            begun: trace::begin(),
            asleep: Cell::new(0),
            end: None,
        }
    }

    fn took(&self) -> Took {
        Took::since(self.begun, self.asleep.get())
    }

    /// It begins to sleep: a line of the trace, the first time.
    pub fn falls_asleep(&self, why: &Blocked) {
        if trace::is_on() && self.asleep.get() == 0 {
            self.asleep.set(process::fine_nanos());
            trace::asleep(&self.call, &self.told, why);
        }
    }

    /// It fails with `errno`, and why.
    pub fn refuse(&self, errno: i32, why: &dyn fmt::Display) -> i32 {
        if trace::is_on() {
            let answer = Answer::Refused { errno, why };
            trace::line(&self.call, &self.told, &answer, self.took());
        }
        errno
    }

    /// What was found out is its answer.
    pub fn answer<T>(
        &self,
        outcome: &Outcome<T>,
        value: impl FnOnce(&T) -> u64,
    ) -> Result<u64, i32> {
        let is_detach = matches!(self.call, Call::Shmdt { .. });
        match outcome {
            // A detach counts as one where nothing is unmapped: the kernel's does, too, for a sealed mapping.
            answer if self.memory.is_out_of_reach() && (is_detach || answer.is_err()) => {
                Err(self.refuse(libc::EPERM, &OUT_OF_REACH))
            }
            Ok(answer) => {
                let value = value(answer);
                if trace::is_on() {
                    trace::line(&self.call, &self.told, &Answer::Value(value), self.took());
                }
                Ok(value)
            }
            Err(error) => Err(match self.end {
                Some(End::Again) if error.errno == libc::EINTR => error.errno,
                Some(End::Refused(errno, why)) if error.errno == libc::EINTR => {
                    self.refuse(*errno, why)
                }
                _ => self.refuse(error.errno, &error.why),
            }),
        }
    }

    /// The answer, copied into the client's buffer before it counts as one.
    pub fn give<T, S: Plain>(
        &mut self,
        outcome: &Outcome<T>,
        buf: u64,
        structure: impl FnOnce(&T) -> S,
        told: impl FnOnce(&T) -> Told,
        value: impl FnOnce(&T) -> u64,
    ) -> Result<u64, i32> {
        if let Ok(answer) = outcome {
            let structure = structure(answer);
            self.put(buf, structure.bytes())?;
            self.told = told(answer);
        }
        self.answer(outcome, value)
    }

    /// Copies bytes into the client's memory.
    pub fn put(&self, buf: u64, bytes: &[u8]) -> Result<(), i32> {
        match self.memory.write(buf, bytes) {
            true => Ok(()),
            false => Err(self.bad_buffer(buf, bytes.len())),
        }
    }

    /// Fills bytes from the client's memory.
    pub fn take(&self, buf: u64, bytes: &mut [u8]) -> Result<(), i32> {
        match self.memory.read(buf, bytes) {
            true => Ok(()),
            false => Err(self.bad_buffer(buf, bytes.len())),
        }
    }

    /// What a rule decides.
    pub fn ruling<T>(&self, ruling: Ruling<T>) -> Result<T, i32> {
        ruling.map_err(|refusal| self.refuse(refusal.errno.raw(), &refusal.reason))
    }

    /// What was found out, or why not.
    pub fn outcome<T>(&self, outcome: Outcome<T>) -> Result<T, i32> {
        outcome.map_err(|error| self.refuse(error.errno, &error.why))
    }

    /// Before what is to be copied to `buf` is taken away from elsewhere.
    pub fn may_copy_to(&self, buf: u64) -> Result<(), i32> {
        match self.memory.will_be_out_of_reach(buf) {
            true => Err(self.refuse(libc::EPERM, &OUT_OF_REACH)),
            false => Ok(()),
        }
    }

    fn bad_buffer(&self, buf: u64, len: usize) -> i32 {
        if self.memory.is_out_of_reach() {
            return self.refuse(libc::EPERM, &OUT_OF_REACH);
        }
        let why = format!("the {len} bytes at {buf:#x} cannot all be accessed");
        self.refuse(libc::EFAULT, &why)
    }
}
