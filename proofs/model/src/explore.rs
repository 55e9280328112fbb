//! Telling a story in every way.

use loom::model::Builder;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `run` in every way that there is with at most `preemptions` of a thread in favour of another. Returns how
/// many those were.
pub fn explore(preemptions: usize, run: impl Fn() + Send + Sync + 'static) -> usize {
    let ways = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ways);
    let mut builder = Builder::new();
    builder.max_branches = 1_000_000;
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        run();
    });
    ways.load(Ordering::Relaxed)
}

/// How thorough: `SHMSHIM_PREEMPTIONS`, or what is said here.
pub fn preemptions(or: usize) -> usize {
    match std::env::var("SHMSHIM_PREEMPTIONS") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => or,
    }
}
