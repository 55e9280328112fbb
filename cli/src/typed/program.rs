//! Whose debug information describes a segment: the program that the user names, else that of the process which made the
//! segment, else that of one which has it attached.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Type, Types};
use crate::error::{Error, Outcome};
use crate::output::escaped;

/// Where a type comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The program's file.
    pub program: String,
    /// Why this one, as a part of a sentence; empty if the user named it.
    pub reason: String,
    /// How far above the addresses of its file the program is loaded, where a process runs it.
    pub load_offset: Option<u64>,
}

/// The type of this name: from the program `from`, else from the first of the processes that has it. The creator, if it
/// still runs, is the first that is asked.
pub fn choose(
    name: &str,
    from: Option<&Path>,
    creator: Option<i32>,
    attached: &[i32],
) -> Outcome<(Type, Origin)> {
    let mut pids: Vec<i32> = creator
        .into_iter()
        .chain(attached.iter().copied())
        .collect();
    pids.retain(|pid| *pid > 0);
    if let Some(path) = from {
        let found = Types::load(path)?.find(name)?;
        let runs = |pid: &&i32| is_same_file(&executable(**pid), path);
        let source = Origin {
            program: escaped(&path).to_string(),
            reason: String::new(),
            load_offset: pids.iter().find(runs).and_then(|pid| load_offset(*pid)),
        };
        return Ok((found, source));
    }
    let mut first_error = None;
    for pid in pids {
        match of_process(name, pid, creator == Some(pid)) {
            Ok(found) => return Ok(found),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| {
        Error::absent(format!(
            "no process runs any more that made this segment or has it attached: name the program that has {name} with --from"
        ))
    }))
}

fn of_process(name: &str, pid: i32, is_creator: bool) -> Outcome<(Type, Origin)> {
    let path = executable(pid);
    let program = fs::read_link(&path).map_err(|error| {
        Error::refused(format!(
            "the program of process {pid} cannot be found out ({error}): name it with --from"
        ))
    })?;
    let program = escaped(&program).to_string();
    let found = Types::load_shown(&path, program.clone())?.find(name)?;
    let doing = match is_creator {
        true => "made the segment",
        false => "has the segment attached",
    };
    let source = Origin {
        program,
        reason: format!("the program of process {pid}, which {doing}"),
        load_offset: load_offset(pid),
    };
    Ok((found, source))
}

fn executable(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| {
        fs::metadata(path)
            .ok()
            .map(|status| (status.dev(), status.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Where the first mapping of its program begins, which begins at address 0 of the file of a program that can be loaded
/// anywhere.
fn load_offset(pid: i32) -> Option<u64> {
    let inode = fs::metadata(executable(pid)).ok()?.ino().to_string();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let start = fields.next()?.split('-').next()?;
        let (offset, found) = (fields.nth(1)?, fields.nth(1)?);
        (found == inode && offset.bytes().all(|digit| digit == b'0'))
            .then(|| u64::from_str_radix(start, 16).ok())?
    })
}
