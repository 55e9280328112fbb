//! semget, semop and semctl, and what they share: a set is found, without the dead in it, copied, and the changed copy published.

mod at_once;
mod semctl;
mod semget;
mod semop;
mod sleep;

use super::error::{Error, Outcome};
use super::objects::{Objects, now, objects};
use super::rules::{self, perm_of};
use super::sleep::Answered;
use crate::storage::ipc::{MoreRoom, ObjectKind, Presence, Root, Seen, SetBlock};
use crate::sysv::sem::{self, Answer, SemLimits, SetPerm, SetState};
use crate::sysv::{self, Kind, ShmId};

pub use at_once::{sem_value_at_once, semget_at_once, semop_at_once, semops_at_once};
pub use semctl::{
    SemUsage, sem_ask, sem_count_to_set, sem_list, sem_remove, sem_set, sem_set_value,
    sem_set_values, sem_stat, sem_usage, sem_values, set_sem_limits,
};
pub use semget::semget;
pub use semop::semop;

/// SEM_UNDO, in an operation's flags.
const UNDO: i16 = sem::flags::SEM_UNDO as i16;

/// A set as it was at one moment.
#[derive(Clone, Copy)]
struct Found {
    root: Root,
    seen: Seen,
    set: SetBlock,
}

impl Found {
    #[inline(always)]
    fn facts(&self) -> SetPerm {
        self.set.facts(|words| perm_of(Kind::Set, words))
    }

    #[inline(always)]
    fn is_still(&self) -> bool {
        self.root.is_still(self.seen)
    }
}

impl Objects {
    /// The set that a root leads to, removed or not. `None`: there is none.
    #[inline(always)]
    fn set_behind(&self, root: Root) -> Option<Found> {
        loop {
            let seen = root.seen();
            if seen.unit() == 0 {
                return None;
            }
            match self.file.set(seen) {
                Some(set) => return Some(Found { root, seen, set }),
                None if root.is_still(seen) => return None,
                None => {}
            }
        }
    }

    /// The set with this identifier.
    #[inline]
    fn set(&self, id: ShmId) -> Outcome<Found> {
        let root = self.root_of(ObjectKind::Set, id)?;
        let unknown = || Error::from(sysv::unknown_id(Kind::Set, id));
        loop {
            let found = self.set_behind(root).ok_or_else(unknown)?;
            let fits = found.set.id() == id.raw() && !found.set.is_removed();
            if !found.is_still() {
                continue;
            }
            return if fits { Ok(found) } else { Err(unknown()) };
        }
    }

    /// The same, when those who have died are out of it. `all`: also those of whom only the stamp of their end is missing.
    fn set_of_the_living(&self, id: ShmId, all: bool) -> Outcome<Found> {
        loop {
            let found = self.set(id)?;
            if !self.bury(&found, all)? {
                return Ok(found);
            }
        }
    }

    /// The set with this index, without the dead.
    fn set_at(&self, index: i32) -> Outcome<Found> {
        let slot = index as u32 & (sysv::SLOTS - 1);
        let unused = || Error::from(sysv::unused_index(Kind::Set, slot));
        let root = self.root_at(ObjectKind::Set, index)?;
        loop {
            let found = self.set_behind(root).ok_or_else(unused)?;
            let (is_removed, is_still) = (found.set.is_removed(), found.is_still());
            if is_still && is_removed {
                return Err(unused());
            }
            if is_still && !self.bury(&found, true)? {
                return Ok(found);
            }
        }
    }

    /// Carries out what dead processes owe the set, and takes their sleepers out. Whether there was anything to do.
    #[inline]
    fn bury(&self, found: &Found, all: bool) -> Outcome<bool> {
        let set = &found.set;
        if set.undos() == 0 && set.sleepers() == 0 {
            return Ok(false);
        }
        let me = self.owner_if_entered();
        for index in 0..set.undos() {
            let undo = set.undo(index);
            let matters = undo.owner != me && (undo.adjust != 0 || all);
            if matters && self.file.presence(undo.owner) == Presence::Gone && found.is_still() {
                self.end(found, undo.owner, Presence::Gone)?;
                return Ok(true);
            }
        }
        if set.sleepers() != 0 && self.bury_sleepers_of(found)? {
            return Ok(true);
        }
        Ok(!found.is_still())
    }

