//! msgrcv(2): which message a receiver gets.
//!
//! The order: [`check_receive`]; for MSG_COPY the buffer is read (`EFAULT`); the queue is looked up; [`may_receive`];
//! [`receive`], or [`copy`] for MSG_COPY. A receiver that slept and is told to look again begins at the look-up. A bad
//! buffer (`EFAULT`) comes last, and then the message is gone.

use core::fmt;

use super::flags::{IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR, READ};
use super::limits::MsgLimits;
use super::state::{Message, QueueFacts, QueueState, Received, Receiver};
use super::wake::wake_senders;
use crate::sysv::ipc::{Caller, Refusal, Ruling, ShmId, may_access, refusal};

/// Whether a receive may be asked for at all, of whichever queue.
pub fn check_receive(id: i32, size: i64, msgflg: i32) -> Ruling<()> {
    // "msqid was invalid, or msgsz was less than 0." - man msgop(2)
    ShmId::from_raw(id)?;
    if size < 0 {
        return Err(refusal!(
            Einval,
            [size],
            "no buffer has {} bytes",
            size as i64
        ));
    }
    if msgflg & MSG_COPY != 0 && msgflg & MSG_EXCEPT != 0 {
        // "msgflg specified both MSG_COPY and MSG_EXCEPT." - man msgop(2)
        return Err(refusal!(
            Einval,
            [],
            "MSG_COPY takes a position, MSG_EXCEPT a type"
        ));
    }
    if msgflg & MSG_COPY != 0 && msgflg & IPC_NOWAIT == 0 {
        // "msgflg specified MSG_COPY, but not IPC_NOWAIT." - man msgop(2)
        return Err(refusal!(Einval, [], "MSG_COPY needs IPC_NOWAIT"));
    }
    Ok(())
}

/// Whether the caller may receive from the queue, or copy a message. A receiver that slept and looks again is asked again.
pub fn may_receive(queue: &QueueFacts, caller: &impl Caller) -> Ruling<()> {
    // "The calling process does not have read permission on the message queue, and does not have the CAP_IPC_OWNER
    // capability in the user namespace that governs its IPC namespace." - man msgop(2)
    may_access(&queue.perm, READ, caller)
}

/// Which messages a receive is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Any,
    Type(i64),
    Except(i64),
    /// Of the types up to this one the smallest.
    UpTo(i64),
}

impl Wanted {
    fn new(mtype: i64, msgflg: i32) -> Wanted {
        // "If msgtyp is 0, then the first message in the queue is read. If msgtyp is greater than 0, then the first message
        // in the queue of type msgtyp is read, unless MSG_EXCEPT was specified in msgflg, in which case the first message
        // in the queue of type not equal to msgtyp will be read. If msgtyp is less than 0, then the first message in the
        // queue with the lowest type less than or equal to the absolute value of msgtyp will be read." - man msgop(2)
        match mtype {
            0 => Wanted::Any,
            ..0 => Wanted::UpTo(mtype.checked_neg().unwrap_or(i64::MAX)),
            _ if msgflg & MSG_EXCEPT != 0 => Wanted::Except(mtype),
            _ => Wanted::Type(mtype),
        }
    }

    fn allows(self, mtype: i64) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Type(wanted) => mtype == wanted,
            Wanted::Except(unwanted) => mtype != unwanted,
            Wanted::UpTo(highest) => mtype <= highest,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Any => out.write_str("of any type"),
            Wanted::Type(wanted) => write!(out, "of type {wanted}"),
            Wanted::Except(unwanted) => write!(out, "of another type than {unwanted}"),
            Wanted::UpTo(highest) => write!(out, "of a type up to {highest}"),
        }
    }
}

/// Whether the message is one of those that the receiver wants. Its length plays no part.
pub fn matches(receiver: &Receiver, message: &Message) -> bool {
    Wanted::new(receiver.mtype, receiver.flags).allows(message.mtype)
}

/// Whether a receiver has room for the message, or lets it be cut.
pub(super) fn takes(receiver: &Receiver, message: &Message) -> bool {
    receiver.flags & MSG_NOERROR != 0 || u64::from(message.len) <= receiver.room
}

/// The message that msgrcv without MSG_COPY is to give, by its place from the oldest on.
pub fn find(queue: &impl QueueState, mtype: i64, msgflg: i32) -> Option<u32> {
    let wanted = Wanted::new(mtype, msgflg);
    let mut best: Option<(u32, i64)> = None;
    for index in 0..queue.facts().qnum {
        let found = queue.message(index).mtype;
        if !wanted.allows(found) || best.is_some_and(|(_, lowest)| lowest <= found) {
            continue;
        }
        best = Some((index, found));
        // Another can only be better where the smallest type is asked for, and no type is smaller than 1.
        if !matches!(wanted, Wanted::UpTo(_)) || found == 1 {
            break;
        }
    }
    best.map(|(index, _)| index)
}

