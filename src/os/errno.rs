//! The host's `errno`.

/// The calling thread's `errno`.
pub fn get() -> i32 {
    // SAFETY: libc gives a valid pointer to the calling thread's errno.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's `errno`.
pub fn set(value: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = value }
}

/// Where the calling thread's `errno` is.
pub fn address() -> usize {
    // SAFETY: only the address is used.
    unsafe { libc::__errno_location() as usize }
}
