//! What calls on sets and queues have in common: the file, this process in it, finding and making an object, and the dead.

use super::credentials::{Thread, is_granted_at_once, may_set_limits};
use super::error::{Error, Outcome};
use super::process::{Registry, registry, registry_if_open};
use super::rules;
use crate::os::atomic::{AtomicU32, NO_WORD, OnceRef};
use crate::os::signal_mask::Blocked;
use crate::os::wipe_on_fork::{self, Wiped};
use crate::os::{OsError, own_stack, pages, process, threads};
use crate::storage::StorageError;
use crate::storage::Stored;
use crate::storage::ipc::{
    Block, CursorWords, Directory, Entry, IpcFile, ObjectKind, Root, Seen, Words,
};
use crate::sysv::{self, Caller, IdCursor, Kind, Ruling, ShmId};

/// The file of sets and queues, opened, and this process in it.
pub(super) struct Objects {
    pub(super) file: IpcFile<'static>,
    pub(super) registry: &'static Registry,
    own: Wiped,
}

/// Words that a child finds as zeros.
pub(super) mod own {
    /// This process's entry among the owners.
    pub const OWNER: usize = 0;
    /// How many of its threads sleep.
    pub const ASLEEP: usize = 1;
    /// No cell was to be had.
    pub const REFUSED: usize = 2;
    /// A thread looks for the entry of the process as another program.
    pub const ENTERING: usize = 3;
    /// The blocks that are kept for the next change of a set, by their size.
    pub const KEPT: usize = 4;
    /// Of so many sizes.
    pub const KEPT_SIZES: u32 = 5;
    pub const WORDS: usize = KEPT + KEPT_SIZES as usize;
}

static OBJECTS: OnceRef<'static, Objects> = OnceRef::new();

/// The file; opened, or made, at the first call.
#[inline(always)]
pub(super) fn objects() -> Outcome<&'static Objects> {
    match OBJECTS.get() {
        Some(objects) => Ok(objects),
        None => open(),
    }
}

/// The file if it is open.
#[inline(always)]
pub(super) fn objects_if_open() -> Option<&'static Objects> {
    OBJECTS.get()
}

#[cold]
#[inline(never)]
fn open() -> Outcome<&'static Objects> {
    let registry = registry()?;
    let mut opened = Err(Error::from(StorageError::Call {
        doing: "open the file of semaphores and queues",
        error: OsError(libc::EAGAIN),
    }));
    undisturbed(&mut || {
        opened = match OBJECTS.get() {
            Some(objects) => Ok(objects),
            None => own_stack::call(|| open_undisturbed(registry)),
        };
    });
    opened
}

fn open_undisturbed(registry: &'static Registry) -> Outcome<&'static Objects> {
    let call = |doing| move |error: OsError| StorageError::Call { doing, error };
    let file = IpcFile::open(
        registry.namespace.processes(),
        &rules::first_limits(),
        undisturbed,
    )?;
    let own = wipe_on_fork::words(own::WORDS)
        .map_err(call("set memory aside that children find empty"))?;
    let objects = pages::leak(Objects {
        file,
        registry,
        own,
    })
    .map_err(call("set memory aside"))?;
    match OBJECTS.set(objects) {
        Ok(()) => Ok(objects),
        Err(()) => Ok(OBJECTS.get().unwrap_or(objects)),
    }
}

/// Does some work that opens files: no handler runs meanwhile, and no other thread forks.
fn undisturbed(work: &mut (dyn FnMut() + Send)) {
    let _blocked = Blocked::all();
    let _guard = registry_if_open().and_then(Registry::hold_off_forks);
    work();
}

impl Objects {
    pub(super) fn word(&self, index: usize) -> &AtomicU32 {
        self.own.word(index).unwrap_or(&NO_WORD)
    }

    /// The process id.
    #[inline(always)]
    pub(super) fn pid(&self) -> i32 {
        self.registry.local.pid()
    }

    /// How many threads of this process sleep.
    #[inline(always)]
    pub(super) fn asleep(&self) -> &AtomicU32 {
        self.word(own::ASLEEP)
    }
}

/// An object that is asked for, and made where there is none with its key.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) kind: ObjectKind,
    pub(super) key: i32,
    /// What it counts for in the sum of sizes.
    pub(super) size: u32,
    /// The identifier that a new one is to have, if its index is free.
    pub(super) id: Option<ShmId>,
}

/// A number for the calling thread that no other living thread of the process has.
pub(super) fn thread() -> u64 {
    threads::id() as u64
}

/// Whether the caller's uid, if it is known without a system call, gives the rights `wanted` to an object.
#[inline(always)]
pub(super) fn is_granted(words: &Words, wanted: u32) -> bool {
    wanted == 0 || is_granted_at_once(words.mode, words.uid, words.cuid, wanted)
}

/// Seconds since 1970.
#[inline(always)]
pub(super) fn now() -> i64 {
    process::now_secs()
}

/// Those of an object that the caller makes.
pub(super) fn words_of_new(id: ShmId, flags: i32) -> Words {
    let (uid, gid) = (Thread.euid(), process::egid());
    Words {
        id: id.raw(),
        uid,
        gid,
        cuid: uid,
        cgid: gid,
        mode: flags as u32 & sysv::flags::MODE_BITS,
    }
}

