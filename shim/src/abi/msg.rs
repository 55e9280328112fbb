//! The structures that msgctl copies.

use core::ffi::c_int;

use libc::c_ulong;
use shmshim_core::registry::msg::MsgUsage;
use shmshim_core::sysv::msg::{MsgLimits, NewQueue, QueueFacts};

use super::{IpcPerm, Plain, Reserved, halves, layout};

/// `struct msqid_ds`.
#[repr(C)]
pub struct MsqidDs {
    perm: IpcPerm,
    /// stime, rtime, ctime, each in two halves: one word of 64 bits, or two of 32.
    times: [[u32; 2]; 3],
    cbytes: c_ulong,
    qnum: c_ulong,
    qbytes: c_ulong,
    lspid: i32,
    lrpid: i32,
    reserved: Reserved,
}

/// `struct msginfo`.
#[repr(C)]
pub struct Msginfo {
    msgpool: c_int,
    msgmap: c_int,
    msgmax: c_int,
    msgmnb: c_int,
    msgmni: c_int,
    msgssz: c_int,
    msgtql: c_int,
    msgseg: u16,
    pad: u16,
}

#[cfg(not(all(target_pointer_width = "32", target_env = "gnu")))]
layout!(MsqidDs, 120, 88;
    perm: 0, 0; times: 48, 36; cbytes: 72, 60; qnum: 80, 64; qbytes: 88, 68; lspid: 96, 72; lrpid: 100, 76;
    reserved: 104, 80;);
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
layout!(MsqidDs, 120, 80;
    perm: 0, 0; times: 48, 36; cbytes: 72, 60; qnum: 80, 64; qbytes: 88, 68; lspid: 96, 72; lrpid: 100, 76;);
layout!(Msginfo, 32, 32; msgpool: 0, 0; msgtql: 24, 24; msgseg: 28, 28; pad: 30, 30;);

// SAFETY: the offsets and sizes asserted above leave no byte between the fields, which are integers.
unsafe impl Plain for MsqidDs {}
// SAFETY: as above.
unsafe impl Plain for Msginfo {}

impl MsqidDs {
    /// What IPC_STAT and its kin copy out.
    pub fn of(queue: &QueueFacts) -> MsqidDs {
        MsqidDs {
            perm: IpcPerm::of(queue.key, &queue.perm),
            times: [queue.stime, queue.rtime, queue.ctime].map(halves),
            cbytes: queue.cbytes as c_ulong,
            qnum: queue.qnum as c_ulong,
            qbytes: queue.qbytes as c_ulong,
            lspid: queue.lspid,
            lrpid: queue.lrpid,
            reserved: Default::default(),
        }
    }

    /// What IPC_SET takes from a copy of the caller's structure: of the bytes that the queue may hold, the low 32 bits.
    pub fn new_queue(copied: &[u8; size_of::<MsqidDs>()]) -> NewQueue {
        // SAFETY: as many bytes as the type has, of which any pattern is a value; they need not be aligned.
        let copied: MsqidDs = unsafe { core::ptr::read_unaligned(copied.as_ptr().cast()) };
        NewQueue {
            perm: copied.perm.new_perm(),
            qbytes: copied.qbytes as u32,
        }
    }
}

impl Msginfo {
    /// What IPC_INFO copies out. What is no limit of the namespace tells what was once the kernel's.
    pub fn of(limits: &MsgLimits) -> Msginfo {
        const DEFAULTS: MsgLimits = MsgLimits::KERNEL_DEFAULTS;
        Msginfo {
            msgpool: (DEFAULTS.msgmni * (DEFAULTS.msgmnb / 1024)) as c_int,
            msgmap: DEFAULTS.msgmnb as c_int,
            msgmax: limits.msgmax as c_int,
            msgmnb: limits.msgmnb as c_int,
            msgmni: limits.msgmni as c_int,
            msgssz: 16,
            msgtql: DEFAULTS.msgmnb as c_int,
            msgseg: u16::MAX,
            pad: 0,
        }
    }

    /// What MSG_INFO copies out.
    pub fn with_usage(usage: &MsgUsage) -> Msginfo {
        Msginfo {
            msgpool: usage.queues as c_int,
            msgmap: usage.messages as c_int,
            msgtql: usage.bytes as c_int,
            ..Msginfo::of(&usage.limits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmshim_core::sysv::{IpcPerm, Key, Kind, ShmId};

    fn queue() -> QueueFacts {
        QueueFacts {
            perm: IpcPerm {
                kind: Kind::Queue,
                id: ShmId::new(3, 7),
                uid: 1,
                gid: 2,
                cuid: 3,
                cgid: 4,
                mode: 0o640,
            },
            key: Key(0x162e),
            stime: 11,
            rtime: 12,
            ctime: 13,
            cbytes: 14,
            qnum: 15,
            qbytes: 16,
            lspid: 17,
            lrpid: 18,
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_queue_becomes_the_structure_that_libc_declares() {
        let ours = MsqidDs::of(&queue());
        assert_eq!(ours.bytes().len(), size_of::<libc::msqid_ds>());
        // SAFETY: libc's type is plain integers of the same size.
        let libcs: libc::msqid_ds =
            unsafe { core::ptr::read_unaligned(ours.bytes().as_ptr().cast()) };
        assert_eq!(libcs.msg_perm.__key, 0x162e);
        assert_eq!((libcs.msg_perm.uid, libcs.msg_perm.gid), (1, 2));
        assert_eq!((libcs.msg_perm.cuid, libcs.msg_perm.cgid), (3, 4));
        assert_eq!(libcs.msg_perm.mode as u32, 0o640);
        assert_eq!(libcs.msg_perm.__seq as u32, 7);
        assert_eq!(
            (libcs.msg_stime, libcs.msg_rtime, libcs.msg_ctime),
            (11, 12, 13)
        );
        assert_eq!((libcs.__msg_cbytes, libcs.msg_qnum), (14, 15));
        assert_eq!((libcs.msg_qbytes, libcs.msg_lspid), (16, 17));
        assert_eq!(libcs.msg_lrpid, 18);
    }

    #[test]
    fn what_ipc_set_takes_stands_where_ipc_stat_put_it() {
        let mut copied = [0xaa; size_of::<MsqidDs>()];
        copied.copy_from_slice(MsqidDs::of(&queue()).bytes());
        let new = MsqidDs::new_queue(&copied);
        assert_eq!((new.perm.uid, new.perm.gid, new.perm.mode), (1, 2, 0o640));
        assert_eq!(new.qbytes, 16);
    }

    #[test]
    fn what_was_once_the_kernels_is_what_it_tells_today() {
        let info = Msginfo::of(&MsgLimits::KERNEL_DEFAULTS);
        assert_eq!(
            (info.msgpool, info.msgmap, info.msgtql),
            (512000, 16384, 16384)
        );
    }
}
