//! What msgsnd, msgrcv and msgctl have beside their numbers.

use shmshim_core::sysv::flags::{IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT};
use shmshim_core::sysv::msg::flags::{
    MSG_COPY, MSG_EXCEPT, MSG_INFO, MSG_NOERROR, MSG_STAT, MSG_STAT_ANY,
};
use shmshim_core::sysv::msg::{MsgLimits, QueueFacts};

use super::{Address, named_bits, named_command, new_perm, perm};
use crate::trace::Told;
use crate::trace::line::Line;

/// msgctl's command.
pub fn command(line: &mut Line, cmd: i32) {
    named_command(line, cmd, "MSG_???", |cmd| {
        Some(match cmd {
            IPC_RMID => "IPC_RMID",
            IPC_SET => "IPC_SET",
            IPC_STAT => "IPC_STAT",
            IPC_INFO => "IPC_INFO",
            MSG_STAT => "MSG_STAT",
            MSG_INFO => "MSG_INFO",
            MSG_STAT_ANY => "MSG_STAT_ANY",
            _ => return None,
        })
    });
}

/// The flags of msgsnd and msgrcv.
pub fn flags(line: &mut Line, flags: i32) {
    let names = [
        (MSG_NOERROR, "MSG_NOERROR"),
        (MSG_EXCEPT, "MSG_EXCEPT"),
        (MSG_COPY, "MSG_COPY"),
        (IPC_NOWAIT, "IPC_NOWAIT"),
    ];
    named_bits(line, flags, &names, " /* MSG_??? */");
}

/// A message: what is in it, or where it is.
pub fn message(line: &mut Line, addr: u64, told: &Told) {
    let Told::Message { mtype, len, first } = told else {
        return line.put(format_args!("{}", Address(addr)));
    };
    line.put(format_args!("{{mtype={mtype}, mtext=\""));
    let shown = first.get(..*len as usize).unwrap_or(first);
    let mut rest = shown;
    while let [byte, behind @ ..] = rest {
        letter(line, *byte, behind.first().is_some_and(u8::is_ascii_digit));
        rest = behind;
    }
    let more = if *len as usize > shown.len() {
        "..."
    } else {
        ""
    };
    line.put(format_args!("\"{more}}}"));
}

/// A byte as C writes it in a string.
fn letter(line: &mut Line, byte: u8, digit_follows: bool) {
    match byte {
        b'"' | b'\\' => line.put(format_args!("\\{}", char::from(byte))),
        b'\n' => line.put(format_args!("\\n")),
        b'\t' => line.put(format_args!("\\t")),
        b'\r' => line.put(format_args!("\\r")),
        0x0b => line.put(format_args!("\\v")),
        0x0c => line.put(format_args!("\\f")),
        b' '..=b'~' => line.put(format_args!("{}", char::from(byte))),
        _ if digit_follows => line.put(format_args!("\\{byte:03o}")),
        _ => line.put(format_args!("\\{byte:o}")),
    }
}

/// msgctl's buffer: what is in it, or where it is.
pub fn buffer(line: &mut Line, addr: u64, told: &Told) {
    match told {
        Told::Queue(queue) => stat(line, queue),
        Told::NewQueue(new) => {
            new_perm(line, "msg", &new.perm);
            line.put(format_args!(", msg_qbytes={}}}", new.qbytes));
        }
        Told::MsgLimits(limits) => info(line, limits, 512_000, 16384, 16384),
        Told::MsgUsage(usage) => info(
            line,
            &usage.limits,
            usage.queues,
            usage.messages,
            usage.bytes,
        ),
        _ => line.put(format_args!("{}", Address(addr))),
    }
}

fn stat(line: &mut Line, queue: &QueueFacts) {
    perm(line, "msg", &queue.perm, queue.key);
    line.put(format_args!(
        ", msg_stime={}, msg_rtime={}, msg_ctime={}, msg_qnum={}, msg_qbytes={}, msg_lspid={}, msg_lrpid={}}}",
        queue.stime,
        queue.rtime,
        queue.ctime,
        queue.qnum,
        queue.qbytes,
        queue.lspid,
        queue.lrpid
    ));
}

fn info(line: &mut Line, limits: &MsgLimits, msgpool: u32, msgmap: u32, msgtql: u64) {
    line.put(format_args!(
        "{{msgpool={msgpool}, msgmap={msgmap}, msgmax={}, msgmnb={}, msgmni={}, msgssz=16, msgtql={msgtql}, msgseg=65535}}",
        limits.msgmax, limits.msgmnb, limits.msgmni
    ));
}