fn kind_of(kind: ObjectKind) -> Kind {
    match kind {
        ObjectKind::Set => Kind::Set,
        ObjectKind::Queue => Kind::Queue,
    }
}

impl Objects {
    /// The root of the object with this identifier, if it has one now; else why not.
    #[inline]
    pub(super) fn root_of(&self, kind: ObjectKind, id: ShmId) -> Outcome<Root> {
        let unknown = || Error::from(sysv::unknown_id(kind_of(kind), id));
        let root = self.file.root(kind, id.slot()).ok_or_else(unknown)?;
        if root.seen().unit() == 0 {
            self.finish_slot(kind, id.slot());
        }
        Ok(root)
    }

    /// The root of the object with this index, which may be none.
    pub(super) fn root_at(&self, kind: ObjectKind, index: i32) -> Outcome<Root> {
        let slot = index as u32 & (sysv::SLOTS - 1);
        let unused = || Error::from(sysv::unused_index(kind_of(kind), slot));
        let root = self.file.root(kind, slot).ok_or_else(unused)?;
        if root.seen().unit() == 0 {
            self.finish_slot(kind, slot);
        }
        Ok(root)
    }

    /// An object was entered, and its maker was killed before it set the root. For want of room one that was removed stays in the
    /// directory, and its root says that it is none.
    #[cold]
    fn finish_slot(&self, kind: ObjectKind, slot: u32) {
        let directory = self.file.directory(kind);
        let entry = directory.find_slot(slot).filter(|_| directory.is_still());
        if let Some(entry) = entry {
            let _ = self.file.finish(kind, &directory, &entry, self.holder());
        }
    }

    /// The object with this key, if a get call with these flags asks for no more than that, and the caller surely may.
    #[inline(always)]
    pub(super) fn known_at_once(&self, kind: ObjectKind, key: i32, flags: i32) -> Option<Entry> {
        if key == 0 || flags & sysv::flags::IPC_EXCL != 0 {
            return None;
        }
        let directory = self.file.directory(kind);
        let entry = directory.find_key(key)?;
        if !directory.is_still() {
            return None;
        }
        let root = self.file.root(kind, entry.id as u32 % sysv::SLOTS)?;
        let seen = root.seen();
        let words = self.file.words_behind(seen)?;
        let is_it = words.id == entry.id && is_granted(&words, sysv::wanted_bits(flags));
        (is_it && root.is_still(seen)).then_some(entry)
    }

    /// What a get call does: `found` answers for the object that has the key (`None`: it is gone, try again); `missing` says
    /// whether a new one may be made, of so many objects and the sum of their sizes; `build` makes its block.
    pub(super) fn get(
        &self,
        Wanted {
            kind,
            key,
            size,
            id: wanted,
        }: Wanted,
        found: &mut dyn FnMut(Root, Seen) -> Outcome<Option<i32>>,
        missing: &mut dyn FnMut(u32, u32) -> Ruling<()>,
        build: &mut dyn FnMut(ShmId) -> Stored<Block>,
    ) -> Outcome<i32> {
        // Others get on whenever this one must begin again. Where nobody does, the directory says what cannot be.
        const MANY: u32 = 100_000;
        let owner = self.holder();
        for _ in 0..MANY {
            let directory = self.file.directory(kind);
            match self.look_up(kind, key, &directory, found)? {
                Some(Some(id)) => return Ok(id),
                Some(None) => continue,
                None => {}
            }
            let (count, total) = (directory.count(), directory.total());
            let cursor = directory.cursor();
            if !directory.is_still() {
                continue;
            }
            missing(count, total)?;
            // Where the namespace was removed or exchanged, an object here would be known to nobody else.
            self.registry.namespace.directory().check_in_place()?;
            let Some((id, after)) = self.new_id(kind, &directory, count, cursor, wanted) else {
                if !directory.is_still() {
                    continue;
                }
                return Err(StorageError::TableFull {
                    what: "objects",
                    holds: sysv::SLOTS,
                }
                .into());
            };
            let root = self.file.root_made(kind, id.slot())?;
            let seen = root.seen();
            if seen.unit() != 0 {
                continue;
            }
            let block = build(id)?;
            let entry = Entry {
                id: id.raw(),
                key,
                size,
                first: block.unit,
                tag: seen.tag(),
            };
            let cursor = (after.next, after.last, after.seq);
            let entered = self.file.enter(&directory, &entry, cursor, owner);
            if matches!(entered, Ok(true)) {
                // Crash here: it exists, and the next process that meets it in the directory sets the root.
                root.change(seen, block.unit);
                return Ok(id.raw());
            }
            self.give_unpublished(block);
            entered?;
        }
        let error = self
            .file
            .is_damaged("its directory and its objects do not agree");
        Err(error.into())
    }

