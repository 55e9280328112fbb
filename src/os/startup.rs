//! What a command looks at before the standard library's runtime has changed it.

/// Has a function, `extern "C" fn()`, run before `main` and before the runtime. It may ask the kernel and write to atomics;
/// the rest of the standard library is not ready yet.
#[macro_export]
macro_rules! before_main {
    ($function:path) => {
        // SAFETY: libc calls each entry of this section once, as a function of C, before `main`. What it passes is ignored.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static BEFORE_MAIN: extern "C" fn() = $function;
    };
}
