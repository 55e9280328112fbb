//! Sleeping on words.
//!
//! A short sleep lets others run and is over, for every sleep may end early. One as long as they come ends when somebody wakes
//! the sleeper, or never, so that a waking that is lost stops the story; but where a waker may die ([`may_end_by_itself`]).

use super::atomic::{AtomicU32, Ordering};
use super::signal_mask::Mask;
use crate::checker::sync::{Condvar, Mutex};
use crate::checker::thread;
use crate::mortal;
use core::time::Duration;
use std::cell::Cell;

thread_local! {
    static BY_ITSELF: Cell<bool> = const { Cell::new(false) };
}

/// In the stories told from now on, also long sleeps end by themselves.
pub fn may_end_by_itself(may: bool) {
    BY_ITSELF.set(may);
}

/// Who sleeps: the kernel's list.
pub struct Sleepers {
    list: Mutex<Vec<(usize, Vec<usize>)>>,
    woken: Condvar,
}

impl Sleepers {
    pub fn nobody() -> Sleepers {
        Sleepers {
            list: Mutex::new(Vec::new()),
            woken: Condvar::new(),
        }
    }
}

fn address(word: &AtomicU32) -> usize {
    core::ptr::from_ref(word) as usize
}

/// Sleeps while each word holds what it is paired with.
pub fn sleep(words: &[(&AtomicU32, u32)], nanos: u64) {
    if mortal::is_dead() {
        return;
    }
    if nanos < 1_000_000_000 || BY_ITSELF.get() {
        mortal::sleep_for(nanos);
        thread::yield_now();
        return;
    }
    let sleepers = mortal::sleepers();
    let me = mortal::thread_number();
    let mut list = sleepers.list.lock().unwrap();
    if words
        .iter()
        .any(|(word, seen)| word.load(Ordering::Relaxed) != *seen)
    {
        return;
    }
    let addresses = words.iter().map(|(word, _)| address(word)).collect();
    list.push((me, addresses));
    while list.iter().any(|(one, _)| *one == me) {
        list = sleepers.woken.wait(list).unwrap();
    }
}

/// Lets others run, if `word` still holds `seen`.
pub fn wait(word: &AtomicU32, seen: u32, _: Duration) {
    if word.load(Ordering::Relaxed) == seen {
        thread::yield_now();
    }
}

/// Wakes one sleeper.
pub fn wake_one(word: &AtomicU32) {
    if mortal::lives_to_write() {
        wake_by_kernel(word);
    }
}

/// The same, also for a process that is dead.
pub fn wake_by_kernel(word: &AtomicU32) {
    if BY_ITSELF.get() {
        return;
    }
    let sleepers = mortal::sleepers();
    let mut list = sleepers.list.lock().unwrap();
    let at = address(word);
    if let Some(index) = list.iter().position(|(_, words)| words.contains(&at)) {
        list.remove(index);
        sleepers.woken.notify_all();
    }
}

/// How a sleep on several words ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    Over,
    Woken,
    Interrupted,
    Unavailable,
}

/// Sleeps on several words.
pub fn wait_any<'w>(
    word: &'w AtomicU32,
    seen: u32,
    others: impl Iterator<Item = &'w (&'static AtomicU32, u32)>,
    nanos: u64,
    _: Mask,
) -> Waiting {
    let others = others.map(|(word, seen)| (*word, *seen));
    let words: Vec<_> = std::iter::once((word, seen)).chain(others).collect();
    sleep(&words, nanos);
    Waiting::Over
}

/// It is to be had.
pub fn may_wait_for_any() -> bool {
    true
}
