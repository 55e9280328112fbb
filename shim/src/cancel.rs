//! Cancellation points: msgsnd and msgrcv, which sleep on the frame of the exported function itself.
//!
//! glibc ends a cancelled thread by unwinding its stack, from within the signal handler that has interrupted the sleep. So
//! the sleep is a bare system call, between two changes of the type of cancellation, in a frame that needs no cleanup. One thing
//! must be done all the same: the thread leaves the queue, before any cleanup of the program's own runs, and also where a handler
//! jumps out of the call. With glibc a cleanup buffer of C does that, as `pthread_cleanup_push` once made them, on the same
//! frame; elsewhere the destructor of a key.

use core::ffi::{c_int, c_void};

use shmshim_core::os::exposed_sleep;
use shmshim_core::registry::abandon_sleeps;
use shmshim_core::registry::msg::Sleep;

use crate::next::Next;
use crate::panic_guard;

// Libc's functions, looked up and not linked to: glibc before 2.34 has some of them in another library.
static TESTCANCEL: Next = Next::new("pthread_testcancel");
static SETCANCELTYPE: Next = Next::new("pthread_setcanceltype");

const ASYNCHRONOUS: c_int = 1;
/// No type: it is the caller's still.
const UNCHANGED: c_int = -1;

type SetType = unsafe extern "C" fn(c_int, *mut c_int) -> c_int;

/// pthread_testcancel(3): does not come back where the thread was cancelled.
///
/// # Safety
/// The caller's frame needs no cleanup.
#[inline(always)]
pub unsafe fn test() {
    // SAFETY: libc's function of that name has that type, and null is `None`.
    let real: Option<unsafe extern "C" fn()> =
        unsafe { core::mem::transmute(TESTCANCEL.address()) };
    if let Some(real) = real {
        // SAFETY: the caller's promise.
        unsafe { real() };
    }
}

/// Sleeps as a cancellation point. Whether a handler has run.
///
/// # Safety
/// The caller's frame needs no cleanup, and is an exported function's.
#[inline(always)]
pub unsafe fn sleep(sleep: &Option<Sleep>) -> bool {
    // SAFETY: libc's function of that name has that type, and null is `None`.
    let set_type: Option<SetType> = unsafe { core::mem::transmute(SETCANCELTYPE.address()) };
    let Some(set_type) = set_type else {
        return plain_sleep(sleep);
    };
    let mut cleanup = cleanup::Buffer::new();
    let mut before = UNCHANGED;
    // SAFETY: the buffer is taken back on this frame, where `before` lies, too. Only between the two changes the thread may
    // be ended here, and what runs there needs no cleanup.
    unsafe {
        cleanup.push(&mut before);
        set_type(ASYNCHRONOUS, &mut before);
        let was_signal = plain_sleep(sleep);
        set_type(before, &mut before);
        cleanup.pop();
        was_signal
    }
}

/// Sleeps. Whether a handler has run.
#[inline(always)]
pub fn plain_sleep(sleep: &Option<Sleep>) -> bool {
    #[cfg(target_arch = "x86")]
    return on_x86::sleep(sleep);
    #[cfg(not(target_arch = "x86"))]
    match sleep {
        Some(sleep) => exposed_sleep::wait(sleep.word, sleep.seen, sleep.nanos, sleep.mask),
        None => false,
    }
}

/// As above, by a system call that libc makes: the instruction in a function of ours has no unwind information there.
#[cfg(target_arch = "x86")]
mod on_x86 {
    use super::*;
    use crate::by_number::Syscall;
    use core::ffi::c_long;
    use shmshim_core::os::{errno, raw, signal_mask, spin};

