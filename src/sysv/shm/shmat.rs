//! shmat(2): what the address and the flags ask for, and who may attach.
//!
//! The order: [`parse`], then the segment is looked up, [`may_attach`], [`check_range`];
//! what the address space itself refuses comes last.

use super::flags::{EXEC, READ, SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND, WRITE};
use super::segment::{Segment, check_aligned, shmlba};
use crate::sysv::ipc::{Caller, Ruling, ShmId, may_access, refusal};

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
        return Err(refusal!(Einval, [], "SHM_REMAP needs an address"));
    }
    let rounded = addr - addr % shmlba();
    if shmflg & SHM_RND == 0 {
        // "unaligned (i.e., not page-aligned and SHM_RND was not specified)" - man shmat(2)
        check_aligned(addr)?;
    }
    let page_zero = addr != 0 && rounded == 0;
    if page_zero && remap {
        // "the attach occurs at the address equal to shmaddr rounded down to the nearest
        // multiple of SHMLBA." - man shmat(2)
        //
        // Rounded down to NULL it is as little an address for SHM_REMAP as NULL itself.
        return Err(refusal!(
            Einval,
            [addr],
            "SHM_REMAP needs an address, SHM_RND makes NULL of {addr:#x}"
        ));
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
    may_access(&seg.perm(), req.wanted_bits(), caller)
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
        return Err(refusal!(
            Einval,
            [addr = req.addr, len],
            "{len} bytes from {addr:#x} end behind the last address"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::testing::{OWNER, Person, STRANGER, errno, refused, segment};

    const ID: i32 = 32769;
    const PAGE: u64 = 4096;

    fn request(addr: u64, shmflg: i32) -> Result<AttachRequest, Errno> {
        parse(ID, addr, shmflg).map_err(|refusal| refusal.errno)
    }

    #[test]
    fn arguments_are_refused_in_the_kernels_order() {
        let negative = "no identifier is negative, -1 is";
        let none = "SHM_REMAP needs an address";
        for (shmid, addr, shmflg, expected) in [
            (-1, 0, 0, negative),
            (-1, 1, SHM_REMAP, negative),
            (ID, 0, SHM_REMAP, none),
            (ID, 0, SHM_REMAP | SHM_RND, none),
            (ID, 1, 0, "address 0x1 is not page aligned"),
            (ID, 1, SHM_REMAP, "address 0x1 is not page aligned"),
            (ID, PAGE + 1, 0, "address 0x1001 is not page aligned"),
            (
                ID,
                u64::MAX,
                0,
                "address 0xffffffffffffffff is not page aligned",
            ),
            (
                ID,
                1,
                SHM_RND | SHM_REMAP,
                "SHM_REMAP needs an address, SHM_RND makes NULL of 0x1",
            ),
            (
                ID,
                4095,
                SHM_RND | SHM_REMAP,
                "SHM_REMAP needs an address, SHM_RND makes NULL of 0xfff",
            ),
        ] {
            assert_eq!(
                refused(parse(shmid, addr, shmflg)),
                Some((Errno::Einval, expected.into())),
                "shmat({shmid}, {addr:#x}, {shmflg:o})"
            );
        }
    }

    #[test]
    fn an_address_is_taken_as_it_is_or_rounded_down() {
        for (addr, shmflg, expected) in [
            (0, 0, (0, false, false)),
            (0, SHM_RND, (0, false, false)),
            (PAGE, 0, (PAGE, true, false)),
            (PAGE, SHM_RND, (PAGE, true, false)),
            (PAGE, SHM_REMAP, (PAGE, true, true)),
            (2 * PAGE - 1, SHM_RND, (PAGE, true, false)),
            (PAGE + 1, SHM_RND | SHM_REMAP, (PAGE, true, true)),
            (u64::MAX, SHM_RND, (u64::MAX - 4095, true, false)),
            // Page zero is an address, and what is there is replaced.
            (1, SHM_RND, (0, true, true)),
            (4095, SHM_RND, (0, true, true)),
        ] {
            let placed = request(addr, shmflg).map(|req| (req.addr, req.fixed, req.remap));
            assert_eq!(placed, Ok(expected), "{addr:#x}, {shmflg:o}");
        }
    }

    #[test]
    fn flags_ask_for_rights_and_the_unknown_ones_for_nothing() {
        for (shmflg, write, exec, wanted) in [
            (0, true, false, READ | WRITE),
            (SHM_RDONLY, false, false, READ),
            (SHM_EXEC, true, true, READ | WRITE | EXEC),
            (SHM_RDONLY | SHM_EXEC, false, true, READ | EXEC),
            (0o777, true, false, READ | WRITE),
            (i32::MIN | 1 << 30, true, false, READ | WRITE),
        ] {
            let asked = request(0, shmflg).map(|req| (req.write, req.exec, req.wanted_bits()));
            assert_eq!(asked, Ok((write, exec, wanted)), "{shmflg:o}");
        }
    }

    #[test]
    fn attaching_takes_the_rights_of_the_mode() {
        let may = |mode, shmflg, euid| {
            let req = parse(ID, 0, shmflg)?;
            may_attach(&segment(mode), &req, &Person::with_euid(euid))
        };
        assert_eq!(may(0o600, 0, OWNER), Ok(()));
        assert_eq!(may(0o400, SHM_RDONLY, OWNER), Ok(()));
        assert_eq!(errno(may(0o400, 0, OWNER)), Some(Errno::Eacces));
        // There is no attach for writing alone.
        assert_eq!(errno(may(0o200, 0, OWNER)), Some(Errno::Eacces));
        assert_eq!(errno(may(0o600, SHM_EXEC, OWNER)), Some(Errno::Eacces));
        assert_eq!(may(0o700, SHM_EXEC, OWNER), Ok(()));
        assert_eq!(errno(may(0o600, SHM_RDONLY, STRANGER)), Some(Errno::Eacces));
        // Nothing about a removed segment is different.
        assert_eq!(may(0o1600, 0, OWNER), Ok(()));
    }

    #[test]
    fn a_range_may_not_reach_the_end_of_all_addresses() {
        let last_page = u64::MAX - 4095;
        for (addr, shmflg, len, refused) in [
            (last_page, 0, 4096, true),
            (last_page, 0, 4095, false),
            (last_page, 0, 100, false),
            (last_page - PAGE, 0, 4096, false),
            (last_page - PAGE, 0, 8192, true),
            (PAGE, 0, u64::MAX, true),
            (last_page, SHM_REMAP, 4096, false),
            (0, 0, u64::MAX, false),
            (1, SHM_RND, u64::MAX, false),
        ] {
            let ruling = parse(ID, addr, shmflg).and_then(|req| check_range(&req, len));
            let expected = refused.then_some(Errno::Einval);
            assert_eq!(errno(ruling), expected, "{len} at {addr:#x}, {shmflg:o}");
        }
    }
}
