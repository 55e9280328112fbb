//! munmap, mremap, mmap and madvise: passed straight on unless they concern one of this process's attaches.
//!
//! When they do, the core updates its attach list around the real call. `errno` is then what the real call left
//! on failure, and untouched on success; and the real call is made exactly once, whatever happens in our code.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::{off_t, size_t};
use shmshim_core::os::{errno, raw, threads};
use shmshim_core::registry;

use crate::next::next;
use crate::panic_guard;

/// mmap(2): never replaces what is there. Stronger than `MAP_FIXED`.
const MAP_FIXED_NOREPLACE: c_int = 0x10_0000;

/// Straight to the kernel, for the moment in which the function behind ours is still being looked up.
unsafe fn kernel<const N: usize>(number: libc::c_long, args: [usize; N]) -> isize {
    // SAFETY: the caller's promise is passed on.
    match unsafe { raw::call(number, args) } {
        Ok(answer) => answer as isize,
        Err(error) => {
            errno::set(error.0);
            -1
        }
    }
}

// The function behind ours is looked up before the core is asked, and not in the call that the core makes with its lock
// held: `dlsym` waits for a thread that loads a library, whose constructors may make calls that take that lock.

/// The thread that is making a real call in the midst of one of ours. There is one at most: the core's lock is held.
static MAKING: AtomicUsize = AtomicUsize::new(0);

/// Whether this thread is: then a function that was put in libc's place comes here, and what it does is counted already.
pub fn is_in_real_call() -> bool {
    MAKING.load(Relaxed) == threads::id()
}

/// Lets `track` make the `real` call, and sets `errno` as that call would have.
///
/// `extern "C"` around it is what each caller adds: a hook's own frame must not unwind.
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

/// munmap(2).
///
/// # Safety
/// As libc's, and so for all in this file.
#[inline]
pub unsafe fn munmap(addr: *mut c_void, length: size_t) -> c_int {
    if registry::may_touch(addr as u64, length as u64) {
        return unmap_attach(addr, length);
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { real_munmap(next_munmap(), addr, length) }
}

type Munmap = unsafe extern "C" fn(*mut c_void, size_t) -> c_int;

#[inline]
fn next_munmap() -> Option<Munmap> {
    next!(munmap: Munmap)
}

#[inline]
unsafe fn real_munmap(next: Option<Munmap>, addr: *mut c_void, length: size_t) -> c_int {
    match next {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(addr, length) },
        // SAFETY: as above.
        None => unsafe { kernel(libc::SYS_munmap, [addr as usize, length]) as c_int },
    }
}

#[cold]
#[inline(never)]
extern "C" fn unmap_attach(addr: *mut c_void, length: size_t) -> c_int {
    let next = next_munmap();
    around(
        -1,
        // SAFETY: the host asked for it.
        || unsafe { real_munmap(next, addr, length) },
        |real| {
            #[cfg(feature = "panic-test")]
            crate::panic_test::perhaps(length as u64);
            registry::munmap(addr as u64, length as u64, real)
        },
    )
}

/// mremap(2).
///
/// # Safety
/// As libc's.
#[inline]
pub unsafe fn mremap(
    old: *mut c_void,
    old_length: size_t,
    new_length: size_t,
    flags: c_int,
    new: *mut c_void,
) -> *mut c_void {
    // An old length of 0 asks for a second view of the mapping that begins there.
    let concerns = registry::may_touch(old as u64, old_length.max(1) as u64)
        || flags & libc::MREMAP_FIXED != 0 && registry::may_touch(new as u64, new_length as u64);
    if concerns {
        return remap_attach(old, old_length, new_length, flags, new);
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { real_mremap(next_mremap(), old, old_length, new_length, flags, new) }
}

type Mremap = unsafe extern "C" fn(*mut c_void, size_t, size_t, c_int, ...) -> *mut c_void;

#[inline]
fn next_mremap() -> Option<Mremap> {
    next!(mremap: Mremap)
}

#[inline]
unsafe fn real_mremap(
    next: Option<Mremap>,
    old: *mut c_void,
    old_length: size_t,
    new_length: size_t,
    flags: c_int,
    new: *mut c_void,
) -> *mut c_void {
    match next {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(old, old_length, new_length, flags, new) },
        // SAFETY: as above.
        None => unsafe {
            kernel(
                libc::SYS_mremap,
                [
                    old as usize,
                    old_length,
                    new_length,
                    flags as usize,
                    new as usize,
                ],
            ) as *mut c_void
        },
    }
}