    #[inline(always)]
    pub fn sleep(sleep: &Option<Sleep>) -> bool {
        let mut arguments = Arguments::default();
        let syscall = prepare(sleep, &mut arguments);
        let Some(syscall) = syscall else {
            return sleep_by_ours(sleep);
        };
        let Arguments { word, seen, .. } = arguments;
        let timeout = &raw const arguments.timeout as c_long;
        let wait = libc::FUTEX_WAIT as c_long;
        // SAFETY: the word stays mapped, the timeout is a live local.
        signal_mask::restore(arguments.mask);
        // SAFETY: as said.
        let answer = unsafe { syscall(libc::SYS_futex, word, wait, seen, timeout, 0, 0) };
        block();
        match errno_of(answer) {
            0 | libc::EAGAIN | libc::ETIMEDOUT => false,
            libc::EINTR => true,
            // A filter refuses it.
            _ => sleep_by_ours(sleep),
        }
    }

    /// The same by a system call of ours. It is no good place to be cancelled in.
    fn sleep_by_ours(sleep: &Option<Sleep>) -> bool {
        sleep.as_ref().is_some_and(|sleep| {
            exposed_sleep::wait(sleep.word, sleep.seen, sleep.nanos, sleep.mask)
        })
    }

    /// What the system call is given.
    struct Arguments {
        word: c_long,
        seen: c_long,
        timeout: libc::timespec,
        mask: signal_mask::Mask,
    }

    impl Default for Arguments {
        fn default() -> Arguments {
            Arguments {
                word: 0,
                seen: 0,
                mask: 0,
                timeout: libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
            }
        }
    }

    /// By what the call is made. `None`: there is nothing to sleep on, no need to, or a filter forbids it.
    #[inline(never)]
    extern "C" fn prepare(sleep: &Option<Sleep>, arguments: &mut Arguments) -> Option<Syscall> {
        const SECOND: u64 = 1_000_000_000;
        let sleep = sleep.as_ref()?;
        let secs = (sleep.nanos / SECOND).min(i32::MAX as u64);
        arguments.word = sleep.word.as_ptr() as c_long;
        arguments.seen = sleep.seen as c_long;
        arguments.mask = sleep.mask;
        arguments.timeout.tv_sec = secs as _;
        arguments.timeout.tv_nsec = (sleep.nanos % SECOND) as _;
        let (word, seen) = (arguments.word as usize, sleep.seen as usize);
        let timeout = &raw const arguments.timeout as usize;
        if raw::is_forbidden(
            libc::SYS_futex,
            [word, libc::FUTEX_WAIT as usize, seen, timeout],
        ) {
            return None;
        }
        if spin::until_changed(sleep.word, sleep.seen) {
            return None;
        }
        crate::next::next!(syscall: Syscall)
    }

    /// With a time limit no handler lets the kernel sleep on.
    #[inline(never)]
    extern "C" fn errno_of(answer: c_long) -> c_int {
        if answer == -1 { errno::get() } else { 0 }
    }

    #[inline(never)]
    extern "C" fn block() {
        let _ = signal_mask::Blocked::all().into_mask();
    }
}

/// A jump out of a handler, before it is made.
pub fn before_jump() {
    #[cfg(not(target_env = "gnu"))]
    cleanup::restore_type();
    leave();
}

/// The thread leaves every queue that it sleeps in, and does not come back to its sleep.
fn leave() {
    // Nobody sleeps where no call of ours was ever made.
    if panic_guard::was_reached() {
        panic_guard::catch(abandon_sleeps);
    }
}

/// Ends a change of the type.
fn set_type_back(before: c_int) {
    // SAFETY: libc's function of that name has that type, and null is `None`.
    let set_type: Option<SetType> = unsafe { core::mem::transmute(SETCANCELTYPE.address()) };
    if let (Some(set_type), true) = (set_type, before != UNCHANGED) {
        let mut now = 0;
        // SAFETY: a live local. Nothing becomes cancellable by it.
        unsafe { set_type(before, &mut now) };
    }
}

#[cfg(target_env = "gnu")]
mod cleanup {
    use super::*;

