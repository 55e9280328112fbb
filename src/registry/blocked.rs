//! Why a call on a set or a queue cannot go on at once: the rule's sentence, and which process stands in its way.
//!
//! It is noted at the moment that the call was refused or fell asleep at, and put into words only where it is read: then the
//! processes' names are asked of `/proc`.

use crate::os::{own_stack, process};
use crate::sysv::msg::{QueueState, ReceiverAnswer, SenderAnswer};
use crate::sysv::sem::{Answer, Operation, SetPerm, SetState};
use crate::sysv::{Errno, Reason, Refusal};
use core::fmt;

/// Is told that a call is about to sleep, and on what; `None`: no trace is written.
pub type Listener<'a> = Option<&'a dyn Fn(&Blocked)>;

/// So many processes that hold something of a semaphore are named.
const HOLDERS: usize = 4;
/// So many types of messages are.
const TYPES: usize = 8;

/// A call that cannot go on. Displays as one sentence without its final dot.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    pub(super) errno: Errno,
    reason: Reason,
    who: Who,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Semaphore(AtSemaphore),
    Queue(AtQueue),
}

#[derive(Clone, Copy, Debug)]
struct AtSemaphore {
    last: Deed,
    /// Whether the stamp is this semaphore's: it is the set's.
    is_only: bool,
    /// What processes have taken or added with SEM_UNDO, and how many of them there are.
    holders: [(i32, i32); HOLDERS],
    held_by: usize,
    others: usize,
}

#[derive(Clone, Copy, Debug)]
struct AtQueue {
    sent: Deed,
    received: Deed,
    /// The types of its oldest messages, and of how many it has, if that matters.
    types: [i64; TYPES],
    messages: Option<u32>,
    others: usize,
}

/// What a process did last, and when: seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Deed {
    pid: i32,
    at: i64,
}

impl Blocked {
    /// A call stands before the semaphore that an operation names; `place` is its own, if it sleeps there.
    #[cold]
    #[inline(never)]
    pub(super) fn at_semaphore(
        refused: Refusal,
        facts: &SetPerm,
        set: &impl SetState,
        operation: Operation,
        place: Option<u32>,
    ) -> Blocked {
        let number = operation.number;
        let mut at = AtSemaphore {
            last: Deed {
                pid: set.pid(number.into()),
                at: facts.otime.max(facts.ctime),
            },
            is_only: facts.count == 1,
            holders: [(0, 0); HOLDERS],
            held_by: 0,
            others: 0,
        };
        // At the end of a process what it took is added, and what it added is taken away.
        let is_in_the_way = |adjust: i16| match operation.change {
            0 => adjust < 0,
            _ => adjust > 0,
        };
        for undo in (0..set.undos()).map(|index| set.undo(index)) {
            if undo.number == number && is_in_the_way(undo.adjust) {
                if let Some(holder) = at.holders.get_mut(at.held_by) {
                    *holder = (undo.pid, undo.adjust.into());
                }
                at.held_by += 1;
            }
        }
        at.others = (0..set.sleepers())
            .map(|index| (index, set.sleeper(index)))
            .filter(|(_, sleeper)| sleeper.answer == Answer::Waits && Some(sleeper.place) != place)
            .filter(|&(index, sleeper)| {
                set.operation(index, sleeper.blocked_at.into()).number == number
            })
            .count();
        Blocked {
            errno: refused.errno,
            reason: refused.reason,
            who: Who::Semaphore(at),
        }
    }

