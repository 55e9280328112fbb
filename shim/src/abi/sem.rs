//! The structures that semctl copies. `struct sembuf` is the rules' own [`Operation`].

use core::ffi::c_int;
use core::mem::offset_of;

use libc::c_ulong;
use shmshim_core::registry::sem::SemUsage;
use shmshim_core::sysv::NewPerm;
use shmshim_core::sysv::sem::{Operation, SemLimits, SetPerm};

use super::{IpcPerm, Plain, Reserved, halves, layout};

const _: () = {
    assert!(size_of::<Operation>() == 6);
    assert!(offset_of!(Operation, number) == 0);
    assert!(offset_of!(Operation, change) == 2);
    assert!(offset_of!(Operation, flags) == 4);
};

/// A time with what stands behind it: its high half where a word has 32 bits. x86-64 has a whole word there.
const TIME: usize = if cfg!(target_arch = "x86_64") { 2 } else { 1 };

/// `struct semid_ds`.
#[repr(C)]
pub struct SemidDs {
    perm: IpcPerm,
    otime: [[u32; 2]; TIME],
    ctime: [[u32; 2]; TIME],
    nsems: c_ulong,
    reserved: Reserved,
}

/// `struct seminfo`.
#[repr(C)]
pub struct Seminfo {
    semmap: c_int,
    semmni: c_int,
    semmns: c_int,
    semmnu: c_int,
    semmsl: c_int,
    semopm: c_int,
    semume: c_int,
    semusz: c_int,
    semvmx: c_int,
    semaem: c_int,
}

#[cfg(target_arch = "x86_64")]
layout!(SemidDs, 104, 104;
    perm: 0, 0; otime: 48, 48; ctime: 64, 64; nsems: 80, 80; reserved: 88, 88;);
#[cfg(all(
    not(target_arch = "x86_64"),
    not(all(target_pointer_width = "32", target_env = "gnu"))
))]
layout!(SemidDs, 88, 64;
    perm: 0, 0; otime: 48, 36; ctime: 56, 44; nsems: 64, 52; reserved: 72, 56;);
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
layout!(SemidDs, 56, 56; perm: 0, 0; otime: 48, 36; ctime: 56, 44; nsems: 64, 52;);
layout!(Seminfo, 40, 40; semmap: 0, 0; semaem: 36, 36;);

// SAFETY: the offsets and sizes asserted above leave no byte between the fields, which are integers.
unsafe impl Plain for SemidDs {}
// SAFETY: as above.
unsafe impl Plain for Seminfo {}

impl SemidDs {
    /// What IPC_STAT and its kin copy out.
    pub fn of(set: &SetPerm) -> SemidDs {
        let time = |secs| {
            let mut time = [[0; 2]; TIME];
            let [seconds, ..] = &mut time;
            *seconds = halves(secs);
            time
        };
        SemidDs {
            perm: IpcPerm::of(set.key, &set.perm),
            otime: time(set.otime),
            ctime: time(set.ctime),
            nsems: set.count as c_ulong,
            reserved: Default::default(),
        }
    }

    /// What IPC_SET takes from a copy of the caller's structure.
    pub fn new_perm(copied: &[u8; size_of::<SemidDs>()]) -> NewPerm {
        // SAFETY: as many bytes as the type has, of which any pattern is a value; they need not be aligned.
        let copied: SemidDs = unsafe { core::ptr::read_unaligned(copied.as_ptr().cast()) };
        copied.perm.new_perm()
    }
}

impl Seminfo {
    /// What IPC_INFO copies out: three limits have never been ones, and tell what was once the default.
    pub fn of(limits: &SemLimits) -> Seminfo {
        const DEFAULTS: SemLimits = SemLimits::KERNEL_DEFAULTS;
        const SEMVMX: c_int = 32767;
        Seminfo {
            semmap: DEFAULTS.semmns,
            semmni: limits.semmni,
            semmns: limits.semmns,
            semmnu: DEFAULTS.semmns,
            semmsl: limits.semmsl,
            semopm: limits.semopm,
            semume: DEFAULTS.semopm,
            semusz: 20,
            semvmx: SEMVMX,
            semaem: SEMVMX,
        }
    }

    /// What SEM_INFO copies out.
    pub fn with_usage(usage: &SemUsage) -> Seminfo {
        Seminfo {
            semusz: usage.sets as c_int,
            semaem: usage.semaphores as c_int,
            ..Seminfo::of(&usage.limits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmshim_core::sysv::{IpcPerm, Key, Kind, ShmId};

    fn set() -> SetPerm {
        SetPerm {
            perm: IpcPerm {
                kind: Kind::Set,
                id: ShmId::new(3, 7),
                uid: 1,
                gid: 2,
                cuid: 3,
                cgid: 4,
                mode: 0o640,
            },
            key: Key(0x162e),
            otime: 11,
            ctime: 12,
            count: 13,
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_set_becomes_the_structure_that_libc_declares() {
        let ours = SemidDs::of(&set());
        assert_eq!(ours.bytes().len(), size_of::<libc::semid_ds>());
        // SAFETY: libc's type is plain integers of the same size.
        let libcs: libc::semid_ds =
            unsafe { core::ptr::read_unaligned(ours.bytes().as_ptr().cast()) };
        assert_eq!(libcs.sem_perm.__key, 0x162e);
        assert_eq!((libcs.sem_perm.uid, libcs.sem_perm.gid), (1, 2));
        assert_eq!((libcs.sem_perm.cuid, libcs.sem_perm.cgid), (3, 4));
        assert_eq!(libcs.sem_perm.mode as u32, 0o640);
        assert_eq!(libcs.sem_perm.__seq as u32, 7);
        assert_eq!((libcs.sem_otime, libcs.sem_ctime), (11, 12));
        assert_eq!(libcs.sem_nsems, 13);
    }

    #[test]
    fn what_ipc_set_takes_stands_where_ipc_stat_put_it() {
        let mut copied = [0xaa; size_of::<SemidDs>()];
        copied.copy_from_slice(SemidDs::of(&set()).bytes());
        let new = SemidDs::new_perm(&copied);
        assert_eq!((new.uid, new.gid, new.mode), (1, 2, 0o640));
    }
}
