//! The libc crate, and what this library uses of it that it has not got for Android: the kernel has all of it. Elsewhere
//! it is the libc crate and nothing else.
#![no_std]

pub use libc::*;

#[cfg(target_os = "android")]
pub use android::{
    __errno_location, MAP_FIXED_NOREPLACE, MREMAP_FIXED, MREMAP_MAYMOVE, major, minor,
};
#[cfg(all(target_os = "android", target_arch = "aarch64"))]
pub use android::{
    SYS_fcntl, SYS_fstat, SYS_ftruncate, SYS_lseek, SYS_mmap, SYS_newfstatat, SYS_statfs,
    SYS_truncate,
};

#[cfg(target_os = "android")]
#[allow(missing_docs, reason = "the names are the kernel's and libc's")]
mod android {
    use libc::{c_int, c_uint};

    pub const MAP_FIXED_NOREPLACE: c_int = 0x10_0000;
    pub const MREMAP_MAYMOVE: c_int = 1;
    pub const MREMAP_FIXED: c_int = 2;

    /// The numbers of the 64-bit machines that came after x86.
    #[cfg(target_arch = "aarch64")]
    #[allow(non_upper_case_globals)]
    mod numbers {
        use libc::c_long;

        pub const SYS_fcntl: c_long = 25;
        pub const SYS_statfs: c_long = 43;
        pub const SYS_truncate: c_long = 45;
        pub const SYS_ftruncate: c_long = 46;
        pub const SYS_lseek: c_long = 62;
        pub const SYS_newfstatat: c_long = 79;
        pub const SYS_fstat: c_long = 80;
        pub const SYS_mmap: c_long = 222;
    }
    #[cfg(target_arch = "aarch64")]
    pub use numbers::*;

    /// Bionic's name for it is another.
    ///
    /// # Safety
    /// As libc's.
    pub unsafe fn __errno_location() -> *mut c_int {
        // SAFETY: takes nothing, and gives the calling thread's errno.
        unsafe { libc::__errno() }
    }

    pub fn major(device: libc::dev_t) -> c_uint {
        libc::major(device) as c_uint
    }

    pub fn minor(device: libc::dev_t) -> c_uint {
        libc::minor(device) as c_uint
    }
}