    /// A call stands before a queue. `wants_message`: one that receives.
    #[cold]
    #[inline(never)]
    pub(super) fn at_queue(
        refused: Refusal,
        queue: &impl QueueState,
        wants_message: bool,
    ) -> Blocked {
        let facts = queue.facts();
        let mut types = [0; TYPES];
        for (index, mtype) in (0..facts.qnum).zip(&mut types) {
            *mtype = queue.message(index).mtype;
        }
        let others = if wants_message {
            let receivers = (0..queue.receivers()).map(|index| queue.receiver(index).answer);
            receivers.filter(|it| *it == ReceiverAnswer::Waits).count()
        } else {
            let senders = (0..queue.senders()).map(|index| queue.sender(index).answer);
            senders.filter(|it| *it == SenderAnswer::Waits).count()
        };
        Blocked {
            errno: refused.errno,
            reason: refused.reason,
            who: Who::Queue(AtQueue {
                sent: Deed {
                    pid: facts.lspid,
                    at: facts.stime,
                },
                received: Deed {
                    pid: facts.lrpid,
                    at: facts.rtime,
                },
                types,
                messages: wants_message.then_some(facts.qnum),
                others,
            }),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(out)?;
        // The caller's stack may be small, and files are read for the names.
        own_stack::call(|| match &self.who {
            Who::Semaphore(at) => at.fmt(out),
            Who::Queue(at) => at.fmt(out),
        })
    }
}

impl fmt::Display for AtSemaphore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.holders.iter().take(self.held_by);
        match self.last.pid {
            0 => out.write_str("; nobody has changed it yet")?,
            pid => {
                let bound = if self.is_only { "" } else { " or earlier" };
                write!(out, "; {} changed it last, {}", Person(pid), self.last)?;
                out.write_str(bound)?;
                for (_, adjust) in named.clone().filter(|(holder, _)| *holder == pid) {
                    write!(out, ", and {}", Held(*adjust))?;
                }
            }
        }
        for (pid, adjust) in named.filter(|(holder, _)| *holder != self.last.pid) {
            write!(out, "; {} {}", Person(*pid), Held(*adjust))?;
        }
        if let Some(more @ 1..) = self.held_by.checked_sub(HOLDERS) {
            write!(out, ", and {more} more do")?;
        }
        others(out, self.others, "it")
    }
}

impl fmt::Display for AtQueue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(messages @ 1..) = self.messages {
            let mut before = ", but of type ";
            for mtype in self.types.iter().take(messages as usize) {
                write!(out, "{before}{mtype}")?;
                before = ", ";
            }
            if messages as usize > TYPES {
                out.write_str(", …")?;
            }
        }
        for (deed, done) in [(&self.sent, "sent"), (&self.received, "received")] {
            match deed.pid {
                0 => write!(out, "; nobody has {done} yet")?,
                pid => write!(out, "; {} {done} last, {deed}", Person(pid))?,
            }
        }
        let object = match self.messages {
            Some(_) => "a message",
            None => "room",
        };
        others(out, self.others, object)
    }
}

fn others(out: &mut fmt::Formatter<'_>, count: usize, object: &str) -> fmt::Result {
    match count {
        0 => Ok(()),
        1 => write!(out, "; another one sleeps for {object}"),
        _ => write!(out, "; {count} others sleep for {object}"),
    }
}

/// How long ago.
impl fmt::Display for Deed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = process::now_secs().saturating_sub(self.at).max(0);
        match secs {
            ..=299 => write!(out, "{secs} s ago"),
            300..=17_999 => write!(out, "{} min ago", secs / 60),
            _ => write!(out, "{} h ago", secs / 3600),
        }
    }
}

/// What a process has of a semaphore: it is given back, or taken away again, when the process ends.
struct Held(i32);

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            taken @ 0.. => write!(out, "holds {taken} of it by SEM_UNDO"),
            added => write!(out, "has added {} to it by SEM_UNDO", -added),
        }
    }
}

/// A process, and what it is called.
struct Person(i32);

impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.0;
        write!(out, "pid {pid}")?;
        if pid == process::pid() {
            return out.write_str(" (this process)");
        }
        if !process::exists(pid) {
            return out.write_str(" (gone)");
        }
        let Some(name) = process::name_of(pid) else {
            return Ok(());
        };
        out.write_str(" (")?;
        let bytes = name.split(|&byte| byte == 0).next().unwrap_or_default();
        for chunk in bytes.utf8_chunks() {
            out.write_str(chunk.valid())?;
            out.write_str(if chunk.invalid().is_empty() { "" } else { "?" })?;
        }
        let ended = if process::is_running(pid) {
            ""
        } else {
            ", ended"
        };
        write!(out, "{ended})")
    }
}
