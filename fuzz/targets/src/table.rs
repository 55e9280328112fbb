//! A table into which somebody else has written, and every public function on it.
//!
//! The input is a list of commands: write this there, call that. Before each input the table, and the files of its
//! segments, are as they were at first. A refusal is a good answer; so is a wrong one. What is looked for is a crash,
//! a panic, a word outside of the table (`os/map.rs` asserts in this build), and a call that does not come back.

use crate::base;
use shmshim_core::registry;
use shmshim_core::storage::Namespace;
use shmshim_core::storage::table::layout::{self, Cell, Header, Record, Slot};
use shmshim_core::sysv::{Command, LimitName, NewPerm};
use std::cell::OnceCell;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

struct World {
    table: File,
    segments: PathBuf,
    /// The pages of the table that hold anything, and where they lie.
    pages: Vec<(u64, Vec<u8>)>,
    /// The segments' files, and their lengths.
    files: Vec<(PathBuf, u64)>,
}

thread_local! {
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

fn new_world() -> World {
    let directory = base::runtime_directory();
    let first = registry::shmget(1, 4096, 0o1600).unwrap();
    registry::shmget(2, 100, 0o1640).unwrap();
    let removed = registry::shmget(0, 10_000, 0o600).unwrap();
    registry::shmat(first, 0, 0).unwrap();
    registry::shmat(removed, 0, 0).unwrap();
    registry::remove(removed).unwrap();

    let table = OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("registry"))
        .unwrap();
    let mut pages = Vec::new();
    let mut page = vec![0; 4096];
    for offset in (0..u64::from(layout::FILE_BYTES)).step_by(4096) {
        table.read_exact_at(&mut page, offset).unwrap();
        if page.iter().any(|&byte| byte != 0) {
            pages.push((offset, page.clone()));
        }
    }
    let segments = directory.join("segments");
    let files = fs::read_dir(&segments).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path(), entry.metadata().unwrap().len())
    });
    let files = files.collect();
    World {
        table,
        segments,
        pages,
        files,
    }
}

impl World {
    fn reset(&self) {
        // SAFETY: an open file and numbers.
        let punched = unsafe {
            let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            libc::fallocate(
                self.table.as_raw_fd(),
                how,
                0,
                i64::from(layout::FILE_BYTES),
            )
        };
        assert_eq!(punched, 0);
        for (offset, page) in &self.pages {
            self.table.write_all_at(page, *offset).unwrap();
        }
        for entry in fs::read_dir(&self.segments).unwrap() {
            let path = entry.unwrap().path();
            if !self.files.iter().any(|(known, _)| *known == path) {
                fs::remove_file(path).unwrap();
            }
        }
        for (path, len) in &self.files {
            let right = fs::metadata(path).is_ok_and(|status| status.len() == *len);
            if !right {
                let _ = fs::remove_file(path);
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path);
                file.unwrap().set_len(*len).unwrap();
            }
        }
    }

    fn write(&self, offset: u32, bytes: &[u8]) {
        if offset as usize + bytes.len() <= layout::FILE_BYTES as usize {
            self.table.write_all_at(bytes, offset.into()).unwrap();
        }
    }
}

/// The input, byte by byte.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub fn word(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }

    /// A number that means something somewhere more often than chance would have it.
    fn value(&mut self) -> Option<u32> {
        Some(match self.byte()? % 5 {
            0 => self.word()?,
            1 => self.byte()?.into(),
            2 => u32::MAX - u32::from(self.byte()?),
            // Indices at the ends of the areas.
            3 => [layout::SLOTS, layout::CELLS, layout::RECORDS, 64, 128]
                [usize::from(self.byte()? % 5)]
            .wrapping_add(u32::from(self.byte()? % 3))
            .wrapping_sub(1),
            // A word of the lock: somebody's.
            _ => 1 << 30 | u32::from(self.byte()?) << 14 | u32::from(self.byte()? % 4),
        })
    }

    pub fn text(&mut self) -> &[u8] {
        let len = self
            .0
            .first()
            .map_or(0, |&len| usize::from(len % 32) + 1)
            .min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text.get(1..).unwrap_or(&[])
    }
}

const HEADER_WORDS: u32 = size_of::<Header>() as u32 / 4;

