//! The function behind ours: the next one of that name in the dynamic linker's order, normally libc's.
//!
//! It is looked up at the first call and remembered. A signal handler may call us in the middle of that, and an allocator in
//! the middle of `dlsym`: so it is read from the symbol tables, which takes no lock and calls nothing.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

/// One function behind one of ours.
pub struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    /// The function called `name`, not yet looked up.
    pub const fn new(name: &'static CStr) -> Next {
        Next {
            name,
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// Its name.
    #[cfg(all(target_env = "gnu", not(test)))]
    pub fn name(&self) -> &'static CStr {
        self.name
    }

    /// Its address; null when there is none.
    #[inline(always)]
    pub fn address(&self) -> *mut c_void {
        let found = self.found.load(Acquire);
        if found.is_null() {
            look_up(self)
        } else {
            found
        }
    }
}

#[cold]
#[inline(never)]
extern "C" fn look_up(next: &Next) -> *mut c_void {
    let found = behind_us(next.name);
    // What was found first stays: once libc's table is corrected it leads to us.
    match next
        .found
        .compare_exchange(null_mut(), found, Release, Acquire)
    {
        Ok(_) => found,
        Err(earlier) => earlier,
    }
}

#[cfg(target_env = "gnu")]
fn behind_us(name: &CStr) -> *mut c_void {
    shmshim_core::os::symbols::behind_us(name).unwrap_or(0) as *mut c_void
}

#[cfg(not(target_env = "gnu"))]
fn behind_us(name: &CStr) -> *mut c_void {
    let kept = shmshim_core::os::errno::get();
    // Not ours: it is exported with glibc alone.
    // SAFETY: the name is NUL-terminated, and RTLD_NEXT means the objects behind this one.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    shmshim_core::os::errno::set(kept);
    found
}

/// All of them: each lies in a section of that name, whose ends the linker knows.
#[cfg(all(target_env = "gnu", not(test)))]
pub fn all() -> &'static [Next] {
    unsafe extern "C" {
        static __start_shmshim_next: [u8; 0];
        static __stop_shmshim_next: [u8; 0];
    }
    let first = (&raw const __start_shmshim_next).cast::<Next>();
    let end = (&raw const __stop_shmshim_next).cast::<Next>();
    // SAFETY: the section holds nothing but what `next!` puts there, of one type and so without gaps.
    unsafe { core::slice::from_raw_parts(first, end.offset_from(first) as usize) }
}

/// `next!(munmap: unsafe extern "C" fn(…) -> …)`: the function behind ours of that name and type, if there is one.
macro_rules! next {
    (always $name:ident : $type:ty) => { $crate::next::next!($name: $type) };
    ($name:ident : $type:ty) => {{
        #[unsafe(link_section = "shmshim_next")]
        static NEXT: $crate::next::Next = $crate::next::Next::new(
            // The compiler checks it: a name without its NUL does not build.
            match core::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes())
            {
                Ok(name) => name,
                Err(_) => c"",
            },
        );
        // SAFETY: libc's function of that name has that type, and null is `None`.
        unsafe { core::mem::transmute::<*mut core::ffi::c_void, Option<$type>>(NEXT.address()) }
    }};
}
pub(crate) use next;
