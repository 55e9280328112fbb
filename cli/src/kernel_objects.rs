//! The kernel's own semaphore sets and message queues, to be read: `--kernel`, and to be copied. As in
//! [`kernel`](crate::kernel) the lists are asked of the kernel directly. Who sleeps in them or owes them something it tells
//! nobody.

use std::ffi::{CStr, CString};

use shmshim_core::os::kernel_shm::{
    QueueNow, SemQuestion, all_values, ask_semaphore, copy_message, queue_now,
};
use shmshim_core::os::{OsError, file};
use shmshim_core::sysv::msg::{MsgLimitName, MsgLimits, QueueFacts};
use shmshim_core::sysv::sem::{SEM_LIMITS_FILE, SemLimits, SetPerm};
use shmshim_core::sysv::{IpcPerm, Key, Kind, ShmId};

use crate::error::{Error, Outcome};
use crate::semaphore::Semaphore;

/// The fields of a line.
struct Line<'l>(Vec<&'l str>);

impl Line<'_> {
    fn field<T: std::str::FromStr>(&self, at: usize) -> Option<T> {
        self.0.get(at)?.parse().ok()
    }

    fn perm(&self, kind: Kind, owners: usize) -> Option<IpcPerm> {
        Some(IpcPerm {
            kind,
            id: ShmId::from_raw(self.field(1)?).ok()?,
            uid: self.field(owners)?,
            gid: self.field(owners + 1)?,
            cuid: self.field(owners + 2)?,
            cgid: self.field(owners + 3)?,
            mode: u32::from_str_radix(self.0.get(2)?, 8).ok()?,
        })
    }
}

