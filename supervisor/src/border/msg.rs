//! msgsnd, msgrcv and msgctl. What is checked and copied comes in the kernel's order.

use super::asked::Asked;
use super::asleep::{Asleep, Served, What};
use super::text::{TYPE_BYTES, told};
use crate::abi::{Msginfo, MsqidDs};
use crate::trace::{Call, Told};
use shmshim_core::registry::msg::{self as registry, Receiving, Sending};
use shmshim_core::sysv::msg::{self, MsgCommand};

/// No message has a longer text: it lies in one block (`storage/ipc/layout.rs`).
const LONGEST_TEXT: u64 = 4 << 20;

/// msgsnd(2).
pub fn send(mut asked: Asked<'_>) -> Served {
    match begin_to_send(&mut asked) {
        Ok(sending) => Asleep::begin(asked, What::Sends(sending)),
        Err(errno) => Served::of(Err(errno)),
    }
}

fn begin_to_send(asked: &mut Asked<'_>) -> Result<Sending, i32> {
    let Call::Msgsnd {
        msqid,
        message,
        size,
        flags,
    } = asked.call
    else {
        return Err(libc::ENOSYS);
    };
    let mut mtype = [0; TYPE_BYTES];
    asked.take(message, &mut mtype)?;
    let mtype = i64::from_ne_bytes(mtype);
    let limits = asked.outcome(registry::msg_limits())?;
    let len = asked.ruling(msg::check_message(msqid, mtype, size, &limits))?;
    let mut text = vec![0; len as usize];
    asked.take(message.wrapping_add(TYPE_BYTES as u64), &mut text)?;
    asked.told = told(mtype, &text);
    let at = text.as_ptr() as u64;
    let begun = Sending::begin(msqid, mtype, at, len.into(), flags);
    asked.outcome(begun)
}

/// msgrcv(2).
pub fn receive(mut asked: Asked<'_>) -> Served {
    match begin_to_receive(&mut asked) {
        Ok((receiving, buffer)) => Asleep::begin(asked, What::Receives(receiving, buffer)),
        Err(errno) => Served::of(Err(errno)),
    }
}

fn begin_to_receive(asked: &mut Asked<'_>) -> Result<(Receiving, Vec<u8>), i32> {
    let Call::Msgrcv {
        msqid,
        message,
        size,
        mtype,
        flags,
    } = asked.call
    else {
        return Err(libc::ENOSYS);
    };
    asked.ruling(msg::check_receive(msqid, size, flags))?;
    asked.may_copy_to(message)?;
    if flags & msg::flags::MSG_COPY != 0 {
        // The kernel reads what it is to overwrite, from the type on.
        let limits = asked.outcome(registry::msg_limits())?;
        let len = (size as u64).min(limits.msgmax.into());
        asked.take(message, &mut vec![0; len as usize])?;
    }
    // Pages of it are there once they are written.
    let room = (size as u64).min(LONGEST_TEXT) as usize;
    let mut buffer = vec![0; TYPE_BYTES + room];
    let text = buffer.split_at_mut(TYPE_BYTES).1.as_mut_ptr() as u64;
    let begun = Receiving::begin(msqid, text, size as u64, mtype, flags);
    Ok((asked.outcome(begun)?, buffer))
}

/// msgctl(2).
pub fn control(mut asked: Asked<'_>, msqid: i32, cmd: i32, buf: u64) -> Result<u64, i32> {
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(msg::parse_msgctl(msqid, cmd))?;
    match command {
        MsgCommand::IpcRmid => asked.answer(&registry::msg_remove(msqid), |()| 0),
        MsgCommand::IpcSet => {
            let mut copied = [0; size_of::<MsqidDs>()];
            asked.take(buf, &mut copied)?;
            let new = MsqidDs::new_queue(&copied);
            asked.told = Told::NewQueue(new);
            asked.answer(&registry::msg_set(msqid, new), |()| 0)
        }
        MsgCommand::IpcStat | MsgCommand::MsgStat | MsgCommand::MsgStatAny => asked.give(
            &registry::msg_stat(msqid, command),
            buf,
            MsqidDs::of,
            |queue| Told::Queue(*queue),
            |queue| match command {
                MsgCommand::IpcStat => 0,
                _ => queue.perm.id.raw() as u64,
            },
        ),
        MsgCommand::IpcInfo => asked.give(
            &registry::msg_usage(),
            buf,
            |usage| Msginfo::of(&usage.limits),
            |usage| Told::MsgLimits(usage.limits),
            |usage| usage.highest as u64,
        ),
        MsgCommand::MsgInfo => asked.give(
            &registry::msg_usage(),
            buf,
            Msginfo::with_usage,
            |usage| Told::MsgUsage(*usage),
            |usage| usage.highest as u64,
        ),
    }
}
