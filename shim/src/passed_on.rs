//! What goes to the kernel although it looks like ours: said in the trace, so that it is not searched for there.

use core::ffi::{CStr, c_char, c_int, c_long};

use libc::key_t;
use shmshim_core::os::raw::sysv;

#[cfg(target_arch = "x86")]
use crate::by_number::ipc;
use crate::direct::not_there;
use crate::next::next;
use crate::trace::form;
use crate::trace::line::Line;
use crate::{panic_guard, procfs, trace};

/// Defines a function that is said in the trace and passed on. The saying is no part of its own frame, which must need no
/// cleanup.
macro_rules! passed_on {
    ($name:ident($($arg:ident: $type:ty),*)) => {
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name($($arg: $type),*) -> c_int {
            #[inline(never)]
            extern "C" fn tell($($arg: $type),*) {
                say(&|line| form::$name(line, $($arg),*));
            }
            tell($($arg),*);
            match next!($name: unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real($($arg),*) },
                None => not_there(),
            }
        }
    };
}

passed_on!(semget(key: key_t, count: c_int, flags: c_int));
passed_on!(msgget(key: key_t, flags: c_int));

/// A system call that was made by libc's `syscall`, its first two arguments and its answer. Like the other two it is no part
/// of the hook's own frame, which must need no cleanup.
#[inline(never)]
#[cfg_attr(
    not(target_arch = "x86"),
    expect(unused_variables, reason = "ipc alone has its call there")
)]
pub extern "C" fn say_syscall(number: c_long, first: c_long, second: c_long, answer: c_long) {
    let name = match number {
        sysv::SEMGET => "semget",
        sysv::MSGGET => "msgget",
        #[cfg(target_arch = "x86")]
        libc::SYS_ipc if matches!(first & 0xffff, ipc::SEMGET | ipc::MSGGET) => "ipc",
        libc::SYS_openat if answer >= 0 => return say_opened(second as *const c_char),
        _ => return,
    };
    say(&|line| {
        line.put(format_args!(
            "syscall(SYS_{name}, …) goes to the kernel: this library serves shared memory only"
        ));
    });
}

fn say_opened(path: *const c_char) {
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
