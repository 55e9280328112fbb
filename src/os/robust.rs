//! Marks: robust mutexes that are held and never released. The kernel changes their word, and wakes a sleeper on it, when the
//! thread that holds one ends, however it ends.

use super::map::Span;
use super::{OsError, process, raw};
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes that a mark takes.
pub const BYTES: usize = 64;
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= BYTES);

/// The index of the word that the kernel changes: where libc has it in its mutex.
#[cfg(not(target_os = "android"))]
const WORD: usize = if cfg!(target_env = "musl") { 1 } else { 0 };

/// A thread sleeps on the word.
const WAITERS: u32 = 0x8000_0000;
/// The thread has ended.
const OWNER_DIED: u32 = 0x4000_0000;

/// Has the calling thread hold a new mark there; the memory stays mapped until the process ends. Returns the index of the word
/// that the kernel will change. `None`: there is none to be had.
#[cfg(not(target_os = "android"))]
pub fn hold(at: Span<'static>) -> Option<usize> {
    let mutex = at.address() as *mut libc::pthread_mutex_t;
    if at.len_bytes() < BYTES {
        return None;
    }
    // What musl asks the kernel, once for the process and once for the thread; glibc has done it by now.
    let forbids = |number| raw::is_forbidden(number, [0; 2]);
    if [libc::SYS_get_robust_list, libc::SYS_set_robust_list]
        .into_iter()
        .any(forbids)
    {
        return None;
    }
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    // SAFETY: memory of this process's own entry, mapped for ever; an earlier holder of it has ended, and its list of robust
    // mutexes with it. The mutex is never released, so it stays in the thread's list until the thread ends.
    let held = unsafe {
        let attributes = attributes.as_mut_ptr();
        libc::pthread_mutexattr_init(attributes) == 0
            && libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) == 0
            && libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) == 0
            && libc::pthread_mutex_init(mutex, attributes) == 0
            && libc::pthread_mutex_trylock(mutex) == 0
    };
    held.then_some(WORD)
}

/// Android's libc has no robust mutexes.
#[cfg(target_os = "android")]
pub fn hold(_: Span<'static>) -> Option<usize> {
    None
}

/// Whether a word of a mark says that the thread that held it has ended.
pub fn is_set(word: u32) -> bool {
    word & OWNER_DIED != 0
}

/// Whether it says that the thread is there.
#[inline(always)]
pub fn is_held(word: u32) -> bool {
    word & OWNER_DIED == 0 && word & !WAITERS != 0
}

/// Whether the thread that a held word names has a list of robust mutexes still: the kernel takes it from a thread that ends, also
/// where it does not come to this word. Of one that it does not tell of, whether the thread is there, a zombie included.
pub fn holder_has_list(word: u32) -> bool {
    let thread = (word & !(WAITERS | OWNER_DIED)) as usize;
    let (mut list, mut len) = (0usize, 0usize);
    let args = [thread, &raw mut list as usize, &raw mut len as usize];
    // SAFETY: asks only; the addresses are those of live locals.
    match unsafe { raw::call(libc::SYS_get_robust_list, args) } {
        Ok(_) => list != 0,
        Err(OsError(libc::ESRCH)) => false,
        Err(_) => process::exists(thread as i32),
    }
}

/// Has the kernel wake a sleeper on the word when the thread ends; what the word holds now.
pub fn ask_to_be_woken(word: &AtomicU32) -> u32 {
    word.fetch_or(WAITERS, Ordering::AcqRel) | WAITERS
}
