//! semget, semop and semctl.

use super::credentials::{self, Thread};
use super::error::{Error, Outcome};
use super::objects::{self, Objects, now, objects, objects_if_open, perm_of, thread};
use super::sleep::{Answered, Watch};
use crate::os::atomic::Ordering;
use crate::os::pages::PageVec;
use crate::os::signal_mask::{self, Blocked, Mask};
use crate::os::{OsError, process};
use crate::storage::StorageError;
use crate::storage::ipc::{MoreRoom, ObjectKind, Presence, Root, Seen, SetBlock};
use crate::sysv::sem::{
    self, Answer, Attempt, Operation, Process, Question, SemCommand, SemLimits, SetPerm, SetState,
    Sleeper,
};
use crate::sysv::{self, Errno, Key, Kind, NewPerm, ShmId, refusal};

/// SEM_UNDO, in an operation's flags.
const UNDO: i16 = sem::flags::SEM_UNDO as i16;

/// What all sets use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemUsage {
    /// The limits.
    pub limits: SemLimits,
    /// Sets.
    pub sets: u32,
    /// Semaphores in them.
    pub semaphores: u32,
    /// The highest index in use, 0 if there is none.
    pub highest: u32,
}

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

/// What a change comes to: an answer, or that the set has changed meanwhile.
enum Tried<T> {
    Answer(T),
    Again,
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
    pub(super) fn bury_in_removed_set(&self, root: Root) -> bool {
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

    /// Makes a copy the set, if it is still what was copied; then whoever was answered is woken.
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

/// semget(2): the identifier.
pub fn semget(key: i32, count: i32, flags: i32) -> Outcome<i32> {
    let objects = objects()?;
    let limits = limits_of(objects);
    sem::check_count(count, &limits)?;
    let mut found = |root: Root, _: Seen| {
        let Some(found) = objects.set_behind(root) else {
            return Ok(None);
        };
        let facts = found.facts();
        if found.set.is_removed() || facts.key.0 != key || !found.is_still() {
            return Ok(None);
        }
        sem::open_set(&facts, count, flags, &Thread)?;
        // As it was read then: the block may be another set's by now.
        Ok(Some(facts.perm.id.raw()))
    };
    let mut missing = |sets: u32, semaphores: u32| {
        sem::missing_set_key(Key(key), flags)?;
        sem::check_new_set(count, semaphores, sets, &limits)
    };
    let mut build = |id: ShmId| {
        let words = objects::words_of_new(id, flags);
        let owner = objects.holder();
        let set = objects
            .file
            .new_set(words, key, count as u32, now(), owner)?;
        Ok(set.block())
    };
    objects.get(
        ObjectKind::Set,
        key,
        count as u32,
        &mut found,
        &mut missing,
        &mut build,
    )
}

fn limits_of(objects: &Objects) -> SemLimits {
    let [semmsl, semmns, semopm, semmni] = objects.file.sem_limits().map(|limit| limit as i32);
    SemLimits {
        semmsl,
        semmns,
        semopm,
        semmni,
    }
}

/// The limits: how many operations a call may have is to be known before they are read.
pub fn sem_limits() -> Outcome<SemLimits> {
    objects().map(limits_of)
}

/// Sets the limits; refused to whoever may not.
pub fn set_sem_limits(limits: SemLimits) -> Outcome<()> {
    let objects = objects()?;
    objects.must_set_limits()?;
    objects.file.set_sem_limits(objects::sem_words(&limits));
    Ok(())
}

/// semop(2), semtimedop(2): operations that were counted and read; `limit`: nanoseconds to sleep at most.
pub fn semop(id: i32, operations: &[Operation], limit: Option<u64>) -> Outcome<()> {
    let id = ShmId::from_raw(id)?;
    let objects = objects()?;
    let owes = operations
        .iter()
        .any(|operation| operation.flags & UNDO != 0);
    let owner = if owes {
        objects.owner()?
    } else {
        objects.owner_if_entered()
    };
    let call = SemCall {
        objects,
        id,
        operations,
        by: Process {
            owner,
            pid: objects.pid(),
        },
    };
    loop {
        let found = objects.set(id)?;
        if let Err(refused) = sem::check_operations(&found.facts(), operations, &Thread) {
            if found.is_still() {
                return Err(refused.into());
            }
            continue;
        }
        if objects.bury(&found, owes && is_crowded(&found.set, owner))? {
            continue;
        }
        match call.attempt(&found)? {
            Tried::Again => {}
            Tried::Answer(None) => return Ok(()),
            Tried::Answer(Some(at)) => return call.sleep(found, at, limit),
        }
    }
}

/// Whether the caller is about to owe the set something for the first time, and there are many who did before: some have ended
/// since, who owe nothing any more, and would be copied along for ever.
#[inline]
fn is_crowded(set: &SetBlock, owner: u32) -> bool {
    const CROWD: u32 = 16;
    let undos = set.undos();
    undos >= CROWD && !(0..undos).any(|index| set.undo(index).owner == owner)
}

/// A semop on its way.
struct SemCall<'a> {
    objects: &'static Objects,
    id: ShmId,
    operations: &'a [Operation],
    by: Process,
}

impl SemCall<'_> {
    fn undo_room(&self) -> u32 {
        self.operations
            .iter()
            .filter(|operation| operation.flags & UNDO != 0)
            .count() as u32
    }

