//! Memory that other processes write too, and nothing but atomics on it; and what the host has mapped.

use super::file::Fd;
use super::pages::{PRIVATE, advise, map, unmap};
use super::{OsError, OsResult, raw, served};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The first `BYTES` of a file, mapped shared for as long as this lives.
///
/// There are no references to its bytes, only atomic words at checked offsets of its [blocks](Block). The compiler
/// checks those that it knows.
pub struct SharedMap<const BYTES: usize> {
    start: NonNull<u8>,
}

// SAFETY: only atomics are handed out.
unsafe impl<const BYTES: usize> Send for SharedMap<BYTES> {}
// SAFETY: only atomics are handed out.
unsafe impl<const BYTES: usize> Sync for SharedMap<BYTES> {}

impl<const BYTES: usize> SharedMap<BYTES> {
    /// Maps the beginning of `fd`. The descriptor may be closed afterwards.
    pub fn new(fd: &Fd) -> OsResult<SharedMap<BYTES>> {
        SharedMap::with_access(fd, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// The same for words that are only loaded: a store would raise SIGSEGV.
    pub fn read_only(fd: &Fd) -> OsResult<SharedMap<BYTES>> {
        SharedMap::with_access(fd, libc::PROT_READ)
    }

    fn with_access(fd: &Fd, protection: i32) -> OsResult<SharedMap<BYTES>> {
        let addr = map(0, BYTES, protection, libc::MAP_SHARED, fd.number())?;
        // Not worth its place in the host's core dumps; where that cannot be said, it costs nothing but that place.
        // SAFETY: a mapping of our own.
        let _ = unsafe { advise(addr, BYTES, libc::MADV_DONTDUMP) };
        let start = NonNull::new(addr as *mut u8).ok_or(OsError(libc::ENOMEM))?;
        Ok(SharedMap { start })
    }

    /// All of it.
    #[inline(always)]
    pub fn whole(&self) -> Block<'_, BYTES> {
        Block {
            start: self.start,
            map: PhantomData,
        }
    }
}

/// `LEN` bytes of a [`SharedMap`], aligned to 8.
#[derive(Clone, Copy)]
pub struct Block<'m, const LEN: usize> {
    start: NonNull<u8>,
    map: PhantomData<&'m AtomicU64>,
}

impl<'m, const LEN: usize> Block<'m, LEN> {
    /// The 32-bit word at byte `offset`; an offset outside or unaligned gets the word at 0.
    #[inline(always)]
    pub fn word32_at(self, offset: u32) -> &'m AtomicU32 {
        let offset = Self::checked(offset, 4);
        // SAFETY: in bounds, aligned, mapped for as long as the map; an integer of any value is valid.
        unsafe { &*self.start.as_ptr().add(offset).cast::<AtomicU32>() }
    }

    /// The 64-bit word at byte `offset`; an offset outside or unaligned gets the word at 0.
    #[inline(always)]
    pub fn word64_at(self, offset: u32) -> &'m AtomicU64 {
        let offset = Self::checked(offset, 8);
        // SAFETY: as above.
        unsafe { &*self.start.as_ptr().add(offset).cast::<AtomicU64>() }
    }

    /// The `PART` bytes from byte `offset` on, looked at once for all their words; an offset outside or unaligned gets
    /// the first `PART` bytes.
    #[inline(always)]
    pub fn block_at<const PART: usize>(self, offset: u32) -> Block<'m, PART> {
        const { assert!(PART % 8 == 0 && PART <= LEN) };
        let offset = Self::checked(offset, PART);
        Block {
            // SAFETY: in bounds of the block.
            start: unsafe { self.start.add(offset) },
            map: PhantomData,
        }
    }

    #[inline(always)]
    fn checked(offset: u32, size: usize) -> usize {
        let offset = offset as usize;
        // Offsets come from `layout`, with indices checked before; this is the fence behind that.
        if offset % size.min(8) == 0 && offset + size <= LEN {
            offset
        } else {
            debug_assert!(false, "offset {offset} is outside of the table");
            0
        }
    }

    /// The 32-bit word at byte `AT` of the block.
    #[inline(always)]
    pub fn word32<const AT: usize>(self) -> &'m AtomicU32 {
        const { assert!(AT % 4 == 0 && AT + 4 <= LEN) };
        // SAFETY: in the block, which is aligned and mapped for as long as the map; an integer of any value is valid.
        unsafe { &*self.start.as_ptr().add(AT).cast::<AtomicU32>() }
    }

    /// The 64-bit word at byte `AT` of the block.
    #[inline(always)]
    pub fn word64<const AT: usize>(self) -> &'m AtomicU64 {
        const { assert!(AT % 8 == 0 && AT + 8 <= LEN) };
        // SAFETY: as above.
        unsafe { &*self.start.as_ptr().add(AT).cast::<AtomicU64>() }
    }
}

