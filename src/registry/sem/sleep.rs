//! semop, asleep: until another process has carried its operations out.

use super::semop::{SemCall, Tried};
use super::{Found, UNDO};
use crate::os::atomic::Ordering;
use crate::os::exposed_sleep::Exposure;
use crate::os::process;
use crate::registry::blocked::Blocked;
use crate::registry::error::{Error, Outcome};
use crate::registry::objects::{Objects, thread};
use crate::registry::sleep::Watch;
use crate::storage::ipc::{MoreRoom, ObjectKind, Root, SetBlock};
use crate::sysv::sem::{self, Answer, Process, SetState, Sleeper};
use crate::sysv::{self, Errno, Kind, refusal};

impl SemCall<'_> {
    /// Sleeps until another process has carried the operations out.
    #[cold]
    #[inline(never)]
    pub(super) fn sleep(&self, found: Found, at: u16, limit: Option<u64>) -> Outcome<()> {
        let objects = self.objects;
        let owner = objects.owner()?;
        let by = Process { owner, ..self.by };
        let call = SemCall { by, ..*self };
        let place = objects
            .file
            .take_place(owner, thread(), ObjectKind::Set, self.id.raw())?;
        objects.asleep().fetch_add(1, Ordering::Relaxed);
        // From here on a handler runs in the sleep or not before the call is over.
        let mut exposure = Exposure::begin();
        let slept = call.sleep_at(found, at, limit, place, &mut exposure);
        objects.end_sleep(place);
        exposure.end();
        slept
    }

    /// `at` is what blocks in `found`, and nothing else.
    fn sleep_at(
        &self,
        mut found: Found,
        at: u16,
        limit: Option<u64>,
        place: u32,
        exposure: &mut Exposure,
    ) -> Outcome<()> {
        let begun = process::fine_nanos();
        if !self.lie_down_or_go_on(&mut found, at, place)? {
            return Ok(());
        }
        let until = limit.map(|limit| begun.saturating_add(limit));
        self.wait(found.root, until, place, exposure)
    }

    /// Puts the caller among the sleepers, unless the operations can go on after all. Whether it sleeps.
    #[inline(never)]
    pub(super) fn lie_down_or_go_on(
        &self,
        found: &mut Found,
        mut at: u16,
        place: u32,
    ) -> Outcome<bool> {
        while !self.lie_down_aloud(found, at, place)? {
            // The set has changed meanwhile: perhaps the operations can go on.
            *found = self.objects.set(self.id).map_err(|_| self.removed())?;
            if self.objects.reap_in_set(found, false)? {
                continue;
            }
            match self.attempt(found)? {
                Tried::Again => {}
                Tried::Answer(None) => return Ok(false),
                Tried::Answer(Some(now_at)) => at = now_at,
            }
        }
        Ok(true)
    }

    /// [`SemCall::lie_down`], and tells it if somebody wants to know.
    #[inline]
    fn lie_down_aloud(&self, found: &Found, at: u16, place: u32) -> Outcome<bool> {
        match self.asleep {
            Some(asleep) => self.lie_down_and_tell(found, at, place, asleep),
            None => self.lie_down(found, at, place),
        }
    }

    #[cold]
    #[inline(never)]
    fn lie_down_and_tell(
        &self,
        found: &Found,
        at: u16,
        place: u32,
        asleep: &dyn Fn(&Blocked),
    ) -> Outcome<bool> {
        // Of the set as it was found: so it still is, if the caller lies in it afterwards.
        let why = self.would_block(found, at, None);
        let lies = self.lie_down(found, at, place)?;
        if lies {
            asleep(&why);
        }
        Ok(lies)
    }

    /// Puts the caller among the sleepers. `false`: the set has changed.
    fn lie_down(&self, found: &Found, at: u16, place: u32) -> Outcome<bool> {
        let more = MoreRoom {
            undos: self.undo_room(),
            sleepers: 1,
            operations: self.operations.len() as u32,
        };
        let sleeper = Sleeper {
            owner: self.by.owner,
            pid: self.by.pid,
            place,
            operations: 0,
            blocked_at: at,
            alters: false,
            answer: Answer::Waits,
        };
        self.objects.change_set(found, more, |copy| {
            sem::sleep(copy, self.operations, at, sleeper);
        })
    }

    /// Sleeps, again and again, until the answer is there, the time is over, or a handler has run.
    #[inline(never)]
    fn wait(
        &self,
        root: Root,
        until: Option<u64>,
        place: u32,
        exposure: &mut Exposure,
    ) -> Outcome<()> {
        let objects = self.objects;
        let Some(futex) = objects.file.futex_of(place) else {
            return Err(objects
                .file
                .is_damaged("a sleeper's place is not there")
                .into());
        };
        let mut watch = Watch::new();
        loop {
            let seen = futex.load(Ordering::Acquire);
            let found = self.found_sleeping(root, place);
            let Some((found, index)) = found else {
                return Err(self.left(root));
            };
            let sleeper = found.set.sleeper(index);
            if !found.is_still() {
                continue;
            }
            if sleeper.answer != Answer::Waits {
                return self.get_up(root, place).unwrap_or(Err(self.left(root)));
            }
            // For want of room the dead stay until there is some.
            if matches!(objects.reap_in_set(&found, false), Ok(true)) {
                continue;
            }
            let left = until.map(|until| until.saturating_sub(process::fine_nanos()));
            if left == Some(0) {
                let refused = self.would_block(&found, sleeper.blocked_at, Some(place));
                if !found.is_still() {
                    continue;
                }
                return self.get_up(root, place).unwrap_or(Err(refused.into()));
            }
            watch.holders(
                &objects.file,
                holders(&found.set, objects.owner_if_entered()),
            );
            if watch.sleep(futex, seen, left, exposure) {
                return self.get_up(root, place).unwrap_or(Err(self.interrupted()));
            }
        }
    }

    /// The set, with the caller's place among its sleepers.
    pub(super) fn found_sleeping(&self, root: Root, place: u32) -> Option<(Found, u32)> {
        loop {
            let found = self.objects.set_behind(root)?;
            let index = found.set.sleeper_at(place);
            let fits = found.set.id() == self.id.raw();
            if found.is_still() {
                return index.filter(|_| fits).map(|index| (found, index));
            }
        }
    }

    /// Takes the caller out of the sleepers. Its answer, if it has one.
    pub(super) fn get_up(&self, root: Root, place: u32) -> Option<Outcome<()>> {
        match self.objects.take_out(root, self.id.raw(), place, true) {
            None => Some(Err(self.left(root))),
            Some(Answer::Waits) => None,
            Some(Answer::Done) => Some(Ok(())),
            Some(Answer::Failed(Errno::Eidrm)) => Some(Err(self.removed())),
            Some(Answer::Failed(errno)) => Some(Err(failed(errno))),
        }
    }

    /// Why the caller is no longer among the sleepers.
    pub(super) fn left(&self, root: Root) -> Error {
        while let Some(found) = self.objects.set_behind(root) {
            let is_there = found.set.id() == self.id.raw() && !found.set.is_removed();
            if found.is_still() {
                return if is_there {
                    self.interrupted()
                } else {
                    self.removed()
                };
            }
        }
        self.removed()
    }

    fn removed(&self) -> Error {
        sysv::removed_meanwhile(Kind::Set, self.id).into()
    }

    pub(super) fn interrupted(&self) -> Error {
        // "While blocked in this system call, the thread caught a signal" - man semop(2)
        refusal!(
            Eintr,
            [],
            "a handler of a signal has run while the call slept"
        )
        .into()
    }
}

