//! `SHMSHIM_GUARD`: inaccessible pages on both sides of each attach (`os/guard.rs`), and a word on standard error when the
//! program touches one: which segment, where, and from where.
//!
//! It is the one setting by which the library installs a signal handler, for SIGSEGV. The handler passes everything on to
//! the program's own, or has the program die as it would have. A handler that the program installs later takes ours's
//! place until the next attach.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use shmshim_core::os::guard::{self, Hit};
use shmshim_core::os::{env, errno, file, process};

use crate::next::Next;
use crate::report::Name;
use crate::trace::Call;
use crate::trace::line::Line;

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
type Sigaction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;

// Libc's functions, looked up and not linked to: without this setting the library has no use for them. They are none of
// those that we stand in front of.
static SIGACTION: Next = Next::new("sigaction");
static BACKTRACE: Next = Next::new("backtrace");
static SYMBOLS: Next = Next::new("backtrace_symbols_fd");

/// The program's own handler, or SIG_DFL, SIG_IGN; and its flags.
static THEIRS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static THEIR_FLAGS: AtomicUsize = AtomicUsize::new(0);

/// Reads the variable.
pub fn read() {
    let mut value = [0; 8];
    let is_wanted = match env::get(c"SHMSHIM_GUARD", &mut value) {
        Some(length) => !matches!(value.get(..length), None | Some([] | b"0")),
        None => env::is_set(c"SHMSHIM_GUARD"),
    };
    if is_wanted {
        guard::turn_on();
    }
}

/// Whether guards are asked for.
pub fn is_set() -> bool {
    guard::is_on()
}

/// Behind each attach: the handler is there before the program touches it.
pub fn follow(call: &Call, answer: Result<u64, i32>) {
    if is_set() && matches!(call, Call::Shmat { .. }) && answer.is_ok() {
        let kept = errno::get();
        install();
        errno::set(kept);
    }
}

fn sigaction(new: Option<&libc::sigaction>, old: &mut MaybeUninit<libc::sigaction>) -> bool {
    // SAFETY: libc's function of that name has that type, and null is `None`.
    let real: Option<Sigaction> = unsafe { core::mem::transmute(SIGACTION.address()) };
    let Some(real) = real else { return false };
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: both structures are live.
    unsafe { real(libc::SIGSEGV, new, old.as_mut_ptr()) == 0 }
}

fn install() {
    let ours = on_fault as Handler as usize;
    let mut old = MaybeUninit::zeroed();
    if !sigaction(None, &mut old) {
        return;
    }
    // SAFETY: filled by the call, and zeros are one, too.
    let old = unsafe { old.assume_init() };
    if old.sa_sigaction == ours {
        return;
    }
    warm_up();
    THEIR_FLAGS.store(old.sa_flags as usize, Relaxed);
    // Pairs with: the load in `pass_on`.
    THEIRS.store(old.sa_sigaction, Release);
    let mut new = old;
    new.sa_sigaction = ours;
    // On the program's signal stack, if it has one: the fault may be that the other one is full.
    let kept = libc::SA_NODEFER | libc::SA_RESTART;
    new.sa_flags = old.sa_flags & kept | libc::SA_SIGINFO | libc::SA_ONSTACK;
    sigaction(Some(&new), &mut MaybeUninit::zeroed());
}

/// The first backtrace of a process loads the unwinder, which a signal handler may not.
fn warm_up() {
    let mut frames = [0; 2];
    backtrace(&mut frames);
}

fn backtrace(frames: &mut [usize]) -> usize {
    type Backtrace = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
    // SAFETY: as above.
    let real: Option<Backtrace> = unsafe { core::mem::transmute(BACKTRACE.address()) };
    // SAFETY: the array has room for so many.
    real.map_or(0, |real| unsafe {
        real(frames.as_mut_ptr(), frames.len() as c_int) as usize
    })
}

