//! Descriptors 0 to 2 that were closed when this process was started. The runtime opens `/dev/null` in their place before
//! `main`, so that programs would find them open, and what is written there would be lost without a word.

use rustix::event::epoll;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use shmshim_core::os::startup::was_closed;

shmshim_core::look_before_main!();

/// Has programs that are started find them closed, and reading and writing fail here. Called before anything is opened.
pub fn close_again() {
    // It can be neither read nor written. A write to what is not open the standard library takes for done.
    if let Ok(neither) = epoll::create(epoll::CreateFlags::CLOEXEC) {
        if was_closed(0) {
            let _ = dup2_stdin(&neither);
        }
        if was_closed(1) {
            let _ = dup2_stdout(&neither);
        }
    }
    for (number, fd) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
        if was_closed(number) {
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
}

/// Whether there is a standard output.
pub fn has_output() -> bool {
    !was_closed(1)
}