    /// Tries the operations. `Some(at)`: the caller is to sleep for the operation `at`.
    #[inline]
    fn attempt(&self, found: &Found) -> Outcome<Tried<Option<u16>>> {
        let objects = self.objects;
        if let [operation] = self.operations {
            // Where nothing is to be changed nothing is copied.
            let outlook = sem::outlook(&found.set, *operation, self.by.owner);
            if !found.is_still() {
                return Ok(Tried::Again);
            }
            if let Attempt::Blocked { at, no_wait } = outlook? {
                return self.blocked(found, at, no_wait);
            }
        }
        let more = MoreRoom {
            undos: self.undo_room(),
            ..MoreRoom::default()
        };
        let mut copy = objects.file.copy_set(&found.set, more, objects.holder())?;
        if !found.is_still() {
            objects.give_unpublished(copy.block());
            return Ok(Tried::Again);
        }
        match sem::operate(&mut copy, self.operations, self.by, now()) {
            Ok(Attempt::Done) if objects.publish(found, copy) => Ok(Tried::Answer(None)),
            Ok(Attempt::Done) => Ok(Tried::Again),
            Ok(Attempt::Blocked { at, no_wait }) => {
                objects.give_unpublished(copy.block());
                self.blocked(found, at, no_wait)
            }
            Err(refused) => {
                objects.give_unpublished(copy.block());
                Err(refused.into())
            }
        }
    }

    fn blocked(&self, found: &Found, at: u16, no_wait: bool) -> Outcome<Tried<Option<u16>>> {
        if !no_wait {
            return Ok(Tried::Answer(Some(at)));
        }
        let refused = sem::would_block(&found.set, self.operations, at);
        if found.is_still() {
            Err(refused.into())
        } else {
            Ok(Tried::Again)
        }
    }

    /// Sleeps until another process has carried the operations out.
    #[cold]
    #[inline(never)]
    fn sleep(&self, found: Found, at: u16, limit: Option<u64>) -> Outcome<()> {
        let objects = self.objects;
        let owner = objects.owner()?;
        let by = Process { owner, ..self.by };
        let call = SemCall { by, ..*self };
        let place = objects
            .file
            .take_place(owner, thread(), ObjectKind::Set, self.id.raw())?;
        objects.asleep().fetch_add(1, Ordering::Relaxed);
        // From here on a handler runs in the sleep or not before the call is over.
        let mask = Blocked::all().into_mask();
        let slept = call.sleep_at(found, at, limit, (place, mask));
        objects.end_sleep(place);
        signal_mask::restore(mask);
        slept
    }

