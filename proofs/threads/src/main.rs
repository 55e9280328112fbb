//! Several threads at once in what is local to a process: the in-process lock and what it guards, the arrays in pages
//! of our own, the remembered uid, and the calls themselves. Built with ThreadSanitizer, which ends the program with
//! 66 when two threads meet without order. `SHMSHIM_DIR` names a directory of its own.
//!
//!     shmshim-threads          must end with 0
//!     shmshim-threads race     meets a race on purpose: must be noticed

use shmshim_core::os::credentials;
use shmshim_core::os::pages::PageVec;
use shmshim_core::os::process_lock::ProcessLock;
use shmshim_core::registry;
use shmshim_core::sysv::{Command, LimitName};
use std::cell::UnsafeCell;

const THREADS: i32 = 4;
const ROUNDS: usize = 300;

/// Runs `work` on so many threads. By the C library's own calls, which ThreadSanitizer knows: what the standard library
/// orders its threads with is not instrumented.
fn at_once(work: impl Fn(i32) + Sync) {
    struct Job<'a>(&'a (dyn Fn(i32) + Sync), i32);
    extern "C" fn run(job: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the job lives until the thread is joined.
        let job = unsafe { &*job.cast::<Job<'_>>() };
        (job.0)(job.1);
        std::ptr::null_mut()
    }
    let jobs: Vec<_> = (0..THREADS).map(|number| Job(&work, number)).collect();
    let threads: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (mut thread, job) = (0, std::ptr::from_ref(job).cast_mut().cast());
            // SAFETY: `run` takes a job.
            let status = unsafe { libc::pthread_create(&mut thread, std::ptr::null(), run, job) };
            assert_eq!(status, 0);
            thread
        })
        .collect();
    for thread in threads {
        // SAFETY: started above, joined once.
        assert_eq!(
            unsafe { libc::pthread_join(thread, std::ptr::null_mut()) },
            0
        );
    }
}

fn the_lock_guards_its_value() {
    let lock = ProcessLock::new(0, |_| (0usize, PageVec::new())).unwrap();
    at_once(|number| {
        for _ in 0..ROUNDS {
            let mut held = loop {
                if let Ok(held) = lock.lock_soon() {
                    break held;
                }
            };
            held.0 += 1;
            held.1.reserve(1).unwrap();
            let at = held.1.len() / 2;
            assert!(held.1.insert(at, number));
        }
    });
    let held = lock.lock_soon().ok().unwrap();
    assert_eq!(held.0, THREADS as usize * ROUNDS);
    assert_eq!(held.1.len(), held.0);
    for number in 0..THREADS {
        assert_eq!(held.1.iter().filter(|&&one| one == number).count(), ROUNDS);
    }
}

fn the_uid_is_remembered_and_forgotten() {
    let euid = credentials::euid();
    at_once(|number| {
        for _ in 0..ROUNDS {
            if number == 0 {
                credentials::forget();
            }
            assert_eq!(credentials::euid(), euid);
        }
    });
}

fn all_calls() {
    at_once(|number| {
        for round in 0..30 {
            // One key for all, and one of its own.
            for key in [100, 200 + number] {
                let Ok(id) = registry::shmget(key, 8192, 0o1600) else {
                    continue;
                };
                if let Ok(addr) = registry::shmat(id, 0, 0) {
                    let _ = registry::stat(id, Command::IpcStat);
                    registry::munmap(addr + 4096, 4096, || 0);
                    let _ = registry::shmdt(addr);
                }
                let _ = registry::list(&mut |_, _, _| {});
                let _ = registry::usage();
                if round % 3 == 0 {
                    let _ = registry::remove(id);
                }
            }
            if number == 1 {
                let _ = registry::set_limit(LimitName::Shmmni, b"4000");
            }
        }
    });
    registry::at_exit(|| ());
}

struct Racy(UnsafeCell<u64>);
// SAFETY: it is not; that is what ThreadSanitizer is to find.
unsafe impl Sync for Racy {}

fn a_race() {
    let word = Racy(UnsafeCell::new(0));
    at_once(|_| {
        let word = &word;
        for _ in 0..ROUNDS {
            // SAFETY: there is none: see above.
            unsafe { *word.0.get() += 1 };
        }
    });
}

fn main() {
    if std::env::args().nth(1).is_some_and(|what| what == "race") {
        return a_race();
    }
    the_lock_guards_its_value();
    the_uid_is_remembered_and_forgotten();
    all_calls();
    println!("{THREADS} threads: the lock and its arrays, the uid, all calls");
}
