//! A small file of sets and queues: processes that use it, and what must be true of it when they have come to rest.

use crate::mortal;
use crate::os::atomic;
use crate::os::span::{self, Span};
use crate::os::wipe_on_fork;
use crate::registry;
use crate::registry::msg::{Received, Receiving, Sending, Step, Woken, msgget};
use crate::registry::process::join;
use crate::registry::sem::{self, semget, semop};
use crate::scene;
use crate::storage::Namespace;
use crate::storage::ipc::ObjectKind;
use crate::storage::ipc::layout::{self, Header, SLAB, SLAB_PART, UNIT};
use crate::sysv::msg::{MsgLimits, QueueState};
use crate::sysv::sem::{Operation, SemLimits};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::mem::offset_of;

/// Of which words of the file everything is tried that a load may see: its roots, what blocks are free, the first two words of
/// each block, and of the contents those that a story names.
#[derive(Clone, Default)]
pub struct Explored {
    heads: Vec<u64>,
    in_order: bool,
    wide: Vec<u64>,
    narrow: Vec<u64>,
}

const BLOCK_HEAD: u64 = 2;

impl Explored {
    /// Of a file in which `setup` has happened; `contents`: the numbers of the words in each block.
    pub fn of(setup: impl Fn(), contents: &[u64]) -> Explored {
        begin(&Explored::default());
        as_process(0, &setup);
        let mut explored = Explored::default();
        let header = |at: usize| at as u64;
        for class in 0..4 {
            explored
                .heads
                .push(header(offset_of!(Header, free) + class * 8));
        }
        for at in [0, 8] {
            explored
                .wide
                .push(header(offset_of!(Header, directory) + at));
            explored
                .wide
                .push(u64::from(layout::SET_ROOTS.area) + header(at));
            explored
                .wide
                .push(u64::from(layout::QUEUE_ROOTS.area) + header(at));
        }
        for (unit, class) in blocks() {
            let at = u64::from(layout::ARENA) + u64::from(unit) * u64::from(UNIT);
            let words = u64::from(UNIT << class) / 8;
            let contents = contents
                .iter()
                .map(|word| BLOCK_HEAD + word)
                .filter(|&word| word < words);
            explored.wide.extend(contents.map(|word| at + word * 8));
            explored
                .heads
                .extend((0..BLOCK_HEAD).map(|word| at + word * 8));
        }
        for place in 0..layout::PLACE_PART.at_first {
            // What is slept on.
            let at = layout::PLACE_PART.area + place * layout::PLACE_BYTES + 8;
            explored.narrow.push(at.into());
        }
        explored
    }

    /// But everything in one order.
    pub fn in_order(mut self) -> Explored {
        self.in_order = true;
        self
    }

    /// But not which blocks are free, and who holds them; and everything in one order.
    pub fn without_heads(mut self) -> Explored {
        self.heads.clear();
        self.in_order = true;
        self
    }

    /// Nothing but the objects' roots, and what is slept on.
    pub fn only_roots(self) -> Explored {
        let roots = u64::from(layout::PARTS_AREA)..u64::from(layout::OWNER_PART.area);
        let mut explored = self.without_heads();
        explored.wide.retain(|at| roots.contains(at));
        explored
    }

    /// Also the words by which owners are taken.
    pub fn with_owners(mut self) -> Explored {
        for owner in 0..layout::OWNER_PART.at_first {
            let at = layout::OWNER_PART.area + owner * layout::OWNER_BYTES;
            self.narrow.extend([at.into(), u64::from(at) + 4]);
        }
        self
    }

    /// Nothing but the words of owners that say whether they are there, and the objects' roots.
    pub fn only_owners(mut self) -> Explored {
        self.heads.clear();
        self.wide.clear();
        self.narrow.clear();
        let first = u64::from(layout::OWNER_PART.area);
        // Who has it and has filled it in, its cell and process id, where its mark is, and the mark; and when the process started.
        self.narrow = [0, 4, 8, 12, 24, 64].map(|at| first + at).to_vec();
        self.wide = vec![first + 16];
        self
    }
}