fn list<T>(path: &CStr, what: &str, parse: impl Fn(&Line<'_>) -> Option<T>) -> Outcome<Vec<T>> {
    let shown = path.to_string_lossy();
    let text = match file::read_whole(path) {
        Ok(text) => text,
        // A kernel without System V IPC has none.
        Err(OsError(libc::ENOENT)) => {
            return Err(Error::absent(format!(
                "this kernel has no {what}, or /proc is not mounted: there is no {shown}"
            )));
        }
        Err(error) => {
            return Err(Error::refused(format!("{shown} cannot be read: {error}")));
        }
    };
    let lines = String::from_utf8_lossy(&text).into_owned();
    lines
        .lines()
        .skip(1)
        .map(|line| {
            parse(&Line(line.split_ascii_whitespace().collect())).ok_or_else(|| {
                Error::refused(format!(
                    "{shown} has a line that this version does not understand: {line}"
                ))
            })
        })
        .collect()
}

/// All semaphore sets of this IPC namespace of the kernel's.
pub fn sets() -> Outcome<Vec<SetPerm>> {
    list(c"/proc/sysvipc/sem", "System V semaphores", set_of)
}

fn set_of(line: &Line<'_>) -> Option<SetPerm> {
    Some(SetPerm {
        perm: line.perm(Kind::Set, 4)?,
        key: Key(line.field(0)?),
        count: line.field(3)?,
        otime: line.field(8)?,
        ctime: line.field(9)?,
    })
}

/// All message queues of this IPC namespace of the kernel's.
pub fn queues() -> Outcome<Vec<QueueFacts>> {
    list(c"/proc/sysvipc/msg", "System V message queues", queue_of)
}

/// How much a queue may hold is not told here.
fn queue_of(line: &Line<'_>) -> Option<QueueFacts> {
    Some(QueueFacts {
        perm: line.perm(Kind::Queue, 7)?,
        key: Key(line.field(0)?),
        cbytes: line.field(3)?,
        qnum: line.field(4)?,
        lspid: line.field(5)?,
        lrpid: line.field(6)?,
        stime: line.field(11)?,
        rtime: line.field(12)?,
        ctime: line.field(13)?,
        qbytes: 0,
    })
}

/// Why an object of the kernel's was not read.
fn unread(what: &str, id: i32, error: OsError) -> Error {
    match error {
        OsError(libc::EACCES) => Error::refused(format!(
            "the kernel's {what} {id} may not be read by this user; ask its owner for the right, or do it as root"
        )),
        OsError(libc::EINVAL | libc::EIDRM) => {
            Error::absent(format!("the kernel's {what} {id} was removed meanwhile"))
        }
        error => Error::refused(format!("the kernel's {what} {id} cannot be read: {error}")),
    }
}

/// The limits of both; what the kernel does not tell stands at its default.
pub fn limits() -> (SemLimits, MsgLimits) {
    let (mut sem, mut msg) = (SemLimits::KERNEL_DEFAULTS, MsgLimits::KERNEL_DEFAULTS);
    let text = |name: &str| {
        let path = CString::new(format!("/proc/sys/kernel/{name}")).ok()?;
        file::read_whole(&path).ok()
    };
    if let Some(text) = text(SEM_LIMITS_FILE) {
        let _ = sem.parse_and_set(&text);
    }
    for name in MsgLimitName::ALL {
        if let Some(text) = text(name.file_name()) {
            let _ = msg.parse_and_set(name, &text);
        }
    }
    (sem, msg)
}

/// Value and process id of each semaphore of a set: the values are those of one moment.
pub fn semaphores(set: &SetPerm) -> Outcome<Vec<(u16, i32)>> {
    let id = set.perm.id.raw();
    let unread = |error| unread("semaphore set", id, error);
    let values = all_values(id, set.count).map_err(unread)?;
    let pid = |number| ask_semaphore(id, number, SemQuestion::Pid).map_err(unread);
    (0..)
        .zip(values.iter())
        .map(|(number, value)| Ok((*value, pid(number)?)))
        .collect()
}

/// Type and text of each message of a queue, the oldest first.
pub type Messages = Vec<(i64, Vec<u8>)>;

/// All messages of a queue, which stay in it, and what is known of it: its capacity, too.
pub fn messages(queue: &QueueFacts) -> Outcome<(QueueFacts, Messages)> {
    const TRIES: u32 = 20;
    let id = queue.perm.id.raw();
    let mut before = None;
    for _ in 0..TRIES {
        let read = read_messages(id)?;
        // Each is copied by its place: what is taken meanwhile moves them.
        if let Some((now, messages)) = before.filter(|before| Some(before) == read.as_ref()) {
            let [lspid, lrpid, stime, rtime] = now.last;
            let facts = QueueFacts {
                qbytes: u32::try_from(now.capacity).unwrap_or(u32::MAX),
                lspid: lspid as i32,
                lrpid: lrpid as i32,
                stime,
                rtime,
                ..*queue
            };
            return Ok((facts, messages));
        }
        before = read;
    }
    Err(Error::refused(format!(
        "the kernel's message queue {id} changes while it is copied; end the programs that use it first"
    )))
}

/// `None`: the queue has changed meanwhile.
fn read_messages(id: i32) -> Outcome<Option<(QueueNow, Messages)>> {
    let unread = |error| match error {
        OsError(libc::ENOSYS) => Error::refused(format!(
            "the messages of the kernel's queue {id} cannot be copied: this kernel was built without CONFIG_CHECKPOINT_RESTORE, and hands out a message only by taking it out of the queue"
        )),
        error => unread("message queue", id, error),
    };
    let now = queue_now(id).map_err(unread)?;
    let room = now.bytes as usize;
    let mut messages = Messages::new();
    for place in 0..now.messages {
        let copied = copy_message(id, place as u32, room, |mtype, text| (mtype, text.to_vec()));
        match copied {
            Ok(message) => messages.push(message),
            Err(OsError(libc::ENOMSG | libc::E2BIG)) => return Ok(None),
            // The queue is there.
            Err(OsError(libc::EINVAL)) if queue_now(id).is_ok() => {
                return Err(Error::refused(format!(
                    "message {place} of the kernel's queue {id} cannot be copied: it is longer than msgmax is now; raise /proc/sys/kernel/msgmax"
                )));
            }
            Err(error) => return Err(unread(error)),
        }
    }
    Ok(Some((now, messages)))
}

/// The semaphores of a set.
pub fn values(id: i32, count: u32) -> Outcome<Vec<Semaphore>> {
    let ask = |number, question| {
        ask_semaphore(id, number, question).map_err(|error| unread("semaphore set", id, error))
    };
    (0..count)
        .map(|number| {
            let pid = ask(number, SemQuestion::Pid)?;
            Ok(Semaphore {
                number,
                value: ask(number, SemQuestion::Value)?,
                last_pid: (pid != 0).then_some(pid),
                waiting_for_growth: ask(number, SemQuestion::Growth)? as u32,
                waiting_for_zero: ask(number, SemQuestion::Zero)? as u32,
                owed: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line(text.split_ascii_whitespace().collect())
    }

    #[test]
    fn lines_of_the_kernels_lists_are_read() {
        let set = set_of(&line(
            "      5678          3   640          7  1000   100  1001   101 1700000001 1700000000",
        ))
        .unwrap();
        assert_eq!((set.key, set.perm.id.raw()), (Key(5678), 3));
        assert_eq!((set.perm.mode, set.count, set.perm.cgid), (0o640, 7, 101));
        assert_eq!((set.otime, set.ctime), (1_700_000_001, 1_700_000_000));
        let queue = queue_of(&line(
            "        -1          0   600          12          2    40    41  1000   100  1001   101 3 4 5",
        ))
        .unwrap();
        assert_eq!((queue.key, queue.cbytes, queue.qnum), (Key(-1), 12, 2));
        assert_eq!((queue.lspid, queue.lrpid, queue.perm.uid), (40, 41, 1000));
        assert_eq!((queue.stime, queue.rtime, queue.ctime), (3, 4, 5));
        assert!(set_of(&line("1 2 3")).is_none());
    }
}
