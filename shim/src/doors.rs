//! Doors beside the preload: look-ups in libc's own symbol table, which find libc's functions and not ours.
//!
//! A program that asks libc's own handle (`dlsym(dlopen("libc.so.6"), "shmget")`: the foreign function interfaces of Python,
//! Ruby, Lua and others) or asks for a version (`dlvsym`), and a plugin that is loaded with RTLD_DEEPBIND (PHP's extensions),
//! get what stands in libc's table. So our functions are entered there, at the first call of one of the four functions
//! through which all of this goes. These are ours for nothing else: a program that calls none of them pays nothing.
//!
//! The four learn by their return address who calls (RTLD_NEXT, `$ORIGIN`, the namespace), so each of ours ends with a jump
//! to the function behind it.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use shmshim_core::os::signal_mask::Blocked;
use shmshim_core::os::symbols;
use shmshim_core::os::timed_lock::TimedLock;

use crate::next::{self, Next};
use crate::remarks::say;

const DLMOPEN: usize = 3;

/// `LM_ID_BASE`: the namespace of the program itself.
const BASE: usize = 0;

/// Exports the function of [`REAL`] with this index.
macro_rules! export {
    ($which:literal $name:ident, listed as $pattern:literal) => {
        core::arch::global_asm!(
            concat!(".globl ", stringify!($name)),
            concat!(".type ", stringify!($name), ", %function"),
            concat!(stringify!($name), ":"),
            ".cfi_startproc",
            jump!(),
            ".cfi_endproc",
            concat!(".size ", stringify!($name), ", . - ", stringify!($name)),
            which = const $which,
            real = sym real,
        );

        // The linker exports what stands on the compiler's list: names of items of Rust. This one is a pattern that means
        // the name above alone.
        #[used]
        #[unsafe(export_name = $pattern)]
        static $name: [u8; 0] = [];
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "endbr64
        push rdi
        .cfi_adjust_cfa_offset 8
        push rsi
        .cfi_adjust_cfa_offset 8
        push rdx
        .cfi_adjust_cfa_offset 8
        mov rsi, rdi
        mov edi, {which}
        call {real}
        pop rdx
        .cfi_adjust_cfa_offset -8
        pop rsi
        .cfi_adjust_cfa_offset -8
        pop rdi
        .cfi_adjust_cfa_offset -8
        jmp rax"
    };
}

#[cfg(target_arch = "x86")]
macro_rules! jump {
    () => {
        "endbr32
        mov eax, [esp + 4]
        sub esp, 4
        .cfi_adjust_cfa_offset 4
        push eax
        .cfi_adjust_cfa_offset 4
        push {which}
        .cfi_adjust_cfa_offset 4
        call {real}
        add esp, 12
        .cfi_adjust_cfa_offset -12
        jmp eax"
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "hint 34
        stp x0, x1, [sp, -32]!
        .cfi_adjust_cfa_offset 32
        stp x2, x30, [sp, 16]
        .cfi_offset x30, -8
        mov x1, x0
        mov x0, {which}
        bl {real}
        mov x16, x0
        ldp x2, x30, [sp, 16]
        .cfi_restore x30
        ldp x0, x1, [sp], 32
        .cfi_adjust_cfa_offset -32
        br x16"
    };
}

#[allow(non_upper_case_globals)]
mod exported {
    use super::real;

    export!(0 dlopen, listed as "dlope[n]");
    export!(1 dlsym, listed as "dlsy[m]");
    export!(2 dlvsym, listed as "dlvsy[m]");
    export!(3 dlmopen, listed as "dlmope[n]");
}

static REAL: [Next; 4] = [
    Next::new("dlopen"),
    Next::new("dlsym"),
    Next::new("dlvsym"),
    Next::new("dlmopen"),
];

/// Where the jump of function `which` goes; `first` is its caller's first argument.
extern "C" fn real(which: usize, first: usize) -> *const c_void {
    if !IS_CORRECTED.load(Acquire) {
        correct();
    }
    if which == DLMOPEN && first != BASE {
        // Divergence: its libc has a table of its own, and an errno that we do not know.
        say(&|line| {
            line.put(format_args!(
                "dlmopen(…) opens a namespace with a libc of its own: the calls that are made there go to the kernel"
            ));
        });
    }
    match REAL.get(which).map(Next::address) {
        Some(found) if !found.is_null() => found,
        _ => nowhere as *const c_void,
    }
}

/// For a program that calls one of the four where no library has it.
extern "C" fn nowhere() -> usize {
    0
}

/// The calls behind which nothing stands: none of them goes on to libc's.
const SERVED: [&CStr; 12] = [
    c"shmget",
    c"shmat",
    c"shmdt",
    c"shmctl",
    c"semget",
    c"semop",
    c"semtimedop",
    c"semctl",
    c"msgget",
    c"msgsnd",
    c"msgrcv",
    c"msgctl",
];

static IS_CORRECTED: AtomicBool = AtomicBool::new(false);
static CORRECTING: TimedLock = TimedLock::free();

#[cold]
#[inline(never)]
fn correct() {
    // A handler that was let in here would find the pages half done.
    let blocked = Blocked::all();
    CORRECTING.take();
    if !IS_CORRECTED.load(Acquire) {
        // Once the table is corrected they can no longer be found.
        let behind = next::all()
            .iter()
            .map(|next| (next.name(), Some(next.address() as usize)));
        let served = SERVED.map(|name| (name, None));
        let corrected = symbols::correct_libc(behind.chain(served));
        IS_CORRECTED.store(true, Release);
        if let Err(why) = corrected {
            // Divergence: these calls are not seen.
            say(&|line| {
                line.put(format_args!(
                    "libc's table of symbols cannot be changed ({why}): the calls of plugins, and of what looks into it, go to the kernel"
                ));
            });
        }
    }
    CORRECTING.release();
    drop(blocked);
}