thread_local! {
    static NAMESPACE: RefCell<Option<&'static Namespace>> = const { RefCell::new(None) };
}

/// A file without an object, of a namespace with processes 0 to 3.
pub fn begin(explored: &Explored) {
    atomic::in_order(explored.in_order);
    wipe_on_fork::begin();
    let namespace = mortal::keep(scene::empty());
    NAMESPACE.set(Some(namespace));
    let wide = [&explored.wide[..], &explored.heads].concat();
    span::begin(&wide, &explored.narrow);
    let words = Span::of_file();
    words.word64(0).put(layout::MAGIC);
    words.word32(2).put(layout::VERSION);
    words.word32(3).put(layout::SIGNATURE);
    words
        .word64(offset_of!(Header, arena_end) / 8)
        .put(SLAB.into());
    let sem = registry::rules::sem_words(&SemLimits::KERNEL_DEFAULTS);
    for (at, limit) in sem.into_iter().enumerate() {
        words
            .word32(offset_of!(Header, sem_limits) / 4 + at)
            .put(limit);
    }
    let msg = registry::rules::msg_words(&MsgLimits::KERNEL_DEFAULTS);
    for (at, limit) in msg.into_iter().enumerate() {
        words
            .word32(offset_of!(Header, msg_limits) / 4 + at)
            .put(limit);
    }
}

/// The calling thread is the process of `cell`, and does something.
pub fn as_process<T>(cell: u32, work: impl FnOnce() -> T) -> T {
    mortal::be(cell);
    join(NAMESPACE.with_borrow(|namespace| namespace.expect("no file")));
    work()
}

/// The same for one that dies in front of one of its stores. Whether it lived.
pub fn as_mortal(cell: u32, writes: u32, work: impl FnOnce()) -> bool {
    as_process(cell, || {
        // What it needs for its first call is there.
        registry::file();
        let lived = mortal::live(cell, Some(writes), work);
        // It is over all the same.
        mortal::end(cell);
        lived
    })
}

/// An operation on a semaphore.
pub fn op(number: u16, change: i16, flags: i32) -> Operation {
    Operation {
        number,
        change,
        flags: flags as i16,
    }
}

/// A set with so many semaphores.
pub fn new_set(key: i32, count: i32) -> i32 {
    semget(key, count, 0o1600).expect("a set is made")
}

/// A queue.
pub fn new_queue(key: i32) -> i32 {
    msgget(key, 0o1600).expect("a queue is made")
}

/// Carries operations out, whatever becomes of them. The errno, or 0.
pub fn change(id: i32, operations: &[Operation]) -> i32 {
    semop(id, operations, None, None).map_or_else(|error| error.errno, |()| 0)
}

/// The same, sleeping for `nanos` at most.
pub fn change_for(id: i32, operations: &[Operation], nanos: u64) -> i32 {
    semop(id, operations, Some(nanos), None).map_or_else(|error| error.errno, |()| 0)
}

/// As the shim does: at first by the short way.
pub fn change_at_once(id: i32, operations: &[Operation]) -> i32 {
    match sem::semop_at_once(id, operations) {
        Some(Ok(())) => 0,
        Some(Err(errno)) => errno,
        None => change(id, operations),
    }
}

/// The values of a set.
pub fn values(id: i32) -> Vec<u16> {
    sem::sem_values(id).expect("the set is there").to_vec()
}

/// Sends a text, of which all words are the same.
pub fn send(id: i32, mtype: i64, words: &[u64], flags: i32) -> i32 {
    let text = words.as_ptr() as u64;
    let len = std::mem::size_of_val(words) as u64;
    let sending = Sending::begin(id, mtype, text, len, flags);
    let mut sending = match sending {
        Ok(sending) => sending,
        Err(error) => return error.errno,
    };
    loop {
        match sending.step(Woken::Other, None) {
            Ok(Step::Done(())) => return 0,
            Ok(Step::Sleep(sleep)) => rest(&sleep),
            Err(error) => return error.errno,
        }
    }
}

