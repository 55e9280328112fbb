//! Processes that sleep in queues or owe something: an entry for each, and the question whether it is gone.
//!
//! An entry names the process's cell, whose lock goes with the address space, and carries a mark: a robust mutex of libc's that
//! one of its threads holds for as long as it lives. The kernel writes into its word when that thread ends, and wakes who waits
//! for it. It walks along 2048 robust mutexes of a thread at most, the newest first, and to the first that it cannot read: so a clean
//! mark says that the process is there if the thread still has such a list. Otherwise its cell's lock decides, and behind an exec, which
//! ends the address space and not the process, its start time.
//!
//! Of a process that is served from another one the mark is the other's: it ends a little later, or sooner. So it wakes the
//! sleepers that wait for that, and says nothing more.
//!
//! In system scope there are no marks: libc's list would lead through memory that other users write.

use super::file::IpcFile;
use super::layout::{OWNER_PART, OWNERS};
use crate::os::atomic::{AtomicU32, Ordering, fence};
use crate::os::map::Span;
use crate::os::{process, robust, served};
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::Scope;
use crate::storage::table::Identity;
use crate::storage::table::layout::CellState;

/// Words of an entry.
mod word {
    /// Generation × 2, and 1 while a process has it.
    pub const CLAIM: usize = 0;
    /// The generation whose process has filled it in.
    pub const FILLED: usize = 1;
    /// The process's cell, packed.
    pub const CELL: usize = 2;
    pub const PID: usize = 3;
    /// Of 64 bits: when the process started.
    pub const STARTED: usize = 2;
    /// The index of the mark's word, 0 for none.
    pub const MARK: usize = 6;
    /// 1 if the mark is held by another process, which serves this one.
    pub const SERVED: usize = 7;
    /// Where the mark lies, in bytes.
    pub const MARK_AT: usize = 64;
}

/// How a process is there, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It is there, or that cannot be found out.
    There,
    /// It has begun another program: what slept is gone, what it owes is not.
    Replaced,
    /// It has ended.
    Gone,
}

