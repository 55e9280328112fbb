//! Blocks that dead processes had in their hands: found and given back, before new ones are cut.
//!
//! A block says which process took it. One whose taker has died is either what some root leads to, directly or by the text of a
//! message, or lost: nobody can publish it any more. It is given back by an exchange of its own word, as is a replaced
//! block that others have published ([`IpcFile::give_replaced`]); a process that takes a message out of a queue claims its
//! text before ([`IpcFile::claim`]), and takes it behind that, because others may have claimed it meanwhile and lost
//! ([`IpcFile::take_claimed`]). So nothing is given back twice, and nothing that a living process reads.

use super::arena::{Block, Holding};
use super::directory::Entry;
use super::file::IpcFile;
use super::layout::{CLASSES, OBJECTS, SLAB, SLAB_PART, UNIT};
use super::owner::Presence;
use super::root::{Kind, Root, Seen};
use crate::os::atomic::Ordering;
use crate::os::pages::PageVec;
use crate::storage::table::Identity;
use crate::storage::table::layout::{CELLS, CellState};
use crate::sysv::msg::{QueueState, ReceiverAnswer};
use crate::sysv::sem::SetState;
use core::ops::Range;

/// Slabs of the arena before the first sweep.
const SOME: u32 = 32;
/// One in so many blocks of a size is to be free behind a sweep, else there are to be as many more.
const ONE_IN: u32 = 4;
/// Changes of an object that a sweep waits out.
const PATIENCE: u32 = 10_000;

/// A block of a dead process: where it begins, and what was said of it.
#[derive(Clone, Copy)]
struct Suspect {
    unit: u32,
    class: u32,
    holding: Holding,
    is_reached: bool,
}

/// The blocks that a sweep has looked at.
#[derive(Clone, Copy, Default)]
struct Swept {
    all: u32,
    /// Of these nobody had when the sweep was at them, or one who has died. It counts what there is to take, and not what this
    /// sweep has given back: where blocks run out, many look for them at once.
    free: u32,
}