    static PUSH: Next = Next::new("_pthread_cleanup_push");
    static POP: Next = Next::new("_pthread_cleanup_pop");

    /// The frame of the sleep is left for good, and is still there: the type of before stands on it.
    extern "C" fn leave_at_end(before: *mut c_void) {
        // SAFETY: what `push` was given.
        set_type_back(unsafe { *before.cast::<c_int>() });
        leave();
    }

    type Routine = extern "C" fn(*mut c_void);
    type Push = unsafe extern "C" fn(*mut Buffer, Routine, *mut c_void);
    type Pop = unsafe extern "C" fn(*mut Buffer, c_int);

    /// `struct _pthread_cleanup_buffer`: three words and a number.
    #[repr(C)]
    pub struct Buffer([usize; 4]);

    impl Buffer {
        #[inline(always)]
        pub fn new() -> Buffer {
            Buffer([0; 4])
        }

        #[inline(always)]
        pub unsafe fn push(&mut self, before: *mut c_int) {
            // SAFETY: libc's function of that name has that type, and null is `None`.
            let real: Option<Push> = unsafe { core::mem::transmute(PUSH.address()) };
            if let Some(real) = real {
                // SAFETY: the buffer lies on the caller's frame, which takes it back.
                unsafe { real(self, leave_at_end, before.cast()) };
            }
        }

        #[inline(always)]
        pub unsafe fn pop(&mut self) {
            // SAFETY: as above.
            let real: Option<Pop> = unsafe { core::mem::transmute(POP.address()) };
            if let Some(real) = real {
                // SAFETY: it was pushed last.
                unsafe { real(self, 0) };
            }
        }
    }
}

#[cfg(not(target_env = "gnu"))]
mod cleanup {
    use super::*;
    use core::sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    };

    /// The key + 2; 0: none yet, 1: it is being made, or there is none.
    static KEY: AtomicU32 = AtomicU32::new(0);

    pub struct Buffer;

    impl Buffer {
        pub fn new() -> Buffer {
            Buffer
        }

        pub unsafe fn push(&mut self, before: *mut c_int) {
            note(before);
        }

        pub unsafe fn pop(&mut self) {
            note(core::ptr::null_mut());
        }
    }

    /// Notes where the type of before stands, while the thread sleeps.
    #[inline(never)]
    extern "C" fn note(before: *mut c_int) {
        if KEY.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
            let mut key = 0;
            // SAFETY: a live local, and a function of that type.
            if unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0 {
                KEY.store(key as u32 + 2, Release);
            }
        }
        if let Some(key) = KEY.load(Acquire).checked_sub(2) {
            // SAFETY: a key of ours.
            unsafe { libc::pthread_setspecific(key as libc::pthread_key_t, before.cast()) };
        }
    }

    /// Before a jump out of the frame of a sleep, if there is one.
    pub fn restore_type() {
        if let Some(key) = KEY.load(Acquire).checked_sub(2) {
            // SAFETY: a key of ours.
            let before = unsafe { libc::pthread_getspecific(key as libc::pthread_key_t) };
            if !before.is_null() {
                // SAFETY: the sleep's frame is still there.
                set_type_back(unsafe { *before.cast::<c_int>() });
                note(core::ptr::null_mut());
            }
        }
    }

    /// A thread ends from within a sleep. The frame is gone by now. musl goes from the interrupted instruction to here by a jump,
    /// so the stack is not aligned as at the beginning of a function.
    unsafe extern "C" fn end(_: *mut c_void) {
        #[cfg(not(target_arch = "x86_64"))]
        leave_aligned();
        // SAFETY: the call keeps r12, and what it may change is said; the stack pointer is put back.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(
                "mov r12, rsp",
                "and rsp, -16",
                "call {leave}",
                "mov rsp, r12",
                leave = sym leave_aligned,
                out("r12") _,
                clobber_abi("C"),
            );
        }
    }

    extern "C" fn leave_aligned() {
        leave();
    }
}