/// Takes the message that is wanted out of the queue, and tells the sleeping senders whose messages fit now to try again.
/// `None`: there is none. `pid` is the process that receives.
pub fn receive(
    queue: &mut impl QueueState,
    mtype: i64,
    room: u64,
    msgflg: i32,
    pid: i32,
    now: i64,
) -> Ruling<Option<Received>> {
    let Some(index) = find(queue, mtype, msgflg) else {
        return Ok(None);
    };
    let message = queue.message(index);
    let received = cut(&queue.facts(), message, room, msgflg)?;
    queue.remove_message(index);
    // "msg_lrpid is set to the process ID of the calling process. [...] msg_rtime is set to the current time."
    // - man msgop(2)
    queue.set_facts(QueueFacts {
        lrpid: pid,
        rtime: now,
        ..queue.facts()
    });
    wake_senders(queue);
    Ok(Some(received))
}

/// How much of a message a caller with `room` gets.
fn cut(queue: &QueueFacts, message: Message, room: u64, msgflg: i32) -> Ruling<Received> {
    if u64::from(message.len) > room && msgflg & MSG_NOERROR == 0 {
        return Err(too_long(queue, message.len, room));
    }
    // "If MSG_NOERROR is specified, then the message text will be truncated (and the truncated part will be lost)"
    // - man msgop(2)
    Ok(Received {
        message,
        len: u32::try_from(room).map_or(message.len, |room| room.min(message.len)),
    })
}

/// What msgrcv is refused with when the message has `len` bytes and the buffer `room`. A receiver that slept and was
/// answered so knows no `len`: [`too_long_meanwhile`].
fn too_long(queue: &QueueFacts, len: u32, room: u64) -> Refusal {
    // "if MSG_NOERROR is not specified, then the message isn't removed from the queue and the system call fails returning
    // -1 with errno set to E2BIG." - man msgop(2)
    refusal!(
        E2big,
        [id = queue.perm.id.raw(), len, room],
        "the message in message queue {id} has {len} bytes, the buffer {room}"
    )
}

/// What a sleeping receiver is refused with that was answered `E2BIG`.
pub fn too_long_meanwhile(id: ShmId, room: u64) -> Refusal {
    // "The message text length is greater than msgsz and MSG_NOERROR isn't specified in msgflg." - man msgop(2)
    refusal!(
        E2big,
        [id = id.raw(), room],
        "a message with more than the {room} bytes of the buffer came to message queue {id}"
    )
}

/// MSG_COPY: the message at `position`, which stays where it is. Nothing changes.
pub fn copy(
    queue: &impl QueueState,
    position: i64,
    room: u64,
    msgflg: i32,
    limits: &MsgLimits,
) -> Ruling<Received> {
    let facts = queue.facts();
    let inside = u32::try_from(position).ok();
    let Some(index) = inside.filter(|index| *index < facts.qnum) else {
        return Err(nothing(&facts, position, msgflg));
    };
    let message = queue.message(index);
    cut(&facts, message, room, msgflg)?;
    // The manual is silent: a copy is never cut, and its buffer never has more than msgmax bytes, which may have been
    // lowered since the message was sent.
    let room = room.min(u64::from(limits.msgmax));
    if u64::from(message.len) > room {
        return Err(refusal!(
            Einval,
            [id = facts.perm.id.raw(), position, len = message.len, room],
            "message {position} of message queue {id} has {len} bytes, it can be copied whole alone, and not into {room}"
        ));
    }
    Ok(Received {
        message,
        len: message.len,
    })
}

/// What msgrcv with IPC_NOWAIT is refused with when the queue has no message that is wanted.
pub fn nothing(queue: &QueueFacts, mtype: i64, msgflg: i32) -> Refusal {
    let id = queue.perm.id.raw();
    if msgflg & MSG_COPY != 0 {
        // "IPC_NOWAIT and MSG_COPY were specified in msgflg and the queue contains less than msgtyp messages."
        // - man msgop(2)
        return refusal!(
            Enomsg,
            [id, qnum = queue.qnum, position = mtype],
            "message queue {id} holds {qnum} messages, none at position {}",
            position as i64
        );
    }
    // "IPC_NOWAIT was specified in msgflg and no message of the requested type existed on the message queue."
    // - man msgop(2)
    refusal!(
        Enomsg,
        [id, qnum = queue.qnum, mtype, msgflg],
        "message queue {id} holds {qnum} messages, none {}",
        Wanted::new(mtype as i64, msgflg as i32)
    )
}