fn rest(sleep: &registry::msg::Sleep) {
    crate::os::futex::sleep(&[(sleep.word, sleep.seen)], sleep.nanos);
}

/// Receives a message of two words.
pub fn receive(id: i32, flags: i32) -> Result<[u64; 2], i32> {
    receive_type(id, 0, flags)
}

/// The same of a type.
pub fn receive_type(id: i32, mtype: i64, flags: i32) -> Result<[u64; 2], i32> {
    let mut words = [0u64; 2];
    let text = words.as_mut_ptr() as u64;
    let mut receiving =
        Receiving::begin(id, text, 16, mtype, flags).map_err(|error| error.errno)?;
    loop {
        match receiving.step(Woken::Other, None) {
            Ok(Step::Done(Received { len, .. })) => {
                assert_eq!(len, 16, "the length of a text");
                return Ok(words);
            }
            Ok(Step::Sleep(sleep)) => rest(&sleep),
            Err(error) => return Err(error.errno),
        }
    }
}

/// Begins to receive, and sleeps: for the process that is to die there.
pub fn sleep_as_receiver(id: i32) {
    let mut words = [0u64; 2];
    let text = words.as_mut_ptr() as u64;
    let begun = Receiving::begin(id, text, 16, 0, 0);
    let stepped = begun.and_then(|mut receiving| receiving.step(Woken::Other, None));
    assert!(matches!(stepped, Ok(Step::Sleep(_))), "it does not sleep");
}

/// The same of one that sends.
pub fn sleep_as_sender(id: i32, words: &[u64]) {
    let text = words.as_ptr() as u64;
    let begun = Sending::begin(id, 1, text, std::mem::size_of_val(words) as u64, 0);
    let stepped = begun.and_then(|mut sending| sending.step(Woken::Other, None));
    assert!(matches!(stepped, Ok(Step::Sleep(_))), "it does not sleep");
}

/// The blocks that there are, with their sizes.
pub fn blocks() -> Vec<(u32, u32)> {
    let words = Span::of_file();
    let end = words.word64(offset_of!(Header, arena_end) / 8).get() as u32;
    let mut blocks = Vec::new();
    let mut at = SLAB;
    while at < end {
        let cut = SLAB_PART.area / 8 + at / SLAB;
        let Some(class) = (words.word64(cut as usize).get() as u32).checked_sub(1) else {
            at += SLAB;
            continue;
        };
        let size = UNIT << class;
        for block in (at..at + size.max(SLAB)).step_by(size as usize) {
            blocks.push((block / UNIT, class));
        }
        at += size.max(SLAB);
    }
    blocks
}

fn block_word(unit: u32, index: u32) -> u64 {
    let at = (layout::ARENA + unit * UNIT) / 8 + index;
    Span::of_file().word64(at as usize).get()
}

/// Everybody has come to rest: each block is free, or something leads to it, once, or it was in the hands of one of the `dead`,
/// whose cells those are.
pub fn audit(dead: &[u32]) {
    look(dead, None);
}

/// The same behind a sweep. Of each of the dead it leaves one block at most, that names another as its holder, or nobody: the
/// process was killed between the exchange that had it hold, or let go of, the block, and the word that says so. (Or blocks that it
/// was cutting.)
pub fn audit_swept(dead: &[u32]) {
    registry::file().sweep();
    look(dead, Some(dead.len()));
}

/// The same of one that was receiving: the text may name another, who had claimed it as well.
pub fn audit_swept_receiver(dead: u32) {
    registry::file().sweep();
    look(&[dead], Some(2));
}

