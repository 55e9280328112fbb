//! Whether the file `ipc` is as it must be. Nothing is changed.
//!
//! Everything in it changes while it is looked at. Each object counts if its root is afterwards what it was before. What is said
//! of several, that no two have a block in common and none a free one, counts if nothing at all has changed meanwhile; that is
//! tried a number of times, and in a namespace that never comes to rest it is not told.

use super::arena::Block;
use super::directory::Entry;
use super::layout::{ARENA, CLASSES, EXTENT, EXTENTS, OBJECTS, UNIT};
use super::root::{Kind, Seen};
use super::view::IpcView;
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::storage::error::{StorageError, Stored};
use crate::storage::invariant::{Broken, Invariant};

/// How often the whole is looked at until nothing has changed meanwhile.
const LOOKS: u32 = 100;

/// Blocks that are in use, or free, by number and size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    unit: u32,
    units: u32,
    is_free: bool,
}

/// What was seen of the whole.
#[derive(Default)]
struct Seens {
    roots: PageVec<(Kind, u32, Seen)>,
    used: PageVec<Used>,
    heads: PageVec<u64>,
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
        if end > u64::from(EXTENT) * u64::from(EXTENTS) || end % u64::from(UNIT) != 0 {
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

    fn audit_entry(&self, kind: Kind, entry: &Entry, broken: &mut Broken<'_>) -> Stored<bool> {
        let read = match kind {
            Kind::Set => self.set(entry, &mut |_| Ok(())),
            Kind::Queue => self.queue(entry, &mut |_| Ok(())),
        };
        match read {
            // Removed, or its remover was killed before it took it out of the directory.
            Ok(_) => Ok(true),
            Err(StorageError::Damaged { .. }) => {
                broken(
                    Invariant::Objects,
                    format_args!(
                        "{} {} is in its directory, and its block is none",
                        kind_word(kind),
                        entry.id
                    ),
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A root leads to an object that the directory has, or to what is left of a removed one for those who slept in it.
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
            self.collect(&mut seens)?;
            if !self.is_still(&seens) {
                continue;
            }
            seens.used.sort_unstable();
            let pairs = seens.used.iter().zip(seens.used.iter().skip(1));
            for (one, next) in pairs {
                if one.unit.saturating_add(one.units) > next.unit {
                    let what = match one.is_free || next.is_free {
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

    fn is_still(&self, seens: &Seens) -> bool {
        let heads = (0..).zip(seens.heads.iter());
        let mut roots = seens.roots.iter();
        heads
            .take(CLASSES as usize)
            .all(|(class, head)| self.file().free_head(class) == *head)
            && roots.all(|(kind, slot, seen)| {
                let root = match *slot {
                    OBJECTS => Some(self.file().directory_root(*kind)),
                    slot => self.file().root(*kind, slot),
                };
                root.is_some_and(|root| root.is_still(*seen))
            })
    }

    /// All blocks that are in use or free.
    fn collect(&self, seens: &mut Seens) -> Stored<()> {
        *seens = Seens::default();
        let Seens { roots, used, heads } = seens;
        for kind in [Kind::Set, Kind::Queue] {
            let seen = self.file().directory_root(kind).seen();
            push(roots, (kind, OBJECTS, seen))?;
            push_block(used, self.file().block_of(seen))?;
            for slot in 0..OBJECTS {
                let Some(root) = self.file().root(kind, slot) else {
                    break;
                };
                let seen = root.seen();
                push(roots, (kind, slot, seen))?;
                let block = self.file().block_of(seen);
                push_block(used, block)?;
                if let (Kind::Queue, Some(block)) = (kind, block) {
                    self.push_texts(used, block)?;
                }
            }
        }
        // A chain that leads back to itself ends, too.
        let most = self.file().arena_end() / u64::from(UNIT);
        for class in 0..CLASSES {
            let mut count = 0;
            let mut pushed = Ok(());
            let head = self.file().each_free(class, &mut |unit| {
                count += 1;
                let one = Used {
                    unit,
                    units: 1 << class,
                    is_free: true,
                };
                pushed = push(used, one);
                pushed.is_ok() && count <= most
            });
            pushed?;
            push(heads, head)?;
        }
        Ok(())
    }

    fn push_texts(&self, used: &mut PageVec<Used>, block: Block) -> Stored<()> {
        let Some(queue) = self.file().queue_of(block) else {
            return Ok(());
        };
        let mut pushed = Ok(());
        queue.each_text(&mut |text| {
            if pushed.is_ok() {
                pushed = push_block(used, self.file().block(text));
            }
        });
        pushed
    }
}

fn push_block(used: &mut PageVec<Used>, block: Option<Block>) -> Stored<()> {
    match block {
        Some(block) => push(
            used,
            Used {
                unit: block.unit,
                units: 1 << block.class().min(CLASSES),
                is_free: false,
            },
        ),
        None => Ok(()),
    }
}

fn push<T: Copy>(list: &mut PageVec<T>, value: T) -> Stored<()> {
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
