//! Stands for the file of semaphore sets and message queues, which is not in the model: nobody opens it there.

use crate::os::file::Fd;
use crate::os::path::Path;
use crate::storage::Stored;
use crate::storage::runtime_dir::Scope;

/// Its name.
pub const NAME: &[u8] = b"ipc";

/// What it begins with.
#[derive(Clone, Copy)]
pub struct FirstLimits {
    pub sem: [u32; 4],
    pub msg: [u32; 3],
}

/// It is not made.
pub fn write_file(_: &Fd, _: &Path, _: Scope, _: &FirstLimits) -> Stored<()> {
    Ok(())
}
