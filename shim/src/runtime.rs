//! What the compiler, the standard library and the unwinder ask of libc, brought along.
//!
//! A host may define `memmove`, `malloc` or `getenv` itself, or preload a library that does (ThreadSanitizer, an
//! allocator, a profiler). That code then runs wherever we copy something, with our lock held, and may call us. So these
//! functions are our own: the names below are defined for the linker alone, and are neither exported nor looked up.
//!
//! Memory from a heap is needed for nothing but a panic, whose message is dropped at the border: it comes from pages.
#![cfg_attr(test, allow(dead_code, unused_macros))] // The tests' own program keeps libc's names.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::ffi::{c_char, c_int, c_void};

use shmshim_core::os::raw;

/// Defines a name of libc's as a function of ours, inside of this library only.
macro_rules! local {
    ($($name:literal is $ours:path;)*) => {$(
        #[cfg(not(test))]
        core::arch::global_asm!(
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ", %function"),
            concat!($name, ":"),
            jump!(),
            concat!(".size ", $name, ", . - ", $name),
            ours = sym $ours,
        );
    )*};
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
macro_rules! jump {
    () => {
        "jmp {ours}"
    };
}
#[cfg(target_arch = "riscv64")]
macro_rules! jump {
    () => {
        "tail {ours}"
    };
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64")))]
macro_rules! jump {
    () => {
        "b {ours}"
    };
}

local! {
    "memcpy" is copy;
    "memmove" is copy;
    "memset" is fill;
    "memcmp" is compare;
    "bcmp" is compare;
    "strlen" is length;
    "getenv" is nothing;
    "malloc" is nothing;
    "calloc" is nothing;
    "realloc" is nothing;
    "posix_memalign" is no_aligned_memory;
    "free" is nothing_to_free;
}

/// Keeps the compiler from seeing that a loop is `memcpy`, which it would call: itself.
#[inline(always)]
fn not_a_call() {
    // SAFETY: no instruction at all.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

const WORD: usize = size_of::<usize>();

/// Copies what a `T` has bytes, from one place to the other.
///
/// # Safety
/// Both places have so many bytes.
#[inline(always)]
unsafe fn carry<T: Copy>(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's promise.
    unsafe {
        to.cast::<T>()
            .write_unaligned(from.cast::<T>().read_unaligned())
    };
    not_a_call();
}

/// Copies `len` bytes; the places may overlap. Most copies here are of some hundred bytes, on the way of every call.
unsafe extern "C" fn copy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: all that is touched lies within the caller's `len` bytes. Where `to` lies inside of what is read, copying
    // begins at the end, so that nothing is overwritten before it was read.
    unsafe {
        if (to as usize).wrapping_sub(from as usize) < len {
            let mut left = len;
            while left >= WORD {
                left -= WORD;
                carry::<usize>(to.add(left), from.add(left));
            }
            while left > 0 {
                left -= 1;
                carry::<u8>(to.add(left), from.add(left));
            }
            return to;
        }
        let mut at = 0;
        while len - at >= 2 * size_of::<u128>() {
            carry::<u128>(to.add(at), from.add(at));
            at += size_of::<u128>();
            carry::<u128>(to.add(at), from.add(at));
            at += size_of::<u128>();
        }
        while len - at >= WORD {
            carry::<usize>(to.add(at), from.add(at));
            at += WORD;
        }
        while at < len {
            carry::<u8>(to.add(at), from.add(at));
            at += 1;
        }
    }
    to
}

/// Sets `len` bytes to the lowest of `value`.
unsafe extern "C" fn fill(to: *mut u8, value: c_int, len: usize) -> *mut u8 {
    let byte = value as u8;
    let wide = u128::from_ne_bytes([byte; size_of::<u128>()]);
    let mut at = 0;
    // SAFETY: all that is touched lies within the caller's `len` bytes.
    unsafe {
        while len - at >= size_of::<u128>() {
            to.add(at).cast::<u128>().write_unaligned(wide);
            at += size_of::<u128>();
            not_a_call();
        }
        while at < len {
            *to.add(at) = byte;
            at += 1;
            not_a_call();
        }
    }
    to
}

/// Which of two places is the greater: the difference of the first bytes that differ, else 0.
unsafe extern "C" fn compare(one: *const u8, other: *const u8, len: usize) -> c_int {
    let mut at = 0;
    // SAFETY: all that is touched lies within the caller's `len` bytes.
    unsafe {
        while at < len {
            let difference = c_int::from(*one.add(at)) - c_int::from(*other.add(at));
            if difference != 0 {
                return difference;
            }
            at += 1;
            not_a_call();
        }
    }
    0
}

/// How many bytes stand before the first NUL.
unsafe extern "C" fn length(text: *const c_char) -> usize {
    let mut at = 0;
    // SAFETY: the caller's text ends with a NUL, and nothing behind that is read.
    while unsafe { *text.add(at) } != 0 {
        at += 1;
        not_a_call();
    }
    at
}

/// The standard library asks for `RUST_BACKTRACE` where a panic is printed; none of ours is. The unwinder asks for memory
/// where it was handed tables by hand (`__register_frame`), which no code does here.
extern "C" fn nothing() -> *mut c_void {
    core::ptr::null_mut()
}

extern "C" fn no_aligned_memory() -> c_int {
    libc::ENOMEM
}

extern "C" fn nothing_to_free(_memory: *mut c_void) {}

/// Pages of their own for each piece of memory.
struct Pages;

#[cfg_attr(not(test), global_allocator)]
static HEAP: Pages = Pages;

// SAFETY: each piece has pages of its own, which are aligned for whatever a type here asks, and stay until it is freed.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        let args = [0, layout.size(), prot, flags, usize::MAX];
        // SAFETY: a new mapping, at an address of the kernel's choice.
        unsafe { raw::call(raw::number::MMAP, args) }.unwrap_or(0) as *mut u8
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the pages that `alloc` mapped, which the caller uses no more.
        let _ = unsafe { raw::call(libc::SYS_munmap, [memory as usize, layout.size()]) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_fills_what_was_asked_and_no_more() {
        for (from, to) in (0..20).flat_map(|from| (0..20).map(move |to| (from, to))) {
            for len in 0..40 {
                let mut ours: Vec<u8> = (0..64).collect();
                let mut expected = ours.clone();
                let at = ours.as_mut_ptr();
                // SAFETY: within the array.
                unsafe { copy(at.add(to), at.add(from), len) };
                expected.copy_within(from..from + len, to);
                assert_eq!(ours, expected, "{from} {to} {len}");
                // SAFETY: within the array.
                unsafe { fill(ours.as_mut_ptr().add(to), 0x1aa, len) };
                expected[to..to + len].fill(0xaa);
                assert_eq!(ours, expected, "{to} {len}");
            }
        }
    }

    #[test]
    fn compares_as_the_bytes_are_ordered() {
        for len in 1..40 {
            let one = vec![7u8; len];
            for at in 0..len {
                let mut other = one.clone();
                // SAFETY: both are as long as said.
                let mut compared = |value| unsafe {
                    other[at] = value;
                    compare(one.as_ptr(), other.as_ptr(), len).signum()
                };
                assert_eq!((compared(7), compared(200), compared(0)), (0, -1, 1));
            }
            // SAFETY: the text ends with a NUL.
            let counted = unsafe { length([&one[..], &[0]].concat().as_ptr().cast()) };
            assert_eq!(counted, len);
        }
    }
}