impl<const BYTES: usize> Drop for SharedMap<BYTES> {
    fn drop(&mut self) {
        let _ = unmap(self.start.as_ptr() as usize, BYTES);
    }
}

/// A piece of a file, mapped shared for ever, whose length is known at run time: see [`Span`].
pub struct SharedPiece {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: only atomics are handed out.
unsafe impl Send for SharedPiece {}
// SAFETY: only atomics are handed out.
unsafe impl Sync for SharedPiece {}

impl SharedPiece {
    /// Maps `len` bytes of `fd` from `offset` on, a multiple of 64 KiB. The descriptor may be closed afterwards.
    pub fn new(fd: &Fd, offset: u64, len: usize, writable: bool) -> OsResult<SharedPiece> {
        let access = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let addr = super::pages::map_at(len, access, libc::MAP_SHARED, fd.number(), offset)?;
        // As in `with_access`.
        // SAFETY: a mapping of our own.
        let _ = unsafe { advise(addr, len, libc::MADV_DONTDUMP) };
        let start = NonNull::new(addr as *mut u8).ok_or(OsError(libc::ENOMEM))?;
        Ok(SharedPiece { start, len })
    }

    /// All of it.
    #[inline(always)]
    pub fn whole(&self) -> Span<'static> {
        Span {
            start: self.start,
            len: self.len,
            map: PhantomData,
        }
    }

    /// Ends the mapping, of which nothing was handed out.
    pub fn unmap(self) {
        let _ = unmap(self.start.as_ptr() as usize, self.len);
    }
}

/// Room for a piece of `LEN` bytes that is mapped when it is needed first, and stays.
pub struct LazyPiece<const LEN: usize>(AtomicUsize);

impl<const LEN: usize> LazyPiece<LEN> {
    /// Nothing is mapped yet.
    pub const fn empty() -> LazyPiece<LEN> {
        LazyPiece(AtomicUsize::new(0))
    }

    /// Its words, if it is mapped.
    #[inline(always)]
    pub fn get(&self) -> Option<Span<'static>> {
        let start = NonNull::new(self.0.load(Ordering::Acquire) as *mut u8)?;
        Some(Span {
            start,
            len: LEN,
            map: PhantomData,
        })
    }

    /// Puts a piece there, and takes what another thread has put there before. `None`: it has another length.
    pub fn put(&self, piece: SharedPiece) -> Option<Span<'static>> {
        let address = piece.start.as_ptr() as usize;
        let is_ours = piece.len == LEN
            && self
                .0
                .compare_exchange(0, address, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if !is_ours {
            piece.unmap();
        }
        self.get()
    }

    /// Ends the mapping, if there is one. What was handed out of it is used no more: for what is only looked at for a moment.
    pub fn end(&self) {
        let address = self.0.swap(0, Ordering::AcqRel);
        if address != 0 {
            let _ = unmap(address, LEN);
        }
    }
}

/// Words of shared memory, aligned to 8, as many as are known at run time. The memory stays mapped.
#[derive(Clone, Copy)]
pub struct Span<'m> {
    start: NonNull<u8>,
    len: usize,
    map: PhantomData<&'m AtomicU64>,
}

// SAFETY: only atomics are handed out.
unsafe impl Send for Span<'_> {}
// SAFETY: only atomics are handed out.
unsafe impl Sync for Span<'_> {}

/// What a word outside of a span is read from and stored to.
static NOWHERE: AtomicU64 = AtomicU64::new(0);

impl<'m> Span<'m> {
    /// Ends the mapping of all of a piece: see [`LazyPiece::end`].
    pub fn end(self) {
        let _ = unmap(self.start.as_ptr() as usize, self.len);
    }

    /// Its length in bytes.
    #[inline(always)]
    pub fn len_bytes(self) -> usize {
        self.len
    }

