//! The kernel's own System V segments, past whatever serves programs in its place: for the command, which shows them.

use super::{OsResult, raw};

/// SHM_RDONLY.
const READ_ONLY: usize = 0o10000;

/// A segment of the kernel's, attached to be read. It is detached when this is dropped.
pub struct KernelAttach {
    addr: usize,
}

impl KernelAttach {
    /// `shmat` with `SHM_RDONLY`, wherever there is room. The kernel counts it as an attach, and stamps the segment.
    pub fn to_read(shmid: i32) -> OsResult<KernelAttach> {
        let args = [shmid as usize, 0, READ_ONLY];
        // SAFETY: the kernel chooses the address; nothing is replaced, and nobody is given a reference to what is there.
        let addr = unsafe { raw::call(raw::sysv::SHMAT, args) }?;
        Ok(KernelAttach { addr })
    }

    /// Where it lies in this process.
    pub fn address(&self) -> u64 {
        self.addr as u64
    }
}

impl Drop for KernelAttach {
    fn drop(&mut self) {
        // SAFETY: our own attach, to whose bytes there are no references.
        let _ = unsafe { raw::call(raw::sysv::SHMDT, [self.addr]) };
    }
}
