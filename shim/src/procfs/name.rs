//! Which path means one of the files.

use core::ffi::CStr;

use shmshim_core::sysv::LimitName;
use shmshim_core::sysv::msg::MsgLimitName;

use super::limits::Limit;

/// One of the files that are ours to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum File {
    /// The list of segments.
    Segments,
    /// The list of semaphore sets.
    Sets,
    /// The list of message queues.
    Queues,
    /// One limit, or several.
    Limit(Limit),
}

const FILES: [(&CStr, File); 11] = [
    (c"/proc/sysvipc/shm", File::Segments),
    (c"/proc/sysvipc/sem", File::Sets),
    (c"/proc/sysvipc/msg", File::Queues),
    (c"/proc/sys/kernel/shmmax", of_shm(LimitName::Shmmax)),
    (c"/proc/sys/kernel/shmall", of_shm(LimitName::Shmall)),
    (c"/proc/sys/kernel/shmmni", of_shm(LimitName::Shmmni)),
    (
        c"/proc/sys/kernel/shm_rmid_forced",
        of_shm(LimitName::ShmRmidForced),
    ),
    (c"/proc/sys/kernel/sem", File::Limit(Limit::Sem)),
    (c"/proc/sys/kernel/msgmax", of_msg(MsgLimitName::Msgmax)),
    (c"/proc/sys/kernel/msgmnb", of_msg(MsgLimitName::Msgmnb)),
    (c"/proc/sys/kernel/msgmni", of_msg(MsgLimitName::Msgmni)),
];

const fn of_shm(name: LimitName) -> File {
    File::Limit(Limit::Shm(name))
}

const fn of_msg(name: MsgLimitName) -> File {
    File::Limit(Limit::Msg(name))
}

/// Longer than any of their paths.
pub const PATH_BYTES: usize = 64;

impl File {
    /// The file that has this path, letter for letter.
    pub fn at(path: &[u8]) -> Option<File> {
        let found = FILES.iter().find(|(own, _)| own.to_bytes() == path);
        found.map(|(_, file)| *file)
    }

    /// Its path.
    pub fn path(self) -> &'static CStr {
        let found = FILES.iter().find(|(_, file)| *file == self);
        found.map_or(c"", |(path, _)| path)
    }

    /// Its permission bits.
    pub fn mode(self) -> u32 {
        match self {
            File::Segments | File::Sets | File::Queues => 0o444,
            File::Limit(_) => 0o644,
        }
    }
}

/// Whether a path may mean one of the files if its directory is the right one: it is relative, or roundabout.
pub fn may_mean_one(path: &[u8]) -> bool {
    let is_elsewhere = path.starts_with(b"/") && !path.starts_with(b"/proc/");
    !is_elsewhere
        && FILES
            .iter()
            .any(|(own, _)| last_name(own.to_bytes()) == last_name(path))
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_known_by_their_paths() {
        assert_eq!(File::at(b"/proc/sysvipc/shm"), Some(File::Segments));
        for limit in LimitName::ALL {
            let path = format!("/proc/sys/kernel/{}", limit.file_name());
            assert_eq!(File::at(path.as_bytes()), Some(of_shm(limit)));
        }
        for limit in MsgLimitName::ALL {
            let path = format!("/proc/sys/kernel/{}", limit.file_name());
            assert_eq!(File::at(path.as_bytes()), Some(of_msg(limit)));
        }
        for (path, file) in FILES {
            assert!(path.count_bytes() < PATH_BYTES);
            assert_eq!(file.path(), path);
        }
    }

    #[test]
    fn relative_and_roundabout_paths_may_mean_them() {
        for path in [
            "shm",
            "sysvipc/shm",
            "../sysvipc/shm",
            "/proc//sysvipc/shm",
            "/proc/1/../sysvipc/shm",
            "sem",
            "kernel/sem",
            "shmmax",
            "kernel/shmmax",
            "./shmmax",
            "/proc/sys/kernel//shmmax",
            "/proc/self/root/proc/sys/kernel/shmmax",
        ] {
            assert_eq!(File::at(path.as_bytes()), None, "{path}");
            assert!(may_mean_one(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn other_paths_mean_nothing() {
        for path in [
            "",
            "/",
            "/proc",
            "/proc/",
            "/proc/sysvipc",
            "/proc/sysvipc/",
            "/proc/sysvipc/sems",
            "/proc/sysvipc/shm/",
            "/proc/sysvipc/shmm",
            "/proc/sys/kernel/auto_msgmni",
            "/proc/sys/kernel/sem_next_id",
            "/proc/sys/kernel/shm_next_id",
            "/dev/shm",
            "/tmp/shmmax",
            "/proc/sys/kernel/shmmax2",
            "/proc/sys/kernel/shmma",
            "/proc/sys/kernel/SHMMAX",
            "xshm",
            "shm ",
            "shmmax/..",
        ] {
            assert_eq!(File::at(path.as_bytes()), None, "{path}");
            assert!(!may_mean_one(path.as_bytes()), "{path}");
        }
    }
}
