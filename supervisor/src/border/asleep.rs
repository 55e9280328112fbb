//! A call that goes by steps: it may sleep, and the agent serves others meanwhile.

use super::asked::{Asked, End, Memory};
use super::text;
use crate::trace::{self, Call, Told};
use shmshim_core::registry::msg::{Receiving, Sending, Sleep, Step, Woken};
use shmshim_core::registry::sem::Operating;
use shmshim_core::registry::{Blocked, Listener, Outcome};
use shmshim_core::sysv::sem::Operation;
use std::cell::Cell;

/// What becomes of a call.
pub enum Served {
    /// It returns this: a negative errno, or a value.
    Value(i64),
    /// The kernel serves it.
    ByKernel,
    /// It is to be made again.
    Again,
    /// It sleeps.
    Asleep(Box<Asleep>),
}

impl Served {
    /// The answer of a call.
    pub fn of(outcome: Result<u64, i32>) -> Served {
        Served::Value(match outcome {
            Ok(value) => value as i64,
            Err(errno) => -i64::from(errno),
        })
    }
}

/// Which call it is.
pub enum What {
    /// semop, with its operations.
    Operates(Operating, Vec<Operation>),
    /// msgsnd.
    Sends(Sending),
    /// msgrcv, and where the message comes to lie.
    Receives(Receiving, Vec<u8>),
}

/// A call that sleeps.
pub struct Asleep {
    call: Call,
    told: Told,
    begun: u64,
    since: u64,
    what: What,
    sleep: Option<Sleep>,
}

/// The kernel's own number: a call that a handler interrupts fails with `EINTR`, and is made again where none runs.
const ERESTARTNOHAND: i64 = 514;

impl Asleep {
    /// Makes the first step of a call.
    pub fn begin(asked: Asked<'_>, what: What) -> Served {
        let Asked {
            memory,
            call,
            told,
            begun,
            asleep: since,
            ..
        } = asked;
        let mut asleep = Asleep {
            call,
            told,
            begun,
            since: since.get(),
            what,
            sleep: None,
        };
        match asleep.step(memory, None) {
            Some(value) => Served::Value(value),
            None => Served::Asleep(Box::new(asleep)),
        }
    }

    /// The word that changes when there is something to step for, and what it held. `None`: there is none.
    pub fn sleep(&self) -> Option<Sleep> {
        self.sleep
    }

    /// The set that it sleeps in.
    pub fn set(&self) -> Option<i32> {
        match self.call {
            Call::Semop { semid, .. } | Call::Semtimedop { semid, .. } => Some(semid),
            _ => None,
        }
    }

    /// Makes the next step, or the last one: unless it is over by now, it ends for this reason. What the call returns; `None`:
    /// it sleeps still.
    pub fn step(&mut self, memory: &dyn Memory, end: Option<&End>) -> Option<i64> {
        let woken = end.map_or(Woken::Other, |_| Woken::BySignal);
        self.sleep = None;
        let mut asked = Asked {
            memory,
            call: self.call,
            told: self.told,
            begun: self.begun,
            asleep: Cell::new(self.since),
            end,
        };
        let listener = |why: &Blocked| asked.falls_asleep(why);
        let listener = wanted(&listener);
        let outcome = match &mut self.what {
            What::Operates(operating, operations) => {
                let stepped = operating.step(operations, woken);
                done(stepped, &mut self.sleep).map(|done| asked.answer(&done, |()| 0))
            }
            What::Sends(sending) => {
                let stepped = sending.step(woken, listener);
                done(stepped, &mut self.sleep).map(|done| asked.answer(&done, |()| 0))
            }
            What::Receives(receiving, buffer) => {
                let stepped = receiving.step(woken, listener);
                done(stepped, &mut self.sleep).map(|done| match done {
                    Ok(received) => text::give(&mut asked, received, buffer),
                    Err(error) => asked.answer(&Err::<(), _>(error), |()| 0),
                })
            }
        };
        self.since = asked.asleep.get();
        let outcome = outcome?;
        let is_operating = matches!(self.what, What::Operates(..));
        Some(match outcome {
            Ok(value) => value as i64,
            // What is stopped and continued goes on to send or to receive.
            Err(libc::EINTR) if matches!(end, Some(End::Signal)) && !is_operating => {
                -ERESTARTNOHAND
            }
            Err(errno) => -i64::from(errno),
        })
    }
}

/// What a call has come to; `None`: it sleeps.
fn done<T>(stepped: Outcome<Step<T>>, sleep: &mut Option<Sleep>) -> Option<Outcome<T>> {
    match stepped {
        Ok(Step::Sleep(next)) => {
            *sleep = Some(next);
            None
        }
        Ok(Step::Done(done)) => Some(Ok(done)),
        Err(error) => Some(Err(error)),
    }
}

/// Where it is written that a call sleeps: nowhere, if there is no trace.
pub fn wanted<'a>(listener: &'a dyn Fn(&Blocked)) -> Listener<'a> {
    trace::is_on().then_some(listener)
}