    /// `at` is what blocks in `found`, and nothing else.
    fn sleep_at(
        &self,
        mut found: Found,
        at: u16,
        limit: Option<u64>,
        (place, mask): (u32, Mask),
    ) -> Outcome<()> {
        let begun = process::fine_nanos();
        if !self.lie_down_or_go_on(&mut found, at, place)? {
            return Ok(());
        }
        let until = limit.map(|limit| begun.saturating_add(limit));
        self.wait(found.root, until, (place, mask))
    }

    /// Puts the caller among the sleepers, unless the operations can go on after all. Whether it sleeps.
    #[inline(never)]
    fn lie_down_or_go_on(&self, found: &mut Found, mut at: u16, place: u32) -> Outcome<bool> {
        while !self.lie_down(found, at, place)? {
            // The set has changed meanwhile: perhaps the operations can go on.
            *found = self.objects.set(self.id).map_err(|_| self.removed())?;
            if self.objects.bury(found, false)? {
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
    fn wait(&self, root: Root, until: Option<u64>, (place, mask): (u32, Mask)) -> Outcome<()> {
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
            if matches!(objects.bury(&found, false), Ok(true)) {
                continue;
            }
            let left = until.map(|until| until.saturating_sub(process::fine_nanos()));
            if left == Some(0) {
                let refused = sem::would_block(&found.set, self.operations, sleeper.blocked_at);
                return self.get_up(root, place).unwrap_or(Err(refused.into()));
            }
            watch.holders(
                &objects.file,
                holders(&found.set, objects.owner_if_entered()),
            );
            if watch.sleep(futex, seen, left, mask) {
                return self.get_up(root, place).unwrap_or(Err(self.interrupted()));
            }
        }
    }

    /// The set, with the caller's place among its sleepers.
    fn found_sleeping(&self, root: Root, place: u32) -> Option<(Found, u32)> {
        loop {
            let found = self.objects.set_behind(root)?;
            let index =
                (0..found.set.sleepers()).find(|&index| found.set.sleeper(index).place == place);
            let fits = found.set.id() == self.id.raw();
            if found.is_still() {
                return index.filter(|_| fits).map(|index| (found, index));
            }
        }
    }

    /// Takes the caller out of the sleepers. Its answer, if it has one.
    fn get_up(&self, root: Root, place: u32) -> Option<Outcome<()>> {
        match self.objects.take_out(root, self.id.raw(), place, true) {
            None => Some(Err(self.left(root))),
            Some(Answer::Waits) => None,
            Some(Answer::Done) => Some(Ok(())),
            Some(Answer::Failed(Errno::Eidrm)) => Some(Err(self.removed())),
            Some(Answer::Failed(errno)) => Some(Err(failed(errno))),
        }
    }

    /// Why the caller is no longer among the sleepers.
    fn left(&self, root: Root) -> Error {
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

    fn interrupted(&self) -> Error {
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

/// The processes whose end would change the set's values: those that owe it something, and those that sleep before the caller,
/// for they may come to.
fn holders(set: &SetBlock, me: u32) -> impl Iterator<Item = u32> + '_ {
    let owing = (0..set.undos())
        .map(|index| set.undo(index))
        .filter(|undo| undo.adjust != 0)
        .map(|undo| undo.owner);
    let sleeping = (0..set.sleepers()).map(|index| set.sleeper(index).owner);
    owing.chain(sleeping).filter(move |&owner| owner != me)
}

impl Objects {
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

    /// Takes a sleeper out of its set, and says what it was told; `None`: it is not there. `answered`: also if it was.
    fn take_out(&self, root: Root, id: i32, place: u32, answered: bool) -> Option<Answer> {
        loop {
            let found = self.set_behind(root)?;
            let set = &found.set;
            let index = (0..set.sleepers()).find(|&index| set.sleeper(index).place == place);
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
}

/// One operation, if it can be answered without sleeping: 0, or the errno. Makes no system call where that can be avoided.
#[inline]
pub fn semop_at_once(id: i32, operation: Operation) -> Option<Result<(), i32>> {
    let objects = objects_if_open()?;
    let owner = objects.owner_if_entered();
    let [_, _, semopm, _] = objects.file.sem_limits();
    if operation.flags & UNDO != 0 && owner == 0 || id < 0 || semopm == 0 {
        return None;
    }
    let root = objects
        .file
        .root(ObjectKind::Set, id as u32 % sysv::SLOTS)?;
    let seen = root.seen();
    let set = objects.file.set(seen)?;
    let found = Found { root, seen, set };
    let facts = found.facts();
    let wanted = if operation.change != 0 {
        sysv::flags::WRITE
    } else {
        sysv::flags::READ
    };
    let is_plain = set.id() == id
        && !set.is_removed()
        && set.sleepers() == 0
        && u32::from(operation.number) < facts.count
        && credentials::is_granted_at_once(
            facts.perm.mode,
            facts.perm.uid,
            facts.perm.cuid,
            wanted,
        );
    // Whoever else owes something may have died.
    let others = || {
        (0..set.undos())
            .map(|index| set.undo(index))
            .any(|undo| undo.owner != owner && undo.adjust != 0)
    };
    if !is_plain || others() || operation.flags & UNDO != 0 && is_crowded(&set, owner) {
        return None;
    }
    if sem::blocks(set.value(operation.number.into()), operation.change) {
        let is_answer =
            i32::from(operation.flags) & sem::flags::IPC_NOWAIT != 0 && found.is_still();
        return is_answer.then_some(Err(libc::EAGAIN));
    }
    let by = Process {
        owner,
        pid: objects.pid(),
    };
    let undos = u32::from(operation.flags & UNDO != 0);
    let holder = objects.holder_if_entered();
    if holder == 0 {
        return None;
    }
    let mut copy = objects.file.copy_quiet_set(&set, undos, holder).ok()?;
    let operated = found.is_still()
        && matches!(
            sem::operate(&mut copy, &[operation], by, now()),
            Ok(Attempt::Done)
        );
    if !operated {
        objects.give_unpublished(copy.block());
        return None;
    }
    // Refused or changed meanwhile: the full function finds out.
    objects.exchange(&found, &copy).then_some(Ok(()))
}

/// IPC_STAT, SEM_STAT, SEM_STAT_ANY.
pub fn sem_stat(id: i32, command: SemCommand) -> Outcome<SetPerm> {
    let objects = objects()?;
    loop {
        let found = match command {
            SemCommand::IpcStat => objects.set_of_the_living(ShmId::from_raw(id)?, true)?,
            _ => objects.set_at(id)?,
        };
        let facts = found.facts();
        if found.is_still() {
            sem::may_stat_set(&facts, command, &Thread)?;
            return Ok(facts);
        }
    }
}

impl Objects {
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
}

/// Changes a set by semctl: `check` looks at what is known of it, `rule` changes it.
fn control(
    id: i32,
    check: impl Fn(&SetPerm) -> sysv::Ruling<()>,
    rule: impl Fn(&mut SetBlock),
) -> Outcome<SetBlock> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        check(&facts)?;
        if objects.change_set(&found, MoreRoom::default(), &rule)? {
            return Ok(found.set);
        }
    }
}

/// IPC_SET.
pub fn sem_set(id: i32, new: NewPerm) -> Outcome<()> {
    let checked = |set: &SetPerm| sem::may_set_set(set, &new, &Thread);
    control(
        id,
        |set| checked(set).map(drop),
        |copy| {
            let facts = copy.facts(|words| perm_of(Kind::Set, words));
            // As checked.
            if let Ok(new) = checked(&facts) {
                copy.set_perm(new.uid, new.gid, new.mode);
                copy.set_ctime(now());
            }
        },
    )
    .map(drop)
}

/// IPC_RMID.
pub fn sem_remove(id: i32) -> Outcome<()> {
    control(
        id,
        |set| sem::may_remove_set(set, &Thread),
        |copy| {
            for index in 0..copy.sleepers() {
                let sleeper = copy.sleeper(index);
                if sleeper.answer == Answer::Waits {
                    let answer = Answer::Failed(Errno::Eidrm);
                    copy.set_sleeper(index, Sleeper { answer, ..sleeper });
                }
            }
            copy.set_removed();
        },
    )?;
    // Crash here: whoever meets it in the directory takes it out.
    objects()?.forget(ObjectKind::Set, id)
}

/// GETVAL, GETPID, GETNCNT, GETZCNT.
pub fn sem_ask(id: i32, number: i32, question: Question) -> Outcome<i32> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        sem::may_read_set(&facts, &Thread)?;
        let answer = sem::ask(&found.set, sem::check_number(&facts, number)?, question);
        if found.is_still() {
            return Ok(answer);
        }
    }
}

/// SETVAL.
pub fn sem_set_value(id: i32, number: i32, value: i32) -> Outcome<()> {
    let value = sem::check_value(value)?;
    let pid = objects()?.pid();
    control(
        id,
        |set| {
            sem::check_number(set, number)?;
            sem::may_alter_set(set, &Thread)
        },
        |copy| sem::set_value(copy, number as u32, value, pid, now()),
    )
    .map(drop)
}

/// GETALL.
pub fn sem_values(id: i32) -> Outcome<PageVec<u16>> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        sem::may_read_set(&facts, &Thread)?;
        let mut values = PageVec::new();
        values.resize(facts.count as usize, 0).map_err(no_memory)?;
        for (number, value) in (0..).zip(values.iter_mut()) {
            *value = found.set.value(number);
        }
        if found.is_still() {
            return Ok(values);
        }
    }
}

