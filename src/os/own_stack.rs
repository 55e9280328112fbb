//! A stack of our own for what happens once in a process and takes more than a small one has.
//!
//! A signal handler may have a stack of 8 KiB, of which the kernel takes up to 3.5 for itself, and a coroutine no more.
//! Opening a namespace takes some 9 KiB, with all the paths that it looks at.

use super::pages::PageVec;
use super::signal_mask::Blocked;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Several times what the deepest call takes. What is not touched costs nothing.
const BYTES: usize = 128 * 1024;

/// Calls `body` on a stack of its own; where none can be had, on the one that is there.
///
/// Signals are blocked meanwhile: to the kernel a thread that stands on no signal stack has all of that free, and a
/// second handler would begin at its top, over the first.
#[cold]
#[inline(never)]
pub fn call<T>(body: impl FnOnce() -> T) -> T {
    let _blocked = Blocked::all();
    let mut stack = PageVec::<u8>::new();
    if stack.reserve(BYTES).is_err() {
        return body();
    }
    let mut body = Some(body);
    let mut answer: Result<T, Box<dyn Any + Send>> = Err(Box::new(()));
    let mut work = || {
        if let Some(body) = body.take() {
            // Nothing could be unwound past the change of stacks.
            answer = catch_unwind(AssertUnwindSafe(body));
        }
    };
    let mut job: &mut dyn FnMut() = &mut work;
    // SAFETY: the end of fresh pages, used by nothing else and aligned; `run` takes this job, and no panic leaves it.
    unsafe { switch(stack.end(), run, (&raw mut job).cast()) };
    answer.unwrap_or_else(|panic| resume_unwind(panic))
}

unsafe extern "C" fn run(job: *mut u8) {
    // SAFETY: what `call` has passed, and does not touch before this is over.
    unsafe { (*job.cast::<&mut dyn FnMut()>())() };
}

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
unsafe fn switch(top: *mut u8, run: unsafe extern "C" fn(*mut u8), job: *mut u8) {
    // SAFETY: r12 is kept by whatever is called, so the old stack is found again; the rest the compiler knows as changed.
    unsafe {
        core::arch::asm!(
            "xchg rsp, r12",
            "call {run}",
            "mov rsp, r12",
            run = in(reg) run,
            inout("r12") top => _,
            in("rdi") job,
            clobber_abi("C"),
        );
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn switch(top: *mut u8, run: unsafe extern "C" fn(*mut u8), job: *mut u8) {
    // SAFETY: as above, with x21.
    unsafe {
        core::arch::asm!(
            "mov x21, sp",
            "mov sp, x20",
            "blr {run}",
            "mov sp, x21",
            run = in(reg) run,
            in("x20") top,
            out("x21") _,
            in("x0") job,
            clobber_abi("C"),
        );
    }
}

#[cfg(target_arch = "x86")]
unsafe fn switch(top: *mut u8, run: unsafe extern "C" fn(*mut u8), job: *mut u8) {
    // SAFETY: as above, with edi; the argument lies on the stack, which is aligned to 16 bytes at the call.
    unsafe {
        core::arch::asm!(
            "xchg esp, edi",
            "sub esp, 12",
            "push eax",
            "call ecx",
            "mov esp, edi",
            inout("edi") top => _,
            in("eax") job,
            in("ecx") run,
            clobber_abi("C"),
        );
    }
}

/// Elsewhere the stack that is there has to do.
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64",
    target_arch = "x86"
)))]
unsafe fn switch(_top: *mut u8, run: unsafe extern "C" fn(*mut u8), job: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { run(job) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_there_stands_elsewhere_and_its_answer_comes_back() {
        let here = 0u8;
        let there = call(|| {
            let there = 0u8;
            (&raw const there as usize, [7u8; 1000])
        });
        let apart = (&raw const here as usize).abs_diff(there.0);
        if cfg!(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "x86"
        )) {
            assert!(apart > BYTES);
        }
        assert_eq!(there.1, [7; 1000]);
    }

    #[test]
    fn a_panic_goes_on_where_it_was_called() {
        let panicked = catch_unwind(|| call(|| resume_unwind(Box::new(5))));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&5));
        assert_eq!(call(|| 6), 6);
    }
}
