//! msgctl(2): which command it is, and who may do what to a queue.
//!
//! The order: [`parse_msgctl`]; for IPC_SET the caller's buffer is read (`EFAULT`); the queue is looked up; then one of the
//! `may_` functions. For the commands that copy out, a bad buffer (`EFAULT`) comes last.

use super::flags::{self, MODE_BITS, READ};
use super::limits::MsgLimits;
use super::state::{QueueFacts, QueueState};
use super::wake::{wake_receivers, wake_senders};
use crate::sysv::ipc::{
    Caller, Capability, IpcPerm, NewPerm, Ruling, ShmId, check_new_perm, may_access, must_own,
    refusal,
};

/// What msgctl is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsgCommand {
    /// Remove.
    IpcRmid,
    /// Change owner, group, mode, qbytes.
    IpcSet,
    /// Tell about a queue.
    IpcStat,
    /// Tell the limits.
    IpcInfo,
    /// Tell about the queue with an index.
    MsgStat,
    /// Tell what all queues use.
    MsgInfo,
    /// Tell about the queue with an index, whatever its mode.
    MsgStatAny,
}

/// What IPC_SET is to make of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewQueue {
    /// Owner, group and mode.
    pub perm: NewPerm,
    /// Bytes that it may hold: the low 32 bits of what the caller asks, the others mean nothing.
    pub qbytes: u32,
}

/// Reads the command. Needs neither the queue nor the buffer, and comes before both.
pub fn parse_msgctl(msqid: i32, cmd: i32) -> Ruling<MsgCommand> {
    // "Invalid value for cmd or msqid." - man msgctl(2)
    //
    // A negative identifier is refused even where the command has no use for one.
    let command = match cmd {
        flags::IPC_RMID => MsgCommand::IpcRmid,
        flags::IPC_SET => MsgCommand::IpcSet,
        flags::IPC_STAT => MsgCommand::IpcStat,
        flags::IPC_INFO => MsgCommand::IpcInfo,
        flags::MSG_STAT => MsgCommand::MsgStat,
        flags::MSG_INFO => MsgCommand::MsgInfo,
        flags::MSG_STAT_ANY => MsgCommand::MsgStatAny,
        _ => {
            return Err(refusal!(
                Einval,
                [cmd],
                "there is no command {}",
                cmd as i32
            ));
        }
    };
    ShmId::from_raw(msqid)?;
    Ok(command)
}

impl MsgCommand {
    /// Whether it takes an index, so that the sequence number of what it is given does not matter.
    pub fn is_by_index(self) -> bool {
        matches!(self, MsgCommand::MsgStat | MsgCommand::MsgStatAny)
    }
}

/// Whether the caller may be told about the queue by `cmd`.
pub fn may_stat_queue(queue: &QueueFacts, cmd: MsgCommand, caller: &impl Caller) -> Ruling<()> {
    if cmd == MsgCommand::MsgStatAny {
        // "msg_perm.mode is not checked for read access for msqid meaning that any user can employ this operation"
        // - man msgctl(2)
        return Ok(());
    }
    // "The argument cmd is equal to IPC_STAT or MSG_STAT, but the calling process does not have read permission on the
    // message queue msqid, and does not have the CAP_IPC_OWNER capability in the user namespace that governs its IPC
    // namespace." - man msgctl(2)
    may_access(&queue.perm, READ, caller)
}

/// Whether the caller may remove the queue.
pub fn may_remove_queue(queue: &QueueFacts, caller: &impl Caller) -> Ruling<()> {
    // "The calling process must have appropriate privileges or its effective user ID must be either that of the creator or
    // owner of the message queue." - man msgctl(2)
    must_own(&queue.perm, caller, Capability::SysAdmin)
}

/// Whether the caller may set `new`, and what is then set.
pub fn may_set_queue(
    queue: &QueueFacts,
    new: &NewQueue,
    limits: &MsgLimits,
    caller: &impl Caller,
) -> Ruling<NewQueue> {
    // "The effective UID of the calling process must match the owner (msg_perm.uid) or creator (msg_perm.cuid) of the
    // message queue, or the caller must be privileged." - man msgctl(2)
    must_own(&queue.perm, caller, Capability::SysAdmin)?;
    if new.qbytes > limits.msgmnb && !caller.capable(Capability::SysResource) {
        // "An attempt (IPC_SET) was made to increase msg_qbytes beyond the system parameter MSGMNB, but the caller is not
        // privileged (Linux: does not have the CAP_SYS_RESOURCE capability)." - man msgctl(2)
        return Err(refusal!(
            Eperm,
            [
                id = queue.perm.id.raw(),
                qbytes = new.qbytes,
                msgmnb = limits.msgmnb
            ],
            "message queue {id} is to hold {qbytes} bytes, more than msgmnb, {msgmnb}, takes CAP_SYS_RESOURCE"
        ));
    }
    Ok(NewQueue {
        perm: check_new_perm(&new.perm)?,
        ..*new
    })
}