fn no_memory(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside for the values",
        error,
    }
}

/// SETALL, first half: how many values are to be read from the caller; refused to whoever may not set them.
pub fn sem_count_to_set(id: i32) -> Outcome<u32> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set(id)?;
        let facts = found.facts();
        if found.is_still() {
            sem::may_alter_set(&facts, &Thread)?;
            return Ok(facts.count);
        }
    }
}

/// SETALL, second half.
pub fn sem_set_values(id: i32, values: &[u16]) -> Outcome<()> {
    sem::check_values(values)?;
    let pid = objects()?.pid();
    control(
        id,
        |set| sem::may_alter_set(set, &Thread),
        |copy| sem::set_values(copy, values, pid, now()),
    )
    .map(drop)
}

/// IPC_INFO, SEM_INFO.
pub fn sem_usage() -> Outcome<SemUsage> {
    let objects = objects()?;
    let (sets, semaphores, highest) = objects.totals(ObjectKind::Set);
    Ok(SemUsage {
        limits: limits_of(objects),
        sets,
        semaphores,
        highest,
    })
}

/// Every set, in the order of indices.
pub fn sem_list(each: &mut dyn FnMut(&SetPerm)) -> Outcome<()> {
    let objects = objects()?;
    objects.each(ObjectKind::Set, &mut |id| {
        // One that was removed meanwhile is left out.
        if let Ok(facts) = sem_stat_for_all(id) {
            each(&facts);
        }
    });
    Ok(())
}

fn sem_stat_for_all(id: i32) -> Outcome<SetPerm> {
    let objects = objects()?;
    loop {
        let found = objects.set_of_the_living(ShmId::from_raw(id)?, true)?;
        let facts = found.facts();
        if found.is_still() {
            return Ok(facts);
        }
    }
}

impl Objects {
    /// Takes a sleeper out of its set; `answered`: also one that has an answer.
    pub(super) fn leave_set(&self, id: i32, place: u32, answered: bool) {
        if let Some(root) = self.file.root(ObjectKind::Set, id as u32 % sysv::SLOTS) {
            let _ = self.take_out(root, id, place, answered);
        }
    }
}
