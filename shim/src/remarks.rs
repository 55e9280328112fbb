//! Lines of the trace about what is no call of ours.

use core::ffi::{CStr, c_char};

use crate::trace::line::Line;
use crate::{panic_guard, procfs, trace};

/// The bare system call that opens a file has been made by libc's `syscall`, and has found one.
#[cold]
#[inline(never)]
pub extern "C" fn opened_by_number(path: *const c_char) {
    // SAFETY: the kernel has just read the path.
    let path = unsafe { CStr::from_ptr(path) };
    if procfs::shows(path.to_bytes()) {
        say(&|line| {
            line.put(format_args!(
                "syscall(SYS_openat, …) opened the kernel's file: what libc's functions open is the namespace's"
            ));
        });
    }
}

/// A line of the trace, if there is one.
pub fn say(put: &dyn Fn(&mut Line)) {
    if trace::is_on() {
        panic_guard::catch(|| trace::say(put));
    }
}
