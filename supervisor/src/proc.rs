//! What `/proc` tells of a thread.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

/// Ids and rights of a thread, as this process's user namespace names them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The process that it belongs to.
    pub tgid: i32,
    /// The parent of that process.
    pub parent: i32,
    /// The real uid.
    pub uid: u32,
    /// The effective uid.
    pub euid: u32,
    /// The uid that files see.
    pub fsuid: u32,
    /// The effective gid.
    pub egid: u32,
    /// The gid that files see.
    pub fsgid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The effective capabilities.
    pub capabilities: u64,
}

impl Status {
    /// That of a thread, if it is there.
    pub fn of(tid: Pid) -> Option<Status> {
        let text = fs::read(format!("/proc/{tid}/status")).ok()?;
        Status::parse(&text)
    }

    fn parse(text: &[u8]) -> Option<Status> {
        let mut status = Status::default();
        for line in text.split(|&byte| byte == b'\n') {
            // The name of the program may be any bytes, but stands in a line of its own.
            let Ok(line) = std::str::from_utf8(line) else {
                continue;
            };
            let Some((name, rest)) = line.split_once(':') else {
                continue;
            };
            let mut numbers = rest.split_ascii_whitespace();
            let mut number = || numbers.next().and_then(|word| word.parse::<u32>().ok());
            match name {
                "Tgid" => status.tgid = number()? as i32,
                "PPid" => status.parent = number()? as i32,
                "Uid" => {
                    (status.uid, status.euid) = (number()?, number()?);
                    (_, status.fsuid) = (number()?, number()?);
                }
                "Gid" => {
                    (_, status.egid) = (number()?, number()?);
                    (_, status.fsgid) = (number()?, number()?);
                }
                "Groups" => status.groups = std::iter::from_fn(number).collect(),
                "CapEff" => status.capabilities = u64::from_str_radix(rest.trim(), 16).ok()?,
                _ => {}
            }
        }
        (status.tgid != 0).then_some(status)
    }
}

/// A file that tells a thread's state. The process that it belongs to need not be known.
pub fn open_state(tid: Pid) -> nix::Result<File> {
    File::open(format!("/proc/{tid}/task/{tid}/stat")).map_err(errno)
}

/// The letter of the state that it tells.
pub fn state(file: &File) -> nix::Result<Option<u8>> {
    // Number, name in brackets, which may hold any bytes, and state.
    let mut text = [0; 128];
    let len = file.read_at(&mut text, 0).map_err(errno)?;
    Ok(parse_state(text.get(..len).unwrap_or(&[])))
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

fn parse_state(text: &[u8]) -> Option<u8> {
    let behind = text.rsplit(|&byte| byte == b')').next()?;
    behind.get(1).copied()
}

/// A soft limit of a process, by its `RLIMIT_` number; `u64::MAX` for none.
pub fn limit(pid: Pid, which: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    parse_limit(&text, which)
}

fn parse_limit(text: &str, which: usize) -> Option<u64> {
    let name = match u32::try_from(which).ok()? {
        libc::RLIMIT_FSIZE => "Max file size",
        libc::RLIMIT_MEMLOCK => "Max locked memory",
        libc::RLIMIT_NOFILE => "Max open files",
        _ => return None,
    };
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The children of this process.
pub fn children() -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", Pid::this());
    let text = fs::read_to_string(path).unwrap_or_default();
    let numbers = text
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// Whether a process is in the user namespace of this one. Where this process may not look, it is not: it may where it may trace.
pub fn is_in_our_user_namespace(pid: Pid) -> bool {
    let theirs = fs::read_link(format!("/proc/{pid}/ns/user"));
    let ours = fs::read_link("/proc/self/ns/user");
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// What a process was started with in its environment under these names.
pub fn variables(pid: Pid, names: &[&str]) -> Vec<(OsString, OsString)> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let entries = text.split(|&byte| byte == 0);
    let pairs = entries.filter_map(|entry| {
        let at = entry.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (entry.get(..at)?, entry.get(at + 1..)?);
        let is_wanted = names
            .iter()
            .any(|wanted| OsStr::new(wanted).as_bytes() == name);
        is_wanted.then(|| {
            (
                OsString::from_vec(name.to_vec()),
                OsString::from_vec(value.to_vec()),
            )
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whatever_its_name_holds() {
        let text = b"Name:\tUid:\xff\nTgid:\t7\nPPid:\t3\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
            Groups:\t9 10 \nCapEff:\t000001ffffffffff\n";
        let expected = Status {
            tgid: 7,
            parent: 3,
            uid: 1,
            euid: 2,
            fsuid: 4,
            egid: 6,
            fsgid: 8,
            groups: vec![9, 10],
            capabilities: 0x1ff_ffff_ffff,
        };
        assert_eq!(Status::parse(text), Some(expected));
        assert_eq!(Status::parse(b"Name:\tx\n"), None);
    }

    #[test]
    fn a_state_is_found_behind_any_name() {
        assert_eq!(parse_state(b"7 (sh) S 3 7"), Some(b'S'));
        assert_eq!(parse_state(b"7 () S (\xff) D 3 7"), Some(b'D'));
        assert_eq!(parse_state(b""), None);
        let own = open_state(Pid::this()).unwrap();
        assert!(matches!(state(&own), Ok(Some(b'S' | b'R'))));
        assert!(open_state(Pid::from_raw(i32::MAX)).is_err());
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max file size             unlimited            unlimited            bytes     \n\
            Max open files            1024                 524288               files     \n\
            Max locked memory         0                    8388608              bytes     \n";
        let limit = |which| parse_limit(text, which as usize);
        assert_eq!(limit(libc::RLIMIT_FSIZE), Some(u64::MAX));
        assert_eq!(limit(libc::RLIMIT_NOFILE), Some(1024));
        assert_eq!(limit(libc::RLIMIT_MEMLOCK), Some(0));
        assert_eq!(limit(libc::RLIMIT_CPU), None);
        assert!(super::limit(Pid::this(), libc::RLIMIT_NOFILE as usize).is_some());
    }

    #[test]
    fn this_very_process_is_found() {
        let status = Status::of(Pid::this()).unwrap();
        assert_eq!(status.tgid, Pid::this().as_raw());
        assert_eq!(status.parent, Pid::parent().as_raw());
        assert!(is_in_our_user_namespace(Pid::this()));
        assert!(!variables(Pid::this(), &["PATH"]).is_empty());
    }
}
