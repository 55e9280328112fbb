//! The kernel's own segments and semaphores, past whatever serves programs in its place: for the command, which shows them.

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

/// What can be asked of a semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SemQuestion {
    /// GETPID: the process that changed it last.
    Pid = 11,
    /// GETVAL.
    Value = 12,
    /// GETNCNT: how many sleep until it grows.
    Growth = 14,
    /// GETZCNT: how many sleep until it is 0.
    Zero = 15,
}

/// Asks something of one semaphore of a set of the kernel's.
pub fn ask_semaphore(id: i32, number: u32, question: SemQuestion) -> OsResult<i32> {
    let args = [id as usize, number as usize, question as usize, 0];
    // SAFETY: these commands take no pointer and change nothing.
    unsafe { raw::call(raw::sysv::SEMCTL, args) }.map(|answer| answer as i32)
}
