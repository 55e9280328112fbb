//! The file `ipc` of a namespace that is only looked at. It is not made, and mapped without the right to write; nobody is entered
//! in it, and what the dead have left stays where it is.

use super::arena::Block;
use super::directory::{CursorWords, Entry};
use super::file::IpcFile;
use super::owner::Presence;
use super::queue::QueueBlock;
use super::root::{Kind, Seen};
use super::set::SetBlock;
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::storage::error::{StorageError, Stored};
use crate::storage::process::Processes;
use crate::sysv::msg::Message;

/// How often something is read anew that changes while it is read.
const TRIES: u32 = 1_000_000;

/// The file, mapped to be read; the mappings end with this.
pub struct IpcView<'p> {
    file: IpcFile<'p>,
    /// What it takes on disk or in memory.
    pub allocated_bytes: u64,
}

impl Drop for IpcView<'_> {
    fn drop(&mut self) {
        // Nothing that is handed out refers to them.
        self.file.unmap();
    }
}

impl<'p> IpcView<'p> {
    /// Looks at the file of a namespace. `None`: there is none, because no program has used what is in it.
    pub fn open(processes: &'p Processes) -> Stored<Option<IpcView<'p>>> {
        let found = IpcFile::look(processes)?;
        Ok(found.map(|(file, allocated_bytes)| IpcView {
            file,
            allocated_bytes,
        }))
    }

    pub(super) fn file(&self) -> &IpcFile<'p> {
        &self.file
    }

    /// semmsl, semmns, semopm, semmni.
    pub fn sem_limits(&self) -> [u32; 4] {
        self.file.sem_limits()
    }

    /// msgmax, msgmnb, msgmni.
    pub fn msg_limits(&self) -> [u32; 3] {
        self.file.msg_limits()
    }

    /// The objects of a kind, by rising index.
    pub fn entries(&self, kind: Kind) -> Stored<PageVec<Entry>> {
        let mut entries = PageVec::new();
        for _ in 0..TRIES {
            let directory = self.file.directory(kind);
            let count = directory.count();
            let none = Entry {
                id: 0,
                key: 0,
                size: 0,
                first: 0,
                tag: 0,
            };
            entries.resize(count as usize, none).map_err(no_room)?;
            for (at, entry) in (0..).zip(entries.iter_mut()) {
                *entry = directory.entry(at);
            }
            if directory.is_still() {
                return Ok(entries);
            }
        }
        Err(too_busy())
    }

    /// Where the identifiers of a kind go on; `None`: it has never had one.
    pub fn cursor(&self, kind: Kind) -> Stored<Option<CursorWords>> {
        for _ in 0..TRIES {
            let directory = self.file.directory(kind);
            let cursor = directory.cursor();
            if directory.is_still() {
                return Ok(cursor);
            }
        }
        Err(too_busy())
    }

    /// Calls `each` with every byte of a message's text, inside of [`IpcView::queue`]. `false`: the queue is changing.
    pub fn each_byte(&self, message: &Message, each: &mut dyn FnMut(u8)) -> bool {
        self.file.each_byte(message, each)
    }

    /// Has `read` read the set of an entry, until it was not changed meanwhile. `false`: it is gone.
    pub fn set(
        &self,
        entry: &Entry,
        read: &mut dyn FnMut(&SetBlock) -> Stored<()>,
    ) -> Stored<bool> {
        self.read(Kind::Set, entry, &mut |block| {
            let Some(set) = self.file.set_of(block) else {
                return Ok(Content::Damaged);
            };
            if set.id() != entry.id || set.is_removed() {
                return Ok(Content::Other);
            }
            read(&set).map(|()| Content::Read)
        })
    }

    /// The same with the queue of an entry.
    pub fn queue(
        &self,
        entry: &Entry,
        read: &mut dyn FnMut(&QueueBlock) -> Stored<()>,
    ) -> Stored<bool> {
        self.read(Kind::Queue, entry, &mut |block| {
            let Some(queue) = self.file.queue_of(block) else {
                return Ok(Content::Damaged);
            };
            if queue.id() != entry.id || queue.is_removed() {
                return Ok(Content::Other);
            }
            read(&queue).map(|()| Content::Read)
        })
    }

    fn read(
        &self,
        kind: Kind,
        entry: &Entry,
        read: &mut dyn FnMut(Block) -> Stored<Content>,
    ) -> Stored<bool> {
        let slot = entry.id as u32 % super::layout::OBJECTS;
        for _ in 0..TRIES {
            let Some(root) = self.file.root(kind, slot) else {
                return Err(self.is_damaged());
            };
            let seen = root.seen();
            let Some(block) = self.block_behind(seen, entry) else {
                if seen.unit() == 0 {
                    return Ok(false);
                }
                if root.is_still(seen) {
                    return Err(self.is_damaged());
                }
                continue;
            };
            let content = read(block)?;
            if !root.is_still(seen) {
                continue;
            }
            return match content {
                Content::Read => Ok(true),
                Content::Other => Ok(false),
                Content::Damaged => Err(self.is_damaged()),
            };
        }
        Err(too_busy())
    }

    /// The block that a root leads to, or will lead to: its maker may have been killed before it set the root.
    pub(super) fn block_behind(&self, seen: Seen, entry: &Entry) -> Option<Block> {
        if seen == Seen::empty(entry.tag) {
            return self.file.block(entry.first);
        }
        self.file.block_of(seen)
    }

    fn is_damaged(&self) -> StorageError {
        self.file
            .is_damaged("its directory names an object that is none")
    }

    /// Whether a process is there that sleeps or owes something.
    pub fn presence(&self, owner: u32) -> Presence {
        self.file.presence(owner)
    }

    /// Since when a thread sleeps at a place, in tenths of a second since 1970. `None`: its sleep is over.
    pub fn asleep_since(&self, place: u32) -> Option<u64> {
        self.file.asleep_since(place)
    }

    /// Its process id; 0: it is gone, and another process has its entry.
    pub fn pid(&self, owner: u32) -> i32 {
        self.file.pid_of_owner(owner)
    }
}

/// What a block was found to be.
enum Content {
    Read,
    /// Another object than was asked for.
    Other,
    Damaged,
}

fn no_room(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside",
        error,
    }
}

fn too_busy() -> StorageError {
    StorageError::Call {
        doing: "read what changes all the time",
        error: OsError(libc::EAGAIN),
    }
}
