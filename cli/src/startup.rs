//! Descriptors 0 to 2 that were closed when this process was started. The runtime opens `/dev/null` in their place before
//! `main`, so that programs would find them open, and what is written there would be lost without a word.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::epoll;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};

/// Whether each was closed.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

shmshim_core::before_main!(look);

fn each() -> impl Iterator<Item = (&'static AtomicBool, BorrowedFd<'static>)> {
    CLOSED.iter().zip([stdin(), stdout(), stderr()])
}

extern "C" fn look() {
    for (is_closed, fd) in each() {
        is_closed.store(fcntl_getfd(fd).is_err(), Ordering::Relaxed);
    }
}

/// Has programs that are started find them closed, and reading and writing fail here. Called before anything is opened.
pub fn close_again() {
    let [input, output, _] = &CLOSED;
    // It can be neither read nor written. A descriptor that is not open, the runtime of the language takes for /dev/null.
    if let Ok(neither) = epoll::create(epoll::CreateFlags::CLOEXEC) {
        if input.load(Ordering::Relaxed) {
            let _ = dup2_stdin(&neither);
        }
        if output.load(Ordering::Relaxed) {
            let _ = dup2_stdout(&neither);
        }
    }
    for (_, fd) in each().filter(|(is_closed, _)| is_closed.load(Ordering::Relaxed)) {
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

/// Whether there is a standard output.
pub fn has_output() -> bool {
    let [_, output, _] = &CLOSED;
    !output.load(Ordering::Relaxed)
}
