//! How a thread sleeps in a set or a queue: so that a handler ends the sleep, and the end of a process that holds what it waits
//! for is noticed.
//!
//! A handler ends a `FUTEX_WAIT` that has a time limit whatever SA_RESTART says, so every sleep has one. The end of another
//! process is noticed by its mark (`storage/ipc/owner.rs`): `futex_waitv` sleeps on the own word and on the marks at once. A
//! handler with SA_RESTART would have the kernel go on sleeping there; where one is installed, or that call is not to be had, the
//! sleeper looks at the others from time to time.

use super::objects::{Objects, objects_if_open, thread};
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::exposed_sleep::Exposure;
use crate::os::futex::{self, Waiting};
use crate::os::signal_mask::Mask;
use crate::storage::ipc::{IpcFile, ObjectKind};

/// The longest sleep at once: a waker that was killed between its change and the waking is made up for after it.
///
/// No whole second, as those of alarm(2) are: of a handler that runs in the moment in which a sleep ends by itself the kernel
/// tells nothing, and the next sleep would not be interrupted by it (squid's diskd, which calls alarm(1) before each msgrcv).
pub(super) const LONGEST: u64 = 1_370_000_000;
/// How long a sleeper sleeps before it looks for the holders of what it waits for: where many take turns, mostly nobody comes to it.
const FIRST: u64 = 3_000_000;
/// How often it looks at processes that it cannot be woken by.
const LOOK: u64 = 50_000_000;
/// So many marks at most are slept on at once.
const MOST: usize = 8;

/// Sleepers that are to be woken, by their place in the order of arrival. Those far behind are woken for nothing.
pub(super) struct Answered {
    bits: [u64; 4],
    /// One is further behind: from there on all are.
    more: Option<u32>,
}

impl Answered {
    /// Nobody.
    pub(super) fn none() -> Answered {
        Answered {
            bits: [0; 4],
            more: None,
        }
    }

    /// Adds one.
    pub(super) fn add(&mut self, index: u32) {
        match self.bits.get_mut(index as usize / 64) {
            Some(bits) => *bits |= 1 << (index % 64),
            None => self.more = self.more.max(Some(index)),
        }
    }

