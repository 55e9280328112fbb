//! A file of semaphore sets and message queues into which somebody else has written, and every call on it.
//!
//! The input is a list of commands: write this there, call that. Before each input the file is as it was at first, with two sets
//! and two queues. A refusal is a good answer; so is a wrong one. What is looked for is a crash, a panic, a byte written behind
//! a caller's buffer, and a call that does not come to an end: each has so much of the processor's time.
//!
//! The marks are left alone: they lie in a list of libc's, which trusts it as the namespace's owner is trusted
//! (`src/storage/ipc/owner.rs`).

use crate::base;
use crate::table::{self, Input};
use shmshim_core::registry::msg::{self, Receiving, Sending, Step, Woken};
use shmshim_core::registry::{check, inspect, sem};
use shmshim_core::storage::Namespace;
use shmshim_core::storage::ipc::IpcFile;
use shmshim_core::storage::ipc::layout::{
    ARENA, Header, OWNER_BYTES, OWNER_PART, PLACE_BYTES, PLACE_PART, QUEUE_ROOTS, SET_ROOTS, SLAB,
    SLAB_PART, UNIT,
};
use shmshim_core::sysv::NewPerm;
use shmshim_core::sysv::msg::{MsgCommand, NewQueue};
use shmshim_core::sysv::sem::{Operation, Question, SemCommand};
use std::cell::OnceCell;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What no call takes, not even one that looks at everything.
const MOST_NANOS: u64 = 5_000_000_000;
/// Bytes of the longest text, and more.
const TEXT: usize = 64;
const NOWAIT: i32 = 0o4000;
const UNDO: i16 = 0x1000;

struct World {
    file: File,
    /// The pages that hold anything, and where they lie.
    pages: Vec<(u64, Vec<u8>)>,
    /// The blocks that are in use, by what leads to them.
    used: Vec<u32>,
    /// For what no call does by itself.
    sweeper: IpcFile<'static>,
}

