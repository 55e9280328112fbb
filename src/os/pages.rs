//! Memory of our own: whole pages from the kernel, never the host's heap.

use super::{OsResult, raw};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

/// How memory is mapped that is ours alone, and no file's.
pub(super) const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Maps `len` bytes of private, zeroed memory.
pub(super) fn map_private(len: usize) -> OsResult<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let addr = map(0, len, protection, PRIVATE, -1)?;
    NonNull::new(addr as *mut u8).ok_or(super::OsError(libc::ENOMEM))
}

/// `munmap`, of mappings that are used no more: ours, and what the host has attached and wants to be detached.
pub(super) fn unmap(addr: usize, len: usize) -> OsResult<()> {
    // SAFETY: as said.
    unsafe { raw::call(libc::SYS_munmap, [addr, len]) }.map(|_| ())
}

/// `madvise`.
///
/// # Safety
/// The range is a mapping of our own, and nothing relies on what the advice takes away.
#[inline(always)]
pub(super) unsafe fn advise(addr: usize, len: usize, advice: i32) -> OsResult<()> {
    // SAFETY: the caller's promise is passed on.
    unsafe { raw::call(libc::SYS_madvise, [addr, len, advice as usize]) }.map(|_| ())
}

/// `mmap`; without a descriptor -1.
#[inline(always)]
pub(super) fn map(addr: usize, len: usize, access: i32, flags: i32, fd: i32) -> OsResult<usize> {
    let (access, flags, fd) = (access as usize, flags as usize, fd as usize);
    // SAFETY: the kernel chooses the address, or replaces nothing, or the host named the address and bears what it asked
    // for.
    unsafe { raw::call(raw::number::MMAP, [addr, len, access, flags, fd]) }
}

/// `mmap` at an offset of the file, a multiple of 64 KiB, wherever the kernel likes.
pub(super) fn map_at(len: usize, access: i32, flags: i32, fd: i32, offset: u64) -> OsResult<usize> {
    let unit = if cfg!(target_pointer_width = "32") {
        4096 // mmap2
    } else {
        1
    };
    let args = [
        0,
        len,
        access as usize,
        flags as usize,
        fd as usize,
        (offset / unit) as usize,
    ];
    // SAFETY: the kernel chooses the address.
    unsafe { raw::call(raw::number::MMAP, args) }
}

/// Moves `value` into pages that live as long as the process.
pub fn leak<T: Send + Sync>(value: T) -> OsResult<&'static T> {
    let place = map_private(size_of::<T>().max(1))?.cast::<T>();
    // SAFETY: fresh pages, large enough and page-aligned; never unmapped, so the reference holds for ever.
    unsafe {
        place.write(value);
        Ok(place.as_ref())
    }
}

/// Whole pages in the library's own data: no mapping of their own, which every fork would have to copy. They come from
/// the file and take no memory until they are written.
#[repr(C, align(4096))]
struct Room(UnsafeCell<[u8; ROOM_BYTES]>);
const ROOM_BYTES: usize = 8192;

// SAFETY: only the thread that has set `ROOM_IS_TAKEN` touches it.
unsafe impl Sync for Room {}

// Not in .bss: there it would be a mapping again.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.shmshim_room"))]
static ROOM: Room = Room(UnsafeCell::new([0; ROOM_BYTES]));
static ROOM_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Moves `value` into memory that lives as long as the process, and hands out what is left of that as an empty array:
/// two things that are written together share pages. The first value gets the library's own, another one none to share.
pub fn leak_with_room<T: Send + Sync, U: Copy>(value: T) -> OsResult<(&'static T, PageVec<U>)> {
    const { assert!(size_of::<T>() <= ROOM_BYTES / 2) };
    const { assert!(align_of::<T>() <= 4096 && align_of::<U>() <= 64) };
    if ROOM_IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Ok((leak(value)?, PageVec::new()));
    }
    let used = size_of::<T>().next_multiple_of(64);
    let start = NonNull::from(&ROOM).cast::<u8>();
    let room = PageVec {
        // SAFETY: within the memory, and aligned.
        start: unsafe { start.add(used) }.cast(),
        len: 0,
        capacity: (ROOM_BYTES - used) / size_of::<U>().max(1),
        mapped_bytes: 0,
    };
    let place = start.cast::<T>();
    // SAFETY: this value's alone, large enough and aligned; it stays, so the reference holds for ever.
    unsafe {
        place.write(value);
        Ok((place.as_ref(), room))
    }
}

/// Unmaps what [`leak`] mapped, for a value that lost a race and was never published.
pub fn unleak<T>(value: &'static T) {
    let place = NonNull::from(value);
    // SAFETY: no other reference to the value exists.
    unsafe { core::ptr::drop_in_place(place.as_ptr()) };
    let _ = unmap(place.as_ptr() as usize, size_of::<T>().max(1));
}

