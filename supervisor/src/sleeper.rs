//! A call that sleeps: its thread waits in it for the supervisor's answer, which comes when the sleep is over.
//!
//! A thread that waits so is woken by a signal, and waits on unless it is killed (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV); only
//! the answer lets the handler run. Nothing tells others of that but the thread's state in `/proc`: it is asleep until a signal
//! is there for it, and uninterruptible from then on. So that is looked at from time to time. No descriptor is kept for it: more
//! threads may sleep than there may be descriptors.

use crate::border::{Asleep, End, Memory};
use crate::{proc, sys};
use nix::errno::Errno;
use nix::unistd::Pid;
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
    tid: Pid,
    since: Instant,
    /// When to look at that.
    look: Instant,
}

impl Sleeper {
    /// A call of this notification, which sleeps from now on.
    pub fn new(id: u64, tid: Pid, asleep: Box<Asleep>) -> Sleeper {
        let now = Instant::now();
        Sleeper {
            id,
            asleep,
            tid,
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
        let mut end = None;
        if self.is_due() {
            end = self.why_to_end();
            let now = Instant::now();
            let part = (now - self.since) / PART;
            self.look = now + part.clamp(SOONEST, LATEST);
        }
        self.asleep.step(memory, end.as_ref())
    }

    /// A signal that is there for the thread; or that none could be noticed: the call is not to sleep on deaf.
    fn why_to_end(&self) -> Option<End> {
        let error = match proc::state(self.tid) {
            Ok(state) => return (state == Some(b'D')).then_some(End::Signal),
            // Killed, it takes no answer.
            Err(_) if !sys::is_thread(self.tid) => return None,
            Err(error) => error,
        };
        let errno = match error {
            Errno::ENOENT | Errno::EACCES | Errno::EPERM => libc::EACCES,
            _ => libc::ENOMEM,
        };
        let (tid, error) = (self.tid, error.desc());
        let why = format!(
            "it may not sleep, for no signal would be noticed: /proc/{tid}/task/{tid}/stat cannot be read ({error})"
        );
        Some(End::Refused(errno, why))
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
