//! The function behind ours: the next one of that name in the dynamic linker's order, normally libc's.
//!
//! It is looked up at the first call and remembered. A signal handler may call us in the middle of that, and an allocator in
//! the middle of `dlsym`: so it is read from the symbol tables, which takes no lock and calls nothing but, where the host has
//! it so, a function that chooses the one to take.

#[cfg(target_env = "gnu")]
use core::ffi::c_ulong;
use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
#[cfg(target_env = "gnu")]
use core::sync::atomic::AtomicBool;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

#[cfg(target_env = "gnu")]
use shmshim_core::os::symbols;

/// One function behind one of ours. It holds no address until it is looked up, so the loader has nothing to fill in.
pub struct Next {
    name: [u8; 24],
    found: AtomicPtr<c_void>,
}

impl Next {
    /// The function called `name`, not yet looked up.
    pub const fn new(name: &str) -> Next {
        let mut kept = [0; 24];
        assert!(name.len() < kept.len());
        let mut from = name.as_bytes();
        let mut to: &mut [u8] = &mut kept;
        while let (Some((byte, others)), Some((place, places))) =
            (from.split_first(), to.split_first_mut())
        {
            *place = *byte;
            (from, to) = (others, places);
        }
        Next {
            name: kept,
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.name).unwrap_or(c"")
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
    let Some(found) = behind_us(next.name()) else {
        return null_mut();
    };
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
fn behind_us(name: &CStr) -> Option<*mut c_void> {
    let found = symbols::behind_us(name)?;
    match found.is_chosen {
        true => choose(found.address),
        false => Some(found.address as *mut c_void),
    }
}

/// Whether a function of the host's is choosing one for us. If it calls us, there is nothing behind us yet.
#[cfg(target_env = "gnu")]
static CHOOSING: AtomicBool = AtomicBool::new(false);

#[cfg(target_env = "gnu")]
#[cold]
fn choose(chooser: usize) -> Option<*mut c_void> {
    if CHOOSING.swap(true, Acquire) {
        return None;
    }
    // SAFETY: what an indirect symbol leads to is such a function; architectures where it takes an argument pass it this.
    let found = unsafe {
        let choose: extern "C" fn(c_ulong) -> *mut c_void = core::mem::transmute(chooser);
        choose(libc::getauxval(libc::AT_HWCAP))
    };
    CHOOSING.store(false, Release);
    Some(found)
}

#[cfg(not(target_env = "gnu"))]
fn behind_us(name: &CStr) -> Option<*mut c_void> {
    let kept = shmshim_core::os::errno::get();
    // Not ours: it is exported with glibc alone.
    // SAFETY: the name is NUL-terminated, and RTLD_NEXT means the objects behind this one.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    shmshim_core::os::errno::set(kept);
    Some(found)
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
    ($name:ident : $type:ty) => {{
        #[unsafe(link_section = "shmshim_next")]
        static NEXT: $crate::next::Next = $crate::next::Next::new(stringify!($name));
        // SAFETY: libc's function of that name has that type, and null is `None`.
        unsafe { core::mem::transmute::<*mut core::ffi::c_void, Option<$type>>(NEXT.address()) }
    }};
}
pub(crate) use next;
