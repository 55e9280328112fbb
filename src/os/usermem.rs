//! Copies to and from the caller's buffers that fail instead of crashing.
//!
//! The kernel answers `EFAULT` where a plain copy would raise SIGSEGV. So each page that a copy touches is first
//! offered to a system call that reads or writes there and changes nothing: `rt_sigprocmask`, the one call that a
//! program confined by a seccomp filter must allow anyway. Another thread that unmaps the buffer between the
//! probe and the copy can still crash the program, as it can crash any copy of its own.
//!
//! What was probed lately is remembered for a while. Most buffers lie on the stack, a little above our own
//! frame: a buffer on the same page needs no probe ([`Frame`]).

use super::map::Span;
use super::signal_mask::{Mask, change};
use super::{OsError, raw};

const PROBE_BYTES: usize = size_of::<Mask>();

/// Copies `bytes` to the caller's address `dst`. `false` when any byte there cannot be written (`EFAULT`).
#[must_use]
pub fn copy_out(dst: u64, bytes: &[u8]) -> bool {
    let Some(dst) = writable(dst, bytes.len()) else {
        return false;
    };
    // SAFETY: every page of the range has just been written by the kernel on our behalf; source and target cannot
    // overlap, for the source is ours.
    unsafe { copy(dst, bytes.as_ptr() as usize, bytes.len()) };
    true
}

/// Fills `bytes` from the caller's address `src`. `false` when any byte there cannot be read (`EFAULT`).
#[must_use]
pub fn copy_in(src: u64, bytes: &mut [u8]) -> bool {
    let Some(src) = readable(src, bytes.len()) else {
        return false;
    };
    // SAFETY: every page of the range has just been read by the kernel on our behalf.
    unsafe { copy(bytes.as_mut_ptr() as usize, src, bytes.len()) };
    true
}

/// Copies the caller's `len` bytes at `src` to the beginning of shared memory. `false` when any byte there cannot be read
/// (`EFAULT`).
#[must_use]
pub fn copy_in_shared(src: u64, to: Span<'_>, len: usize) -> bool {
    let Some(src) = readable(src, len).filter(|_| len <= to.len_bytes()) else {
        return false;
    };
    // SAFETY: every page of the range has just been read by the kernel on our behalf; the target is shared memory of its own,
    // to which nobody has a reference but to atomics.
    unsafe { copy(to.address() as usize, src, len) };
    true
}

/// Copies `len` bytes from the beginning of shared memory to the caller's address `dst`. `false` when any byte there cannot be
/// written (`EFAULT`).
#[must_use]
pub fn copy_out_shared(dst: u64, from: Span<'_>, len: usize) -> bool {
    let Some(dst) = writable(dst, len).filter(|_| len <= from.len_bytes()) else {
        return false;
    };
    // SAFETY: every page of the range has just been written by the kernel on our behalf; the source is shared memory of its
    // own.
    unsafe { copy(dst, from.address() as usize, len) };
    true
}

/// Whether the caller's `len` bytes at `src` can be read.
#[must_use]
pub fn can_read(src: u64, len: usize) -> bool {
    readable(src, len).is_some()
}

