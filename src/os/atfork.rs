//! The handlers of `pthread_atfork`.

use super::{OsError, OsResult};

/// One of them.
pub type Handler = extern "C" fn();

/// Has every `fork` from now on call `prepare` in the parent before; after it, whether it worked or not, `parent`; and
/// `child` in the child.
pub fn install(prepare: Handler, parent: Handler, child: Handler) -> OsResult<()> {
    unsafe extern "C" {
        safe fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> i32;
    }
    match pthread_atfork(prepare, parent, child) {
        0 => Ok(()),
        error => Err(OsError(error)),
    }
}