thread_local! {
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

fn op(number: u16, change: i16, flags: i16) -> Operation {
    Operation {
        number,
        change,
        flags,
    }
}

fn new_world() -> World {
    table::reset();
    for key in [1, 2] {
        let set = sem::semget(key, 3, 0o1600).unwrap();
        let operations = [op(0, 5, 0), op(1, 7, UNDO), op(1, -2, UNDO)];
        sem::semop(set, &operations, None, None).unwrap();
        let queue = msg::msgget(key, 0o1600).unwrap();
        for len in [0, 7, 40] {
            assert!(send(queue, 1, len));
        }
    }
    let rules = shmshim_core::registry::rules_for_storage();
    let namespace: &'static Namespace = Box::leak(Box::new(Namespace::open(&rules).unwrap()));
    let sweeper = IpcFile::open(namespace.processes(), &rules.ipc_limits, |work| work()).unwrap();
    let path: &Path = &base::runtime_directory().join("ipc");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut pages = Vec::new();
    let mut page = vec![0; 4096];
    for offset in (0..file.metadata().unwrap().len()).step_by(4096) {
        file.read_exact_at(&mut page, offset).unwrap();
        if page.iter().any(|&byte| byte != 0) {
            pages.push((offset, page.clone()));
        }
    }
    let mut world = World {
        file,
        pages,
        used: Vec::new(),
        sweeper,
    };
    let roots = [SET_ROOTS, QUEUE_ROOTS].map(|part| u64::from(part.area));
    let directories = core::mem::offset_of!(Header, directory) as u64;
    for at in [directories, directories + 8].into_iter().chain(
        roots
            .into_iter()
            .flat_map(|area| (0..8).map(move |slot| area + slot * 8)),
    ) {
        world
            .used
            .extend(Some(world.word(at) as u32).filter(|&unit| unit != 0));
    }
    world
}

impl World {
    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn reset(&self) {
        let len = self.file.metadata().unwrap().len() as i64;
        let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: an open file and numbers.
        let punched = unsafe { libc::fallocate(self.file.as_raw_fd(), how, 0, len) };
        assert_eq!(punched, 0);
        for (offset, page) in &self.pages {
            self.file.write_all_at(page, *offset).unwrap();
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let part = u64::from(OWNER_PART.area);
        let in_owners = offset
            .checked_sub(part)
            .filter(|at| *at < u64::from(PLACE_PART.area) - part);
        let is_mark =
            in_owners.is_some_and(|at| at % u64::from(OWNER_BYTES) + bytes.len() as u64 > 24);
        // Magic, version and signature are looked at once, and the sweeper has them behind it.
        if offset >= 16
            && !is_mark
            && offset + bytes.len() as u64 <= self.file.metadata().unwrap().len()
        {
            self.file.write_all_at(bytes, offset).unwrap();
        }
    }
}

impl Input<'_> {
    /// A number that means something in this file more often than chance would have it.
    fn number(&mut self, world: &World) -> Option<u32> {
        let near = |number: u32, byte: u8| number.wrapping_add(u32::from(byte % 3)).wrapping_sub(1);
        Some(match self.byte()? % 6 {
            0 => self.word()?,
            1 => self.byte()?.into(),
            2 => u32::MAX - u32::from(self.byte()?),
            3 => 1 << (self.byte()? % 32),
            4 => near(
                [SLAB / UNIT, 1 << 16, 1 << 24, 32768][usize::from(self.byte()? % 4)],
                self.byte()?,
            ),
            _ => near(
                world.used[usize::from(self.byte()?) % world.used.len()],
                self.byte()?,
            ),
        })
    }
}

fn write_somewhere(world: &World, area: u8, input: &mut Input<'_>) -> Option<()> {
    let entry = |area: u32, bytes: u32, index: u8, word: u8| {
        u64::from(area + u32::from(index % 9) * bytes + u32::from(word) * 4 % bytes)
    };
    let offset = match area % 10 {
        0 => 16 + u64::from(input.byte()?) * 4 % (size_of::<Header>() as u64 - 16),
        1 => entry(SET_ROOTS.area, 8, input.byte()?, input.byte()?),
        2 => entry(QUEUE_ROOTS.area, 8, input.byte()?, input.byte()?),
        3 => entry(
            OWNER_PART.area,
            OWNER_BYTES,
            input.byte()?,
            input.byte()? % 6,
        ),
        4 => entry(PLACE_PART.area, PLACE_BYTES, input.byte()?, input.byte()?),
        5 => entry(SLAB_PART.area, 8, input.byte()?, input.byte()?),
        6..=8 => {
            let unit = world.used[usize::from(input.byte()?) % world.used.len()];
            u64::from(ARENA) + u64::from(unit) * u64::from(UNIT) + u64::from(input.byte()? % 64) * 4
        }
        _ => {
            let offset = u64::from(input.word()? % (ARENA + 2 * SLAB));
            let text = input.text();
            world.write(offset, text);
            return Some(());
        }
    };
    let value = input.number(world)?;
    world.write(offset, &value.to_ne_bytes());
    Some(())
}

/// Sends so many bytes. Whether it was done at once; a sleep ends as by a signal.
fn send(id: i32, mtype: i64, len: u64) -> bool {
    let text = [7u64; TEXT / 8];
    let sending = Sending::begin(id, mtype, text.as_ptr() as u64, len, 0);
    let Ok(mut sending) = sending else {
        return false;
    };
    match sending.step(Woken::Other, None) {
        Ok(Step::Done(())) => true,
        Ok(Step::Sleep(_)) => {
            let _ = sending.step(Woken::Other, None);
            let _ = sending.step(Woken::BySignal, None);
            false
        }
        Err(_) => false,
    }
}

fn receive(id: i32, mtype: i64, size: usize, flags: i32) {
    const UNTOUCHED: u8 = 0xa5;
    let mut text = [UNTOUCHED; TEXT * 2];
    let received = Receiving::begin(id, text.as_mut_ptr() as u64, size as u64, mtype, flags);
    if let Ok(mut receiving) = received {
        if let Ok(Step::Sleep(_)) = receiving.step(Woken::Other, None) {
            let _ = receiving.step(Woken::BySignal, None);
        }
    }
    assert!(
        text[size..].iter().all(|&byte| byte == UNTOUCHED),
        "more than asked for"
    );
}

fn call(world: &World, which: u8, input: &mut Input<'_>) -> Option<()> {
    let id = |byte: u8| match byte {
        0xf0.. => (i32::from(byte) - 0xf0) << 15,
        _ => {
            let slot = i32::from(byte % 3);
            let directory = |at: u64| world.word(at) as i32;
            // As its block says.
            let unit = world.word(
                u64::from(if byte & 0x80 == 0 {
                    SET_ROOTS.area
                } else {
                    QUEUE_ROOTS.area
                }) + slot as u64 * 8,
            );
            let at = u64::from(ARENA) + (unit & 0xffff) * u64::from(UNIT) + 16;
            directory(at)
        }
    };
    let key = |byte: u8| i32::from(byte % 5);
    let set = |byte: u8| id(byte & 0x7f);
    let queue = |byte: u8| id(byte | 0x80);
    let flags = |byte: u8| [0, 0o600, 0o1600, 0o3600][usize::from(byte % 4)];
    match which % 22 {
        0 => drop(sem::semget(
            key(input.byte()?),
            i32::from(input.byte()? % 8),
            flags(input.byte()?),
        )),
        1 | 2 => {
            let id = set(input.byte()?);
            let flags =
                [0, UNDO, NOWAIT as i16, UNDO | NOWAIT as i16][usize::from(input.byte()? % 4)];
            let operations = [
                op(
                    u16::from(input.byte()? % 4),
                    i16::from(input.byte()? as i8),
                    flags,
                ),
                op(1, 1, flags),
            ];
            let operations = &operations[..1 + usize::from(input.byte()? % 2)];
            if sem::semop_at_once(id, operations).is_none() {
                let _ = sem::semop(id, operations, Some(1), None);
            }
        }
        3 => drop(sem::sem_value_at_once(
            set(input.byte()?),
            input.byte()?.into(),
        )),
        4 => drop(sem::sem_stat(set(input.byte()?), SemCommand::IpcStat)),
        5 => drop(sem::sem_stat(input.byte()?.into(), SemCommand::SemStat)),
        6 => drop(sem::sem_set_value(
            set(input.byte()?),
            input.byte()?.into(),
            4,
        )),
        7 => drop(sem::sem_values(set(input.byte()?))),
        8 => drop(sem::sem_set_values(set(input.byte()?), &[1, 2, 3])),
        9 => drop(sem::sem_ask(set(input.byte()?), 0, Question::Growth)),
        10 => drop(sem::sem_remove(set(input.byte()?))),
        11 => {
            let _ = sem::sem_usage();
            let _ = sem::sem_list(&mut |_| {});
        }
        12 => drop(msg::msgget(key(input.byte()?), flags(input.byte()?))),
        13 => {
            let mtype = i64::from(input.byte()?);
            send(
                queue(input.byte()?),
                mtype,
                u64::from(input.byte()?) % TEXT as u64,
            );
        }
        14 => {
            let flags =
                [0, NOWAIT, NOWAIT | 0o10000, NOWAIT | 0o40000][usize::from(input.byte()? % 4)];
            let size = usize::from(input.byte()?) % TEXT;
            receive(
                queue(input.byte()?),
                i64::from(input.byte()? as i8),
                size,
                flags,
            );
        }
        15 => drop(msg::msg_stat(queue(input.byte()?), MsgCommand::IpcStat)),
        16 => {
            let mode = input.byte()?.into();
            let (uid, gid) = (0, 0);
            let perm = NewPerm { uid, gid, mode };
            let qbytes = input.word()? % 20_000;
            let _ = sem::sem_set(set(input.byte()?), NewPerm { uid, gid, mode });
            let _ = msg::msg_set(queue(input.byte()?), NewQueue { perm, qbytes });
        }
        17 => drop(msg::msg_remove(queue(input.byte()?))),
        18 => {
            let _ = msg::msg_usage();
            let _ = msg::msg_list(&mut |_| {});
        }
        19 => {
            world.sweeper.sweep();
        }
        20 => {
            let mut findings = 0u32;
            let _ = check::check(&mut |_, _| findings += 1, &mut |_| {});
            look();
        }
        _ => drop(check::repair(false)),
    }
    Some(())
}

/// As the command does that shows a namespace.
fn look() {
    let directory = base::runtime_directory().as_os_str().as_encoded_bytes();
    let Ok(Some(inspection)) = inspect::open(directory) else {
        return;
    };
    if let Ok(Some(objects)) = inspection.objects() {
        let _ = objects.each_set(&mut |_| {});
        let _ = objects.each_queue_with_texts(&mut |_| {});
        let _ = objects.cursors();
    }
}

fn nanos() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills in what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Writes to the file and calls, in turns.
pub fn ipc(data: &[u8]) {
    WORLD.with(|world| {
        let world = world.get_or_init(new_world);
        world.reset();
        let mut input = Input(data);
        while let Some(command) = input.byte() {
            let begun = nanos();
            let done = match command {
                0..0x80 => write_somewhere(world, command, &mut input),
                _ => call(world, command, &mut input),
            };
            assert!(nanos() - begun < MOST_NANOS, "it does not come to an end");
            if done.is_none() {
                break;
            }
        }
        // Whatever was written: the file can be used again.
        check::repair(false).unwrap();
        let id = sem::semget(9, 1, 0o1600).unwrap();
        sem::semop(id, &[op(0, 1, 0)], None, None).unwrap();
        sem::sem_remove(id).unwrap();
    });
}
