//! The environment, read by ourselves: a host may have a `getenv` of its own (bash has). Written by [`remove_all`] alone.

use core::ffi::{CStr, c_char};

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The value of the entry that begins with `name` and `=`.
fn find(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: null, or an array of texts that ends with a null. What is found is copied at once; a host that changes
    // its environment from another thread at this moment breaks every getenv.
    unsafe {
        let mut at = environ;
        while let Some(entry) = at.as_ref().filter(|entry| !entry.is_null()) {
            let behind_name = CStr::from_ptr(*entry)
                .to_bytes()
                .strip_prefix(name.to_bytes());
            if let Some([b'=', value @ ..]) = behind_name {
                return Some(value);
            }
            at = at.add(1);
        }
    }
    None
}

/// Copies the value of the environment variable `name` into `out`. `None`: not set, or it does not fit.
pub fn get(name: &CStr, out: &mut [u8]) -> Option<usize> {
    let value = find(name)?;
    out.get_mut(..value.len())?.copy_from_slice(value);
    Some(value.len())
}

/// Whether the variable is set at all.
pub fn is_set(name: &CStr) -> bool {
    find(name).is_some()
}

/// Takes the variables whose names begin with `prefix` out of the environment, as the loader does with its own in a
/// program that runs with more rights than its caller. `given` is what a constructor gets as its third argument: one that
/// runs before libc's finds no `environ` yet.
///
/// # Safety
/// `given` is null, or an array of texts that ends with a null, and no other thread exists that reads it.
pub unsafe fn remove_all(given: *mut *mut c_char, prefix: &CStr) {
    // SAFETY: as the caller promises; `environ` is such an array, too.
    unsafe {
        let mut from = if given.is_null() { environ } else { given };
        let mut to = from;
        while !from.is_null() {
            let entry = *from;
            *to = entry;
            if entry.is_null() {
                break;
            }
            if !CStr::from_ptr(entry)
                .to_bytes()
                .starts_with(prefix.to_bytes())
            {
                to = to.add(1);
            }
            from = from.add(1);
        }
    }
}

/// Whether the process runs with more rights than its caller (`AT_SECURE`): then the environment is
/// not to be trusted.
pub fn is_secure() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