impl IpcFile<'_> {
    fn owner_words(&self, owner: u32) -> Option<Span<'static>> {
        self.entry(&OWNER_PART, Identity::from_packed(owner).cell())
    }

    /// The entry that this process had before it began another program, which ended its cell: what it owed it owes still, and
    /// what it slept in is left. One thread at a time.
    #[cold]
    #[inline(never)]
    pub fn take_own_again(&self, cell: Identity, pid: i32) -> Option<u32> {
        let started = self.undisturbed(|| process::started(pid).map_or(0, |process| process.at))?;
        let is_own = |index: u32| {
            let words = self.entry(&OWNER_PART, index)?;
            let claim = words.word32(word::CLAIM).load(Ordering::Acquire);
            let is_own = claim & 1 == 1
                && words.word32(word::FILLED).load(Ordering::Acquire) == claim >> 1
                && words.word32(word::PID).load(Ordering::Relaxed) == pid as u32
                && words.word64(word::STARTED).load(Ordering::Relaxed) == started
                && words.word32(word::CELL).load(Ordering::Relaxed) != cell.packed();
            let owner = Identity::new(index, claim >> 1).packed();
            (started != 0 && is_own && self.presence(owner) == Presence::Replaced)
                .then_some((words, owner))
        };
        let (words, owner) = (0..self.ready(&OWNER_PART)).find_map(is_own)?;
        self.give_places_of(owner);
        words
            .word32(word::CELL)
            .store(cell.packed(), Ordering::Release);
        self.mark(words);
        Some(owner)
    }

    /// Takes an entry for the process of `cell`.
    #[cold]
    #[inline(never)]
    pub fn take_owner(&self, cell: Identity, pid: i32) -> Stored<u32> {
        // Before an entry is taken: one whose process is killed before it has filled it in is lost.
        let started = self.undisturbed(|| process::started(pid).map_or(0, |process| process.at));
        let started = started.unwrap_or(0);
        for index in 0..OWNERS {
            self.ensure(&OWNER_PART, index)?;
            let Some(words) = self.entry(&OWNER_PART, index) else {
                break;
            };
            let claim = words.word32(word::CLAIM);
            let seen = claim.load(Ordering::Acquire);
            let is_free = seen & 1 == 0 || {
                let there = Identity::new(index, seen >> 1).packed();
                self.presence(there) == Presence::Gone
            };
            let generation = (seen >> 1).wrapping_add(1) & 0xffff;
            let taken = generation << 1 | 1;
            if !is_free
                || claim
                    .compare_exchange(seen, taken, Ordering::AcqRel, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            // Pairs with: the fence in `presence`.
            fence(Ordering::Release);
            words
                .word32(word::CELL)
                .store(cell.packed(), Ordering::Relaxed);
            words.word32(word::PID).store(pid as u32, Ordering::Relaxed);
            words
                .word64(word::STARTED)
                .store(started, Ordering::Relaxed);
            words.word32(word::MARK).store(0, Ordering::Relaxed);
            self.mark(words);
            words
                .word32(word::FILLED)
                .store(generation, Ordering::Release);
            return Ok(Identity::new(index, generation).packed());
        }
        Err(StorageError::TableFull {
            what: "processes that sleep or owe",
            holds: OWNERS,
        })
    }

    /// Has the calling thread hold the mark of an entry. One thread at a time, and none while a handler of another of its calls
    /// does it: a mark that is not there now is made by the next call.
    fn mark(&self, words: Span<'static>) {
        if self.marking.swap(true, Ordering::Acquire) {
            return;
        }
        self.mark_alone(words);
        self.marking.store(false, Ordering::Release);
    }

    fn mark_alone(&self, words: Span<'static>) {
        if self.processes().directory().scope() == Scope::User {
            let is_served = u32::from(served::client().is_some());
            words
                .word32(word::SERVED)
                .store(is_served, Ordering::Relaxed);
            if let Some(at) = robust::hold(words.part(word::MARK_AT, robust::BYTES)) {
                let index = word::MARK_AT / 4 + at;
                words
                    .word32(word::MARK)
                    .store(index as u32, Ordering::Release);
            }
        }
    }

    /// The thread that held the caller's mark may have ended: then the calling thread takes it over.
    #[inline]
    pub fn renew_mark(&self, owner: u32) {
        if let Some(words) = self.owner_words(owner) {
            if self
                .mark_word(words)
                .is_some_and(|mark| robust::is_set(mark.load(Ordering::Relaxed)))
            {
                self.mark(words);
            }
        }
    }

    fn mark_word(&self, words: Span<'static>) -> Option<&'static AtomicU32> {
        let index = words.word32(word::MARK).load(Ordering::Acquire) as usize;
        (index >= word::MARK_AT / 4).then(|| words.word32(index))
    }

    /// The word that the kernel changes, and wakes sleepers on, when the process ends; and what it holds. `None`: it has
    /// none, or it has changed already.
    pub fn watch_mark(&self, owner: u32) -> Option<(&'static AtomicU32, u32)> {
        let words = self.owner_words(owner)?;
        let mark = self.mark_word(words)?;
        let seen = robust::ask_to_be_woken(mark);
        (!robust::is_set(seen)).then_some((mark, seen))
    }

    /// Whether the mark says that the process is there, and the kernel does of the thread that holds it.
    #[inline(always)]
    fn is_marked_alive(&self, words: Span<'static>) -> bool {
        let is_held = |mark: &AtomicU32| {
            let mark = mark.load(Ordering::Acquire);
            robust::is_held(mark) && robust::holder_has_list(mark)
        };
        words.word32(word::SERVED).load(Ordering::Relaxed) == 0
            && self.mark_word(words).is_some_and(is_held)
    }

    /// Whether a process is there.
    #[inline]
    pub fn presence(&self, owner: u32) -> Presence {
        let Some(words) = self.owner_words(owner) else {
            return Presence::Gone;
        };
        let generation = Identity::from_packed(owner).generation();
        let is_its = |order| words.word32(word::CLAIM).load(order) == generation << 1 | 1;
        if !is_its(Ordering::Acquire) {
            return Presence::Gone;
        }
        let is_there = words.word32(word::FILLED).load(Ordering::Acquire) != generation
            || self.is_marked_alive(words);
        let presence = if is_there {
            Presence::There
        } else {
            self.presence_by_lock(words)
        };
        // Pairs with: the fence in `take_owner`. What was read may be of another, who has taken the entry of a dead process.
        fence(Ordering::Acquire);
        if is_its(Ordering::Relaxed) {
            presence
        } else {
            Presence::Gone
        }
    }

    #[cold]
    #[inline(never)]
    fn presence_by_lock(&self, words: Span<'static>) -> Presence {
        let cell = Identity::from_packed(words.word32(word::CELL).load(Ordering::Relaxed));
        let processes = self.processes();
        let (state, generation) = processes.table().cell_state(cell.cell());
        let is_same = state != CellState::Free as u32 && generation & 0xffff == cell.generation();
        let pid = words.word32(word::PID).load(Ordering::Relaxed) as i32;
        let started = words.word64(word::STARTED).load(Ordering::Relaxed);
        let has_ended = self
            .mark_word(words)
            .is_some_and(|mark| robust::is_set(mark.load(Ordering::Acquire)));
        let presence = self.undisturbed(|| {
            let died = if is_same {
                processes.probe(cell.cell())
            } else {
                Some(true)
            };
            match died {
                Some(false) => return Presence::There,
                // The kernel says that a thread of it has ended: the process id tells whether it was the last.
                None if has_ended && !process::exists(pid) => return Presence::Gone,
                None if !has_ended => return Presence::There,
                _ => {}
            }
            match process::started(pid) {
                // No file tells more of it.
                None if died.is_none() => Presence::There,
                Some(process) if died.is_none() && process.at == started && !process.is_ending => {
                    Presence::There
                }
                Some(process) if process.at == started && started != 0 && !process.is_ending => {
                    Presence::Replaced
                }
                _ => Presence::Gone,
            }
        });
        presence.unwrap_or(Presence::There)
    }

    /// The process id of an entry.
    pub fn pid_of_owner(&self, owner: u32) -> i32 {
        self.owner_words(owner).map_or(0, |words| {
            words.word32(word::PID).load(Ordering::Relaxed) as i32
        })
    }
}
