//! Stands for the file of semaphore sets and message queues, which is not in the model: nobody opens it there.

use core::marker::PhantomData;

use crate::os::file::Fd;
use crate::os::path::Path;
use crate::storage::Stored;
use crate::storage::invariant::Broken;
use crate::storage::process::Processes;
use crate::storage::runtime_dir::Scope;

/// Its name.
pub const NAME: &[u8] = b"ipc";

/// What it begins with.
#[derive(Clone, Copy)]
pub struct FirstLimits {
    pub sem: [u32; 4],
    pub msg: [u32; 3],
}

/// A look at it, of which there is nothing to be seen.
pub struct IpcView<'p>(PhantomData<&'p Processes>);

impl<'p> IpcView<'p> {
    pub fn open(_: &'p Processes) -> Stored<Option<IpcView<'p>>> {
        Ok(None)
    }

    pub fn audit(&self, _: &mut Broken<'_>) -> Stored<()> {
        Ok(())
    }

    pub fn entries(&self, _: ObjectKind) -> Stored<Vec<()>> {
        Ok(Vec::new())
    }
}

/// What is in it.
#[derive(Clone, Copy)]
pub enum ObjectKind {
    Set,
    Queue,
}

/// The file of a namespace that is built whole, which the model does not do.
pub struct IpcFile<'p>(PhantomData<&'p Processes>);

impl<'p> IpcFile<'p> {
    pub fn open_hidden(_: &'p Processes, _: &FirstLimits) -> Stored<IpcFile<'p>> {
        Ok(IpcFile(PhantomData))
    }

    pub fn unmap(&self) {}
}

/// It is not made.
pub fn write_file(_: &Fd, _: &Path, _: Scope, _: &FirstLimits) -> Stored<()> {
    Ok(())
}
