//! A sleep that lets signals through, and knows whether a handler has run: in the system call, or in the moment before it.
//!
//! The kernel's own calls look whether a signal is there and fall asleep in one step; a futex has no such step. So signals are
//! blocked until right before the sleep, and blocked again right behind it. A handler that runs between the two says so by
//! itself: what the kernel puts on the stack for it overwrites the words below the stack pointer, which are known. One that
//! comes between the last look at them and the sleep is found when that is over: a sleep has a time limit. (A handler on an
//! alternate stack is noticed in the system call alone.)

use super::signal_mask::{self, Mask};
use super::{futex, raw, spin};
use core::sync::atomic::AtomicU32;

/// What is asked of the kernel.
#[repr(C)]
struct Asked {
    /// The mask in the sleep.
    exposed: Mask,
    /// All signals.
    blocked: Mask,
    /// Number and arguments of the call that sleeps.
    call: [usize; 7],
    /// What it has answered.
    answer: isize,
    /// A word, or 0: if it does not hold `seen` behind the sleep, signals stay let through.
    word: usize,
    seen: u64,
    /// They have.
    stays_exposed: u64,
}

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The error of the system call, or 0.
    pub error: i32,
    /// A handler has run.
    pub by_signal: bool,
    /// Signals are let through still: the word has changed, so that the sleeper was woken.
    pub is_exposed: bool,
}

/// Sleeps in the system call `number`, with `mask` as the thread's; before and behind it all signals are blocked, behind it only
/// if `word` holds `seen` still. The thread may be cancelled here.
///
/// # Safety
/// The arguments are what the call takes.
#[inline(always)]
pub(super) unsafe fn sleep(
    mask: Mask,
    number: libc::c_long,
    args: [usize; 6],
    (word, seen): (&AtomicU32, u32),
) -> Ended {
    if raw::is_forbidden(number, args) {
        return Ended {
            error: libc::EPERM,
            by_signal: false,
            is_exposed: false,
        };
    }
    // Signals are blocked still: a handler runs in the sleep, or when the call is over.
    if spin::until_changed(word, seen) {
        return Ended {
            error: libc::EAGAIN,
            by_signal: false,
            is_exposed: false,
        };
    }
    // SAFETY: the caller's promise.
    unsafe { enter(mask, number, args, (word, seen)) }
}

/// The same, at once.
#[inline(always)]
unsafe fn enter(
    mask: Mask,
    number: libc::c_long,
    args: [usize; 6],
    (word, seen): (&AtomicU32, u32),
) -> Ended {
    let [a, b, c, d, e, f] = args;
    let mut asked = Asked {
        exposed: mask,
        blocked: !0,
        call: [number as usize, a, b, c, d, e, f],
        answer: 0,
        word: word.as_ptr() as usize,
        seen: seen.into(),
        stays_exposed: 0,
    };
    // SAFETY: the caller's promise; the rest is the thread's own mask.
    let touched = unsafe { expose(&mut asked) };
    let error = if (-4095..0).contains(&asked.answer) {
        -asked.answer as i32
    } else {
        0
    };
    Ended {
        error,
        by_signal: touched || error == libc::EINTR,
        is_exposed: asked.stays_exposed != 0,
    }
}

/// Sleeps while `word` holds `seen`, for `nanos` at most, with `mask` as the thread's; behind it all signals are blocked again.
/// Whether a handler has run. The thread may be cancelled here.
#[inline(always)]
pub fn wait(word: &AtomicU32, seen: u32, nanos: u64, mask: Mask) -> bool {
    let ended = wait_once(word, seen, nanos, mask);
    if ended.is_exposed {
        let _ = signal_mask::Blocked::all().into_mask();
    }
    ended.by_signal
}

/// The signals of a thread that sleeps again and again: blocked from here on, but in the sleeps, until the call is over. Needs no
/// drop: [`Exposure::end`].
#[derive(Clone, Copy)]
pub struct Exposure {
    mask: Mask,
    is_blocked: bool,
}

impl Exposure {
    /// Blocks the signals.
    pub fn begin() -> Exposure {
        Exposure {
            mask: signal_mask::Blocked::all().into_mask(),
            is_blocked: true,
        }
    }

    /// The thread's mask in the sleep; the signals are blocked until then.
    pub fn mask(&mut self) -> Mask {
        if !self.is_blocked {
            // Woken by a call that meant another sleep at this place.
            *self = Exposure::begin();
        }
        self.mask
    }

    /// The signals are let through again: the sleeper was woken.
    pub fn is_exposed(&mut self) {
        self.is_blocked = false;
    }

    /// Sleeps while `word` holds `seen`, for `nanos` at most. Whether a handler has run.
    #[inline(always)]
    pub fn sleep(&mut self, word: &AtomicU32, seen: u32, nanos: u64) -> bool {
        let ended = wait_once(word, seen, nanos, self.mask());
        self.is_blocked = !ended.is_exposed;
        ended.by_signal
    }

