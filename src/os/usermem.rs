//! Copies to and from the caller's buffers that fail instead of crashing.
//!
//! The kernel answers `EFAULT` where a plain copy would raise SIGSEGV. So each page that a copy touches is first
//! offered to a system call that reads or writes there and changes nothing: `rt_sigprocmask`, the one call that a
//! program confined by a seccomp filter must allow anyway. Another thread that unmaps the buffer between the
//! probe and the copy can still crash the program, as it can crash any copy of its own.
//!
//! Most buffers lie on the stack, a little above our own frame: one that is to be filled on the same page needs no probe
//! ([`Frame`]).

use super::map::Span;
use super::signal_mask::{Blocked, Mask, change};

const PROBE_BYTES: usize = size_of::<Mask>();

/// Copies `bytes` to the caller's address `dst`. `false` when any byte there cannot be written (`EFAULT`).
#[must_use]
pub fn copy_out(dst: u64, bytes: &[u8]) -> bool {
    let Some(dst) = probed(dst, bytes.len(), can_write) else {
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
    // With everything blocked, blocking "what stands at that address" too changes nothing: a read probe.
    let _blocked = Blocked::all();
    let Some(src) = probed(src, bytes.len(), can_read_blocked) else {
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
    if len == 0 {
        return true;
    }
    let Some(src) = probed_to_the_byte(src, len, can_read_at_all) else {
        return false;
    };
    if len > to.len_bytes() {
        return false;
    }
    // SAFETY: every page of the range has just been read by the kernel on our behalf; the target is shared memory of its own,
    // to which nobody has a reference but to atomics.
    unsafe { copy(to.address() as usize, src, len) };
    true
}

/// Copies `len` bytes from the beginning of shared memory to the caller's address `dst`. `false` when any byte there cannot be
/// written (`EFAULT`).
#[must_use]
pub fn copy_out_shared(dst: u64, from: Span<'_>, len: usize) -> bool {
    if len == 0 {
        return true;
    }
    let Some(dst) = probed_to_the_byte(dst, len, can_write) else {
        return false;
    };
    if len > from.len_bytes() {
        return false;
    }
    // SAFETY: every page of the range has just been written by the kernel on our behalf; the source is shared memory of its
    // own.
    unsafe { copy(dst, from.address() as usize, len) };
    true
}

/// Whether the caller's `len` bytes at `src` can be read.
#[must_use]
pub fn can_read(src: u64, len: usize) -> bool {
    len == 0 || probed_to_the_byte(src, len, can_read_at_all).is_some()
}

/// [`probed`], for buffers of less than eight bytes as well.
fn probed_to_the_byte(addr: u64, len: usize, probe: fn(usize) -> bool) -> Option<usize> {
    if len >= PROBE_BYTES {
        return probed(addr, len, probe);
    }
    let addr = usize::try_from(addr).ok()?;
    let last = addr.checked_add(len - 1)?;
    // A byte each, by a call that writes one and reads nothing: so nothing beside the buffer is touched.
    let page = super::process::page_size();
    let is_one_page = addr / page == last / page;
    let byte = |at| {
        if core::ptr::fn_addr_eq(probe, can_write as fn(usize) -> bool) {
            can_write_byte(at)
        } else {
            // Whatever stands in the same eight bytes lies on the same page.
            probe((at & !(PROBE_BYTES - 1)).max(1))
        }
    };
    (byte(addr) && (is_one_page || byte(last))).then_some(addr)
}

/// Whether one byte can be written: the kernel says there whether a page of ours is in memory.
fn can_write_byte(addr: usize) -> bool {
    let own = (&raw const PROBE_BYTES_OF_OURS as usize) & !(super::process::page_size() - 1);
    // SAFETY: what is about to be overwritten is written.
    unsafe { super::raw::call(libc::SYS_mincore, [own, 1, addr]) }.is_ok()
}
static PROBE_BYTES_OF_OURS: u64 = 0;

/// Whether eight bytes can be read: a call that changes nothing, for it has no such thing to do.
fn can_read_at_all(addr: usize) -> bool {
    const NO_SUCH_THING: i32 = 99;
    // SAFETY: the kernel reads the set, and refuses then what it is to do with it.
    let asked = unsafe { change(NO_SUCH_THING, addr, 0) };
    asked != Err(super::OsError(libc::EFAULT))
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

/// The address, once `probe` has found eight bytes of each page of the range: the first, the last, and those at the
/// beginning of each page between.
fn probed(addr: u64, len: usize, probe: fn(usize) -> bool) -> Option<usize> {
    let addr = usize::try_from(addr).ok()?;
    let may_be_zero = cfg!(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64"
    ));
    if len < PROBE_BYTES || (addr == 0 && !may_be_zero) {
        return None;
    }
    let page = super::process::page_size();
    let last = addr.checked_add(len)? - PROBE_BYTES;
    // Within one page the first probe speaks for all of it.
    let is_one_page = addr / page == (last + PROBE_BYTES - 1) / page;
    let others =
        || (addr / page + 1..=last / page).all(|number| probe(number * page)) && probe(last);
    // The kernel takes NULL for "do not", so page zero is tried a byte further on.
    (probe(addr.max(1)) && (is_one_page || others())).then_some(addr)
}

fn can_write(addr: usize) -> bool {
    // SAFETY: asking for the current mask only, for a place that is about to be written.
    unsafe { change(libc::SIG_BLOCK, 0, addr) }.is_ok()
}

fn can_read_blocked(addr: usize) -> bool {
    // SAFETY: all signals are blocked already, so blocking any set is no change.
    unsafe { change(libc::SIG_BLOCK, addr, 0) }.is_ok()
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
