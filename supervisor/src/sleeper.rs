//! A call that sleeps: its thread waits in it for the supervisor's answer, which comes when the sleep is over.
//!
//! A thread that waits so is woken by a signal, and waits on unless it is killed (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV); only
//! the answer lets the handler run. Nothing tells others of that but the thread's state in `/proc`: it is asleep until a signal
//! is there for it, and uninterruptible from then on. So that is looked at from time to time. More
//! threads may sleep than there may be descriptors: then it is opened at each look. As long as no thread of the process has run, none has got a signal, and there
//! is nothing to look at.

use crate::border::{Asleep, End};
use crate::{proc, sys};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How soon, and how late, is looked for signals.
const SOONEST: Duration = Duration::from_millis(2);
const LATEST: Duration = Duration::from_millis(20);
/// In between this part of the youngest sleep lies between two looks.
const PART: u32 = 16;
/// So much of the time one thread's state may take: it is read in a tenth of that.
const EACH: Duration = Duration::from_micros(150);
/// A thread's state is read after this time at the latest. The kernel may not count a run at all that was very short.
const LONGEST: Duration = Duration::from_secs(1);

/// A call that sleeps.
struct Sleeper {
    /// The notification's id.
    id: u64,
    asleep: Box<Asleep>,
    tid: Pid,
    /// Tells the thread's state. `None`: there was no descriptor to spare.
    state: Option<File>,
    /// A thread of the client's process, not of one that shares its memory.
    is_own: bool,
    /// How long the process had run, and when, when the thread's state was last read.
    had_run: Option<Duration>,
    read: Instant,
    /// The next step is made then at the latest.
    step: Instant,
}

/// The calls of a client that sleep.
pub struct Sleepers {
    /// Those whose state was read last are the last.
    all: VecDeque<Sleeper>,
    youngest: Instant,
    last_look: Instant,
    next_look: Instant,
}

impl Sleepers {
    /// None.
    pub fn new() -> Sleepers {
        let now = Instant::now();
        Sleepers {
            all: VecDeque::new(),
            youngest: now,
            last_look: now,
            next_look: now,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// They are another's.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    /// Adds the call of this notification, made by a thread on behalf of a process.
    pub fn push(&mut self, id: u64, process: Pid, tid: Pid, asleep: Box<Asleep>) {
        let now = Instant::now();
        let soon = now + SOONEST;
        self.next_look = match self.all.is_empty() {
            true => soon,
            false => self.next_look.min(soon),
        };
        self.youngest = now;
        let state = proc::open_state(tid).ok();
        self.all.push_back(Sleeper {
            id,
            step: now + longest(&asleep),
            asleep,
            tid,
            state: state.filter(sys::leaves_some),
            is_own: sys::is_thread_of(process, tid),
            had_run: None,
            read: now,
        });
    }

    /// Looks which are to make a step, by `step`, which says whether the call sleeps on: those that were woken, or whose time has
    /// come; now and then those that a signal is there for, and one of each set, which looks after processes that have ended.
    pub fn look(
        &mut self,
        process: Pid,
        mut step: impl FnMut(u64, &mut Asleep, Option<&End>) -> bool,
    ) {
        let now = Instant::now();
        let mut sets = None;
        if self.next_look <= now {
            self.look_for_signals(process, now, &mut step);
            self.last_look = now;
            self.next_look = now + ((now - self.youngest) / PART).clamp(SOONEST, LATEST);
            sets = Some(HashSet::new());
        }
        self.all.retain_mut(|sleeper| {
            let set = sleeper.asleep.set();
            let is_first =
                set.is_some_and(|set| sets.as_mut().is_some_and(|sets| sets.insert(set)));
            if !is_first && !sleeper.is_woken() && now < sleeper.step {
                return true;
            }
            let sleeps = step(sleeper.id, &mut sleeper.asleep, None);
            sleeper.step = now + longest(&sleeper.asleep);
            sleeps
        });
    }

    /// Reads the states of threads that may have changed, those first that were not read for longest. What is left for the next
    /// look, where many have: this is not to take all the time.
    fn look_for_signals(
        &mut self,
        process: Pid,
        now: Instant,
        step: &mut impl FnMut(u64, &mut Asleep, Option<&End>) -> bool,
    ) {
        let has_run = sys::time_run(process);
        let most = ((now - self.last_look).min(LATEST).as_micros() / EACH.as_micros()).max(1);
        let mut read = 0;
        for _ in 0..self.all.len() {
            let Some(mut sleeper) = self.all.pop_front() else {
                return;
            };
            if sleeper.may_be_signalled(has_run, now) {
                if read >= most {
                    return self.all.push_front(sleeper);
                }
                read += 1;
                sleeper.had_run = has_run;
                sleeper.read = now;
                let end = sleeper.why_to_end();
                if end.is_some() && !step(sleeper.id, &mut sleeper.asleep, end.as_ref()) {
                    continue;
                }
            }
            self.all.push_back(sleeper);
        }
    }

    /// Waits until one of them is to be looked at, or the bell rings that has rung so often.
    pub fn wait(&self, bell: (&AtomicU32, u32)) {
        let mut words = vec![bell];
        let mut until = self.next_look;
        for sleeper in &self.all {
            let sleep = sleeper.asleep.sleep();
            words.extend(sleep.map(|sleep| (sleep.word, sleep.seen)));
            until = until.min(sleeper.step);
        }
        sys::wait_for_words(&words, until.saturating_duration_since(Instant::now()));
    }
}

/// How long a call may sleep until its next step.
fn longest(asleep: &Asleep) -> Duration {
    let sleep = asleep.sleep();
    sleep.map_or(Duration::ZERO, |sleep| Duration::from_nanos(sleep.nanos))
}

impl Sleeper {
    fn is_woken(&self) -> bool {
        let sleep = self.asleep.sleep();
        sleep.is_none_or(|sleep| sleep.word.load(Ordering::Acquire) != sleep.seen)
    }

    /// Whether its thread may have got a signal since its state was read.
    fn may_be_signalled(&self, has_run: Option<Duration>, now: Instant) -> bool {
        let has_not_run = self.is_own && has_run.is_some() && self.had_run == has_run;
        !has_not_run || now - self.read >= LONGEST
    }

    /// A signal that is there for the thread; or that none could be noticed: the call is not to sleep on deaf.
    fn why_to_end(&self) -> Option<End> {
        let state = match &self.state {
            Some(file) => proc::state(file),
            None => proc::open_state(self.tid).and_then(|file| proc::state(&file)),
        };
        let error = match state {
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