    /// Takes a sleeper out that is not there any more. Whether there was one.
    #[cold]
    #[inline(never)]
    fn bury_sleepers_of(&self, found: &Found) -> Outcome<bool> {
        let me = self.owner_if_entered();
        for index in 0..found.set.sleepers() {
            let sleeper = found.set.sleeper(index);
            if !self.file.is_taken(sleeper.place) && found.is_still() {
                return Ok(self.remove_sleeper(found, index).is_some());
            }
            if sleeper.owner == me {
                continue;
            }
            let presence = self.file.presence(sleeper.owner);
            if presence != Presence::There && found.is_still() {
                self.end(found, sleeper.owner, presence)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same for one that was removed. Whether anything was done.
    pub(in crate::registry) fn bury_in_removed_set(&self, root: Root) -> bool {
        let found = self.set_behind(root).filter(|found| found.set.is_removed());
        found.is_some_and(|found| matches!(self.bury(&found, false), Ok(true)))
    }

    #[cold]
    #[inline(never)]
    fn end(&self, found: &Found, owner: u32, presence: Presence) -> Outcome<()> {
        let mut copy = self
            .file
            .copy_set(&found.set, MoreRoom::default(), self.holder())?;
        if !found.is_still() {
            self.give_unpublished(copy.block());
            return Ok(());
        }
        match presence {
            Presence::Gone => {
                sem::end_process(&mut copy, owner, now());
            }
            Presence::Replaced => {
                sem::drop_sleepers(&mut copy, owner);
            }
            Presence::There => {}
        }
        self.publish(found, copy);
        Ok(())
    }

    /// Makes a copy the set, if it is still what was copied; then the sleepers that were answered are woken.
    #[inline]
    fn publish(&self, found: &Found, copy: SetBlock) -> bool {
        if copy.sleepers() != 0 || copy.is_removed() {
            return self.publish_to_sleepers(found, copy);
        }
        self.exchange(found, &copy)
    }

    /// The same where nobody sleeps.
    #[inline(always)]
    fn exchange(&self, found: &Found, copy: &SetBlock) -> bool {
        let holding = self.file.holding(found.set.block());
        let is_done = self.holds(copy.block()) && found.root.change(found.seen, copy.block().unit);
        if is_done {
            self.file.give_replaced(found.set.block(), holding);
        } else {
            self.give_unpublished(copy.block());
        }
        is_done
    }

    #[cold]
    #[inline(never)]
    fn publish_to_sleepers(&self, found: &Found, copy: SetBlock) -> bool {
        let is_over = copy.is_removed() && copy.sleepers() == 0;
        let unit = if is_over { 0 } else { copy.block().unit };
        // As soon as it is published, the copy is everybody's.
        let answered = answered(&found.set, &copy);
        let holding = self.file.holding(found.set.block());
        if !self.holds(copy.block()) || !found.root.change(found.seen, unit) {
            self.give_unpublished(copy.block());
            return false;
        }
        // Crash here, before or in this: a sleeper looks again by itself after a while.
        answered.each(|index| self.file.wake(found.set.sleeper(index).place));
        self.file.give_replaced(found.set.block(), holding);
        if is_over {
            self.give_unpublished(copy.block());
        }
        true
    }

    /// Changes a set by a rule that cannot refuse.
    fn change_set(
        &self,
        found: &Found,
        more: MoreRoom,
        rule: impl FnOnce(&mut SetBlock),
    ) -> Outcome<bool> {
        let mut copy = self.file.copy_set(&found.set, more, self.holder())?;
        if !found.is_still() {
            self.give_unpublished(copy.block());
            return Ok(false);
        }
        rule(&mut copy);
        Ok(self.publish(found, copy))
    }

    /// Takes the sleeper with this index out. `Some(false)`: the set has changed; `None`: there is no room for a copy.
    #[inline(never)]
    fn remove_sleeper(&self, found: &Found, index: u32) -> Option<bool> {
        let holder = self.holder();
        let copy = self.file.copy_set(&found.set, MoreRoom::default(), holder);
        let mut copy = copy.ok()?;
        if !found.is_still() {
            self.give_unpublished(copy.block());
            return Some(false);
        }
        copy.remove_sleeper(index);
        Some(self.publish(found, copy))
    }
}

/// Which of the sleepers have an answer in a copy and had none before.
fn answered(old: &SetBlock, copy: &SetBlock) -> Answered {
    let is_answered = |place: u32| {
        let sleepers = (0..copy.sleepers()).map(|index| copy.sleeper(index));
        let mut others = sleepers.filter(|sleeper| sleeper.place == place);
        others.any(|sleeper| sleeper.answer != Answer::Waits)
    };
    let mut answered = Answered::none();
    if (0..copy.sleepers()).any(|index| copy.sleeper(index).answer != Answer::Waits) {
        for index in 0..old.sleepers() {
            let before = old.sleeper(index);
            if before.answer == Answer::Waits && is_answered(before.place) {
                answered.add(index);
            }
        }
    }
    answered
}

/// Whether the caller is about to owe the set something for the first time, and there are many who did before: some have ended
/// since, who owe nothing any more, and would be copied along for ever.
#[inline]
fn is_crowded(set: &SetBlock, owner: u32) -> bool {
    const CROWD: u32 = 16;
    let undos = set.undos();
    undos >= CROWD && !(0..undos).any(|index| set.undo(index).owner == owner)
}

fn limits_of(objects: &Objects) -> SemLimits {
    rules::sem_limits_of(objects.file.sem_limits())
}

/// The limits: how many operations a call may have is to be known before they are read.
pub fn sem_limits() -> Outcome<SemLimits> {
    objects().map(limits_of)
}
