//! The handlers of `pthread_atfork`.

use super::{OsError, OsResult};

/// Has every `fork` from now on call `prepare` in the parent before; after it, whether it worked or not, `parent`; and
/// `child` in the child.
pub fn install(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> OsResult<()> {
    unsafe extern "C" {
        safe fn pthread_atfork(
            prepare: extern "C" fn(),
            parent: extern "C" fn(),
            child: extern "C" fn(),
        ) -> i32;
    }
    match pthread_atfork(prepare, parent, child) {
        0 => Ok(()),
        error => Err(OsError(error)),
    }
}
