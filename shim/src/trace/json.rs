//! A line of the trace as an object. What can be long stands last, and is cut off so that the object is still one.

use super::form::{self, Word};
use super::format;
use super::line::Line;
use super::{Answer, Call, Stamp};

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

impl core::fmt::Display for Seconds {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let micros = self.0 / 1000;
        write!(out, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// The object of a call.
pub fn call(line: &mut Line, call: &Call, answer: &Answer<'_>, stamp: &Stamp) {
    begin(line, "call", stamp);
    line.put(format_args!(
        ",\"duration\":{}",
        Seconds(stamp.duration_nanos)
    ));
    match *call {
        Call::Shmget { key, size, shmflg } => {
            line.put(format_args!(
                ",\"call\":\"shmget\",\"key\":{key},\"size\":{size},\"flags\":\""
            ));
            form::get_flags(line, shmflg);
            line.put(format_args!("\""));
        }
        Call::Shmat {
            shmid,
            addr,
            shmflg,
        } => {
            line.put(format_args!(
                ",\"call\":\"shmat\",\"shmid\":{shmid},\"addr\":{addr},\"flags\":\""
            ));
            form::attach_flags(line, shmflg);
            line.put(format_args!("\""));
        }
        Call::Shmdt { addr } => {
            line.put(format_args!(",\"call\":\"shmdt\",\"addr\":{addr}"));
        }
        Call::Shmctl { shmid, cmd, .. } => {
            line.put(format_args!(
                ",\"call\":\"shmctl\",\"shmid\":{shmid},\"cmd\":\""
            ));
            form::command(line, cmd);
            line.put(format_args!("\""));
        }
    }
    match answer {
        Answer::Value(value) => line.put(format_args!(",\"result\":{value}}}")),
        Answer::Refused { errno, why } => {
            line.put(format_args!(
                ",\"result\":-1,\"error\":\"{}\",\"reason\":\"",
                Word::Errno(*errno)
            ));
            line.quote(|line| line.put(format_args!("{why}")));
            line.put(format_args!("\"}}"));
        }
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
