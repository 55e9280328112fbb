//! A line of the trace as an object. What can be long stands last, and is cut off so that the object is still one.

use core::fmt;

use super::form::{self, Word};
use super::format;
use super::line::Line;
use super::{Answer, Call, Stamp, Told};

/// What stands in front of every object.
fn begin(line: &mut Line, kind: &str, stamp: &Stamp) {
    line.put(format_args!(
        "{{\"type\":\"{kind}\",\"time\":{},\"pid\":{},\"tid\":{}",
        Seconds(stamp.at_nanos),
        stamp.pid,
        stamp.tid
    ));
}

/// Nanoseconds as seconds with six decimals.
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1000;
        write!(out, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A member that is text.
fn text(line: &mut Line, name: &str, put: impl FnOnce(&mut Line)) {
    line.put(format_args!(",\"{name}\":\""));
    line.quote(put);
    line.put(format_args!("\""));
}

/// The object of a call.
pub fn call(
    line: &mut Line,
    call: &Call,
    told: &Told,
    answer: &Answer<'_>,
    stamp: &Stamp,
    slept: u64,
) {
    begin(line, "call", stamp);
    line.put(format_args!(
        ",\"duration\":{}",
        Seconds(stamp.duration_nanos)
    ));
    if slept != 0 {
        line.put(format_args!(",\"slept\":{}", Seconds(slept)));
    }
    question(line, call, told);
    match answer {
        Answer::Value(value) => line.put(format_args!(",\"result\":{value}}}")),
        Answer::Refused { errno, why } => {
            line.put(format_args!(
                ",\"result\":-1,\"error\":\"{}\"",
                Word::Errno(*errno)
            ));
            reason(line, *why);
        }
    }
}

/// The object of a call that has begun to sleep: it has no result, and why it sleeps is its reason.
pub fn asleep(line: &mut Line, call: &Call, told: &Told, why: &dyn fmt::Display, stamp: &Stamp) {
    begin(line, "sleep", stamp);
    question(line, call, told);
    reason(line, why);
}

/// The last member, and the end of the object.
fn reason(line: &mut Line, why: &dyn fmt::Display) {
    text(line, "reason", |line| line.put(format_args!("{why}")));
    line.put(format_args!("}}"));
}

/// The call's name, and what it was asked.
fn question(line: &mut Line, call: &Call, told: &Told) {
    line.put(format_args!(",\"call\":\"{}\"", call.name()));
    match *call {
        Call::Shmget { key, size, shmflg } => {
            line.put(format_args!(",\"key\":{key},\"size\":{size}"));
            text(line, "flags", |line| form::get_flags(line, shmflg));
        }
        Call::Shmat {
            shmid,
            addr,
            shmflg,
        } => {
            line.put(format_args!(",\"shmid\":{shmid},\"addr\":{addr}"));
            text(line, "flags", |line| form::attach_flags(line, shmflg));
        }
        Call::Shmdt { addr } => line.put(format_args!(",\"addr\":{addr}")),
        Call::Shmctl { shmid, cmd, .. } => {
            line.put(format_args!(",\"shmid\":{shmid}"));
            text(line, "cmd", |line| form::command(line, cmd));
        }
        _ => object_call(line, call, told),
    }
}

/// What is told of a call on a set or a queue.
fn object_call(line: &mut Line, call: &Call, told: &Told) {
    match *call {
        Call::Shmget { .. } | Call::Shmat { .. } | Call::Shmdt { .. } | Call::Shmctl { .. } => {}
        Call::Semget { key, count, flags } => {
            line.put(format_args!(",\"key\":{key},\"nsems\":{count}"));
            text(line, "flags", |line| form::plain_get_flags(line, flags));
        }
        Call::Semop {
            semid,
            operations,
            count,
        }
        | Call::Semtimedop {
            semid,
            operations,
            count,
            ..
        } => {
            line.put(format_args!(",\"semid\":{semid},\"nsops\":{count}"));
            text(line, "sops", |line| {
                form::sem_operations(line, operations, count, told);
            });
        }
        Call::Semctl {
            semid, number, cmd, ..
        } => {
            line.put(format_args!(",\"semid\":{semid},\"semnum\":{number}"));
            text(line, "cmd", |line| form::sem_command(line, cmd));
        }
        Call::Msgget { key, flags } => {
            line.put(format_args!(",\"key\":{key}"));
            text(line, "flags", |line| form::plain_get_flags(line, flags));
        }
        Call::Msgsnd {
            msqid, size, flags, ..
        } => {
            let size = size as usize;
            line.put(format_args!(",\"msqid\":{msqid},\"size\":{size}"));
            text(line, "flags", |line| form::msg_flags(line, flags));
        }
        Call::Msgrcv {
            msqid,
            size,
            mtype,
            flags,
            ..
        } => {
            let size = size as usize;
            line.put(format_args!(
                ",\"msqid\":{msqid},\"size\":{size},\"msgtyp\":{mtype}"
            ));
            text(line, "flags", |line| form::msg_flags(line, flags));
        }
        Call::Msgctl { msqid, cmd, .. } => {
            line.put(format_args!(",\"msqid\":{msqid}"));
            text(line, "cmd", |line| form::msg_command(line, cmd));
        }
    }
    if let (Call::Msgsnd { .. } | Call::Msgrcv { .. }, Told::Message { mtype, .. }) = (call, told) {
        line.put(format_args!(",\"mtype\":{mtype}"));
    }
}

/// The object of something else: `event` names it, `numbers` are what a program can count with, `put` writes the words.
pub fn event(
    line: &mut Line,
    event: &str,
    numbers: &[(&str, u64)],
    stamp: &Stamp,
    put: &dyn Fn(&mut Line),
) {
    begin(line, "event", stamp);
    line.put(format_args!(",\"event\":\"{event}\""));
    for (name, number) in numbers {
        line.put(format_args!(",\"{name}\":{number}"));
    }
    line.put(format_args!(",\"text\":\""));
    line.quote(put);
    line.put(format_args!("\"}}"));
}

/// What is in front of a line of text, if it is asked for.
pub fn prefix(line: &mut Line, is_file: bool, stamp: &Stamp) {
    if is_file || format::has(format::THREAD) {
        line.put(format_args!("{:<5} ", stamp.pid));
    }
    if format::has(format::THREAD) && stamp.tid != stamp.pid {
        line.put(format_args!("[{}] ", stamp.tid));
    }
    if format::has(format::TIME) {
        line.put(format_args!("{} ", Seconds(stamp.at_nanos)));
    }
}
