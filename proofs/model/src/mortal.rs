//! Processes that die.
//!
//! A thread of the model checker stands for a process. One that is mortal has so many writes to live for; in front of
//! the next one it is dead: nothing that it does has an effect any more, and its story ends by unwinding. The kernel
//! drops its liveness lock at that moment, and not before its last write can be seen.

use crate::checker::atomic::{AtomicU32, Ordering};
use crate::checker::thread;
use crate::storage::table::layout;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

struct Mortal {
    thread: thread::ThreadId,
    cell: u32,
    writes_left: u32,
    dead: bool,
}

/// How many threads a story can have.
pub const THREADS: usize = 3;

/// What a story ends with when its process dies.
struct Died;

// A model checker runs all of its threads on one of the system's.
thread_local! {
    static MORTALS: RefCell<Vec<Mortal>> = const { RefCell::new(Vec::new()) };
    /// How many those are: most stories have none, and then there is nothing to look up.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The threads of the story, in the order in which they were first met.
    static MET: RefCell<Vec<thread::ThreadId>> = const { RefCell::new(Vec::new()) };
    /// How many mappings hold the lock of `live/N`, in one process or two.
    static HOLDS: RefCell<Rc<Vec<AtomicU32>>> = RefCell::default();
}

/// A new world: everybody's liveness file is locked, nobody is mortal.
pub fn begin() {
    MORTALS.with_borrow_mut(Vec::clear);
    COUNT.set(0);
    MET.with_borrow_mut(Vec::clear);
    let holds = (0..layout::CELLS).map(|_| AtomicU32::new(1)).collect();
    HOLDS.set(Rc::new(holds));
}

fn holds() -> Rc<Vec<AtomicU32>> {
    HOLDS.with_borrow(Rc::clone)
}

/// How many mappings hold the lock of `live/N`. The kernel answers with what is, not with what was.
pub fn holders(cell: u32) -> u32 {
    holds()[cell as usize].fetch_add(0, Ordering::AcqRel)
}

/// Locks `live/N` for good, if nobody holds it.
pub fn take(cell: u32) -> bool {
    holds()[cell as usize]
        .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

/// A fork copies a mapping that holds the lock of `live/N`.
pub fn share(cell: u32) {
    holds()[cell as usize].fetch_add(1, Ordering::AcqRel);
}

/// One such mapping goes.
pub fn unmap(cell: u32) {
    let before = holds()[cell as usize].fetch_sub(1, Ordering::AcqRel);
    assert_ne!(before, 0, "a mapping of live/{cell} goes twice");
}

/// Whether the process of `cell` holds its liveness lock.
pub fn holds_its_lock(cell: u32) -> bool {
    holders(cell) != 0
}

/// The process of `cell` is gone.
pub fn end(cell: u32) {
    holds()[cell as usize].swap(0, Ordering::AcqRel);
}

/// A number below [`THREADS`] that the calling thread has in this story.
pub fn thread_number() -> usize {
    let me = thread::current().id();
    MET.with_borrow_mut(|met| {
        met.iter().position(|one| *one == me).unwrap_or_else(|| {
            met.push(me);
            assert!(met.len() <= THREADS, "too many threads");
            met.len() - 1
        })
    })
}

/// Whether the calling thread's process is dead.
pub fn is_dead() -> bool {
    COUNT.get() != 0 && {
        let me = thread::current().id();
        MORTALS.with_borrow(|all| all.iter().any(|one| one.thread == me && one.dead))
    }
}

/// Asked in front of each write to shared memory: whether the calling thread's process is alive to make it. The one
/// that has used up its writes dies here.
pub fn lives_to_write() -> bool {
    if COUNT.get() == 0 {
        return true;
    }
    let me = thread::current().id();
    let last = MORTALS.with_borrow_mut(|all| {
        let Some(one) = all.iter_mut().find(|one| one.thread == me) else {
            return Ok(true);
        };
        if one.dead {
            return Ok(false);
        }
        if one.writes_left > 0 {
            one.writes_left -= 1;
            return Ok(true);
        }
        one.dead = true;
        Err(one.cell)
    });
    last.unwrap_or_else(|cell| {
        end(cell);
        panic::resume_unwind(Box::new(Died))
    })
}

/// Lets the calling thread be the process of `cell` and runs `story`; with `writes` it dies in front of the write
/// behind those. Returns whether it lived to the story's end.
pub fn live(cell: u32, writes: Option<u32>, story: impl FnOnce()) -> bool {
    let Some(writes_left) = writes else {
        story();
        return true;
    };
    let me = thread::current().id();
    MORTALS.with_borrow_mut(|all| {
        all.push(Mortal {
            thread: me,
            cell,
            writes_left,
            dead: false,
        })
    });
    COUNT.set(COUNT.get() + 1);
    let end = panic::catch_unwind(AssertUnwindSafe(story));
    // Whatever the thread does from now on is done by somebody else.
    MORTALS.with_borrow_mut(|all| all.retain(|one| one.thread != me));
    COUNT.set(COUNT.get() - 1);
    match end {
        Ok(()) => true,
        Err(end) if end.is::<Died>() => false,
        Err(end) => panic::resume_unwind(end),
    }
}
