//! shmat(2): what the address and the flags ask for, and who may attach.
//!
//! The order: [`parse`], then the segment is looked up, [`may_attach`], [`check_range`];
//! what the address space itself refuses comes last.

use super::flags::{EXEC, READ, SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND, WRITE};
use super::ids::ShmId;
use super::reason::{Errno, Reason, Ruling};
use super::rights::{Caller, may_access};
use super::segment::{SHMLBA, Segment};

/// What a shmat asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttachRequest {
    /// Which segment.
    pub id: ShmId,
    /// Where, after rounding; 0 when `fixed` is not set.
    pub addr: u64,
    /// The caller gave the address. Address 0 is one, too: SHM_RND gets there.
    pub fixed: bool,
    /// Whatever is mapped there is replaced, and nothing there refuses the attach.
    pub remap: bool,
    /// For writing as well as reading.
    pub write: bool,
    /// For executing as well.
    pub exec: bool,
}

impl AttachRequest {
    /// The rights it takes.
    pub fn wanted_bits(&self) -> u32 {
        READ | if self.write { WRITE } else { 0 } | if self.exec { EXEC } else { 0 }
    }
}

/// Reads the arguments of shmat. Flags that mean nothing are ignored.
pub fn parse(shmid: i32, addr: u64, shmflg: i32) -> Ruling<AttachRequest> {
    let id = ShmId::from_raw(shmid)?;
    let remap = shmflg & SHM_REMAP != 0;
    if addr == 0 && remap {
        // "In this case, shmaddr must not be NULL." - man shmat(2), of SHM_REMAP
        return Err(Errno::Einval.because(Reason::RemapWithoutAddress));
    }
    let rounded = addr - addr % SHMLBA;
    if addr != rounded && shmflg & SHM_RND == 0 {
        // "unaligned (i.e., not page-aligned and SHM_RND was not specified)" - man shmat(2)
        return Err(Errno::Einval.because(Reason::UnalignedAddress(addr)));
    }
    let page_zero = addr != 0 && rounded == 0;
    if page_zero && remap {
        // "the attach occurs at the address equal to shmaddr rounded down to the nearest
        // multiple of SHMLBA." - man shmat(2)
        //
        // Rounded down to NULL it is as little an address for SHM_REMAP as NULL itself.
        return Err(Errno::Einval.because(Reason::RemapRoundsToNull(addr)));
    }
    Ok(AttachRequest {
        id,
        addr: rounded,
        fixed: addr != 0,
        // Linux looks for an occupied range only behind a non-zero address, so page zero is
        // always replaced.
        remap: remap || page_zero,
        write: shmflg & SHM_RDONLY == 0,
        exec: shmflg & SHM_EXEC != 0,
    })
}

/// Whether the caller has the rights that the attach takes.
pub fn may_attach(seg: &Segment, req: &AttachRequest, caller: &impl Caller) -> Ruling<()> {
    // "The calling process does not have the required permissions for the requested attach
    // type, and does not have the CAP_IPC_OWNER capability in the user namespace that
    // governs its IPC namespace." - man shmat(2)
    //
    // There is no attach without reading. Executing takes the execute bit, whatever
    // shmctl(2) says about those bits being unused.
    may_access(seg, req.wanted_bits(), caller)
}

/// Whether the range that the caller chose is one. `len` is the segment's exact size: with
/// less than a page at the last page's address it does not wrap, and the address space
/// itself refuses it (`ENOMEM`).
///
/// That nothing else is mapped in the range (unless the request replaces it) is for the
/// mapping itself to find out, by MAP_FIXED_NOREPLACE; it is the same `EINVAL`.
pub fn check_range(req: &AttachRequest, len: u64) -> Ruling<()> {
    if req.fixed && !req.remap && req.addr.checked_add(len).is_none() {
        // "invalid shmaddr value, or can't attach segment at shmaddr" - man shmat(2)
        return Err(Errno::Einval.because(Reason::RangeWraps {
            addr: req.addr,
            len,
        }));
    }
    Ok(())
}