/// Sets what [`may_set_queue`] granted, and tells the sleepers: the receivers to look at their rights anew, the senders
/// whose messages fit now to try again. A sender whose rights were taken sleeps on until there is room.
pub fn set_queue(queue: &mut impl QueueState, new: NewQueue, now: i64) {
    let facts = queue.facts();
    // "updating also its msg_ctime member." - man msgctl(2)
    queue.set_facts(QueueFacts {
        perm: IpcPerm {
            uid: new.perm.uid,
            gid: new.perm.gid,
            mode: facts.perm.mode & !MODE_BITS | new.perm.mode & MODE_BITS,
            ..facts.perm
        },
        qbytes: new.qbytes,
        ctime: now,
        ..facts
    });
    wake_receivers(queue);
    wake_senders(queue);
}

#[cfg(test)]
mod tests {
    use super::super::for_tests::{Queue, facts, message, receiver, sender};
    use super::super::state::ReceiverAnswer;
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{
        ALL_CAPABILITIES, CREATOR, OWNER, Person, STRANGER, errno, refused,
    };

    const LIMITS: MsgLimits = MsgLimits::KERNEL_DEFAULTS;
    const NEW: NewQueue = NewQueue {
        perm: NewPerm {
            uid: 7,
            gid: 8,
            mode: 0o640,
        },
        qbytes: 100,
    };

    #[test]
    fn every_command_has_its_number() {
        for (cmd, command) in [
            (libc::IPC_RMID, MsgCommand::IpcRmid),
            (libc::IPC_SET, MsgCommand::IpcSet),
            (libc::IPC_STAT, MsgCommand::IpcStat),
            (3, MsgCommand::IpcInfo),
            (11, MsgCommand::MsgStat),
            (12, MsgCommand::MsgInfo),
            (13, MsgCommand::MsgStatAny),
        ] {
            assert_eq!(parse_msgctl(0, cmd), Ok(command));
            assert_eq!(parse_msgctl(i32::MAX, cmd), Ok(command));
            let sentence = "no identifier is negative, -1 is".into();
            assert_eq!(
                refused(parse_msgctl(-1, cmd)),
                Some((Errno::Einval, sentence))
            );
            let by_index = matches!(cmd, 11 | 13);
            assert_eq!(command.is_by_index(), by_index);
        }
        for cmd in [-1, i32::MIN, 4, 10, 14, 15, 0x100, 0x102, i32::MAX] {
            let sentence = format!("there is no command {cmd}");
            assert_eq!(
                refused(parse_msgctl(0, cmd)),
                Some((Errno::Einval, sentence))
            );
        }
    }

    #[test]
    fn stat_takes_the_right_to_read_and_stat_any_none() {
        let by = |mode, cmd| {
            let stranger = Person::with_euid(STRANGER);
            errno(may_stat_queue(&facts(mode), cmd, &stranger))
        };
        for cmd in [MsgCommand::IpcStat, MsgCommand::MsgStat] {
            assert_eq!(by(0o004, cmd), None);
            assert_eq!(by(0o772, cmd), Some(Errno::Eacces));
        }
        assert_eq!(by(0, MsgCommand::MsgStatAny), None);
    }

    #[test]
    fn owner_and_creator_remove_and_set_whatever_the_mode() {
        for euid in [OWNER, CREATOR] {
            let caller = Person::with_euid(euid);
            assert_eq!(may_remove_queue(&facts(0), &caller), Ok(()));
            assert_eq!(may_set_queue(&facts(0), &NEW, &LIMITS, &caller), Ok(NEW));
        }
        let all = Person::with_euid(STRANGER);
        for capability in ALL_CAPABILITIES.map(|it| (it == Capability::SysAdmin, [it])) {
            let (is_admin, held) = capability;
            let caller = all.clone().with(held.to_vec().leak());
            let expected = (!is_admin).then_some(Errno::Eperm);
            assert_eq!(errno(may_remove_queue(&facts(0o777), &caller)), expected);
            let ruling = may_set_queue(&facts(0o777), &NEW, &LIMITS, &caller);
            assert_eq!(errno(ruling), expected);
        }
    }