fn look(dead: &[u32], behind_sweep: Option<usize>) {
    let file = registry::file();
    let mut uses: HashMap<u32, &str> = HashMap::new();
    let mut note = |unit: u32, what| {
        if let Some(before) = uses.insert(unit, what) {
            panic!("block {unit} is {before} and {what}");
        }
    };
    for class in 0..4usize {
        let head = Span::of_file().word64(offset_of!(Header, free) / 8 + class);
        let mut unit = head.get() as u32;
        while unit != 0 {
            note(unit, "free");
            assert_eq!(
                block_word(unit, 1) as u32 & 0xff,
                class as u32,
                "the size of a free block"
            );
            assert_eq!(block_word(unit, 0) as u32, 0, "a free block has a holder");
            unit = (block_word(unit, 1) >> 32) as u32;
        }
    }
    for size in 0..registry::KEPT_SIZES {
        for (cell, unit) in wipe_on_fork::told(registry::KEPT + size) {
            let me = scene::process(cell).packed();
            match unit {
                0 => {}
                1 => panic!("a process that has ended its change keeps a size as taken"),
                _ if block_word(unit, 0) as u32 == me => note(unit, "kept"),
                _ => panic!("block {unit} is kept by a process that it does not name"),
            }
        }
    }
    for kind in [ObjectKind::Set, ObjectKind::Queue] {
        let at = offset_of!(Header, directory) + usize::from(kind == ObjectKind::Queue) * 8;
        let root = Span::of_file().word64(at / 8).get() as u32;
        if root != 0 {
            note(root, "a directory");
        }
        let directory = file.directory(kind);
        for index in (0..).map_while(|index| file.root(kind, index).map(|_| index)) {
            let seen = file.root(kind, index).unwrap().seen();
            let entry = directory.find_slot(index);
            if seen.unit() == 0 {
                // Entered, and its maker has died: so the first block is what will be the object; or its remover has.
                if let Some(entry) = entry {
                    assert!(!dead.is_empty(), "an entry without an object");
                    if entry.tag == seen.tag() {
                        note(entry.first, "an object that was entered");
                    }
                }
                continue;
            }
            note(seen.unit(), "an object");
            if kind == ObjectKind::Set {
                let set = file.set(seen).expect("a root leads to a set");
                let is_entered = entry.is_some_and(|entry| entry.id == set.id());
                assert!(
                    is_entered || set.is_removed(),
                    "a set that the directory does not have"
                );
                continue;
            }
            let queue = file.queue(seen).expect("a root leads to a queue");
            let is_entered = entry.is_some_and(|entry| entry.id == queue.id());
            assert!(
                is_entered || queue.is_removed(),
                "a queue that the directory does not have"
            );
            for text in (0..queue.messages()).map(|at| queue.message(at).text) {
                note(text, "a text");
            }
            for at in 0..queue.receivers() {
                if let crate::sysv::msg::ReceiverAnswer::Got(message) = queue.receiver(at).answer {
                    note(message.text, "a text that was handed over");
                }
            }
        }
    }
    let dead: Vec<u32> = dead
        .iter()
        .map(|&cell| scene::process(cell).packed())
        .collect();
    let mut untold = HashSet::new();
    for (unit, _) in blocks() {
        let holder = block_word(unit, 0) as u32;
        if uses.remove(&unit).is_some() || behind_sweep.is_none() && dead.contains(&holder) {
            continue;
        }
        // Several that were cut at once, and that nobody has had yet, count as one.
        untold.insert(if holder == 0 {
            unit / (SLAB / UNIT)
        } else {
            unit + (1 << 31)
        });
        let is_told = dead.contains(&holder);
        assert!(
            !is_told && untold.len() <= behind_sweep.unwrap_or(2 * dead.len()),
            "block {unit} is lost: its holder is {holder:#x}"
        );
    }
    assert!(uses.is_empty(), "no blocks: {uses:?}");
}
