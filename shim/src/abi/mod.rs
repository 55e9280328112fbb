//! The structures that shmctl, semctl and msgctl copy, byte for byte as `<sys/shm.h>`, `<sys/sem.h>` and `<sys/msg.h>` have
//! them. Those of shared memory stand here, the others in `sem.rs` and `msg.rs`.
//!
//! libc lacks `shminfo` and `shm_info`, and keeps the reserved fields of `shmid_ds` to itself; the kernel writes
//! those as zeros, and so do we. `tests/c/test_abi.c` compares with the C headers.

mod msg;
mod sem;

pub use msg::{Msginfo, MsqidDs};
pub use sem::{SemidDs, Seminfo};

use libc::{c_int, c_ulong};
use shmshim_core::registry::Usage;
use shmshim_core::sysv::{self, Key, Limits, NewPerm, SHMMIN, Segment};

#[cfg(not(all(
    target_endian = "little",
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    )
)))]
compile_error!("the layout of struct shmid_ds on this architecture has not been checked");

/// A word of the structures: what lies between two of them is padding.
const WORD: usize = size_of::<c_ulong>();

/// `struct ipc_perm`.
#[repr(C)]
pub struct IpcPerm {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    seq: u16,
    pad: [u16; WORD / 2 - 1],
    reserved: [c_ulong; 2],
}

/// `struct shmid_ds`.
#[repr(C)]
pub struct ShmidDs {
    perm: IpcPerm,
    segsz: usize,
    /// atime, dtime, ctime, each in two halves: one word of 64 bits, or two of 32.
    times: [[u32; 2]; 3],
    cpid: i32,
    lpid: i32,
    nattch: c_ulong,
    reserved: Reserved,
}

/// `struct shminfo`.
#[repr(C)]
pub struct Shminfo {
    shmmax: c_ulong,
    shmmin: c_ulong,
    shmmni: c_ulong,
    shmseg: c_ulong,
    shmall: c_ulong,
    reserved: [c_ulong; 4],
}

/// `struct shm_info`.
#[repr(C)]
pub struct ShmInfo {
    used_ids: c_int,
    pad: [u32; WORD / 4 - 1],
    shm_tot: c_ulong,
    shm_rss: c_ulong,
    shm_swp: c_ulong,
    swap_attempts: c_ulong,
    swap_successes: c_ulong,
}

/// Fields that the kernel writes as zeros. glibc copies the structure itself where a word has 32 bits, and leaves them of the
/// caller's as they are.
#[cfg(not(all(target_pointer_width = "32", target_env = "gnu")))]
type Reserved = [c_ulong; 2];
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
type Reserved = [c_ulong; 0];

/// Seconds in two halves: one word of 64 bits, or two of 32.
fn halves(secs: i64) -> [u32; 2] {
    [secs as u32, (secs >> 32) as u32]
}

/// Asserts a size and offsets at compile time: `layout!(Type, bytes for 64 bits, for 32; field: offset, offset …)`.
macro_rules! layout {
    ($type:ident, $size64:literal, $size32:literal; $($field:ident : $at64:literal, $at32:literal;)*) => {
        const _: () = {
            let wide = cfg!(target_pointer_width = "64");
            assert!(size_of::<$type>() == if wide { $size64 } else { $size32 });
            $(assert!(core::mem::offset_of!($type, $field) == if wide { $at64 } else { $at32 });)*
        };
    };
}
use layout;

layout!(IpcPerm, 48, 36;
    key: 0, 0; uid: 4, 4; gid: 8, 8; cuid: 12, 12; cgid: 16, 16; mode: 20, 20; seq: 24, 24; reserved: 32, 28;);
#[cfg(not(all(target_pointer_width = "32", target_env = "gnu")))]
layout!(ShmidDs, 112, 84;
    perm: 0, 0; segsz: 48, 36; times: 56, 40; cpid: 80, 64; lpid: 84, 68; nattch: 88, 72; reserved: 96, 76;);
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
layout!(ShmidDs, 112, 76;
    perm: 0, 0; segsz: 48, 36; times: 56, 40; cpid: 80, 64; lpid: 84, 68; nattch: 88, 72;);
layout!(Shminfo, 72, 36;
    shmmax: 0, 0; shmmin: 8, 4; shmmni: 16, 8; shmseg: 24, 12; shmall: 32, 16; reserved: 40, 20;);
layout!(ShmInfo, 48, 24;
    used_ids: 0, 0; shm_tot: 8, 4; shm_rss: 16, 8; shm_swp: 24, 12; swap_attempts: 32, 16; swap_successes: 40, 20;);

/// The structures above: every byte belongs to a field.
///
/// # Safety
/// The type has no padding, so that each of its bytes is initialised, and every pattern of bytes is a value of it.
pub unsafe trait Plain: Sized {
    /// Its bytes, for the caller's buffer.
    fn bytes(&self) -> &[u8] {
        // SAFETY: no byte of it is padding.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast(), size_of::<Self>()) }
    }
}

