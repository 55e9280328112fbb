//! The handlers of `pthread_atfork`.

use super::{OsError, OsResult};
use core::sync::atomic::{AtomicUsize, Ordering};

/// A function to be called later, if one was given.
pub struct Work(AtomicUsize);

impl Work {
    /// With no function yet.
    pub const fn none() -> Work {
        Work(AtomicUsize::new(0))
    }

    /// From now on `work` is the function.
    pub fn set(&self, work: fn()) {
        self.0.store(work as usize, Ordering::Release);
    }

    /// Calls it.
    pub fn run(&self) {
        let work = self.0.load(Ordering::Acquire);
        if work != 0 {
            // SAFETY: only `set` stores here, and it stores a `fn()`.
            unsafe { core::mem::transmute::<usize, fn()>(work)() };
        }
    }
}

/// The three handlers of `pthread_atfork`.
pub trait Handlers {
    /// In the parent, before.
    fn prepare();
    /// In the parent, after, whether it worked or not.
    fn parent();
    /// In the child.
    fn child();
}

/// Installs `H`'s handlers for every `fork` from now on.
pub fn install<H: Handlers>() -> OsResult<()> {
    unsafe extern "C" {
        safe fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> i32;
    }
    extern "C" fn prepare<H: Handlers>() {
        H::prepare();
    }
    extern "C" fn parent<H: Handlers>() {
        H::parent();
    }
    extern "C" fn child<H: Handlers>() {
        H::child();
    }
    match pthread_atfork(Some(prepare::<H>), Some(parent::<H>), Some(child::<H>)) {
        0 => Ok(()),
        error => Err(OsError(error)),
    }
}
