//! `SHMSHIM_REPORT`: what a process leaves behind, or has done in a way that is mostly a mistake, said when it exits.
//!
//! Noted while the process runs: what it makes, attaches, asks for in vain or with another size. Looked up at its exit: what
//! of that still holds. A process that is killed, or calls `_exit`, says nothing. A child begins with nothing noted.

use core::fmt;
use core::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use shmshim_core::os::process;
use shmshim_core::registry::events::{By, Event, Happening};
use shmshim_core::registry::{self, msg, sem};
use shmshim_core::sysv::msg::MsgCommand;
use shmshim_core::sysv::sem::SemCommand;
use shmshim_core::sysv::{Command, Segment, flags};

use crate::destination::Destination;
use crate::trace::Call;
use crate::trace::line::Line;

#[unsafe(link_section = ".data.shmshim_report")]
static DESTINATION: Destination = Destination::new();

/// Whether a report is asked for.
pub fn is_set() -> bool {
    DESTINATION.is_set()
}

/// Reads the variable.
///
/// # Safety
/// As [`Destination::read`].
pub unsafe fn read() {
    // SAFETY: the caller's promise.
    unsafe { DESTINATION.read(c"SHMSHIM_REPORT") };
}

/// Notes that a process can have; of more it is said that there were.
const MOST: usize = 256;

const MADE: u32 = 1;
const ATTACHED: u32 = 2;
const MISSED: u32 = 3;
const OTHER_SIZE: u32 = 4;
const SET_MADE: u32 = 5;
const QUEUE_MADE: u32 = 6;

/// Something that may have to be said.
struct Note {
    /// Written last; 0: none.
    kind: AtomicU32,
    id: AtomicI32,
    key: AtomicI32,
    /// The size that was asked for, or the address of an attach.
    asked: AtomicU64,
    /// The size that there was.
    has: AtomicU64,
}

struct Notes {
    notes: [Note; MOST],
    used: AtomicU32,
    /// The process that noted all this.
    pid: AtomicI32,
}

// In the library's data, not in .bss: that would be one mapping more in every process.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.shmshim_report"))]
static NOTES: Notes = Notes {
    notes: [const {
        Note {
            kind: AtomicU32::new(0),
            id: AtomicI32::new(0),
            key: AtomicI32::new(0),
            asked: AtomicU64::new(0),
            has: AtomicU64::new(0),
        }
    }; MOST],
    used: AtomicU32::new(0),
    pid: AtomicI32::new(0),
};

/// This process's notes; begun anew in a child.
fn notes() -> &'static Notes {
    let notes = &NOTES;
    let pid = process::pid();
    if notes.pid.swap(pid, Relaxed) != pid {
        for note in &notes.notes {
            note.kind.store(0, Relaxed);
        }
        notes.used.store(0, Relaxed);
    }
    notes
}

fn put(kind: u32, id: i32, key: i32, asked: u64, has: u64) {
    let notes = notes();
    let is_known = |note: &Note| {
        note.kind.load(Acquire) == kind
            && note.id.load(Relaxed) == id
            && note.key.load(Relaxed) == key
            && note.asked.load(Relaxed) == asked
    };
    if notes.notes.iter().any(is_known) {
        return;
    }
    let index = notes.used.fetch_add(1, Relaxed);
    if let Some(note) = notes.notes.get(index as usize) {
        note.id.store(id, Relaxed);
        note.key.store(key, Relaxed);
        note.asked.store(asked, Relaxed);
        note.has.store(has, Relaxed);
        // Pairs with: the loads above and in `each_note`.
        note.kind.store(kind, Release);
    }
}

/// Whether the call will make a set or a queue, if it succeeds: asked before it, for afterwards nobody knows.
pub fn will_make(call: &Call) -> bool {
    let (key, asked, is_there): (i32, i32, fn(i32) -> bool) = match *call {
        Call::Semget { key, flags, .. } => (key, flags, |key| sem::semget(key, 0, 0).is_ok()),
        Call::Msgget { key, flags } => (key, flags, |key| msg::msgget(key, 0).is_ok()),
        _ => return false,
    };
    is_set() && (key == 0 || asked & flags::IPC_CREAT != 0 && !is_there(key))
}