    /// The call is over.
    pub fn end(&mut self) {
        if self.is_blocked {
            self.is_blocked = false;
            signal_mask::restore(self.mask);
        }
    }
}

/// Sleeps while `word` holds `seen`, for `nanos` at most, with `mask` as the thread's.
#[inline(always)]
fn wait_once(word: &AtomicU32, seen: u32, nanos: u64, mask: Mask) -> Ended {
    let timeout = futex::timespec(nanos);
    let (at, timeout) = (word.as_ptr() as usize, &raw const timeout as usize);
    let args = [at, libc::FUTEX_WAIT as usize, seen as usize, timeout, 0, 0];
    // SAFETY: the word is live for the call, the timeout a live local.
    let ended = unsafe { sleep(mask, libc::SYS_futex, args, (word, seen)) };
    let is_refused = !matches!(
        ended.error,
        0 | libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT
    );
    let nap = futex::timespec(NAP_NANOS);
    let args = [&raw const nap as usize, 0, 0, 0, 0, 0];
    if !is_refused || ended.by_signal || ended.is_exposed {
        return ended;
    }
    // By a filter of the host: then the word is looked at from time to time.
    if raw::is_forbidden(libc::SYS_nanosleep, args) {
        return ended;
    }
    // SAFETY: the length is a live local.
    unsafe { enter(mask, libc::SYS_nanosleep, args, (word, seen)) }
}

/// How often a word is looked at that cannot be slept on.
const NAP_NANOS: u64 = 1_000_000;

/// Words below the stack pointer of which a signal's frame overwrites some. On x86-64, below the red zone, the frame ends with what
/// the kernel always writes behind the state of the floating point unit: these are more than any padding there.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
const KNOWN: usize = 40;
/// On AArch64 the frame's end is mostly room that the kernel does not use. What it always writes are the two words right below the
/// stack pointer: frame pointer and return address, for a debugger that walks the stack.
#[cfg(target_arch = "aarch64")]
const KNOWN: usize = 2;
/// What they hold meanwhile.
#[cfg(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64"
))]
const VALUE: u64 = 0x5a3c_96e1_0f87_4bd2;

/// musl ends a thread that is cancelled in the sleep by a jump from there into a function of its own. So the stack pointer is where
/// a call would have it; the program's cleanup runs on that stack. glibc finds the frame's end by where the compiler has it.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
const SHIFT: usize = if cfg!(target_env = "musl") { 8 } else { 0 };