/// Copies between two places, of which on x86 and AArch64 one may be page zero: a program may have mapped that, and then NULL leads
/// to a buffer like any other. To Rust it never does.
unsafe fn copy(to: usize, from: usize, len: usize) {
    // SAFETY: the caller has made sure of both places, which do not overlap. The direction flag is clear, as the ABI wants
    // it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: as above; esi is not the compiler's to give, so it is put back.
    #[cfg(target_arch = "x86")]
    unsafe {
        core::arch::asm!(
            "xchg esi, eax",
            "rep movsb",
            "xchg esi, eax",
            inout("ecx") len => _,
            inout("edi") to => _,
            inout("eax") from => _,
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "2: cbz {len}, 3f",
            "ldrb {byte:w}, [{from}], #1",
            "strb {byte:w}, [{to}], #1",
            "sub {len}, {len}, #1",
            "b 2b",
            "3:",
            len = inout(reg) len => _,
            to = inout(reg) to => _,
            from = inout(reg) from => _,
            byte = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: as above, and neither place is page zero.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    unsafe {
        core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, len);
    }
}

/// A place on the stack of the running thread. The page that it lies on can be read and written: we stand on it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Frame(usize);

impl Frame {
    /// The frame that `local`, a variable of it, lies in.
    #[inline(always)]
    pub fn of(local: &u8) -> Frame {
        Frame(core::ptr::from_ref(local) as usize)
    }

    /// Whether all of the range lies on the frame's page, as most buffers of a caller do: then no probe is needed.
    #[inline(always)]
    fn shares_its_page_with(self, addr: u64, len: usize) -> bool {
        if len == 0 {
            return false;
        }
        let within = !(super::process::page_size() - 1);
        usize::try_from(addr).is_ok_and(|addr| {
            let last = addr.wrapping_add(len - 1);
            (addr ^ self.0) & within == 0 && (last ^ self.0) & within == 0
        })
    }
}

/// [`copy_out`], for a caller whose frame, or one that it was called from, is `frame`.
#[must_use]
#[inline]
pub fn copy_out_near(frame: Frame, dst: u64, bytes: &[u8]) -> bool {
    if !frame.shares_its_page_with(dst, bytes.len()) {
        return copy_out(dst, bytes);
    }
    // SAFETY: the range lies on one page, that of the running thread's stack; source and target cannot overlap, for the
    // source is ours.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), dst as *mut u8, bytes.len()) };
    true
}

/// [`copy_in`], for a caller whose frame, or one that it was called from, is `frame`.
#[must_use]
#[inline]
pub fn copy_in_near(frame: Frame, src: u64, bytes: &mut [u8]) -> bool {
    if !frame.shares_its_page_with(src, bytes.len()) {
        return copy_in(src, bytes);
    }
    // SAFETY: the range lies on one page, that of the running thread's stack; source and target cannot overlap, for the
    // target is ours.
    unsafe { core::ptr::copy_nonoverlapping(src as *const u8, bytes.as_mut_ptr(), bytes.len()) };
    true
}

/// The address as a pointer has it, where `len` bytes there end below the end of all addresses.
fn within_reach(addr: u64, len: usize) -> Option<usize> {
    let may_be_zero = cfg!(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64"
    ));
    let addr = usize::try_from(addr).ok()?;
    addr.checked_add(len)?;
    (may_be_zero || addr != 0).then_some(addr)
}

/// The address, once eight bytes of each page of the range could be written: the first, the last, and those at the
/// beginning of each page between. They are all in the range. What is shorter is written to as it is.
#[inline]
fn writable(addr: u64, len: usize) -> Option<usize> {
    let addr = within_reach(addr, len)?;
    if known::has(&known::WRITABLE, addr, len) {
        return Some(addr);
    }
    let found = probe_to_write(addr, len)?;
    known::add(&known::WRITABLE, addr, len);
    Some(found)
}

#[inline(never)]
fn probe_to_write(addr: usize, len: usize) -> Option<usize> {
    if len < PROBE_BYTES {
        return (len == 0 || can_write_short(addr, len)).then_some(addr);
    }
    let page = super::process::page_size();
    let last = addr + len - PROBE_BYTES;
    // Within one page the first probe speaks for all of it.
    let is_one_page = addr / page == (last + PROBE_BYTES - 1) / page;
    let others = || {
        (addr / page + 1..=last / page).all(|number| can_write(number * page)) && can_write(last)
    };
    // The kernel takes NULL for "do not", so page zero is tried a byte further on.
    (can_write(addr.max(1)) && (is_one_page || others())).then_some(addr)
}

/// The address, once eight bytes of each page of the range could be read, which need not be in the range.
#[inline]
fn readable(addr: u64, len: usize) -> Option<usize> {
    let addr = within_reach(addr, len)?;
    if len == 0 || known::has(&known::READABLE, addr, len) {
        return Some(addr);
    }
    let found = probe_to_read(addr, len)?;
    known::add(&known::READABLE, addr, len);
    Some(found)
}

#[inline(never)]
fn probe_to_read(addr: usize, len: usize) -> Option<usize> {
    let page = super::process::page_size();
    let (first, last) = (addr / page, (addr + len - 1) / page);
    // As above, of NULL; and the first probe ends where its page does.
    let in_first = addr.clamp(1, first * page + page - PROBE_BYTES);
    let can_read_others = || (first + 1..=last).all(|number| can_read_word(number * page));
    (can_read_word(in_first) && can_read_others()).then_some(addr)
}

