//! What an open of one of the files is answered with.

use core::ffi::c_int;

use shmshim_core::os::process;
use shmshim_core::registry;

use super::name::File;

/// `linux/capability.h`
const CAP_DAC_OVERRIDE: u32 = 1;

/// How the memory file is to be handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// To be read, or (by the privileged) opened for a writing that must fail.
    Show,
    /// To be written, and perhaps read: a limit.
    Take,
}

/// What the kernel answers to an open of `file` with `flags`. `None`: with something that shows nothing and takes
/// nothing, so that the kernel's own answer will do.
pub fn judge(file: File, flags: c_int) -> Option<Result<Grant, c_int>> {
    ask(file, flags, &mut || match file {
        File::Segments | File::Sets | File::Queues => process::capable(CAP_DAC_OVERRIDE),
        File::Limit(_) => registry::may_set_limits(),
    })
}

/// `may_write` is asked only when it matters.
fn ask(
    file: File,
    flags: c_int,
    may_write: &mut dyn FnMut() -> bool,
) -> Option<Result<Grant, c_int>> {
    // In the order in which the kernel asks.
    if flags & libc::O_PATH != 0 {
        return None;
    }
    if flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL {
        return Some(Err(libc::EEXIST));
    }
    if flags & libc::O_DIRECTORY != 0 {
        return Some(Err(libc::ENOTDIR));
    }
    let mode = flags & libc::O_ACCMODE;
    let writes = mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    if writes && !may_write() {
        return Some(Err(libc::EACCES));
    }
    if flags & libc::O_DIRECT != 0 {
        return Some(Err(libc::EINVAL));
    }
    match (mode, file) {
        (libc::O_WRONLY | libc::O_RDWR, File::Limit(_)) => Some(Ok(Grant::Take)),
        (libc::O_RDONLY | libc::O_WRONLY | libc::O_RDWR, _) => Some(Ok(Grant::Show)),
        // Neither read nor write: good for ioctl alone.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::limits::Limit;
    use shmshim_core::sysv::LimitName;

    const LIMIT: File = File::Limit(Limit::Shm(LimitName::Shmmax));

    fn row(file: File, flags: c_int, privileged: bool) -> Option<Result<Grant, c_int>> {
        ask(file, flags, &mut || privileged)
    }

    // Each row was seen on the kernel, as root and as an ordinary user.
    #[test]
    fn opens_are_answered_as_the_kernel_does() {
        use libc::{
            EACCES, EEXIST, EINVAL, ENOTDIR, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_PATH,
            O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
        };
        let show = Some(Ok(Grant::Show));
        let take = Some(Ok(Grant::Take));
        let fails = |errno| Some(Err(errno));
        let rows = [
            // flags, segments as root and as user, limits as root and as user
            (O_RDONLY, [show, show, show, show]),
            (O_WRONLY, [show, fails(EACCES), take, fails(EACCES)]),
            (O_RDWR, [show, fails(EACCES), take, fails(EACCES)]),
            (
                O_WRONLY | O_TRUNC | O_CREAT,
                [show, fails(EACCES), take, fails(EACCES)],
            ),
            (
                O_RDONLY | O_TRUNC,
                [show, fails(EACCES), show, fails(EACCES)],
            ),
            (O_WRONLY | O_CREAT | O_EXCL, [fails(EEXIST); 4]),
            (O_RDONLY | O_DIRECTORY, [fails(ENOTDIR); 4]),
            (O_RDONLY | O_DIRECT, [fails(EINVAL); 4]),
            (O_PATH, [None; 4]),
            (3, [None, fails(EACCES), None, fails(EACCES)]),
        ];
        for (flags, expected) in rows {
            let got = [
                row(File::Segments, flags, true),
                row(File::Segments, flags, false),
                row(LIMIT, flags, true),
                row(LIMIT, flags, false),
            ];
            assert_eq!(got, expected, "{flags:#o}");
        }
    }

    #[test]
    fn nobody_is_asked_for_rights_to_read() {
        ask(LIMIT, libc::O_RDONLY, &mut || unreachable!());
    }
}
