//! Processes that die.
//!
//! A thread of the model checker stands for a process. One that is mortal has so many writes to live for; in front of
//! the next one it is dead: nothing that it does has an effect any more, and its story ends by unwinding. The kernel
//! drops its liveness lock at that moment, and not before its last write can be seen.

use crate::checker::atomic::{AtomicU32, Ordering};
use crate::checker::thread;
use crate::os::futex::Sleepers;
use crate::storage::table::layout;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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
    /// Which process each thread is.
    static PROCESSES: RefCell<Vec<(thread::ThreadId, u32)>> = const { RefCell::new(Vec::new()) };
    /// What was made for the story, and is dropped when the next one begins.
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    /// What processes have set once, by its place and the process.
    static THINGS: RefCell<HashMap<(usize, u32), usize>> = RefCell::default();
    /// What the kernel does when processes end.
    static AT_END: RefCell<Vec<(u32, Box<dyn Fn()>)>> = const { RefCell::new(Vec::new()) };
    /// How long sleeps have taken that were over by themselves.
    static SLEPT: Cell<u64> = const { Cell::new(0) };
    static SLEEPERS: RefCell<Option<Rc<Sleepers>>> = const { RefCell::new(None) };
    /// How many mappings hold the lock of `live/N`, in one process or two.
    static HOLDS: RefCell<Rc<Vec<AtomicU32>>> = RefCell::default();
}

/// A new world: everybody's liveness file is locked, nobody is mortal.
pub fn begin() {
    MORTALS.with_borrow_mut(Vec::clear);
    COUNT.set(0);
    MET.with_borrow_mut(Vec::clear);
    PROCESSES.with_borrow_mut(Vec::clear);
    THINGS.with_borrow_mut(HashMap::clear);
    AT_END.with_borrow_mut(Vec::clear);
    KEPT.take();
    SLEPT.set(0);
    SLEEPERS.set(Some(Rc::new(Sleepers::nobody())));
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

/// The process id of the process of cell 0.
pub const FIRST_PID: u32 = 100;

/// From here on the calling thread is the process of `cell`.
pub fn be(cell: u32) {
    let me = thread::current().id();
    PROCESSES.with_borrow_mut(|all| {
        all.retain(|(thread, _)| *thread != me);
        all.push((me, cell));
    });
}

/// The cell of the calling thread's process.
pub fn me() -> u32 {
    let me = thread::current().id();
    let found = PROCESSES.with_borrow(|all| all.iter().find(|(thread, _)| *thread == me).copied());
    found.expect("a thread that is no process").1
}

/// Keeps a thing until the next story begins.
pub fn keep<T: 'static>(value: T) -> &'static T {
    let kept = Box::new(value);
    // SAFETY: the box stays where it is for as long as any thread of the story runs.
    let reference = unsafe { &*core::ptr::from_ref(kept.as_ref()) };
    KEPT.with_borrow_mut(|all| all.push(kept));
    reference
}

/// What was put there by this process.
pub fn thing_of(key: (usize, u32)) -> Option<usize> {
    THINGS.with_borrow(|all| all.get(&key).copied())
}

/// Puts it there.
pub fn put_thing(key: (usize, u32), thing: usize) {
    THINGS.with_borrow_mut(|all| all.insert(key, thing));
}

/// What happens when the calling thread's process ends.
pub fn on_end(work: impl Fn() + 'static) {
    AT_END.with_borrow_mut(|all| all.push((me(), Box::new(work))));
}

/// Nanoseconds since the story began.
pub fn slept() -> u64 {
    SLEPT.get()
}

/// A sleep of so many is over.
pub fn sleep_for(nanos: u64) {
    SLEPT.set(SLEPT.get() + nanos);
}

/// Who sleeps.
pub fn sleepers() -> Rc<Sleepers> {
    SLEEPERS.with_borrow(|sleepers| sleepers.clone().expect("no story has begun"))
}

/// The process of `cell` is gone.
pub fn end(cell: u32) {
    let mine = AT_END.with_borrow_mut(|all| {
        let (mine, others) = std::mem::take(all)
            .into_iter()
            .partition(|(one, _)| *one == cell);
        *all = others;
        let mine: Vec<(u32, Box<dyn Fn()>)> = mine;
        mine
    });
    for (_, work) in mine {
        work();
    }
    crate::os::wipe_on_fork::end(cell);
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
