//! The environment, read and never written.

use core::ffi::CStr;

/// Copies the value of the environment variable `name` into `out`. `None`: not set, or it does not fit.
pub fn get(name: &CStr, out: &mut [u8]) -> Option<usize> {
    // SAFETY: the name is NUL-terminated. The value is copied at once; a host that changes its environment from
    // another thread at this moment breaks every getenv, ours too.
    let value = unsafe {
        let found = libc::getenv(name.as_ptr());
        if found.is_null() {
            return None;
        }
        CStr::from_ptr(found).to_bytes()
    };
    out.get_mut(..value.len())?.copy_from_slice(value);
    Some(value.len())
}

/// Whether the variable is set at all.
pub fn is_set(name: &CStr) -> bool {
    // SAFETY: the name is NUL-terminated.
    unsafe { !libc::getenv(name.as_ptr()).is_null() }
}

/// Whether the process runs with more rights than whoever started it (`AT_SECURE`): then the environment is
/// somebody else's word.
pub fn is_secure() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