    /// Its address in this process.
    pub fn address(self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Has the kernel back all of it with memory, through the mapping. Not before Linux 5.14, and not where the file ends before.
    pub fn populate(self) -> OsResult<()> {
        const MADV_POPULATE_WRITE: i32 = 23;
        let begin = self.start.as_ptr() as usize;
        let aligned = begin - begin % super::process::page_size();
        // SAFETY: a mapping of our own, whose contents stay as they are.
        unsafe { advise(aligned, self.len + begin - aligned, MADV_POPULATE_WRITE) }
    }

    /// The 64-bit word number `index`; one outside is a word that means nothing.
    #[inline(always)]
    pub fn word64(self, index: usize) -> &'m AtomicU64 {
        if index < self.len / 8 {
            // SAFETY: in bounds, aligned, mapped for ever; an integer of any value is valid.
            unsafe { &*self.start.as_ptr().add(index * 8).cast::<AtomicU64>() }
        } else {
            &NOWHERE
        }
    }

    /// The 32-bit word number `index`; one outside is a word that means nothing.
    #[inline(always)]
    pub fn word32(self, index: usize) -> &'m AtomicU32 {
        if index < self.len / 4 {
            // SAFETY: as above.
            unsafe { &*self.start.as_ptr().add(index * 4).cast::<AtomicU32>() }
        } else {
            // SAFETY: half of a word that means nothing.
            unsafe { &*core::ptr::from_ref(&NOWHERE).cast::<AtomicU32>() }
        }
    }

    /// Copies `count` words of 64 bits from word `from` of another span to word `to` of this one; what is outside of either is
    /// left out.
    #[inline(always)]
    pub fn copy_words(self, to: usize, other: Span<'_>, from: usize, count: usize) {
        let room = (self.len / 8).saturating_sub(to);
        let there = (other.len / 8).saturating_sub(from);
        for index in 0..count.min(room).min(there) {
            // SAFETY: both in bounds, aligned, mapped for ever; integers of any value are valid.
            let (source, target) = unsafe {
                let source = other.start.as_ptr().add((from + index) * 8);
                let target = self.start.as_ptr().add((to + index) * 8);
                (&*source.cast::<AtomicU64>(), &*target.cast::<AtomicU64>())
            };
            target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The `len` bytes from byte `offset` on, a multiple of 8; what is outside is left out.
    #[inline(always)]
    pub fn part(self, offset: usize, len: usize) -> Span<'m> {
        let offset = (offset & !7).min(self.len);
        Span {
            // SAFETY: in bounds.
            start: unsafe { self.start.add(offset) },
            len: len.min(self.len - offset),
            map: PhantomData,
        }
    }
}

/// Maps the one page of an open liveness file, so that its lock lives as long as the mapping, and says whether
/// children inherit it. The mapping stays until [`unmap_page`] or the end of the address space. Inlined, for a child
/// of a fork pays for each part of the library that it runs through.
#[inline(always)]
pub fn map_page(fd: &Fd, inherit: bool) -> OsResult<usize> {
    let len = super::process::page_size();
    let addr = map_in_host(0, len, libc::PROT_NONE, libc::MAP_SHARED, Some(fd))?;
    if inherit {
        return Ok(addr);
    }
    not_inherited(addr)
        .map(|()| addr)
        .inspect_err(|_| unmap_page(addr))
}

/// Children of a fork will not have the page at `addr`, which [`map_page`] mapped.
#[inline(always)]
pub fn not_inherited(addr: usize) -> OsResult<()> {
    // SAFETY: a page that we mapped for this purpose alone.
    unsafe { advise_in_host(addr, super::process::page_size(), libc::MADV_DONTFORK) }
}

/// Ends a mapping that [`map_page`] made.
pub fn unmap_page(addr: usize) {
    let _ = unmap_in_host(addr, super::process::page_size());
}

/// Where a segment is to be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Wherever the kernel likes; at this address, if it is not 0 and the range is free: to look there first takes the
    /// kernel less than to look for a place.
    Anywhere(u64),
    /// There, if nothing is there yet (`EEXIST` otherwise).
    Free(u64),
    /// There, whatever is there now.
    Replace(u64),
}

