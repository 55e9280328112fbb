//! `hook!`: exports a function of ours under the name of one of libc's.
//!
//! redhook's macro where redhook serves, the gnu environment; elsewhere one of the same shape. Its own way to the
//! real function (`real!`) is not used: for the calls that are served it would mix the kernel's ids with ours, and for the
//! others it waits on a lock at its first use, where a signal handler or a `malloc` called by `dlsym` would wait
//! for itself. `next.rs` is ours.

#[cfg(target_env = "gnu")]
pub(crate) use redhook::hook;

#[cfg(not(target_env = "gnu"))]
macro_rules! hook {
    (unsafe fn $real_fn:ident ( $($v:ident : $t:ty),* ) -> $r:ty => $hook_fn:ident $body:block) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $real_fn($($v: $t),*) -> $r {
            // SAFETY: the caller's promise is passed on.
            unsafe { $hook_fn($($v),*) }
        }

        pub unsafe fn $hook_fn($($v: $t),*) -> $r $body
    };
}

#[cfg(not(target_env = "gnu"))]
pub(crate) use hook;
