//! What parses behind the public functions, for the targets in `fuzz/`. Only there with the feature of that name.

use crate::os::huge::{Mount, parse_mount};
use crate::os::path::Path;
use crate::os::{dir, seccomp};
use crate::storage::runtime_dir::{Scope, parse_scope};

/// A line of `/proc/self/mountinfo`: the log2 of the page size, where it is, whether it is read-only.
pub fn mount(line: &[u8]) -> Option<(u32, Path, bool)> {
    let mut mount = Mount::default();
    parse_mount(line, &mut mount).map(|log2| (log2, mount.point, mount.read_only))
}

/// A value of `SHMSHIM_SCOPE`: the scope, and whether it is one of a login session.
pub fn scope(text: &[u8]) -> Option<(Scope, bool)> {
    parse_scope(text)
}

/// What the kernel has filled in for a directory. Returns the last answer of `each`.
pub fn names(filled: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> bool {
    dir::each_in(filled, &mut each)
}

/// What a seccomp filter answers to a call.
pub fn filter(program: &[u8], number: i64, args: &[usize; 6]) -> u32 {
    seccomp::answer(program, number as libc::c_long, args)
}