/// Pages that a probe has found lately: programs use the same few buffers again and again, and a probe takes as long as half a
/// call. They are forgotten when the program changes its mappings. It may take the right to a page away without our knowledge
/// (`mprotect`, a bare system call), and then pass that page: that is a crash here, and `EFAULT` on the kernel.
mod known {
    use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    const COUNT: usize = 8;
    /// By number, each in the place that its number leads to.
    pub type Pages = [AtomicUsize; COUNT];
    pub static READABLE: Pages = [const { AtomicUsize::new(0) }; COUNT];
    pub static WRITABLE: Pages = [const { AtomicUsize::new(0) }; COUNT];
    /// Whether there are any.
    static ANY: AtomicBool = AtomicBool::new(false);

    #[inline(always)]
    fn pages_of(addr: usize, len: usize) -> core::ops::RangeInclusive<usize> {
        let page = crate::os::process::page_size();
        addr / page..=(addr + len.max(1) - 1) / page
    }

    /// Whether all pages of a range are known. Page zero never is.
    #[inline(always)]
    pub fn has(pages: &Pages, addr: usize, len: usize) -> bool {
        pages_of(addr, len).all(|number| {
            number != 0
                && pages
                    .get(number % COUNT)
                    .is_some_and(|page| page.load(Relaxed) == number)
        })
    }

    /// They are known from now on.
    pub fn add(pages: &Pages, addr: usize, len: usize) {
        ANY.store(true, Relaxed);
        for number in pages_of(addr, len) {
            if let Some(page) = pages.get(number % COUNT) {
                page.store(number, Relaxed);
            }
        }
    }

    /// None is known any more.
    #[inline(always)]
    pub fn forget() {
        if ANY.load(Relaxed) {
            ANY.store(false, Relaxed);
            for page in READABLE.iter().chain(&WRITABLE) {
                page.store(0, Relaxed);
            }
        }
    }
}

/// The program is about to change its mappings: what was found of them is forgotten.
#[inline(always)]
pub fn forget_pages() {
    known::forget();
}

fn can_write(addr: usize) -> bool {
    // SAFETY: asking for the current mask only, for a place that is about to be written.
    unsafe { change(libc::SIG_BLOCK, 0, addr) }.is_ok()
}

/// The same, of fewer bytes than a mask has. What signals wait for the thread is told in as many bytes as are asked for.
fn can_write_short(addr: usize, len: usize) -> bool {
    // SAFETY: a place that is about to be written, of this length.
    match unsafe { raw::call(libc::SYS_rt_sigpending, [addr, len]) } {
        Ok(_) => true,
        Err(OsError(libc::EFAULT)) => false,
        // A filter forbids it: then it is tried whether there is anything at all.
        Err(_) => readable(addr as u64, len).is_some(),
    }
}