    /// Calls `wake` with each of them.
    pub(super) fn each(&self, mut wake: impl FnMut(u32)) {
        for (from, bits) in (0..).step_by(64).zip(self.bits) {
            let mut rest = bits;
            while rest != 0 {
                wake(from + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        if let Some(last) = self.more {
            (256..=last).for_each(wake);
        }
    }
}

/// Which of an object's sleepers have an answer in a copy and had none before. Each list is its length, and place and whether there
/// is an answer by index.
#[inline]
pub(super) fn newly_answered(
    (before, old): (u32, impl Fn(u32) -> (u32, bool)),
    (after, copy): (u32, impl Fn(u32) -> (u32, bool)),
) -> Answered {
    let mut answered = Answered::none();
    for at in 0..after {
        let (place, has_answer) = copy(at);
        if !has_answer {
            continue;
        }
        // A copy has them in the same order, without those that were taken out: mostly one stood where it stands.
        let mut indices = (at..before).chain(0..at.min(before));
        let index = indices.find(|&index| old(index).0 == place);
        if let Some(index) = index.filter(|&index| !old(index).1) {
            answered.add(index);
        }
    }
    answered
}

/// How far a call has come.
pub enum Step<T> {
    /// It is over.
    Done(T),
    /// The caller is to sleep, and then to make the next step.
    Sleep(Sleep),
}

/// A sleep on a word of shared memory.
#[derive(Clone, Copy)]
pub struct Sleep {
    /// The word.
    pub word: &'static AtomicU32,
    /// As long as it holds this.
    pub seen: u32,
    /// At most so many nanoseconds.
    pub nanos: u64,
    /// The thread's mask in the sleep; outside of it all signals are blocked until the call is over.
    pub mask: Mask,
}

/// Why a sleep was over; the first step comes with `Other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A handler has run.
    BySignal,
    /// For any other reason.
    Other,
}

/// A sleep, and the processes that are watched meanwhile.
pub(super) struct Watch {
    marks: [Option<(&'static AtomicU32, u32)>; MOST],
    count: usize,
    /// There are processes that it cannot be woken by.
    others: bool,
    /// Sleeps so far.
    sleeps: u32,
    may_watch: Option<bool>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            marks: [None; MOST],
            count: 0,
            others: false,
            sleeps: 0,
            may_watch: None,
        }
    }

    /// Sets the processes to be watched in the next sleep.
    pub(super) fn holders(&mut self, file: &IpcFile<'_>, mut owners: impl Iterator<Item = u32>) {
        self.count = 0;
        self.others = false;
        if self.sleeps == 0 {
            self.others = owners.next().is_some();
            return;
        }
        for owner in owners {
            match (file.watch_mark(owner), self.marks.get_mut(self.count)) {
                (Some(mark), Some(place)) => {
                    *place = Some(mark);
                    self.count += 1;
                }
                _ => self.others = true,
            }
        }
    }

    /// Sleeps while `word` holds `seen`, for `left` nanoseconds at most. Whether a handler has run. The signals are blocked, and
    /// let through as the guard's mask says.
    pub(super) fn sleep(
        &mut self,
        word: &'static AtomicU32,
        seen: u32,
        left: Option<u64>,
        exposure: &mut Exposure,
    ) -> bool {
        let longest = match (self.sleeps, self.others, self.count) {
            (0, true, _) => FIRST,
            (_, true, _) => LOOK,
            (_, false, 0) => LONGEST,
            _ if self.may_watch() => LONGEST,
            _ => LOOK,
        };
        self.sleeps = self.sleeps.saturating_add(1);
        let nanos = left.map_or(longest, |left| left.min(longest));
        if self.count == 0 || longest == LOOK && !self.may_watch() {
            return exposure.sleep(word, seen, nanos);
        }
        let marks = self.marks.iter().take(self.count).flatten();
        match futex::wait_any(word, seen, marks, nanos, exposure.mask()) {
            Waiting::Over => false,
            Waiting::Woken => {
                exposure.is_exposed();
                false
            }
            Waiting::Interrupted => true,
            Waiting::Unavailable => {
                self.may_watch = Some(false);
                exposure.sleep(word, seen, nanos.min(LOOK))
            }
        }
    }

    /// Whether handlers end a sleep on several words.
    fn may_watch(&mut self) -> bool {
        *self.may_watch.get_or_insert_with(futex::may_wait_for_any)
    }
}

/// The calling thread leaves every queue that it sleeps in, of sets and of message queues, because a handler has interrupted it
/// and makes a call. What it was given already it keeps. Cheap where no thread of the process sleeps.
#[inline]
pub fn leave_sleeps() {
    if let Some(objects) = sleeping() {
        objects.leave(false);
    }
}

/// The same for a thread that will not come back to its sleep: it jumps out of the handler, or ends.
#[inline]
pub fn abandon_sleeps() {
    if let Some(objects) = sleeping() {
        objects.leave(true);
    }
}

/// If threads of this process sleep.
#[inline]
fn sleeping() -> Option<&'static Objects> {
    objects_if_open().filter(|objects| objects.asleep().load(Ordering::Relaxed) != 0)
}

impl Objects {
    #[cold]
    #[inline(never)]
    fn leave(&self, for_good: bool) {
        let owner = self.owner_if_entered();
        self.file.each_sleep_of(owner, thread(), &mut |sleeping| {
            match sleeping.kind {
                ObjectKind::Set => self.leave_set(sleeping.id, sleeping.place, for_good),
                ObjectKind::Queue => self.leave_queue(sleeping.id, sleeping.place, for_good),
            }
            if for_good {
                self.give_text(sleeping.text);
                self.end_sleep(sleeping.place);
            }
        });
    }

    /// The sleep at a place is over, if it was not already.
    pub(super) fn end_sleep(&self, place: u32) {
        if self.file.give_place(place) {
            self.asleep().fetch_sub(1, Ordering::Relaxed);
        }
    }
}