/// Notes what a call has answered.
pub fn note(call: &Call, answer: Result<u64, i32>, makes: bool) {
    if !is_set() {
        return;
    }
    match (call, answer) {
        (&Call::Shmget { key, size, .. }, Ok(id)) => {
            let Some(segment) = segment_of(id as i32) else {
                return;
            };
            if segment.cpid == process::pid() {
                put(MADE, id as i32, key, 0, 0);
            }
            if size != 0 && size != segment.segsz {
                put(OTHER_SIZE, id as i32, key, size, segment.segsz);
            }
        }
        (&Call::Shmget { key, size, .. }, Err(libc::EINVAL)) if key != 0 => {
            // (The whole of shmget, called from here as well, would no longer be part of its one caller's frame.)
            let known = registry::shmget_at_once(key, 0, 0).and_then(Result::ok);
            if let Some(segment) = known.and_then(segment_of) {
                if size > segment.segsz {
                    put(OTHER_SIZE, segment.id.raw(), key, size, segment.segsz);
                }
            }
        }
        (&Call::Shmget { key, .. }, Err(libc::ENOENT)) => put(MISSED, 0, key, 0, 0),
        (&Call::Shmat { shmid, .. }, Ok(addr)) => put(ATTACHED, shmid, 0, addr, 0),
        (&Call::Semget { key, .. }, Ok(id)) if makes => put(SET_MADE, id as i32, key, 0, 0),
        (&Call::Msgget { key, .. }, Ok(id)) if makes => put(QUEUE_MADE, id as i32, key, 0, 0),
        _ => {}
    }
}

#[inline(never)]
fn segment_of(id: i32) -> Option<Segment> {
    registry::stat(id, Command::IpcStat).ok()
}

/// Says what is to be said.
pub fn at_exit() {
    if !is_set() {
        return;
    }
    let notes = &NOTES;
    if notes.pid.load(Relaxed) != process::pid() {
        return;
    }
    for note in &notes.notes {
        // Pairs with: the store in `put`.
        let kind = note.kind.load(Acquire);
        let (id, key) = (note.id.load(Relaxed), note.key.load(Relaxed));
        let (asked, has) = (note.asked.load(Relaxed), note.has.load(Relaxed));
        match kind {
            MADE => made(id),
            ATTACHED => attached(id, asked),
            MISSED => missed(key),
            SET_MADE => set_made(id),
            QUEUE_MADE => queue_made(id),
            OTHER_SIZE => say(format_args!(
                "asked for {asked} bytes of segment {id} (key {key:#010x}), which has {has}"
            )),
            _ => {}
        }
    }
    let used = notes.used.load(Relaxed) as usize;
    if used > MOST {
        say(format_args!(
            "there is more than this report holds: {} things are not looked at",
            used - MOST
        ));
    }
}

#[inline(never)]
fn made(id: i32) {
    let Some(segment) = segment_of(id) else {
        return;
    };
    if segment.mode & flags::SHM_DEST == 0 {
        say(format_args!(
            "made segment {id} (key {:#010x}, {} bytes) and did not remove it",
            segment.key.0, segment.segsz
        ));
    }
}

#[inline(never)]
fn set_made(id: i32) {
    if let Ok(set) = sem::sem_stat(id, SemCommand::IpcStat) {
        say(format_args!(
            "made semaphore set {id} (key {:#010x}, {} semaphores) and did not remove it",
            set.key.0, set.count
        ));
    }
}

#[inline(never)]
fn queue_made(id: i32) {
    if let Ok(queue) = msg::msg_stat(id, MsgCommand::IpcStat) {
        say(format_args!(
            "made message queue {id} (key {:#010x}, {} messages) and did not remove it",
            queue.key.0, queue.qnum
        ));
    }
}

#[inline(never)]
fn attached(id: i32, addr: u64) {
    let mut is_there = false;
    let _ = registry::each_attach(&mut |segment, start, _| {
        is_there |= segment == id && start == addr;
    });
    if is_there {
        say(format_args!(
            "attached segment {id} at {addr:#x} and did not detach it"
        ));
    }
}

/// A key that was asked for in vain: said if its segment had been there.
#[inline(never)]
fn missed(key: i32) {
    if let Some(event) = registry::events::last_removal(key) {
        let id = event.what.segment().map_or(0, |segment| segment.id);
        say(format_args!(
            "asked for key {key:#010x}, which has no segment: segment {id} was removed by {}{}",
            Who(&event.by),
            still_attached(&event)
        ));
    }
}

fn still_attached(event: &Event) -> &'static str {
    match event.what {
        Happening::Marked { .. } => " while it was attached",
        _ => "",
    }
}

/// A process in words.
struct Who<'a>(&'a By);

impl fmt::Display for Who<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pid {} ({})", self.0.pid, Name(self.0.program))
    }
}

/// The name of a program, in so many bytes.
pub struct Name(pub [u8; 16]);

impl Name {
    /// This process's.
    pub fn own() -> Name {
        let mut name = [0; 16];
        let words = process::program_name();
        for (to, byte) in name
            .iter_mut()
            .zip(words.into_iter().flat_map(u32::to_ne_bytes))
        {
            *to = byte;
        }
        Name(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or(&[]);
        for chunk in name.utf8_chunks() {
            out.write_str(chunk.valid())?;
        }
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn say(what: fmt::Arguments<'_>) {
    let mut line = Line::new();
    line.put(format_args!(
        "shmshim report: pid {} ({}) {what}",
        process::pid(),
        Name::own()
    ));
    DESTINATION.write(&mut line, "report");
}
