//! Which path means one of the files.

use shmshim_core::sysv::LimitName;

/// One of the files that are ours to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum File {
    /// `/proc/sysvipc/shm`
    Segments,
    /// `/proc/sys/kernel/NAME`
    Limit(LimitName),
}

/// What a path says by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// None of the files.
    No,
    /// This one.
    Yes(File),
    /// This one if the directory is the right one: the path is relative, or roundabout.
    Perhaps(File),
}

const SEGMENTS: &[u8] = b"/proc/sysvipc/shm";
const LIMITS: &[u8] = b"/proc/sys/kernel/";

/// Looks at a path as the host wrote it.
pub fn look(path: &[u8]) -> Look {
    let absolute = path.first() == Some(&b'/');
    if absolute && !path.starts_with(b"/proc/") {
        return Look::No;
    }
    if path == SEGMENTS {
        return Look::Yes(File::Segments);
    }
    let last = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => path.get(slash + 1..).unwrap_or(&[]),
        None => path,
    };
    match (last, LimitName::from_file_name(last)) {
        (b"shm", _) => Look::Perhaps(File::Segments),
        (_, None) => Look::No,
        (_, Some(limit)) if path.strip_prefix(LIMITS) == Some(last) => {
            Look::Yes(File::Limit(limit))
        }
        (_, Some(limit)) => Look::Perhaps(File::Limit(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_known_by_their_paths() {
        assert_eq!(look(b"/proc/sysvipc/shm"), Look::Yes(File::Segments));
        for limit in LimitName::ALL {
            let path = format!("/proc/sys/kernel/{}", limit.file_name());
            assert_eq!(look(path.as_bytes()), Look::Yes(File::Limit(limit)));
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
        ] {
            assert_eq!(
                look(path.as_bytes()),
                Look::Perhaps(File::Segments),
                "{path}"
            );
        }
        for path in [
            "shmmax",
            "kernel/shmmax",
            "./shmmax",
            "/proc/sys/kernel//shmmax",
            "/proc/self/root/proc/sys/kernel/shmmax",
        ] {
            assert_eq!(
                look(path.as_bytes()),
                Look::Perhaps(File::Limit(LimitName::Shmmax)),
                "{path}"
            );
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
            "/proc/sysvipc/sem",
            "/proc/sysvipc/shm/",
            "/proc/sysvipc/shmm",
            "/proc/sys/kernel/msgmax",
            "/proc/sys/kernel/shm_next_id",
            "/dev/shm",
            "/tmp/shmmax",
            "/proc/sys/kernel/shmmax2",
            "xshm",
            "shm ",
            "shmmax/..",
        ] {
            assert_eq!(look(path.as_bytes()), Look::No, "{path}");
        }
    }
}
