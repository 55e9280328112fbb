//! A path right behind a shared mapping, so that opening it says in one call whether the mapping is all there, too.
//!
//! The last byte of the mapping is the path's first, its `/`. Somebody may have truncated the file that is mapped there:
//! then the page is gone, an access of ours would raise SIGBUS, and the kernel, which reads the path, answers `EFAULT`.

use super::file::{self, Fd};
use super::path::{CAPACITY, Path};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const WORDS: usize = CAPACITY / 8;

/// The path that was used last, in memory that children of a fork find wiped. Which one it is says its tag, a number of the
/// caller's: the low half before the file is opened, all of it afterwards.
#[repr(C)]
pub struct PathBehind {
    /// What comes behind the `/`, up to a NUL.
    text: [AtomicU64; WORDS],
    /// The tag; with [`IS_SET`], for wiped memory holds none.
    tag: AtomicU64,
    /// Odd while the text is being changed: whoever opens it holds no lock.
    version: AtomicU32,
}

const IS_SET: u64 = 1 << 31;

impl PathBehind {
    /// Remembers `path`, if it is an absolute one, as that of `tag`, whose bit 31 is 0. By the holder of a lock.
    pub fn set(&self, tag: u64, path: &Path) {
        let [b'/', text @ ..] = path.as_bytes() else {
            return;
        };
        // A process that shares the memory may have died in the middle.
        let version = self.version.load(Ordering::Relaxed) & !1;
        self.version.store(version | 1, Ordering::Relaxed);
        // Pairs with: the fence in `open`. What follows is seen by nobody who has not seen the odd version.
        fence(Ordering::Release);
        let mut rest = text;
        for word in &self.text {
            let (these, behind) = rest.split_at(rest.len().min(8));
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(these) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            // With a NUL behind the text it always comes to this: `CAPACITY` counts the `/`, too.
            if these.len() < 8 {
                break;
            }
            rest = behind;
        }
        self.tag.store(tag | IS_SET, Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Opens the path, if the low half of its tag is `half` and it stays the same meanwhile; returns the tag, too. `None`
    /// says nothing of why not. It must stand behind a mapping whose last byte is a `/`.
    pub fn open(&self, half: u32, flags: i32) -> Option<(Fd, u64)> {
        // Pairs with: the two version stores in `set`.
        let version = self.version.load(Ordering::Acquire);
        let tag = self.tag.load(Ordering::Relaxed);
        if version & 1 != 0 || tag as u32 != half | IS_SET as u32 {
            return None;
        }
        let slash = (self as *const PathBehind as usize).wrapping_sub(1);
        let fd = file::open_text(slash, flags).ok()?;
        fence(Ordering::Acquire);
        let is_same = self.version.load(Ordering::Relaxed) == version;
        is_same.then_some((fd, tag & !IS_SET))
    }
}
