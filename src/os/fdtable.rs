//! Work that needs a descriptor when the host has none left.
//!
//! A helper thread that shares everything with us but the descriptor table has a copy of that table to itself:
//! it closes one entry there, does the work (opens, locks, maps into the shared address space) and ends. The
//! host's own table never changes, and its record locks stay, for they belong to the table, not to the thread.

use super::{OsError, OsResult, futex, pages, raw};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

const STACK_BYTES: usize = 64 * 1024;

struct Errand<'a> {
    work: &'a mut (dyn FnMut() + Send),
    running: AtomicU32,
}

/// Runs `work`; when it reports `EMFILE`, runs it once more where a descriptor can be had. Signals must be blocked.
pub fn with_descriptor<R: Send>(mut work: impl FnMut() -> OsResult<R> + Send) -> OsResult<R> {
    match work() {
        Err(OsError(libc::EMFILE)) => {
            let mut answer = Err(OsError(libc::EMFILE));
            run_with_own_table(&mut || answer = work())?;
            answer
        }
        answer => answer,
    }
}

fn run_with_own_table(work: &mut (dyn FnMut() + Send)) -> OsResult<()> {
    let stack = pages::map_private(STACK_BYTES)?;
    let mut errand = Errand {
        work,
        running: AtomicU32::new(1),
    };
    // Without CLONE_FILES the new thread gets a copy of the table.
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID;
    let kept = super::errno::get();
    // SAFETY: the stack is our own and larger than what the errand needs; the errand outlives the thread, for we
    // wait below until the kernel has cleared `running`. The helper shares our thread-local storage while we do
    // nothing but wait, and enters the kernel directly, so nothing of libc's is used by two.
    let started = unsafe {
        libc::clone(
            run,
            stack.as_ptr().add(STACK_BYTES).cast::<c_void>(),
            flags,
            (&raw mut errand).cast::<c_void>(),
            core::ptr::null_mut::<c_void>(),
            core::ptr::null_mut::<c_void>(),
            errand.running.as_ptr(),
        )
    };
    if started < 0 {
        let error = OsError(super::errno::get());
        super::errno::set(kept);
        pages::unmap(stack, STACK_BYTES);
        return Err(error);
    }
    while errand.running.load(Ordering::Acquire) != 0 {
        futex::wait(&errand.running, 1, Duration::from_millis(100));
    }
    super::errno::set(kept);
    pages::unmap(stack, STACK_BYTES);
    Ok(())
}

extern "C" fn run(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the argument is the errand, which outlives this thread; the system calls act on the private table.
    unsafe {
        let errand = &mut *argument.cast::<Errand<'_>>();
        // With the table full, the lowest descriptor is taken for certain.
        let _ = raw::call(libc::SYS_close, [0; 6]);
        (errand.work)();
        let _ = raw::call(libc::SYS_exit, [0; 6]);
    }
    0
}
