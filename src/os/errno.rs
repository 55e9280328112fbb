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

/// A number that no other living thread of this process has: the address of its `errno`. Costs no system call.
pub fn thread_mark() -> usize {
    // SAFETY: only the address is used.
    unsafe { libc::__errno_location() as usize }
}