    #[test]
    fn setting_refuses_a_stranger_then_bytes_then_nobodys_ids() {
        let nobody = NewPerm {
            uid: u32::MAX,
            ..NEW.perm
        };
        let no_group = NewPerm {
            gid: u32::MAX,
            ..NEW.perm
        };
        let resource: &[Capability] = &[Capability::SysResource];
        for (perm, qbytes, euid, held, expected) in [
            (nobody, 16385, STRANGER, resource, Some(Errno::Eperm)),
            (nobody, 16385, OWNER, &[][..], Some(Errno::Eperm)),
            (nobody, 16384, OWNER, &[], Some(Errno::Einval)),
            (no_group, 16384, OWNER, &[], Some(Errno::Einval)),
            (nobody, u32::MAX, OWNER, resource, Some(Errno::Einval)),
            (NEW.perm, 16384, OWNER, &[], None),
            (NEW.perm, 0, OWNER, &[], None),
            (NEW.perm, 16385, OWNER, &[], Some(Errno::Eperm)),
            (NEW.perm, u32::MAX, OWNER, &[], Some(Errno::Eperm)),
            (NEW.perm, u32::MAX, OWNER, resource, None),
            (
                NEW.perm,
                16385,
                OWNER,
                &[Capability::SysAdmin],
                Some(Errno::Eperm),
            ),
        ] {
            let caller = Person::with_euid(euid).with(held);
            let ruling = may_set_queue(&facts(0o600), &NewQueue { perm, qbytes }, &LIMITS, &caller);
            assert_eq!(errno(ruling), expected, "{perm:?} {qbytes} {euid} {held:?}");
        }
        let large = NewQueue {
            qbytes: 16385,
            ..NEW
        };
        let sentence = "message queue 32769 is to hold 16385 bytes, more than msgmnb, 16384, takes CAP_SYS_RESOURCE";
        let owner = Person::with_euid(OWNER);
        assert_eq!(
            refused(may_set_queue(&facts(0o600), &large, &LIMITS, &owner)),
            Some((Errno::Eperm, sentence.into()))
        );
        let owned = NewQueue {
            perm: nobody,
            ..NEW
        };
        assert_eq!(
            refused(may_set_queue(&facts(0o600), &owned, &LIMITS, &owner)),
            Some((
                Errno::Einval,
                "uid -1 and gid 8 asked, nobody has the id -1".into()
            ))
        );
    }

    #[test]
    fn setting_takes_owner_group_permission_bits_and_bytes() {
        let mut queue = Queue::new(facts(0o1600));
        queue.push_message(message(1, 200));
        let before = queue.facts();
        let wide = NewQueue {
            perm: NewPerm {
                mode: 0o7640,
                ..NEW.perm
            },
            ..NEW
        };
        let granted = may_set_queue(&before, &wide, &LIMITS, &Person::with_euid(OWNER));
        assert_eq!(granted, Ok(NEW));
        set_queue(&mut queue, NEW, 2000);
        let expected = QueueFacts {
            perm: IpcPerm {
                uid: 7,
                gid: 8,
                mode: 0o1640,
                ..before.perm
            },
            // Less than what is queued: that stays.
            qbytes: 100,
            ctime: 2000,
            ..before
        };
        assert_eq!(queue.facts(), expected);
    }

    #[test]
    fn setting_tells_all_receivers_and_the_senders_that_fit() {
        let mut queue = Queue::new(QueueFacts {
            qbytes: 1,
            ..facts(0o600)
        });
        queue.push_message(message(1, 1));
        queue.push_receiver(receiver(1, 5, 100, 0));
        queue.push_receiver(receiver(2, 0, 100, 0));
        queue.push_sender(sender(3, 2));
        queue.push_sender(sender(4, 200));
        set_queue(&mut queue, NEW, 2000);
        let again = ReceiverAnswer::Again;
        assert_eq!(queue.answers(), [again, again]);
        assert_eq!(queue.told(), [true, false]);
    }
}