fn write_somewhere(world: &World, area: u8, input: &mut Input<'_>) -> Option<()> {
    let within = |start, index: u8, size: usize, word: u8| {
        start + u32::from(index) % 130 * size as u32 + u32::from(word) * 4 % size as u32
    };
    let offset = match area % 8 {
        0 | 1 => (u32::from(input.byte()?) % HEADER_WORDS) * 4,
        2 => within(
            layout::SLOT_AREA,
            input.byte()? % 5,
            size_of::<Slot>(),
            input.byte()?,
        ),
        3 => within(
            layout::CELL_AREA,
            input.byte()? % 5,
            size_of::<Cell>(),
            input.byte()?,
        ),
        4 => within(
            layout::RECORD_AREA,
            input.byte()? % 5,
            size_of::<Record>(),
            input.byte()?,
        ),
        5 => layout::INDEX + u32::from(input.byte()?) * 16,
        6 => layout::BITMAP + u32::from(input.byte()?) % 16 * 4,
        _ => {
            let offset = input.word()? % layout::FILE_BYTES;
            let text = input.text();
            world.write(offset, text);
            return Some(());
        }
    };
    let value = input.value()?;
    world.write(offset, &value.to_ne_bytes());
    Some(())
}

fn call(which: u8, input: &mut Input<'_>, attached: &mut Vec<u64>) -> Option<()> {
    let id = |byte: u8| match byte {
        0xf0.. => (i32::from(byte) - 0xf0) << 15,
        _ => i32::from(byte % 5),
    };
    match which % 14 {
        0 => {
            let key = i32::from(input.byte()? % 4);
            let flags = [0, 0o600, 0o1600, 0o3600][usize::from(input.byte()? % 4)];
            let _ = registry::shmget(key, u64::from(input.byte()?) * 100, flags);
        }
        1 | 2 => {
            let flags = [0, 0o10000][usize::from(input.byte()? & 1)];
            attached.extend(registry::shmat(id(input.byte()?), 0, flags));
        }
        3 => {
            if let Some(addr) = attached.pop() {
                let _ = registry::shmdt(addr);
            }
        }
        4 => {
            let _ = registry::stat(id(input.byte()?), Command::IpcStat);
        }
        5 => {
            let _ = registry::stat(id(input.byte()?), Command::ShmStat);
        }
        6 => {
            let new = NewPerm {
                uid: 0,
                gid: 0,
                mode: input.byte()?.into(),
            };
            let _ = registry::set(id(input.byte()?), new);
        }
        7 => {
            let _ = registry::remove(id(input.byte()?));
        }
        8 => {
            let _ = registry::lock(id(input.byte()?));
        }
        9 => {
            let _ = registry::unlock(id(input.byte()?));
        }
        10 => {
            let _ = registry::usage();
        }
        11 => {
            let mut lines = 0;
            let _ = registry::list(&mut |_, _, _| lines += 1);
            assert!(lines <= layout::SLOTS);
        }
        12 => {
            let name = LimitName::ALL[usize::from(input.byte()? % 4)];
            let _ = registry::set_limit(name, input.text());
        }
        _ => {
            if let Ok(namespace) = Namespace::open(&registry::rules_for_storage()) {
                assert!(namespace.table().slots_ready() <= layout::SLOTS);
            }
        }
    }
    Some(())
}

/// The table is as it was at first, for other targets of the same program.
pub fn reset() {
    WORLD.with(|world| world.get_or_init(new_world).reset());
}

/// Writes to the table and calls, in turns.
pub fn table(data: &[u8]) {
    WORLD.with(|world| {
        let world = world.get_or_init(new_world);
        world.reset();
        let mut attached = Vec::new();
        let mut input = Input(data);
        while let Some(command) = input.byte() {
            let done = match command {
                0..0x80 => write_somewhere(world, command, &mut input),
                _ => call(command, &mut input, &mut attached),
            };
            if done.is_none() {
                break;
            }
        }
        for addr in attached {
            let _ = registry::shmdt(addr);
        }
        // And if the lock had been left by a dead process: the repair.
        world.write(
            core::mem::offset_of!(Header, lock) as u32,
            &(1u32 << 30 | 9 << 14).to_ne_bytes(),
        );
        let _ = registry::shmget(7, 100, 0o1600);
        let _ = registry::list(&mut |_, _, _| {});
    });
}
