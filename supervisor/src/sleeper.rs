//! A call that sleeps: its thread waits in it for the supervisor's answer, which comes when the sleep is over.
//!
//! A thread that waits so is woken by a signal, and waits on unless it is killed (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV); only
//! the answer lets the handler run. Nothing tells others of that but the thread's state in `/proc`: it is asleep until a signal
//! is there for it, and uninterruptible from then on. So that is looked at from time to time.

use crate::border::{Asleep, Memory};
use crate::sys;
use nix::unistd::Pid;
use shmshim_core::registry::msg::Woken;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// How soon, and how late, a signal is noticed.
const SOONEST: Duration = Duration::from_millis(2);
const LATEST: Duration = Duration::from_millis(20);
/// In between it is noticed after this part of the sleep.
const PART: u32 = 16;

/// A call that sleeps.
pub struct Sleeper {
    /// The notification's id.
    pub id: u64,
    asleep: Box<Asleep>,
    /// The thread's state.
    state: Option<File>,
    since: Instant,
    /// When to look at that.
    look: Instant,
}

impl Sleeper {
    /// A call of this notification, which sleeps from now on.
    pub fn new(id: u64, process: Pid, tid: Pid, asleep: Box<Asleep>) -> Sleeper {
        let now = Instant::now();
        Sleeper {
            id,
            asleep,
            state: File::open(format!("/proc/{process}/task/{tid}/stat")).ok(),
            since: now,
            look: now,
        }
    }

    /// Whether it is time to look for a signal.
    pub fn is_due(&self) -> bool {
        self.look <= Instant::now()
    }

    /// Looks whether it is over. Its answer, then.
    pub fn look(&mut self, memory: &dyn Memory) -> Option<i64> {
        let mut woken = Woken::Other;
        if self.is_due() {
            if self.is_signalled() {
                woken = Woken::BySignal;
            }
            let now = Instant::now();
            let part = (now - self.since) / PART;
            self.look = now + part.clamp(SOONEST, LATEST);
        }
        let answer = self.asleep.step(memory, woken);
        if answer.is_some() {
            // Nobody is to take it for asleep any more.
            self.state = None;
        }
        answer
    }

    /// Whether a signal is there for the thread.
    fn is_signalled(&self) -> bool {
        // Number, name in brackets, which may hold any bytes, and state.
        let mut text = [0; 128];
        let read = self.state.as_ref().map(|file| file.read_at(&mut text, 0));
        let text = text.get(..read.and_then(Result::ok).unwrap_or(0));
        let mut words = text.unwrap_or(&[]).rsplit(|&byte| byte == b')');
        words.next().is_some_and(|behind| behind.starts_with(b" D"))
    }
}

/// Waits until one of the sleepers is to be looked at, or the bell rings that has rung so often.
pub fn wait(bell: (&AtomicU32, u32), asleep: &[Sleeper]) {
    let now = Instant::now();
    let sleeps = asleep.iter().filter_map(|sleeper| sleeper.asleep.sleep());
    let mut words = vec![bell];
    let mut most = LATEST;
    for (sleeper, sleep) in asleep.iter().zip(sleeps) {
        words.push((sleep.word, sleep.seen));
        let until_look = sleeper.look.saturating_duration_since(now);
        most = most.min(until_look).min(Duration::from_nanos(sleep.nanos));
    }
    sys::wait_for_words(&words, most);
}