// SAFETY: the offsets and sizes asserted above leave no byte between the fields, which are integers.
unsafe impl Plain for ShmidDs {}
// SAFETY: as above.
unsafe impl Plain for Shminfo {}
// SAFETY: as above.
unsafe impl Plain for ShmInfo {}

impl IpcPerm {
    fn of(key: Key, perm: &sysv::IpcPerm) -> IpcPerm {
        IpcPerm {
            key: key.0,
            uid: perm.uid,
            gid: perm.gid,
            cuid: perm.cuid,
            cgid: perm.cgid,
            mode: perm.mode,
            seq: perm.id.seq() as u16,
            pad: Default::default(),
            reserved: [0; 2],
        }
    }

    fn new_perm(&self) -> NewPerm {
        NewPerm {
            uid: self.uid,
            gid: self.gid,
            mode: self.mode,
        }
    }
}

impl ShmidDs {
    /// What IPC_STAT and its kin copy out.
    pub fn of(segment: &Segment) -> ShmidDs {
        ShmidDs {
            perm: IpcPerm::of(segment.key, &segment.perm()),
            segsz: segment.segsz as usize,
            times: [segment.atime, segment.dtime, segment.ctime].map(halves),
            cpid: segment.cpid,
            lpid: segment.lpid,
            nattch: segment.nattch as c_ulong,
            reserved: Default::default(),
        }
    }

    /// What IPC_SET takes from a copy of the caller's structure.
    pub fn new_perm(copied: &[u8; size_of::<ShmidDs>()]) -> NewPerm {
        // SAFETY: as many bytes as the type has, of which any pattern is a value; they need not be aligned.
        let copied: ShmidDs = unsafe { core::ptr::read_unaligned(copied.as_ptr().cast()) };
        copied.perm.new_perm()
    }
}

impl Shminfo {
    /// What IPC_INFO copies out. shmseg has been shmmni for ever. A 32-bit program sees the largest size clipped
    /// to what it could ever address, and the number of pages cut off.
    pub fn of(limits: &Limits) -> Shminfo {
        let shmmax = if cfg!(target_pointer_width = "64") {
            limits.shmmax
        } else {
            limits.shmmax.min(i32::MAX as u64)
        };
        Shminfo {
            shmmax: shmmax as c_ulong,
            shmmin: SHMMIN as c_ulong,
            shmmni: limits.shmmni as c_ulong,
            shmseg: limits.shmmni as c_ulong,
            shmall: limits.shmall as c_ulong,
            reserved: [0; 4],
        }
    }
}

impl ShmInfo {
    /// What SHM_INFO copies out.
    pub fn of(usage: &Usage) -> ShmInfo {
        ShmInfo {
            used_ids: usage.used_ids,
            pad: Default::default(),
            shm_tot: usage.shm_tot as c_ulong,
            shm_rss: usage.shm_rss as c_ulong,
            shm_swp: usage.shm_swp as c_ulong,
            swap_attempts: 0,
            swap_successes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmshim_core::sysv::ShmId;

    fn segment() -> Segment {
        Segment {
            id: ShmId::new(3, 7),
            key: Key(0x162e),
            uid: 1,
            gid: 2,
            cuid: 3,
            cgid: 4,
            mode: 0o3640,
            segsz: 5000,
            atime: 11,
            dtime: 12,
            ctime: 13,
            cpid: 14,
            lpid: 15,
            nattch: 16,
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_segment_becomes_the_structure_that_libc_declares() {
        let ours = ShmidDs::of(&segment());
        // SAFETY: libc's type is plain integers of the same size.
        let libcs: libc::shmid_ds =
            unsafe { core::ptr::read_unaligned(ours.bytes().as_ptr().cast()) };
        assert_eq!(ours.bytes().len(), size_of::<libc::shmid_ds>());
        assert_eq!(libcs.shm_perm.__key, 0x162e);
        assert_eq!((libcs.shm_perm.uid, libcs.shm_perm.gid), (1, 2));
        assert_eq!((libcs.shm_perm.cuid, libcs.shm_perm.cgid), (3, 4));
        assert_eq!(libcs.shm_perm.mode as u32, 0o3640);
        assert_eq!(libcs.shm_perm.__seq as u32, 7);
        assert_eq!(libcs.shm_segsz, 5000);
        assert_eq!(
            (libcs.shm_atime, libcs.shm_dtime, libcs.shm_ctime),
            (11, 12, 13)
        );
        assert_eq!(
            (libcs.shm_cpid, libcs.shm_lpid, libcs.shm_nattch),
            (14, 15, 16)
        );
    }

    #[test]
    fn what_ipc_set_takes_stands_where_ipc_stat_put_it() {
        let mut copied = [0xaa; size_of::<ShmidDs>()];
        copied.copy_from_slice(ShmidDs::of(&segment()).bytes());
        let new = ShmidDs::new_perm(&copied);
        assert_eq!((new.uid, new.gid, new.mode), (1, 2, 0o3640));
    }
}
