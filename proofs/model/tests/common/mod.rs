//! What the stories of sets and of queues share.

use shmshim_model::explore::explore;
use shmshim_model::mortal;
use shmshim_model::objects::Explored;
use shmshim_model::os::usermem::copy_in_shared;
use shmshim_model::registry::file;
use shmshim_model::scene::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The words of a file in which `setup` has happened.
pub fn explored(setup: fn(), contents: &'static [u64]) -> Explored {
    let found = Arc::new(Mutex::new(Explored::default()));
    let out = Arc::clone(&found);
    explore(0, move || {
        *out.lock().unwrap() = Explored::of(setup, contents)
    });
    let found = found.lock().unwrap().clone();
    found
}

/// Tells a story with a process that dies in front of its first store, its second, and so on until it always lives to the end.
pub fn at_each_death(
    name: &str,
    at_most: usize,
    story: impl Fn(u32) -> bool + Send + Sync + 'static,
) {
    let story = Arc::new(story);
    let (mut writes, mut ways) = (0, 0);
    loop {
        let died = Arc::new(AtomicBool::new(false));
        let (said, story) = (Arc::clone(&died), Arc::clone(&story));
        ways += explore(at_most, move || {
            if !story(writes) {
                said.store(true, Ordering::Relaxed);
            }
        });
        if !died.load(Ordering::Relaxed) {
            break;
        }
        writes += 1;
    }
    println!("die at {writes} stores of {name}: {ways} ways");
}

/// Takes a block for a text of so many bytes, writes something else into it, and gives it back.
#[allow(dead_code, reason = "not each of the test programs fills one")]
pub fn fill_a_block(len: u32) {
    let block = file()
        .new_text(len, process(mortal::me()).packed())
        .unwrap();
    let words = vec![9u64; len as usize / 8];
    let filled = copy_in_shared(words.as_ptr() as u64, block.content(), words.len() * 8);
    assert!(filled);
    file().give_unpublished(block);
}