/// The kernel reads the set before it looks what is to be done with it.
fn can_read_word(addr: usize) -> bool {
    const NOTHING: i32 = -1;
    // SAFETY: there is no such change, so none is made.
    let changed = unsafe { change(NOTHING, addr, 0) };
    changed == Err(OsError(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_both_ways() {
        let mut there = [0u8; 112];
        let here = [7u8; 112];
        assert!(copy_out(there.as_mut_ptr() as u64, &here));
        assert_eq!(there, here);
        let mut back = [0u8; 112];
        assert!(copy_in(there.as_ptr() as u64, &mut back));
        assert_eq!(back, here);
    }

    #[test]
    fn a_buffer_beside_the_frame_is_known_to_be_there() {
        // A page of its own, so that it is certain what shares it.
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let mut page = Page([0; 4096]);
        let bytes = [7u8; 112];
        let frame = Frame::of(&page.0[100]);
        let at = page.0.as_mut_ptr() as u64;
        assert!(frame.shares_its_page_with(at, 112));
        assert!(frame.shares_its_page_with(at + 4096 - 112, 112));
        assert!(!frame.shares_its_page_with(at + 4096 - 111, 112));
        assert!(!frame.shares_its_page_with(at.wrapping_sub(1), 112));
        assert!(!frame.shares_its_page_with(u64::MAX - 50, 112));
        assert!(copy_out_near(frame, at + 200, &bytes));
        assert_eq!(page.0[200..312], bytes);
        assert!(!copy_out_near(frame, 4096, &bytes), "not beside it");
    }

    /// A page that can be read and written, between two that cannot be touched.
    struct Lone(usize);

    impl Lone {
        fn new(access: i32) -> Lone {
            let page = super::super::process::page_size();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping of our own, of which the outer pages are closed.
            unsafe {
                let start = libc::mmap(core::ptr::null_mut(), 3 * page, access, flags, -1, 0);
                assert_ne!(start, libc::MAP_FAILED);
                assert_eq!(libc::mprotect(start, page, libc::PROT_NONE), 0);
                let behind = start.byte_add(2 * page);
                assert_eq!(libc::mprotect(behind, page, libc::PROT_NONE), 0);
                // Another test's page may have been there before.
                forget_pages();
                Lone(start as usize + page)
            }
        }
    }

    impl Drop for Lone {
        fn drop(&mut self) {
            let page = super::super::process::page_size();
            // SAFETY: our own mapping.
            unsafe { libc::munmap((self.0 - page) as *mut libc::c_void, 3 * page) };
        }
    }

    #[test]
    fn short_buffers_at_the_edges_of_a_page_are_used_and_no_byte_more() {
        let page = super::super::process::page_size();
        let lone = Lone::new(libc::PROT_READ | libc::PROT_WRITE);
        let start = lone.0 as u64;
        let end = start + page as u64;
        for len in 1..20 {
            let bytes = vec![7u8; len];
            let mut back = vec![0u8; len];
            for at in [start, end - len as u64] {
                assert!(copy_out(at, &bytes) && copy_in(at, &mut back));
                assert_eq!(back, bytes);
            }
            for at in [start - 1, end - len as u64 + 1, end] {
                assert!(!copy_out(at, &bytes) && !copy_in(at, &mut back));
            }
        }
        assert!(copy_out(end, &[]) && copy_in(end, &mut []));
        let middle = start + 100;
        assert!(copy_out(middle, &[1; 24]) && copy_out(middle + 8, &[2; 3]));
        let mut all = [0; 24];
        assert!(copy_in(middle, &mut all));
        assert_eq!(all[..12], [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1]);
    }

    #[test]
    fn what_was_found_is_forgotten_when_mappings_change() {
        let lone = Lone::new(libc::PROT_READ | libc::PROT_WRITE);
        let (at, page) = (lone.0 as u64, super::super::process::page_size());
        assert!(copy_out(at, &[1; 100]) && copy_out(at + 100, &[1; 100]));
        // SAFETY: a page of our own.
        unsafe { libc::mprotect(lone.0 as *mut libc::c_void, page, libc::PROT_NONE) };
        forget_pages();
        assert!(!copy_out(at, &[1; 100]) && !can_read(at, 100));
    }

    #[test]
    fn what_is_read_only_is_read_and_not_written() {
        let lone = Lone::new(libc::PROT_READ);
        let at = lone.0 as u64;
        for len in [1, 6, 8, 100] {
            assert!(can_read(at, len));
            assert!(!copy_out(at, &vec![1; len]));
        }
    }

    #[test]
    fn a_probe_blocks_no_signal() {
        let mask = || {
            let mut set = 0u64;
            let at = &raw mut set as usize;
            // SAFETY: asks for the mask, in a live local.
            unsafe { change(libc::SIG_BLOCK, 0, at) }.unwrap();
            set
        };
        let before = mask();
        assert!(copy_in([0xffu8; 16].as_ptr() as u64, &mut [0; 16]));
        assert_eq!(mask(), before);
    }

    #[test]
    fn bad_addresses_are_refused() {
        let mut bytes = [0u8; 112];
        for bad in [
            0u64,
            1,
            4096,
            u64::MAX,
            u64::MAX - 50,
            0xffff_8000_0000_0000,
        ] {
            assert!(!copy_out(bad, &bytes), "{bad:#x}");
            assert!(!copy_in(bad, &mut bytes), "{bad:#x}");
        }
        assert!(
            !copy_out(copy_in as *const () as u64, &bytes),
            "text is read-only"
        );
    }
}