/// What a sleeper's operations ended in when another process tried them.
fn failed(errno: Errno) -> Error {
    match errno {
        Errno::Erange => refusal!(Erange, [], "a value would have become too large when another process made the others possible").into(),
        _ => refusal!(Eagain, [], "an operation with IPC_NOWAIT could not go on when another process made the others possible").into(),
    }
}

/// The processes whose end would change the set's values: those that owe it something, and those that sleep with SEM_UNDO, for
/// they may come to. An answered sleeper owes it by now, or never will.
fn holders(set: &SetBlock, me: u32) -> impl Iterator<Item = u32> + '_ {
    let owing = (0..set.undos())
        .map(|index| set.undo(index))
        .filter(|undo| undo.adjust != 0)
        .map(|undo| undo.owner);
    let sleeping = (0..set.sleepers())
        .map(|index| (index, set.sleeper(index)))
        .filter(|(index, sleeper)| {
            let mut operations =
                (0..sleeper.operations.into()).map(|nth| set.operation(*index, nth));
            sleeper.answer == Answer::Waits
                && operations.any(|operation| operation.flags & UNDO != 0)
        })
        .map(|(_, sleeper)| sleeper.owner);
    owing.chain(sleeping).filter(move |&owner| owner != me)
}

impl Objects {
    /// Takes a sleeper out of its set, and says what it was told; `None`: it is not there. `answered`: also if it was.
    fn take_out(&self, root: Root, id: i32, place: u32, answered: bool) -> Option<Answer> {
        loop {
            let found = self.set_behind(root)?;
            let set = &found.set;
            let index = set.sleeper_at(place);
            let (fits, answer) = (set.id() == id, index.map(|index| set.sleeper(index).answer));
            if !found.is_still() {
                continue;
            }
            let (index, answer) = (index.filter(|_| fits)?, answer?);
            if !answered && answer != Answer::Waits {
                return Some(answer);
            }
            // Without room for a copy it stays there, and counts for nothing as soon as its place is given back.
            if self.remove_sleeper(&found, index) != Some(false) {
                return Some(answer);
            }
        }
    }

    /// Takes a sleeper out of its set; `answered`: also one that has an answer.
    pub(in crate::registry) fn leave_set(&self, id: i32, place: u32, answered: bool) {
        if let Some(root) = self.file.root(ObjectKind::Set, id as u32 % sysv::SLOTS) {
            let _ = self.take_out(root, id, place, answered);
        }
    }
}
