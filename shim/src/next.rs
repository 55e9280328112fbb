//! The function behind ours: the next one of that name in the dynamic linker's order, normally libc's.
//!
//! It is looked up at the first call and remembered. `dlsym` may itself call what we have replaced (an allocator
//! that calls `mmap`, used by the dynamic linker for its own memory), and a signal handler may call us in the
//! middle of it, so a lookup never waits: a call that comes while one is under way finds none yet
//! and goes to the kernel directly, which is what libc's function would have done.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{
    AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use shmshim_core::os::{errno, threads};

/// One function behind one of ours.
pub struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

/// Which thread looks one up at the moment, by its id; 0 for none.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

impl Next {
    /// The function called `name`, not yet looked up.
    pub const fn new(name: &'static CStr) -> Next {
        Next {
            name,
            found: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Its address; null when there is none, or not yet.
    #[inline(always)]
    pub fn address(&self) -> *mut c_void {
        let found = self.found.load(Acquire);
        if found.is_null() {
            look_up(self)
        } else {
            found
        }
    }

    /// Its address, even while another is being looked up: for a function that the kernel cannot replace. An
    /// allocator would have to call it from inside `dlsym` to get lost here.
    #[inline(always)]
    pub fn always_address(&self) -> *mut c_void {
        let found = self.found.load(Acquire);
        if found.is_null() {
            look_up_always(self)
        } else {
            found
        }
    }
}

#[cold]
#[inline(never)]
extern "C" fn look_up(next: &Next) -> *mut c_void {
    let me = threads::id();
    if LOOKING.compare_exchange(0, me, Acquire, Relaxed).is_err() {
        return core::ptr::null_mut();
    }
    let found = look_up_always(next);
    LOOKING.store(0, Release);
    found
}

#[cold]
#[inline(never)]
extern "C" fn look_up_always(next: &Next) -> *mut c_void {
    let kept = errno::get();
    // SAFETY: the name is NUL-terminated, and RTLD_NEXT means the objects behind this one.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, next.name.as_ptr()) };
    errno::set(kept);
    next.found.store(found, Release);
    found
}

/// `next!(munmap: unsafe extern "C" fn(…) -> …)`: the function behind ours of that name and type, if there is one.
/// `next!(always …)`: even while another is being looked up.
macro_rules! next {
    (always $name:ident : $type:ty) => { $crate::next::next!(always_address $name: $type) };
    ($name:ident : $type:ty) => { $crate::next::next!(address $name: $type) };
    ($address:ident $name:ident : $type:ty) => {{
        static NEXT: $crate::next::Next = $crate::next::Next::new(
            // The compiler checks it: a name without its NUL does not build.
            match core::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes())
            {
                Ok(name) => name,
                Err(_) => c"",
            },
        );
        // SAFETY: libc's function of that name has that type, and null is `None`.
        unsafe { core::mem::transmute::<*mut core::ffi::c_void, Option<$type>>(NEXT.$address()) }
    }};
}
pub(crate) use next;
