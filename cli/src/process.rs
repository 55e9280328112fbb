//! Processes, as `/proc` shows them: what they are called, since when they run, and where they have a file mapped.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use procfs::process::Process;
use serde::Serialize;

/// What is known of a process.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its effective user.
    pub uid: u32,
    /// Its command line, or its name in brackets.
    pub command: String,
    /// When it began, in seconds since 1970.
    pub started: Option<i64>,
    /// It has ended, and its parent does not know yet.
    pub is_zombie: bool,
}

/// What `/proc` tells of a process; nothing if there is none, or it is not to be seen.
pub fn facts(pid: i32) -> Option<Facts> {
    let process = Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    let words = process.cmdline().unwrap_or_default();
    let command = match words.join(" ") {
        words if words.trim().is_empty() => format!("[{}]", stat.comm),
        words => words,
    };
    let ticks = procfs::ticks_per_second().max(1);
    let boot = procfs::boot_time_secs().ok();
    Some(Facts {
        uid: process.uid().ok()?,
        command: printable(&command),
        started: boot.map(|boot| (boot + stat.starttime / ticks) as i64),
        is_zombie: matches!(stat.state, 'Z' | 'X' | 'x'),
    })
}

/// A text without what could write elsewhere on a terminal.
pub fn printable(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => '\u{fffd}',
        false => character,
    };
    text.chars().map(escaped).collect()
}

/// The ids of all processes that can be seen.
pub fn all() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Whether a process sees the System V objects that this one sees.
pub fn is_in_ipc_namespace(pid: i32) -> bool {
    let of = |who: &str| fs::metadata(format!("/proc/{who}/ns/ipc")).map(|ns| (ns.dev(), ns.ino()));
    matches!((of("self"), of(&pid.to_string())), (Ok(own), Ok(its)) if own == its)
}

/// A part of a process's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Where it begins and ends.
    pub range: (u64, u64),
    /// What it may be used for: `r`, `w`, `x`.
    pub access: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// Device and inode of the file.
    pub file: (u64, u64),
    /// The file's path.
    pub path: Vec<u8>,
}

impl Mapping {
    /// The path without what says that it is gone.
    pub fn path(&self) -> &[u8] {
        let path = &self.path;
        path.strip_suffix(b" (deleted)").unwrap_or(path)
    }

    /// A line of `/proc/PID/maps`. By ourselves: the paths in it are any bytes, and one odd path must not hide the rest.
    fn parse(line: &[u8]) -> Option<Mapping> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let mut next = || core::str::from_utf8(fields.next()?).ok();
        let (range, access, offset) = (next()?, next()?, next()?);
        let (device, inode) = (next()?, next()?);
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        let device = nix::sys::stat::makedev(hexadecimal(major)?, hexadecimal(minor)?);
        Some(Mapping {
            range: (hexadecimal(start)?, hexadecimal(end)?),
            access: access.chars().take(3).filter(|&bit| bit != '-').collect(),
            offset: hexadecimal(offset)?,
            file: (device, inode.parse().ok()?),
            path: fields.next().unwrap_or(&[]).trim_ascii_start().to_vec(),
        })
    }
}

/// What a process has mapped from files. It fails for a process of another user's, unless one is root.
pub fn mappings(pid: i32) -> io::Result<Vec<Mapping>> {
    let text = fs::read(format!("/proc/{pid}/maps"))?;
    let lines = text.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(Mapping::parse).collect())
}

/// A mapping of a segment.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Address {
    /// Where it begins: `0x7f…`.
    pub start: String,
    /// Its length in bytes.
    pub length: u64,
    /// Where in the segment it begins.
    pub offset: u64,
    /// What it may be used for: `r`, `rw`, …
    pub access: String,
}

/// The mappings of one segment, in which what lies together and may be used alike is one.
pub fn addresses<'m>(mappings: impl Iterator<Item = &'m Mapping>) -> Vec<Address> {
    let mut joined: Vec<Mapping> = Vec::new();
    for one in mappings {
        match joined.last_mut() {
            Some(last)
                if last.range.1 == one.range.0
                    && last.access == one.access
                    && last.offset + (last.range.1 - last.range.0) == one.offset =>
            {
                last.range.1 = one.range.1;
            }
            _ => joined.push(one.clone()),
        }
    }
    joined
        .into_iter()
        .map(|mapping| Address {
            start: format!("{:#x}", mapping.range.0),
            length: mapping.range.1 - mapping.range.0,
            offset: mapping.offset,
            access: mapping.access,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(range: &str, access: &str, offset: &str) -> Mapping {
        let line = format!("{range} {access} {offset} 00:19 77    /dev/shm/a b (deleted)");
        Mapping::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_of_maps_is_taken_apart() {
        let mapping = line("7f00-8000", "rw-s", "00001000");
        assert_eq!(mapping.range, (0x7f00, 0x8000));
        assert_eq!(mapping.access, "rw");
        assert_eq!(mapping.offset, 4096);
        assert_eq!(mapping.file, (nix::sys::stat::makedev(0, 0x19), 77));
        assert_eq!(mapping.path(), b"/dev/shm/a b");
        let odd = b"1000-2000 r--p 00000000 00:00 0 \xff\xfe";
        assert_eq!(Mapping::parse(odd).unwrap().path, b"\xff\xfe");
        for broken in [&b""[..], b"1000 r--p 0 00:00 0", b"x-y r--p 0 00:00 0 /a"] {
            assert_eq!(Mapping::parse(broken), None);
        }
    }

    #[test]
    fn what_lies_together_is_one_address() {
        let parts = [
            line("1000-2000", "rw-s", "0"),
            line("2000-3000", "rw-s", "1000"),
            line("3000-4000", "r--s", "2000"),
            line("4000-5000", "r--s", "0"),
        ];
        let found = addresses(parts.iter());
        let starts: Vec<_> = found
            .iter()
            .map(|one| (one.start.as_str(), one.length))
            .collect();
        assert_eq!(
            starts,
            [("0x1000", 0x2000), ("0x3000", 0x1000), ("0x4000", 0x1000)]
        );
    }
}