/// Makes the call, exposed. Whether the known words have changed.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[inline(always)]
unsafe fn expose(asked: &mut Asked) -> bool {
    let left: usize;
    // SAFETY: writes below the red zone, where nothing is kept; the kernel preserves all registers but rax, rcx and r11.
    unsafe {
        core::arch::asm!(
            "sub rsp, {shift}",
            "lea r12, [rsp - {below}]",
            "mov r13d, {known}",
            "2: mov [r12 + r13 * 8], r14",
            "dec r13; jnz 2b",
            // rt_sigprocmask(SIG_SETMASK, exposed, NULL, 8)
            "mov eax, 14; mov edi, 2",
            "mov rsi, r15",
            "xor edx, edx",
            "mov r10d, 8",
            "syscall",
            "mov r13d, {known}",
            "3: cmp [r12 + r13 * 8], r14",
            "jne 4f",
            "dec r13; jnz 3b",
            "mov rax, [r15 + 16]",
            "mov rdi, [r15 + 24]",
            "mov rsi, [r15 + 32]",
            "mov rdx, [r15 + 40]",
            "mov r10, [r15 + 48]",
            "mov r8, [r15 + 56]",
            "mov r9, [r15 + 64]",
            "syscall",
            "mov [r15 + 72], rax",
            "mov rcx, [r15 + 80]",
            "mov eax, [rcx]",
            "cmp eax, [r15 + 88]",
            "je 4f",
            "mov qword ptr [r15 + 96], 1",
            "xor r13d, r13d",
            "jmp 6f",
            "4:",
            // rt_sigprocmask(SIG_BLOCK, blocked, NULL, 8)
            "mov eax, 14",
            "xor edi, edi",
            "lea rsi, [r15 + 8]",
            "xor edx, edx",
            "mov r10d, 8",
            "syscall",
            "mov r13d, {known}",
            "5: cmp [r12 + r13 * 8], r14",
            "jne 6f",
            "dec r13; jnz 5b",
            "6: add rsp, {shift}",
            shift = const SHIFT,
            below = const 136 + 8 * KNOWN,
            known = const KNOWN,
            in("r14") VALUE,
            in("r15") asked as *mut Asked,
            out("r12") _,
            out("r13") left,
            out("rax") _,
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("rdi") _,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    left != 0
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn expose(asked: &mut Asked) -> bool {
    let left: usize;
    // SAFETY: writes below the stack pointer, where nothing is kept; the kernel preserves all registers but x0.
    unsafe {
        core::arch::asm!(
            "sub x12, sp, #{below}",
            "mov x13, #{known}",
            "2: str x14, [x12, x13, lsl #3]",
            "subs x13, x13, #1",
            "b.ne 2b",
            // rt_sigprocmask(SIG_SETMASK, exposed, NULL, 8)
            "mov x8, #135; mov x0, #2",
            "mov x1, x15",
            "mov x2, #0",
            "mov x3, #8",
            "svc #0",
            "mov x13, #{known}",
            "3: ldr x9, [x12, x13, lsl #3]",
            "cmp x9, x14",
            "b.ne 4f",
            "subs x13, x13, #1",
            "b.ne 3b",
            "ldr x8, [x15, #16]",
            "ldp x0, x1, [x15, #24]",
            "ldp x2, x3, [x15, #40]",
            "ldp x4, x5, [x15, #56]",
            "svc #0",
            "str x0, [x15, #72]",
            "ldr x9, [x15, #80]",
            "ldr w0, [x9]",
            "ldr w9, [x15, #88]",
            "cmp w0, w9",
            "b.eq 4f",
            "mov x9, #1",
            "str x9, [x15, #96]",
            "mov x13, #0",
            "b 6f",
            "4:",
            // rt_sigprocmask(SIG_BLOCK, blocked, NULL, 8)
            "mov x8, #135",
            "mov x0, #0",
            "add x1, x15, #8",
            "mov x2, #0",
            "mov x3, #8",
            "svc #0",
            "mov x13, #{known}",
            "5: ldr x9, [x12, x13, lsl #3]",
            "cmp x9, x14",
            "b.ne 6f",
            "subs x13, x13, #1",
            "b.ne 5b",
            "6:",
            below = const 8 + 8 * KNOWN,
            known = const KNOWN,
            in("x14") VALUE,
            in("x15") asked as *mut Asked,
            out("x12") _,
            out("x13") left,
            out("x0") _,
            out("x1") _,
            out("x2") _,
            out("x3") _,
            out("x4") _,
            out("x5") _,
            out("x8") _,
            out("x9") _,
        );
    }
    left != 0
}

/// Elsewhere a handler is noticed in the system call alone.
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64"
)))]
#[inline(always)]
unsafe fn expose(asked: &mut Asked) -> bool {
    signal_mask::restore(asked.exposed);
    let [number, args @ ..] = asked.call;
    // SAFETY: the caller's promise.
    asked.answer = match unsafe { raw::call(number as libc::c_long, args) } {
        Ok(answer) => answer as isize,
        Err(error) => -(error.0 as isize),
    };
    // SAFETY: a word that is live for the call.
    let word = unsafe { &*(asked.word as *const AtomicU32) };
    if u64::from(word.load(core::sync::atomic::Ordering::Relaxed)) != asked.seen {
        asked.stays_exposed = 1;
        return false;
    }
    let _ = signal_mask::Blocked::all().into_mask();
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;
    use std::sync::atomic::AtomicU32 as Count;

    static RAN: Count = Count::new(0);

    extern "C" fn note(_: i32) {
        RAN.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_signal_that_was_blocked_until_then_ends_the_sleep_at_once() {
        // SAFETY: a signal that nobody else uses here, of this thread alone.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = note as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGWINCH, &action, core::ptr::null_mut());
            let word = AtomicU32::new(5);
            let mask = signal_mask::Blocked::all().into_mask();
            // Nothing pending, and the word is another one.
            let args = [
                word.as_ptr() as usize,
                libc::FUTEX_WAIT as usize,
                4,
                0,
                0,
                0,
            ];
            let woken = enter(mask, libc::SYS_futex, args, (&word, 4));
            assert!(woken.is_exposed && !woken.by_signal);
            let mask = signal_mask::Blocked::all().into_mask();
            for _ in 0..100 {
                let before = RAN.load(Ordering::Relaxed);
                libc::pthread_kill(libc::pthread_self(), libc::SIGWINCH);
                assert_eq!(RAN.load(Ordering::Relaxed), before, "it is blocked");
                let begun = std::time::Instant::now();
                let ended = wait_once(&word, 5, 60_000_000_000, mask);
                assert!(ended.by_signal && !ended.is_exposed);
                assert!(begun.elapsed().as_secs() < 30);
                assert_eq!(RAN.load(Ordering::Relaxed), before + 1);
            }
            assert!(!wait(&word, 5, 1000, mask), "the time is over");
            signal_mask::restore(mask);
        }
    }
}
