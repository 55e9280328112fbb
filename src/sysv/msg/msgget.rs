//! msgget(2): which queue a key opens, and what may be created.
//!
//! For a key that names a queue: [`open_queue`]. For one that does not: [`missing_queue_key`]; then, and for IPC_PRIVATE,
//! [`check_new_queue`], and the queue is what [`new_queue`] tells.

use super::flags::{IPC_CREAT, IPC_EXCL};
use super::limits::MsgLimits;
use super::state::QueueFacts;
use crate::sysv::ipc::{Caller, IpcPerm, Key, Ruling, may_access, refusal, wanted_bits};

/// Whether msgget gives the queue, which its key names. Nothing about the queue changes.
pub fn open_queue(queue: &QueueFacts, msgflg: i32, caller: &impl Caller) -> Ruling<()> {
    if msgflg & IPC_CREAT != 0 && msgflg & IPC_EXCL != 0 {
        // "If msgflg specifies both IPC_CREAT and IPC_EXCL and a message queue already exists for key, then msgget()
        // fails with errno set to EEXIST." - man msgget(2)
        return Err(refusal!(
            Eexist,
            [key = queue.key.0, id = queue.perm.id.raw()],
            "key {} has message queue {id} already and IPC_EXCL was asked",
            Key(key as i32)
        ));
    }
    // "A message queue exists for key, but the calling process does not have permission to access the queue, and does not
    // have the CAP_IPC_OWNER capability in the user namespace that governs its IPC namespace." - man msgget(2)
    may_access(&queue.perm, wanted_bits(msgflg), caller)
}

/// Whether msgget may go on to create, when no queue has `key`.
pub fn missing_queue_key(key: Key, msgflg: i32) -> Ruling<()> {
    if msgflg & IPC_CREAT == 0 && !key.is_private() {
        // "No message queue exists for key and msgflg did not specify IPC_CREAT." - man msgget(2)
        return Err(refusal!(
            Enoent,
            [key = key.0],
            "key {} has no message queue and IPC_CREAT was not asked",
            Key(key as i32)
        ));
    }
    Ok(())
}

/// Whether there may be one queue more than there are.
pub fn check_new_queue(queues: u32, limits: &MsgLimits) -> Ruling<()> {
    if queues >= limits.msgmni {
        // "A message queue has to be created but the system limit for the maximum number of message queues (MSGMNI) would
        // be exceeded." - man msgget(2)
        return Err(refusal!(
            Enospc,
            [queues, msgmni = limits.msgmni],
            "there are {queues} message queues, msgmni is {msgmni}"
        ));
    }
    Ok(())
}

/// What a queue is when it is made. `perm` has the mode that [`new_mode`](crate::sysv::new_mode) makes of msgflg.
pub fn new_queue(perm: IpcPerm, key: Key, limits: &MsgLimits, now: i64) -> QueueFacts {
    // "msg_qnum, msg_lspid, msg_lrpid, msg_stime, and msg_rtime are set to 0. msg_ctime is set to the current time.
    // msg_qbytes is set to the system limit MSGMNB." - man msgget(2)
    QueueFacts {
        perm,
        key,
        stime: 0,
        rtime: 0,
        ctime: now,
        cbytes: 0,
        qnum: 0,
        qbytes: limits.msgmnb,
        lspid: 0,
        lrpid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::for_tests::facts;
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{CREATOR, OWNER, Person, STRANGER, errno, refused};

    const LIMITS: MsgLimits = MsgLimits::KERNEL_DEFAULTS;

    #[test]
    fn opening_refuses_exclusion_then_rights() {
        let exclusive = IPC_CREAT | IPC_EXCL;
        for (mode, msgflg, euid, expected) in [
            (0o600, exclusive, OWNER, Some(Errno::Eexist)),
            (0o600, exclusive | 0o777, STRANGER, Some(Errno::Eexist)),
            (0o600, 0o777, STRANGER, Some(Errno::Eacces)),
            (0o600, 0o004, STRANGER, Some(Errno::Eacces)),
            (0o600, 0o700, OWNER, Some(Errno::Eacces)),
            (0o600, 0o600, OWNER, None),
            (0o600, 0o600, CREATOR, None),
            // IPC_EXCL alone means nothing, IPC_CREAT alone opens.
            (0o600, IPC_EXCL, OWNER, None),
            (0o600, IPC_CREAT | 0o600, OWNER, None),
            // Unknown bits mean nothing; nothing asked, nothing refused.
            (0o600, i32::MIN | 0o174000 | 1 << 30, OWNER, None),
            (0, 0, STRANGER, None),
        ] {
            let ruling = open_queue(&facts(mode), msgflg, &Person::with_euid(euid));
            assert_eq!(errno(ruling), expected, "{mode:o} {msgflg:o} uid {euid}");
        }
        let ruling = open_queue(&facts(0), exclusive, &Person::with_euid(OWNER));
        let sentence =
            "key 0x0000162e has message queue 32769 already and IPC_EXCL was asked".into();
        assert_eq!(refused(ruling), Some((Errno::Eexist, sentence)));
    }

    #[test]
    fn a_missing_key_is_created_only_when_asked_and_a_private_one_always() {
        let sentence = "key 0xffffffff has no message queue and IPC_CREAT was not asked".into();
        assert_eq!(
            refused(missing_queue_key(Key(-1), IPC_EXCL | 0o777)),
            Some((Errno::Enoent, sentence))
        );
        assert_eq!(missing_queue_key(Key(5), IPC_CREAT), Ok(()));
        assert_eq!(missing_queue_key(Key(5), IPC_CREAT | IPC_EXCL), Ok(()));
        assert_eq!(missing_queue_key(Key::PRIVATE, 0), Ok(()));
    }

    #[test]
    fn there_are_as_many_queues_as_msgmni_says() {
        let limits = |msgmni| MsgLimits { msgmni, ..LIMITS };
        assert_eq!(check_new_queue(31999, &LIMITS), Ok(()));
        let sentence = "there are 32000 message queues, msgmni is 32000".into();
        assert_eq!(
            refused(check_new_queue(32000, &LIMITS)),
            Some((Errno::Enospc, sentence))
        );
        assert_eq!(errno(check_new_queue(0, &limits(0))), Some(Errno::Enospc));
        // It may have been lowered under what there is.
        assert_eq!(errno(check_new_queue(9, &limits(2))), Some(Errno::Enospc));
    }

    #[test]
    fn a_new_queue_may_hold_what_msgmnb_is_then() {
        let perm = facts(0o640).perm;
        let limits = MsgLimits {
            msgmnb: 7,
            ..LIMITS
        };
        let queue = new_queue(perm, Key(-5), &limits, 1_800_000_000);
        assert_eq!((queue.perm, queue.key), (perm, Key(-5)));
        assert_eq!(
            (queue.stime, queue.rtime, queue.ctime),
            (0, 0, 1_800_000_000)
        );
        assert_eq!((queue.cbytes, queue.qnum, queue.qbytes), (0, 0, 7));
        assert_eq!((queue.lspid, queue.lrpid), (0, 0));
    }
}