    /// What the object with this key is answered with: `Some(None)` to look again. `None`: there is none.
    #[inline(never)]
    fn look_up(
        &self,
        kind: ObjectKind,
        key: i32,
        directory: &Directory,
        found: &mut dyn FnMut(Root, Seen) -> Outcome<Option<i32>>,
    ) -> Outcome<Option<Option<i32>>> {
        if key == 0 {
            return Ok(None);
        }
        let entry = directory.find_key(key);
        if !directory.is_still() {
            return Ok(Some(None));
        }
        let Some(entry) = entry else { return Ok(None) };
        match self.file.finish(kind, directory, &entry, self.holder())? {
            Some(root) => found(root, root.seen()).map(Some),
            None => Ok(Some(None)),
        }
    }

    /// The identifier of a new object beside `count` others, the wanted one if that is free, and the cursor behind it. `None`: no
    /// index is free.
    fn new_id(
        &self,
        kind: ObjectKind,
        directory: &Directory,
        count: u32,
        cursor: Option<CursorWords>,
        wanted: Option<ShmId>,
    ) -> Option<(ShmId, IdCursor)> {
        let cursor = cursor.map_or(IdCursor::fresh(self.file.seed()), |(next, last, seq)| {
            IdCursor { next, last, seq }
        });
        let is_free = |slot: u32| {
            directory.find_slot(slot).is_none()
                && self
                    .file
                    .root(kind, slot)
                    .is_none_or(|root| self.is_empty(kind, root))
        };
        if let Some(id) = wanted.filter(|id| is_free(id.slot())) {
            return Some((id, cursor));
        }
        cursor.allocate(count, |from, to| (from..to).find(|&slot| is_free(slot)))
    }

    /// Whether an index that the directory does not have is free. Sleepers that died before they took leave of a removed
    /// object are taken out of it, the last one with what is left of the object.
    fn is_empty(&self, kind: ObjectKind, root: Root) -> bool {
        while root.seen().unit() != 0 {
            let reaped = match kind {
                ObjectKind::Set => self.reap_in_removed_set(root),
                ObjectKind::Queue => self.reap_in_removed_queue(root),
            };
            if !reaped {
                return false;
            }
        }
        true
    }

    /// Takes an object that has been removed out of the directory.
    pub(super) fn forget(&self, kind: ObjectKind, id: i32) -> Outcome<()> {
        let slot = id as u32 & (sysv::SLOTS - 1);
        loop {
            let directory = self.file.directory(kind);
            let entry = directory.find_slot(slot);
            if !directory.is_still() {
                continue;
            }
            match entry {
                Some(entry) if entry.id == id => {
                    if self.file.leave(&directory, id, self.holder())? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Makes the file right again, as far as it can be; `is_alone`: whether no other process lives in the namespace.
    pub(super) fn mend(&self, is_alone: &dyn Fn() -> bool) -> Outcome<()> {
        self.mend_limits();
        let fresh = IdCursor::fresh(self.file.seed());
        self.file
            .mend(self.holder(), (fresh.next, fresh.last, fresh.seq))?;
        let mut dropped = Ok(());
        self.file.part(&mut |slot, text| {
            dropped = core::mem::replace(&mut dropped, Ok(())).and(self.drop_text(slot, text));
        })?;
        dropped?;
        for slot in 0..sysv::SLOTS {
            self.mend_queue(slot)?;
        }
        self.file.give_unused(is_alone)?;
        Ok(())
    }

    /// Limits that nobody can have set are again what they are at first.
    fn mend_limits(&self) {
        let file = &self.file;
        let sem = rules::sem_limits_of(file.sem_limits());
        if !sem.are_possible() {
            file.set_sem_limits(rules::sem_words(&sem.mended()));
        }
        let msg = rules::msg_limits_of(file.msg_limits());
        if !msg.are_possible() {
            file.set_msg_limits(rules::msg_words(&msg.mended()));
        }
    }

    /// How many objects there are, the sum of their sizes, and the highest index in use.
    pub(super) fn totals(&self, kind: ObjectKind) -> (u32, u32, u32) {
        loop {
            let directory = self.file.directory(kind);
            let (count, total) = (directory.count(), directory.total());
            let highest = count.checked_sub(1).map_or(0, |last| {
                directory.entry(last).id as u32 & (sysv::SLOTS - 1)
            });
            if directory.is_still() {
                return (count, total, highest);
            }
        }
    }

    /// Refuses a caller that may not set the namespace's limits.
    pub(super) fn must_set_limits(&self) -> Outcome<()> {
        if may_set_limits() {
            return Ok(());
        }
        Err(StorageError::System {
            doing: "set a limit of",
            path: *self.registry.namespace.directory().path(),
            error: OsError(libc::EPERM),
        }
        .into())
    }

    /// Calls `each` with the identifier of every object, in the order of indices.
    pub(super) fn each(&self, kind: ObjectKind, each: &mut dyn FnMut(i32)) {
        let mut from = 0;
        while from < sysv::SLOTS {
            let directory = self.file.directory(kind);
            let next = directory.first_from(from);
            if !directory.is_still() {
                continue;
            }
            let Some(entry) = next else { return };
            each(entry.id);
            from = (entry.id as u32 & (sysv::SLOTS - 1)) + 1;
        }
    }
}
