//! The limits that have a file: which they are, their text, and what a write to one sets.

use core::fmt;

use shmshim_core::registry::{self, Outcome, msg, sem};
use shmshim_core::sysv::LimitName;
use shmshim_core::sysv::msg::MsgLimitName;

/// What one of the files shows and takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// A limit of segments.
    Shm(LimitName),
    /// All four of semaphore sets.
    Sem,
    /// A limit of message queues.
    Msg(MsgLimitName),
}

impl Limit {
    /// Writes what reading the file shows. A failure to write is `out`'s to keep.
    pub fn write(self, out: &mut impl fmt::Write) -> Outcome<()> {
        let _ = match self {
            Limit::Shm(name) => registry::limits()?.0.write_value(name, out),
            Limit::Sem => sem::sem_limits()?.write_values(out),
            Limit::Msg(name) => msg::msg_limits()?.write_value(name, out),
        };
        Ok(())
    }

    /// Takes the bytes of one write.
    #[inline(never)]
    pub fn set(self, text: &[u8]) -> Outcome<()> {
        match self {
            Limit::Shm(name) => registry::set_limit(name, text),
            Limit::Sem => {
                let mut limits = sem::sem_limits()?;
                let ruling = limits.parse_and_set(text);
                // What stands before a number that is refused is set.
                sem::set_sem_limits(limits)?;
                Ok(ruling?)
            }
            Limit::Msg(name) => {
                let mut limits = msg::msg_limits()?;
                limits.parse_and_set(name, text)?;
                msg::set_msg_limits(limits)
            }
        }
    }
}