impl IpcFile<'_> {
    /// Whether there is so much that a sweep is worth its time.
    pub(super) fn has_much_to_sweep(&self) -> bool {
        self.slabs() >= SOME
    }

    fn slabs(&self) -> u32 {
        (self.arena_end() / u64::from(SLAB)) as u32
    }

    /// Gives back what dead processes have left.
    pub fn sweep(&self) {
        self.sweep_sizes(0..CLASSES);
    }

    /// Gives back what dead processes have left of a size, and says how many slabs of it are to be cut now. 0: so many blocks are
    /// free that a sweep is worth its time again when these have been used up. So there come to be more where the living have most
    /// of them, however many processes die.
    pub fn sweep_and_want(&self, class: u32) -> u32 {
        let Swept { all, free } = self.sweep_sizes(class..class + 1);
        let more = all / ONE_IN;
        if free >= more {
            return 0;
        }
        // Of the large ones each is as many slabs.
        let in_a_slab = (SLAB / UNIT) >> class.min(CLASSES);
        (more / in_a_slab.max(1)).max(1)
    }

    #[cold]
    #[inline(never)]
    fn sweep_sizes(&self, sizes: Range<u32>) -> Swept {
        let mut swept = Swept::default();
        let mut suspects = PageVec::new();
        let noted = self.suspect(sizes, &mut suspects, &mut swept);
        if noted.is_some() && !suspects.is_empty() && self.reach_all(&mut suspects) {
            swept.free += self.give_lost(&suspects);
        }
        swept
    }

    /// Calls `each` with every block there is of some sizes.
    pub(super) fn each_block(
        &self,
        sizes: Range<u32>,
        each: &mut dyn FnMut(Block, u32) -> Option<()>,
    ) -> Option<()> {
        let (mut slab, end) = (1, self.slabs());
        while slab < end {
            let Some(cut) = self.entry(&SLAB_PART, slab) else {
                break;
            };
            let class = (cut.word64(0).load(Ordering::Acquire) as u32).wrapping_sub(1);
            let Some(size) = UNIT.checked_shl(class).filter(|_| class < CLASSES) else {
                slab += 1;
                continue;
            };
            let first = slab * (SLAB / UNIT);
            let step = size / UNIT;
            let units = size.max(SLAB) / UNIT * u32::from(sizes.contains(&class));
            for at in (0..units).step_by(step as usize) {
                if let Some(block) = self.block_of_class(first + at, class) {
                    each(block, class)?;
                }
            }
            slab += size.max(SLAB) / SLAB;
        }
        Some(())
    }

    /// The blocks that dead processes have taken, in their order. `None`: there is no memory to note them.
    fn suspect(
        &self,
        sizes: Range<u32>,
        suspects: &mut PageVec<Suspect>,
        swept: &mut Swept,
    ) -> Option<()> {
        let mut known = PageVec::new();
        known.resize(CELLS as usize, 0).ok()?;
        self.each_block(sizes, &mut |block, class| {
            let holding = self.holding(block);
            let owner = holding.owner();
            swept.all += 1;
            swept.free += u32::from(owner == 0);
            if owner == 0 || !self.is_gone(owner, &mut known) {
                return Some(());
            }
            suspects.reserve(1).ok()?;
            let suspect = Suspect {
                unit: block.unit,
                class,
                holding,
                is_reached: false,
            };
            suspects.insert(suspects.len(), suspect).then_some(())
        })
    }

    /// Whether the process of a cell has ended; `known`: of each cell whose process was probed, 1 if it lives and 2 if not.
    fn is_gone(&self, owner: u32, known: &mut PageVec<u8>) -> bool {
        let identity = Identity::from_packed(owner);
        let processes = self.processes();
        let (state, generation) = processes.table().cell_state(identity.cell());
        if state == CellState::Free as u32 || generation & 0xffff != identity.generation() {
            return true;
        }
        let Some(known) = known.get_mut(identity.cell() as usize) else {
            return false;
        };
        if *known == 0 {
            let died = self.undisturbed(|| processes.has_died(identity.cell()));
            *known = if died == Some(true) { 2 } else { 1 };
        }
        *known == 2
    }

    /// Marks those that a root leads to. `false`: an object changes so often that it cannot be said.
    fn reach_all(&self, suspects: &mut PageVec<Suspect>) -> bool {
        let mut reach = |unit: u32| {
            if let Ok(at) = suspects.binary_search_by_key(&unit, |suspect| suspect.unit) {
                if let Some(suspect) = suspects.get_mut(at) {
                    suspect.is_reached = true;
                }
            }
        };
        // An object that was entered, and whose root is not yet set.
        for kind in [Kind::Set, Kind::Queue] {
            let reached = (0..PATIENCE).any(|_| {
                let root = self.directory_root(kind);
                reach(root.seen().unit());
                let directory = self.directory(kind);
                (0..directory.count())
                    .map(|at| directory.entry(at))
                    .filter(|entry| self.is_unset(kind, entry))
                    .for_each(|entry| reach(entry.first));
                directory.is_still()
            });
            if !reached {
                return false;
            }
        }
        [Kind::Set, Kind::Queue].into_iter().all(|kind| {
            (0..OBJECTS)
                .map_while(|index| self.root(kind, index))
                .all(|root| (0..PATIENCE).any(|_| self.reach_from(kind, root, &mut reach)))
        })
    }

    /// Whether the root of an object that was entered is not yet set: behind that its first block is a block as others.
    fn is_unset(&self, kind: Kind, entry: &Entry) -> bool {
        self.root(kind, entry.id as u32 % OBJECTS)
            .is_some_and(|root| root.seen() == Seen::empty(entry.tag))
    }

    /// Marks what an object leads to. An object that was removed, and whose sleepers have all ended, ends. `false`: it has
    /// changed meanwhile.
    fn reach_from(&self, kind: Kind, root: Root, reach: &mut dyn FnMut(u32)) -> bool {
        let seen = root.seen();
        if seen.unit() == 0 {
            return true;
        }
        reach(seen.unit());
        let is_there = |owner: u32| self.presence(owner) == Presence::There;
        let is_needed = match kind {
            Kind::Set => self.set(seen).is_none_or(|set| {
                !set.is_removed() || (0..set.sleepers()).any(|at| is_there(set.sleeper(at).owner))
            }),
            Kind::Queue => self.queue(seen).is_none_or(|queue| {
                (0..queue.messages()).for_each(|at| reach(queue.message(at).text));
                for at in 0..queue.receivers() {
                    if let ReceiverAnswer::Got(message) = queue.receiver(at).answer {
                        reach(message.text);
                    }
                }
                !queue.is_removed()
                    || (0..queue.receivers()).any(|at| is_there(queue.receiver(at).owner))
                    || (0..queue.senders()).any(|at| is_there(queue.sender(at).owner))
            }),
        };
        let holding = self
            .block_of(seen)
            .map(|block| (block, self.holding(block)));
        if !root.is_still(seen) {
            return false;
        }
        if let (false, Some((block, holding))) = (is_needed, holding) {
            if !root.change(seen, 0) {
                return false;
            }
            self.give_replaced(block, holding);
        }
        true
    }

    /// Gives back those that nothing leads to; how many, and others have given back meanwhile.
    fn give_lost(&self, suspects: &PageVec<Suspect>) -> u32 {
        let mut given = 0;
        for suspect in suspects.iter().filter(|suspect| !suspect.is_reached) {
            if let Some(block) = self.block_of_class(suspect.unit, suspect.class) {
                let _ = self.give_held(block, suspect.holding);
                given += 1;
            }
        }
        given
    }
}

#[cfg(test)]
mod tests;