/// A growable, contiguous array of plain values in pages of its own.
pub struct PageVec<T: Copy> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    /// 0: none yet, or the memory is part of something larger, which stays.
    mapped_bytes: usize,
}

// SAFETY: the array owns its pages as `Vec` owns its heap block.
unsafe impl<T: Copy + Send> Send for PageVec<T> {}

impl<T: Copy> PageVec<T> {
    /// The empty array; takes no memory.
    pub const fn new() -> PageVec<T> {
        PageVec {
            start: NonNull::dangling(),
            len: 0,
            capacity: 0,
            mapped_bytes: 0,
        }
    }

    /// Makes it `len` values long, the new ones `value`.
    pub fn resize(&mut self, len: usize, value: T) -> OsResult<()> {
        self.reserve(len.saturating_sub(self.len))?;
        while self.len < len && self.insert(self.len, value) {}
        self.len = len;
        Ok(())
    }

    /// Makes sure that `more` further values fit without another system call.
    pub fn reserve(&mut self, more: usize) -> OsResult<()> {
        let needed = self.len.saturating_add(more);
        if needed <= self.capacity {
            return Ok(());
        }
        let mapped_bytes = needed
            .max(self.capacity * 2)
            .saturating_mul(size_of::<T>())
            .next_multiple_of(super::process::page_size());
        let larger = PageVec {
            start: map_private(mapped_bytes)?.cast::<T>(),
            len: self.len,
            capacity: mapped_bytes / size_of::<T>(),
            mapped_bytes,
        };
        // SAFETY: both blocks are live and distinct; the new one is larger.
        unsafe {
            core::ptr::copy_nonoverlapping(self.start.as_ptr(), larger.start.as_ptr(), self.len)
        };
        *self = larger;
        Ok(())
    }

    /// Where its room ends.
    pub(super) fn end(&self) -> *mut T {
        self.start.as_ptr().wrapping_add(self.capacity)
    }

    /// Puts `value` at `index`. What stands there and behind moves up. The room must have been
    /// [reserved](PageVec::reserve); without it nothing happens and `false` is returned.
    pub fn insert(&mut self, index: usize, value: T) -> bool {
        if self.len == self.capacity || index > self.len {
            return false;
        }
        // SAFETY: index ≤ len < capacity, so both the block moved and its target lie within the pages.
        unsafe {
            let at = self.start.as_ptr().add(index);
            core::ptr::copy(at, at.add(1), self.len - index);
            at.write(value);
        }
        self.len += 1;
        true
    }

    /// Takes out the value at `index`; what stands behind moves down.
    pub fn remove(&mut self, index: usize) {
        if index < self.len {
            self.copy_within(index + 1.., index);
            self.len -= 1;
        }
    }
}

impl<T: Copy> Default for PageVec<T> {
    fn default() -> PageVec<T> {
        PageVec::new()
    }
}

impl<T: Copy> core::ops::Deref for PageVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values have been written there.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> core::ops::DerefMut for PageVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `len` values have been written there, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for PageVec<T> {
    fn drop(&mut self) {
        if self.mapped_bytes > 0 {
            let _ = unmap(self.start.as_ptr() as usize, self.mapped_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_grows_and_keeps_its_order() {
        let mut array = PageVec::new();
        assert!(!array.insert(0, 1u64), "no room was reserved");
        for value in 0..3000u64 {
            array.reserve(1).unwrap();
            assert!(array.insert(0, value));
        }
        assert_eq!(array.len(), 3000);
        assert_eq!((array[0], array[2999]), (2999, 0));
        array.remove(1);
        assert_eq!((array[0], array[1], array.len()), (2999, 2997, 2999));
        array.remove(5000);
        assert_eq!(array.len(), 2999);
    }

    #[test]
    fn an_array_in_the_room_behind_a_value_leaves_the_value_alone() {
        let (value, mut array) = leak_with_room::<_, u64>([7u8; 100]).unwrap();
        let start = array.start;
        assert!(array.insert(0, 1), "there is room from the start");
        while array.start == start {
            array.reserve(1).unwrap();
            assert!(array.insert(array.len(), 5));
        }
        assert!(array.len() > 256);
        assert_eq!((array[0], array[array.len() - 1]), (1, 5));
        drop(array);
        assert_eq!(value, &[7u8; 100]);
        // SAFETY: memory that is a part stays, and held integers.
        assert_eq!(unsafe { start.read() }, 1);
        let (value, array) = leak_with_room::<_, u64>([8u8; 100]).unwrap();
        assert_eq!((value, array.capacity), (&[8u8; 100], 0));
    }
}
