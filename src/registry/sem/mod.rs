//! semget, semop and semctl, and what they share: a set is found, without the dead in it, copied, and the changed copy published.

mod at_once;
mod by_steps;
mod kept;
mod semctl;
mod semget;
mod semop;
mod sleep;

use super::error::{Error, Outcome};
use super::objects::{Objects, now, objects};
use super::rules::{self, perm_of};
use super::sleep::{Answered, newly_answered};
use crate::storage::ipc::{MoreRoom, ObjectKind, Presence, Root, Seen, SetBlock};
use crate::sysv::sem::{self, Answer, SemLimits, SetPerm, SetState};
use crate::sysv::{self, Kind, ShmId};

pub use at_once::{sem_value_at_once, semget_at_once, semop_at_once};
pub use by_steps::Operating;
pub use semctl::{
    SemUsage, sem_ask, sem_count_to_set, sem_list, sem_may_change, sem_remove, sem_set,
    sem_set_value, sem_set_values, sem_stat, sem_usage, sem_values, set_sem_limits,
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

    /// The same, when the dead are out of it. `all`: also those of which only the stamp of the end is missing.
    fn set_of_the_living(&self, id: ShmId, all: bool) -> Outcome<Found> {
        loop {
            let found = self.set(id)?;
            if !self.reap_in_set(&found, all)? {
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
            if is_still && !self.reap_in_set(&found, true)? {
                return Ok(found);
            }
        }
    }

    /// Carries out what dead processes owe the set, and takes their sleepers out. Whether there was anything to do.
    #[inline]
    fn reap_in_set(&self, found: &Found, all: bool) -> Outcome<bool> {
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
        if set.sleepers() != 0 && self.reap_sleepers_in_set(found)? {
            return Ok(true);
        }
        Ok(!found.is_still())
    }

    /// Takes a sleeper out that is not there any more. Whether there was one.
    #[cold]
    #[inline(never)]
    fn reap_sleepers_in_set(&self, found: &Found) -> Outcome<bool> {
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
    pub(in crate::registry) fn reap_in_removed_set(&self, root: Root) -> bool {
        let found = self.set_behind(root).filter(|found| found.set.is_removed());
        found.is_some_and(|found| matches!(self.reap_in_set(&found, false), Ok(true)))
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
        let holding = self.file.holding(found.set.block());
        let is_done = self.holds(copy.block()) && found.root.change(found.seen, copy.block().unit);
        if is_done {
            self.file.give_replaced(found.set.block(), holding);
        } else {
            self.give_unpublished(copy.block());
        }
        is_done
    }

    /// Ends a set that nobody sleeps in, if it is still what was found.
    fn end_set(&self, found: &Found) -> bool {
        let old = found.set.block();
        let holding = self.file.holding(old);
        let is_done = found.root.change(found.seen, 0);
        if is_done {
            self.file.give_replaced(old, holding);
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
        let old = found.set.block();
        // A block without sleepers is not read behind the exchange, and its taker may keep it (`kept.rs`).
        let is_read = found.set.sleepers() != 0;
        let holding = if is_read {
            self.claim_old(found.root, found.seen, old)
        } else {
            self.file.holding(old)
        };
        if !self.holds(copy.block()) || !found.root.change(found.seen, unit) {
            self.give_unpublished(copy.block());
            return false;
        }
        let taken = if is_read {
            self.file.take_claimed(old, holding, self.holder())
        } else {
            Some(holding)
        };
        // Crash here, before or in this: a sleeper looks again by itself after a while.
        if let Some(holding) = taken {
            answered.each(|index| self.file.wake(found.set.sleeper(index).place));
            self.file.give_replaced(old, holding);
        }
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

fn answered(old: &SetBlock, copy: &SetBlock) -> Answered {
    fn at(set: &SetBlock) -> impl Fn(u32) -> (u32, bool) {
        |index| {
            let sleeper = set.sleeper(index);
            (sleeper.place, sleeper.answer != Answer::Waits)
        }
    }
    newly_answered((old.sleepers(), at(old)), (copy.sleepers(), at(copy)))
}

/// Whether the caller is about to owe the set something for the first time, and many processes did before: some have ended
/// since, which owe nothing any more, and would be copied along for ever.
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
