//! What `/proc` tells of a thread.

use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Ids and rights of a thread, as this process's user namespace names them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The process that it belongs to.
    pub tgid: i32,
    /// The parent of that process.
    pub parent: i32,
    /// The process that traces it; 0: none.
    pub tracer: i32,
    /// The real uid.
    pub uid: u32,
    /// The effective uid.
    pub euid: u32,
    /// The effective gid.
    pub egid: u32,
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
                "TracerPid" => status.tracer = number()? as i32,
                "Uid" => (status.uid, status.euid) = (number()?, number()?),
                "Gid" => (_, status.egid) = (number()?, number()?),
                "Groups" => status.groups = std::iter::from_fn(number).collect(),
                "CapEff" => status.capabilities = u64::from_str_radix(rest.trim(), 16).ok()?,
                _ => {}
            }
        }
        (status.tgid != 0).then_some(status)
    }
}

/// Who traces a thread.
pub fn tracer_of(tid: Pid) -> Option<Pid> {
    let tracer = Status::of(tid)?.tracer;
    (tracer != 0).then(|| Pid::from_raw(tracer))
}

/// Whether a process is in the user namespace of this one.
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
            tracer: 0,
            uid: 1,
            euid: 2,
            egid: 6,
            groups: vec![9, 10],
            capabilities: 0x1ff_ffff_ffff,
        };
        assert_eq!(Status::parse(text), Some(expected));
        assert_eq!(Status::parse(b"Name:\tx\n"), None);
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
