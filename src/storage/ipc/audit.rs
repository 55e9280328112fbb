//! Whether the file `ipc` is as it must be. Nothing is changed.
//!
//! Everything in it changes while it is looked at. Each object counts if its root is afterwards what it was before. What is said
//! of several, that no two have a block in common and none a free one, counts if nothing at all has changed meanwhile; that is
//! tried a number of times, and in a namespace that never comes to rest it is not told.

use super::arena::Block;
use super::directory::Entry;
use super::file::IpcFile;
use super::layout::{ARENA, CLASSES, MOST_BYTES, OBJECTS, SLAB, UNIT};
use super::root::{Kind, Seen};
use super::view::IpcView;
use super::words::high;
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::storage::error::{StorageError, Stored};
use crate::storage::invariant::{Broken, Invariant};

/// How often the whole is looked at until nothing has changed meanwhile.
const LOOKS: u32 = 100;

/// A block that is in use, or free, by number and size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) unit: u32,
    pub(super) units: u32,
    pub(super) by: User,
}

/// What has a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// A kind's directory.
    Directory,
    /// The object with this index.
    Object(Kind, u32),
    /// The queue with this index, for a text.
    Text(u32),
    /// The stack of free blocks of this size.
    Free(u32),
}

impl Used {
    fn of(block: Block, by: User) -> Used {
        Used {
            unit: block.unit,
            units: 1 << block.class().min(CLASSES),
            by,
        }
    }

    /// Whether they have something in common with a block that is not in front of this one.
    pub(super) fn overlaps(&self, next: &Used) -> bool {
        self.unit.saturating_add(self.units) > next.unit
    }

    fn is_free(&self) -> bool {
        matches!(self.by, User::Free(_))
    }
}

/// What was seen of the whole.
#[derive(Default)]
pub(super) struct Seens {
    roots: PageVec<(Kind, u32, Seen)>,
    pub(super) used: PageVec<Used>,
    heads: PageVec<u64>,
}

impl Seens {
    /// What the root of an object was.
    pub(super) fn seen(&self, kind: Kind, slot: u32) -> Option<Seen> {
        let mut roots = self.roots.iter();
        let found = roots.find(|(its, at, _)| (*its, *at) == (kind, slot));
        found.map(|(_, _, seen)| *seen)
    }

    /// The head of the stack of free blocks of a size.
    pub(super) fn head(&self, class: u32) -> Option<u64> {
        self.heads.get(class as usize).copied()
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Set => "semaphore set",
        Kind::Queue => "message queue",
    }
}

