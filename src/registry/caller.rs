//! Who asks: the calling thread's credentials, as the kernel would look at them.

use crate::os::{credentials, process};
use crate::sysv::{Caller, Capability};

/// The calling thread. Every question but the first is a system call; the rules ask only what they need.
pub struct Thread;

impl Caller for Thread {
    fn euid(&self) -> u32 {
        credentials::euid()
    }

    fn in_group(&self, gid: u32) -> bool {
        (process::fsgid() == gid || process::has_supplementary_group(gid))
            && !credentials::is_elsewhere()
    }

    fn capable(&self, capability: Capability) -> bool {
        // Numbers of linux/capability.h.
        let number = match capability {
            Capability::IpcLock => 14,
            Capability::IpcOwner => 15,
            Capability::SysAdmin => 21,
        };
        process::capable(number) && !credentials::is_elsewhere()
    }
}
