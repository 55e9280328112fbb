//! Blocks that dead processes had in their hands: found and given back, before new ones are cut.
//!
//! A block says which process took it. One whose taker has died is either what some root leads to, directly or by the text of a
//! message, or lost: nobody can publish it any more. It is given back by an exchange of its own word, and so does everybody who
//! lets go of a block that others have published ([`IpcFile::give_replaced`]); a process that takes a message out of a queue claims its
//! text before, and once more behind it, because others may have claimed it meanwhile and lost ([`IpcFile::claim`]). So nothing is given back twice, and nothing that a living process reads.

use super::arena::{Block, Holding};
use super::file::IpcFile;
use super::layout::{Header, OBJECTS, SLAB, SLAB_PART, UNIT};
use super::owner::Presence;
use super::root::{Kind, Root};
use crate::os::pages::PageVec;
use crate::storage::table::Identity;
use crate::storage::table::layout::{CELLS, CellState};
use crate::sysv::msg::{QueueState, ReceiverAnswer};
use crate::sysv::sem::SetState;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

/// Slabs before the first sweep, and the least that may be cut between two that have found little.
const SOME: u32 = 32;
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

impl IpcFile<'_> {
    /// Whether so much was cut since the last sweep that the next one is worth its time.
    pub(super) fn is_sweep_due(&self) -> bool {
        let due = self.header32(offset_of!(Header, sweep_at));
        self.slabs() >= due.load(Ordering::Relaxed).max(SOME)
    }

    fn slabs(&self) -> u32 {
        (self.arena_end() / u64::from(SLAB)) as u32
    }

    /// Gives back what dead processes have left. Whether there was anything.
    #[cold]
    #[inline(never)]
    pub(super) fn sweep(&self) -> bool {
        let mut suspects = PageVec::new();
        let freed = match self.suspect(&mut suspects) {
            Some(()) if !suspects.is_empty() && self.reach_all(&mut suspects) => {
                self.give_lost(&suspects)
            }
            _ => 0,
        };
        // Where much is lost, what was found does for a while, and then there is as much to be found again.
        let slabs = self.slabs();
        let enough = freed >= u64::from(slabs) * u64::from(SLAB) / 4;
        let more = if enough { 0 } else { (slabs / 4).max(SOME) };
        self.header32(offset_of!(Header, sweep_at))
            .store(slabs.saturating_add(more), Ordering::Relaxed);
        freed != 0
    }

    /// Calls `each` with every block there is.
    fn each_block(&self, each: &mut dyn FnMut(Block, u32) -> Option<()>) -> Option<()> {
        let (mut slab, end) = (1, self.slabs());
        while slab < end {
            let Some(cut) = self.entry(&SLAB_PART, slab) else {
                break;
            };
            let class = (cut.word64(0).load(Ordering::Acquire) as u32).wrapping_sub(1);
            let Some(size) = UNIT
                .checked_shl(class)
                .filter(|_| class < super::layout::CLASSES)
            else {
                slab += 1;
                continue;
            };
            let first = slab * (SLAB / UNIT);
            let step = size / UNIT;
            for at in (0..size.max(SLAB) / UNIT).step_by(step as usize) {
                if let Some(block) = self.block_of_class(first + at, class) {
                    each(block, class)?;
                }
            }
            slab += size.max(SLAB) / SLAB;
        }
        Some(())
    }

    /// Those that somebody who has died has taken, in their order. `None`: there is no memory to note them.
    fn suspect(&self, suspects: &mut PageVec<Suspect>) -> Option<()> {
        let mut known = PageVec::new();
        known.resize(CELLS as usize, 0).ok()?;
        self.each_block(&mut |block, class| {
            let holding = self.holding(block);
            let owner = holding.owner();
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
                (0..directory.count()).for_each(|at| reach(directory.entry(at).first));
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

    /// Gives back those that nothing leads to; how many bytes.
    fn give_lost(&self, suspects: &PageVec<Suspect>) -> u64 {
        let mut freed = 0;
        for suspect in suspects.iter().filter(|suspect| !suspect.is_reached) {
            if let Some(block) = self.block_of_class(suspect.unit, suspect.class) {
                if self.give_replaced(block, suspect.holding) {
                    freed += u64::from(UNIT) << suspect.class;
                }
            }
        }
        freed
    }
}