impl IpcView<'_> {
    /// Tells `broken` what is not as it must be.
    pub fn audit(&self, broken: &mut Broken<'_>) -> Stored<()> {
        let end = self.file().arena_end();
        if !(u64::from(SLAB)..=MOST_BYTES).contains(&end) || end % u64::from(UNIT) != 0 {
            broken(
                Invariant::Ipc,
                format_args!("its blocks end at byte {end} behind {ARENA}, where none can"),
            );
            return Ok(());
        }
        let mut is_sound = true;
        for kind in [Kind::Set, Kind::Queue] {
            is_sound &= self.audit_kind(kind, broken)?;
        }
        if is_sound {
            self.audit_blocks(broken)?;
        }
        Ok(())
    }

    fn audit_kind(&self, kind: Kind, broken: &mut Broken<'_>) -> Stored<bool> {
        let word = kind_word(kind);
        let mut is_sound = true;
        let entries = self.entries(kind)?;
        let mut keys = PageVec::new();
        let mut before: Option<&Entry> = None;
        for entry in entries.iter() {
            let slot = |entry: &Entry| entry.id as u32 % OBJECTS;
            if before.is_some_and(|before| slot(before) >= slot(entry)) || entry.id < 0 {
                is_sound = false;
                broken(
                    Invariant::Objects,
                    format_args!("{word} {} is in its directory at a wrong place", entry.id),
                );
            }
            before = Some(entry);
            if entry.key != 0 {
                push(&mut keys, entry.key)?;
            }
            is_sound &= self.audit_entry(kind, entry, broken)?;
        }
        self.audit_total(kind, broken);
        keys.sort_unstable();
        for (key, next) in keys.iter().zip(keys.iter().skip(1)) {
            if key == next {
                is_sound = false;
                broken(
                    Invariant::Objects,
                    format_args!("two {word}s have key {key:#010x}"),
                );
            }
        }
        for slot in 0..OBJECTS {
            is_sound &= self.audit_root(kind, slot, broken)?;
        }
        Ok(is_sound)
    }

    /// Whether the root of an entry is as it was before it was set, and the block that it is to be set to is not the object.
    fn has_lost_root(&self, kind: Kind, entry: &Entry) -> bool {
        let slot = entry.id as u32 % OBJECTS;
        let directory = self.file().directory(kind);
        let is_entered = directory.find_slot(slot) == Some(*entry);
        let Some(root) = self.file().root(kind, slot) else {
            return is_entered && directory.is_still();
        };
        let unset = Seen::empty(entry.tag);
        root.is_still(unset)
            && !self.file().is_first_there(kind, entry)
            && root.is_still(unset)
            && is_entered
            && directory.is_still()
    }

    fn audit_total(&self, kind: Kind, broken: &mut Broken<'_>) {
        let directory = self.file().directory(kind);
        let sizes = (0..directory.count()).map(|at| u64::from(directory.entry(at).size));
        let (sum, total) = (sizes.sum::<u64>(), directory.total());
        if sum != total.into() && directory.is_still() {
            let word = kind_word(kind);
            broken(
                Invariant::Objects,
                format_args!("the {word}s have {sum} members, their directory says {total}"),
            );
        }
    }

    fn audit_entry(&self, kind: Kind, entry: &Entry, broken: &mut Broken<'_>) -> Stored<bool> {
        let mut wrong = None;
        let (word, id) = (kind_word(kind), entry.id);
        let key_of = |block: Block| high(block.get(0)) as i32;
        let read = match kind {
            Kind::Set => self.set(entry, &mut |set| {
                let is_same = key_of(set.block()) == entry.key && set.len() == entry.size;
                wrong = (!is_same).then_some("has another key or size in its directory");
                Ok(())
            }),
            Kind::Queue => self.queue(entry, &mut |queue| {
                wrong = match () {
                    () if key_of(queue.block()) != entry.key => {
                        Some("has another key in its directory")
                    }
                    () if queue.without_text(self.file()).is_some() => {
                        Some("has a message without a text")
                    }
                    () if !queue.has_right_sum() => Some("has other bytes than its messages"),
                    () => None,
                };
                Ok(())
            }),
        };
        if self.has_lost_root(kind, entry) {
            broken(
                Invariant::Objects,
                format_args!("{word} {id} is in its directory, and its root leads nowhere"),
            );
            return Ok(false);
        }
        match read {
            Ok(true) if wrong.is_some() => {
                let wrong = wrong.unwrap_or_default();
                broken(Invariant::Objects, format_args!("{word} {id} {wrong}"));
                Ok(false)
            }
            // Removed, or its remover was killed before it took it out of the directory.
            Ok(_) => Ok(true),
            Err(StorageError::Damaged { .. }) => {
                broken(
                    Invariant::Objects,
                    format_args!("{word} {id} is in its directory, and its block is none"),
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A root leads to an object that the directory has, or to what is left of a removed one for its sleepers.
    fn audit_root(&self, kind: Kind, slot: u32, broken: &mut Broken<'_>) -> Stored<bool> {
        let Some(root) = self.file().root(kind, slot) else {
            return Ok(true);
        };
        let seen = root.seen();
        if seen.unit() == 0 {
            return Ok(true);
        }
        let content = self.file().block_of(seen).and_then(|block| match kind {
            Kind::Set => {
                let set = self.file().set_of(block)?;
                Some((set.id(), set.is_removed()))
            }
            Kind::Queue => {
                let queue = self.file().queue_of(block)?;
                Some((queue.id(), queue.is_removed()))
            }
        });
        let directory = self.file().directory(kind);
        let entry = directory.find_slot(slot);
        let is_right = match content {
            Some((id, is_removed)) => {
                id as u32 % OBJECTS == slot
                    && (is_removed || entry.is_some_and(|entry| entry.id == id))
            }
            None => false,
        };
        if is_right || !directory.is_still() || !root.is_still(seen) {
            return Ok(true);
        }
        broken(
            Invariant::Objects,
            format_args!(
                "there is a {} at index {slot} that its directory does not have",
                kind_word(kind)
            ),
        );
        Ok(false)
    }

    fn audit_blocks(&self, broken: &mut Broken<'_>) -> Stored<()> {
        let mut seens = Seens::default();
        for _ in 0..LOOKS {
            self.file().collect(&mut seens)?;
            if !self.file().is_all_still(&seens) {
                continue;
            }
            let end = (self.file().arena_end() / u64::from(UNIT)) as u32;
            let is_behind = |used: &&Used| used.unit.saturating_add(used.units) > end;
            if let Some(used) = seens.used.iter().find(is_behind) {
                broken(
                    Invariant::Objects,
                    format_args!("block {} lies behind the end of all", used.unit),
                );
            }
            let pairs = seens.used.iter().zip(seens.used.iter().skip(1));
            for (one, next) in pairs {
                if one.overlaps(next) {
                    let what = match one.is_free() || next.is_free() {
                        true => "is in use and free",
                        false => "is in use twice",
                    };
                    broken(
                        Invariant::Objects,
                        format_args!("block {} {what}", next.unit),
                    );
                }
            }
            return Ok(());
        }
        Ok(())
    }
}

impl IpcFile<'_> {
    /// Whether nothing at all has changed since it was seen.
    pub(super) fn is_all_still(&self, seens: &Seens) -> bool {
        let heads = (0..).zip(seens.heads.iter());
        let mut roots = seens.roots.iter();
        heads
            .take(CLASSES as usize)
            .all(|(class, head)| self.free_head(class) == *head)
            && roots.all(|(kind, slot, seen)| {
                let root = match *slot {
                    OBJECTS => Some(self.directory_root(*kind)),
                    slot => self.root(*kind, slot),
                };
                root.is_some_and(|root| root.is_still(*seen))
            })
    }

    /// All blocks that are in use or free, in their order.
    pub(super) fn collect(&self, seens: &mut Seens) -> Stored<()> {
        *seens = Seens::default();
        let Seens { roots, used, heads } = seens;
        for kind in [Kind::Set, Kind::Queue] {
            let seen = self.directory_root(kind).seen();
            push(roots, (kind, OBJECTS, seen))?;
            push_block(used, self.block_of(seen), User::Directory)?;
            for slot in 0..OBJECTS {
                let Some(root) = self.root(kind, slot) else {
                    break;
                };
                let seen = root.seen();
                push(roots, (kind, slot, seen))?;
                let block = self.block_of(seen);
                push_block(used, block, User::Object(kind, slot))?;
                if let (Kind::Queue, Some(block)) = (kind, block) {
                    self.push_texts(used, block, slot)?;
                }
            }
        }
        // A chain that leads back to itself ends, too.
        let most = self.arena_end() / u64::from(UNIT);
        for class in 0..CLASSES {
            let mut count = 0;
            let mut pushed = Ok(());
            let head = self.each_free(class, &mut |unit| {
                count += 1;
                let one = Used {
                    unit,
                    units: 1 << class,
                    by: User::Free(class),
                };
                pushed = push(used, one);
                pushed.is_ok() && count <= most
            });
            pushed?;
            push(heads, head)?;
        }
        used.sort_unstable_by_key(|one| (one.unit, one.units));
        Ok(())
    }

    fn push_texts(&self, used: &mut PageVec<Used>, block: Block, slot: u32) -> Stored<()> {
        let Some(queue) = self.queue_of(block) else {
            return Ok(());
        };
        let mut pushed = Ok(());
        queue.each_text(&mut |text| {
            if pushed.is_ok() {
                pushed = push_block(used, self.block(text), User::Text(slot));
            }
        });
        pushed
    }
}

fn push_block(used: &mut PageVec<Used>, block: Option<Block>, by: User) -> Stored<()> {
    block.map_or(Ok(()), |block| push(used, Used::of(block, by)))
}

pub(super) fn push<T: Copy>(list: &mut PageVec<T>, value: T) -> Stored<()> {
    list.reserve(1).map_err(no_room)?;
    list.insert(list.len(), value);
    Ok(())
}

fn no_room(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside",
        error,
    }
}