/// Maps a segment into the host's address space: the attach itself. Nothing is reserved here: what is reserved for a file
/// of huge pages is used, and a page of it that is not to be had raises SIGBUS when it is touched. Of an ordinary file the
/// kernel never reserves anything for a shared mapping.
#[inline]
pub fn map_segment(
    fd: &Fd,
    len_bytes: u64,
    place: Place,
    write: bool,
    exec: bool,
) -> OsResult<u64> {
    let no_room = |_| OsError(libc::ENOMEM);
    let len = usize::try_from(len_bytes).map_err(no_room)?;
    let write = if write { libc::PROT_WRITE } else { 0 };
    let exec = if exec { libc::PROT_EXEC } else { 0 };
    let (addr, how) = match place {
        Place::Anywhere(hint) => (hint, 0),
        Place::Free(addr) => (addr, libc::MAP_FIXED_NOREPLACE),
        Place::Replace(addr) => (addr, libc::MAP_FIXED),
    };
    let asked = usize::try_from(addr).map_err(no_room)?;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | how;
    let protection = libc::PROT_READ | write | exec;
    let got = map_in_host(asked, len, protection, flags, Some(fd))?;
    if matches!(place, Place::Free(_)) && got != asked {
        // Kernels before 4.17 take the address as a mere hint.
        unmap_segment(got as u64, len_bytes)?;
        return Err(OsError(libc::EEXIST));
    }
    Ok(got as u64)
}

/// Unmaps a piece of the host's address space that one of our attaches holds.
pub fn unmap_segment(addr: u64, len_bytes: u64) -> OsResult<()> {
    unmap_in_host(addr as usize, len_bytes as usize)
}

/// Whether anything is mapped at the page that begins at `addr`.
pub fn is_mapped(addr: u64) -> bool {
    let mut resident = 0u8;
    let args = [addr as usize, 1, &raw mut resident as usize];
    // SAFETY: asks only; the answer for one page is one byte.
    let asked = unsafe { raw::call(libc::SYS_mincore, args) };
    asked != Err(OsError(libc::ENOMEM))
}

/// Where user space ends. How many bits an address has depends on the kernel, the processor and the size of pages: so the
/// kernel is asked for the last page that a mapping can have. `None` where it maps nothing more at all.
pub fn user_space_end() -> Option<u64> {
    if cfg!(target_pointer_width = "32") {
        return Some(0xffff_e000); // of a kernel of 64 bits
    }
    let page = super::process::page_size();
    // Nobody gets the last page of x86-64.
    let withheld = if cfg!(target_arch = "x86_64") {
        page
    } else {
        0
    };
    [56, 52, 48, 47, 42, 39, 38, 36]
        .map(|bits| (1u64 << bits) - withheld as u64)
        .into_iter()
        .find(|end| is_there(*end as usize - page, page))
}

/// Whether a mapping can be, or is, at `addr`.
fn is_there(addr: usize, len: usize) -> bool {
    let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE;
    // As below.
    match map_in_host(addr, len, libc::PROT_NONE, flags, None) {
        Ok(got) => {
            let _ = unmap_in_host(got, len);
            got == addr
        }
        Err(error) => error == OsError(libc::EEXIST),
    }
}

/// Whether anything is mapped in `start..end`, all of which is user space.
pub fn is_occupied(start: u64, end: u64) -> bool {
    let len = end.saturating_sub(start) as usize;
    let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE;
    // It replaces nothing, and is unmapped at once, before its address is known elsewhere.
    match map_in_host(start as usize, len, libc::PROT_NONE, flags, None) {
        Ok(got) => {
            let _ = unmap_segment(got as u64, len as u64);
            got as u64 != start
        }
        Err(error) => error == OsError(libc::EEXIST),
    }
}

// What the host has mapped is changed in this process, or in the client that it serves: `served.rs`.

#[inline(always)]
fn map_in_host(addr: usize, len: usize, prot: i32, flags: i32, fd: Option<&Fd>) -> OsResult<usize> {
    if flags & libc::MAP_FIXED != 0 {
        super::usermem::forget_pages();
    }
    match served::client() {
        None => map(addr, len, prot, flags, fd.map_or(-1, Fd::number)),
        Some(client) => {
            let args = [addr, len, prot as usize, flags as usize, usize::MAX];
            client.call(raw::number::MMAP, raw::six(args), fd)
        }
    }
}

#[inline(always)]
fn unmap_in_host(addr: usize, len: usize) -> OsResult<()> {
    super::usermem::forget_pages();
    match served::client() {
        None => unmap(addr, len),
        Some(client) => {
            let gone = client.call(libc::SYS_munmap, raw::six([addr, len]), None);
            gone.map(drop)
        }
    }
}

/// # Safety
/// The advice leaves the contents of the range as they are.
#[inline(always)]
unsafe fn advise_in_host(addr: usize, len: usize, advice: i32) -> OsResult<()> {
    match served::client() {
        // SAFETY: the caller's promise.
        None => unsafe { advise(addr, len, advice) },
        Some(client) => {
            let args = raw::six([addr, len, advice as usize]);
            client.call(libc::SYS_madvise, args, None).map(drop)
        }
    }
}