fn print_frames(frames: &[usize]) {
    type Symbols = unsafe extern "C" fn(*const usize, c_int, c_int);
    // SAFETY: as above.
    let real: Option<Symbols> = unsafe { core::mem::transmute(SYMBOLS.address()) };
    if let Some(real) = real {
        // SAFETY: so many addresses are there. It allocates nothing.
        unsafe { real(frames.as_ptr(), frames.len() as c_int, libc::STDERR_FILENO) };
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let kept = errno::get();
    // SAFETY: the kernel hands both over; an address is there when the kernel raised the signal.
    let address = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as u64) };
    if let Some((address, hit)) = address.and_then(|at| guard::near(at).map(|hit| (at, hit))) {
        say(address, &hit, &Machine::of(context));
    }
    errno::set(kept);
    pass_on(signal, info, context);
}

/// What the processor was at.
struct Machine {
    instruction: usize,
    access: &'static str,
}

impl Machine {
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    fn of(context: *mut c_void) -> Machine {
        const WRITES: i64 = 2;
        // SAFETY: the kernel hands a ucontext_t over to a handler with SA_SIGINFO.
        let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let register = |which: c_int| registers.get(which as usize).copied().unwrap_or(0);
        Machine {
            instruction: register(libc::REG_RIP) as usize,
            access: match register(libc::REG_ERR) & WRITES {
                0 => "read",
                _ => "wrote",
            },
        }
    }

    #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
    fn of(_context: *mut c_void) -> Machine {
        Machine {
            instruction: 0,
            access: "touched",
        }
    }
}

#[cold]
#[inline(never)]
fn say(address: u64, hit: &Hit, machine: &Machine) {
    let segment = &hit.segment;
    let mut line = Line::new();
    line.put(format_args!(
        "shmshim guard: pid {} ({}) {} at {address:#x}, ",
        process::pid(),
        Name::own(),
        machine.access
    ));
    match u64::try_from(hit.offset) {
        Ok(offset) => line.put(format_args!(
            "{} bytes behind the end",
            offset.saturating_sub(segment.bytes)
        )),
        Err(_) => line.put(format_args!(
            "{} bytes in front of the beginning",
            hit.offset.unsigned_abs()
        )),
    }
    line.put(format_args!(
        " of segment {} (key {:#010x}, {} bytes), which is attached at {:#x}: offset {}",
        segment.id, segment.key, segment.bytes, hit.start, hit.offset
    ));
    file::write_fd(libc::STDERR_FILENO, line.end());
    let mut frames = [0; 32];
    let count = backtrace(&mut frames);
    let all = frames.get(..count).unwrap_or(&[]);
    // In front of the program's frames stand the handler's.
    let first = all.iter().position(|frame| *frame == machine.instruction);
    print_frames(first.and_then(|first| all.get(first..)).unwrap_or(all));
}

/// Has the program's own handler run; where there is none, the access is made again, and is the program's death.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // Pairs with: the store in `install`.
    let theirs = THEIRS.load(Acquire);
    let flags = THEIR_FLAGS.load(Relaxed) as c_int;
    if theirs == libc::SIG_DFL || theirs == libc::SIG_IGN || flags & libc::SA_RESETHAND != 0 {
        // SAFETY: zeros are a structure that asks for SIG_DFL.
        let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        sigaction(Some(&default), &mut MaybeUninit::zeroed());
        if flags & libc::SA_RESETHAND == 0 {
            // SAFETY: the kernel hands it over. A signal that was sent is not raised again by itself.
            if unsafe { (*info).si_code } <= 0 {
                // SAFETY: takes numbers only.
                let _ = unsafe {
                    shmshim_core::os::raw::call(
                        libc::SYS_kill,
                        [process::pid() as usize, signal as usize],
                    )
                };
            }
            return;
        }
    }
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the program has installed it as such a handler.
        let theirs: Handler = unsafe { core::mem::transmute(theirs) };
        theirs(signal, info, context);
    } else {
        // SAFETY: as above.
        let theirs: extern "C" fn(c_int) = unsafe { core::mem::transmute(theirs) };
        theirs(signal);
    }
}
