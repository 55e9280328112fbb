//! munmap, mremap, mmap and madvise: passed straight on unless they concern one of this process's attaches.
//!
//! When they do, the core updates its attach list around the real call. `errno` is then what the real call left
//! on failure, and untouched on success; and the real call is made exactly once, whatever happens in our code.

use core::cell::Cell;
use core::convert::identity;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::{off_t, size_t};
use shmshim_core::os::{errno, raw, threads, usermem};
use shmshim_core::registry;

use crate::direct::kernel;
use crate::next::next;
use crate::panic_guard;

/// mmap(2): never replaces what is there. Stronger than `MAP_FIXED`.
const MAP_FIXED_NOREPLACE: c_int = 0x10_0000;

/// The thread that is making a real call in the midst of one of ours. There is one at most: the core's lock is held.
static MAKING: AtomicUsize = AtomicUsize::new(0);

/// Whether this thread is: then a function that was put in libc's place comes here, and what it does is counted already.
pub fn is_in_real_call() -> bool {
    MAKING.load(Relaxed) == threads::id()
}

/// Lets `track` make the `real` call, and sets `errno` as that call would have.
#[inline]
pub fn around<T: Copy + PartialEq>(
    failed: T,
    real: impl Fn() -> T,
    track: impl FnOnce(&dyn Fn() -> T) -> T,
) -> T {
    let before = errno::get();
    let made = Cell::new(None);
    let answer = panic_guard::catch(|| {
        track(&|| {
            MAKING.store(threads::id(), Relaxed);
            let answer = real();
            MAKING.store(0, Relaxed);
            made.set(Some((answer, errno::get())));
            answer
        })
    });
    match (answer, made.get()) {
        // The real call's own answer and errno, whether the core came through it or not.
        (_, Some((answer, left))) => {
            errno::set(if answer == failed { left } else { before });
            answer
        }
        // Refused before it was made.
        (Some(answer), None) => {
            if answer != failed {
                errno::set(before);
            }
            answer
        }
        (None, None) => real(),
    }
}

/// Defines one of the calls. Where it concerns no attach it is `real`: the function behind ours, else the kernel. Where it
/// does, `track` has the core make the real call.
///
/// The function behind ours is looked up before the core is asked, and not in the call that the core makes with its lock
/// held: `dlsym` waits for a thread that loads a library, whose constructors may make calls that take that lock.
///
/// The core knows answers as `word` makes them of libc's: `failed` is then a failure.
macro_rules! tracked {
    ($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;
     kernel $number:expr, $args:expr;
     concerns $concerns:expr;
     track $track:expr, $word:ident, $failed:expr) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name($($arg: $type),*) -> $answer {
            // mremap is variadic in C: `exports.rs` says why that makes no difference.
            type Next = Option<unsafe extern "C" fn($($type),*) -> $answer>;

            #[inline]
            fn next() -> Next {
                next!($name: unsafe extern "C" fn($($type),*) -> $answer)
            }

            #[inline]
            unsafe fn real(next: Next, $($arg: $type),*) -> $answer {
                match next {
                    // SAFETY: the caller's promise is passed on.
                    Some(real) => unsafe { real($($arg),*) },
                    // SAFETY: as above.
                    None => unsafe { kernel($number, &$args) as $answer },
                }
            }

            // A hook's own frame must not unwind.
            #[cold]
            #[inline(never)]
            extern "C" fn of_attach($($arg: $type),*) -> $answer {
                let next = next();
                // SAFETY: the host asked for it.
                around($failed, || $word(unsafe { real(next, $($arg),*) }), $track) as $answer
            }

            if $concerns {
                return of_attach($($arg),*);
            }
            // SAFETY: the caller's promise is passed on.
            unsafe { real(next(), $($arg),*) }
        }
    };
}

tracked!(munmap(addr: *mut c_void, length: size_t) -> c_int;
    kernel libc::SYS_munmap, [addr as usize, length];
    concerns changes() && registry::may_touch(addr as u64, length as u64);
    track |real| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(length as u64);
        registry::munmap(addr as u64, length as u64, real)
    }, identity, -1);

// An old length of 0 asks for a second view of the mapping that begins there.
tracked!(mremap(
        old: *mut c_void, old_length: size_t, new_length: size_t, flags: c_int, new: *mut c_void
    ) -> *mut c_void;
    kernel libc::SYS_mremap, [old as usize, old_length, new_length, flags as usize, new as usize];
    concerns changes() && (registry::may_touch(old as u64, old_length.max(1) as u64)
        || flags & libc::MREMAP_FIXED != 0 && registry::may_touch(new as u64, new_length as u64));
    track |real| {
        let (old_length, new_length) = (old_length as u64, new_length as u64);
        registry::mremap(old as u64, old_length, new_length, flags, new as u64, real)
    }, address, FAILED);

/// The program changes what is mapped: what was found of its buffers lately is forgotten.
#[inline(always)]
pub fn changes() -> bool {
    usermem::forget_pages();
    true
}

/// Whether these flags of mmap put the mapping where another may be.
#[inline]
pub fn replaces(flags: c_int) -> bool {
    flags & (libc::MAP_FIXED | MAP_FIXED_NOREPLACE) == libc::MAP_FIXED
}

/// mmap and its 64-bit twin: they differ in the type of the offset alone.
macro_rules! mmap {
    ($name:ident, $offset:ty) => {
        tracked!($name(
                addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: $offset
            ) -> *mut c_void;
            kernel raw::number::MMAP, [
                addr as usize, length, prot as usize, flags as usize, fd as usize, kernel_offset(offset.into())
            ];
            concerns replaces(flags) && changes() && registry::may_touch(addr as u64, length as u64);
            track |real| registry::mmap_fixed(addr as u64, length as u64, real), address, FAILED);
    };
}

mmap!(mmap, off_t);
#[cfg(target_env = "gnu")]
mmap!(mmap64, libc::off64_t);

// Only whether children inherit a mapping concerns us.
tracked!(madvise(addr: *mut c_void, length: size_t, advice: c_int) -> c_int;
    kernel libc::SYS_madvise, [addr as usize, length, advice as usize];
    concerns (advice == libc::MADV_DONTFORK || advice == libc::MADV_DOFORK)
        && registry::may_touch(addr as u64, length as u64);
    track |real| registry::madvise(addr as u64, length as u64, advice, real), identity, -1);

/// The offset as the kernel's mmap wants it: where a word has 32 bits, in units of 4096 bytes.
fn kernel_offset(offset: i64) -> usize {
    if cfg!(target_pointer_width = "32") {
        (offset >> 12) as usize
    } else {
        offset as usize
    }
}

/// What mmap or mremap answered, as the core has it: `u64::MAX` is `MAP_FAILED`, however wide a pointer is.
fn address(answer: *mut c_void) -> u64 {
    if answer == libc::MAP_FAILED {
        FAILED
    } else {
        answer as u64
    }
}

const FAILED: u64 = u64::MAX;