#[cold]
#[inline(never)]
extern "C" fn remap_attach(
    old: *mut c_void,
    old_length: size_t,
    new_length: size_t,
    flags: c_int,
    new: *mut c_void,
) -> *mut c_void {
    let next = next_mremap();
    around(
        FAILED,
        // SAFETY: the host asked for it.
        || address(unsafe { real_mremap(next, old, old_length, new_length, flags, new) }),
        |real| {
            registry::mremap(
                old as u64,
                old_length as u64,
                new_length as u64,
                flags,
                new as u64,
                real,
            )
        },
    ) as *mut c_void
}

/// Whether these flags of mmap put the mapping where another may be.
#[inline]
pub fn replaces(flags: c_int) -> bool {
    flags & (libc::MAP_FIXED | MAP_FIXED_NOREPLACE) == libc::MAP_FIXED
}

type Mmap<Offset> =
    unsafe extern "C" fn(*mut c_void, size_t, c_int, c_int, c_int, Offset) -> *mut c_void;

/// Makes mmap and its 64-bit twin: they differ in the type of the offset alone.
macro_rules! mmap {
    ($name:ident, $next:ident, $real:ident, $over:ident, $offset:ty) => {
        /// mmap(2).
        ///
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(
            addr: *mut c_void,
            length: size_t,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            offset: $offset,
        ) -> *mut c_void {
            if replaces(flags) && registry::may_touch(addr as u64, length as u64) {
                return $over(addr, length, prot, flags, fd, offset);
            }
            // SAFETY: the caller's promise is passed on.
            unsafe { $real($next(), addr, length, prot, flags, fd, offset) }
        }

        #[inline]
        fn $next() -> Option<Mmap<$offset>> {
            next!($name: Mmap<$offset>)
        }

        #[inline]
        unsafe fn $real(
            next: Option<Mmap<$offset>>,
            addr: *mut c_void,
            length: size_t,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            offset: $offset,
        ) -> *mut c_void {
            match next {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real(addr, length, prot, flags, fd, offset) },
                // SAFETY: as above.
                None => unsafe {
                    let offset = kernel_offset(offset.into());
                    let args = [addr as usize, length, prot as usize, flags as usize];
                    let [addr, length, prot, flags] = args;
                    kernel(raw::number::MMAP, [addr, length, prot, flags, fd as usize, offset]) as *mut c_void
                },
            }
        }

        #[cold]
        #[inline(never)]
        extern "C" fn $over(
            addr: *mut c_void,
            length: size_t,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            offset: $offset,
        ) -> *mut c_void {
            let next = $next();
            around(
                FAILED,
                // SAFETY: the host asked for it.
                || address(unsafe { $real(next, addr, length, prot, flags, fd, offset) }),
                |real| registry::mmap_fixed(addr as u64, length as u64, real),
            ) as *mut c_void
        }
    };
}

mmap!(mmap, next_mmap, real_mmap, map_over_attach, off_t);
#[cfg(target_env = "gnu")]
mmap!(
    mmap64,
    next_mmap64,
    real_mmap64,
    map64_over_attach,
    libc::off64_t
);

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

/// madvise(2): only whether children inherit a mapping concerns us.
///
/// # Safety
/// As libc's.
#[inline]
pub unsafe fn madvise(addr: *mut c_void, length: size_t, advice: c_int) -> c_int {
    let inheritance = advice == libc::MADV_DONTFORK || advice == libc::MADV_DOFORK;
    if inheritance && registry::may_touch(addr as u64, length as u64) {
        return advise_attach(addr, length, advice);
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { real_madvise(next_madvise(), addr, length, advice) }
}

type Madvise = unsafe extern "C" fn(*mut c_void, size_t, c_int) -> c_int;

#[inline]
fn next_madvise() -> Option<Madvise> {
    next!(madvise: Madvise)
}

#[inline]
unsafe fn real_madvise(
    next: Option<Madvise>,
    addr: *mut c_void,
    length: size_t,
    advice: c_int,
) -> c_int {
    match next {
        // SAFETY: the caller's promise is passed on.
        Some(real) => unsafe { real(addr, length, advice) },
        // SAFETY: as above.
        None => unsafe {
            let args = [addr as usize, length, advice as usize];
            kernel(libc::SYS_madvise, args) as c_int
        },
    }
}

#[cold]
#[inline(never)]
extern "C" fn advise_attach(addr: *mut c_void, length: size_t, advice: c_int) -> c_int {
    let next = next_madvise();
    around(
        -1,
        // SAFETY: the host asked for it.
        || unsafe { real_madvise(next, addr, length, advice) },
        |real| registry::madvise(addr as u64, length as u64, advice, real),
    )
}
