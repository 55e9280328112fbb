//! A file of a namespace of its own, for unit tests.

use super::head::Words;
use super::{FirstLimits, IpcFile};
use crate::os::path::Path;
use crate::os::process;
use crate::storage::runtime_dir::Place;
use crate::storage::table::slot_life::Cursor;
use crate::storage::{LimitWords, Namespace, Rules};
use crate::sysv::{IpcPerm, Kind, ShmId};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with its test.
struct Base(PathBuf);

impl Drop for Base {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The packed cell of a process that is dead: nobody has the cell.
pub const DEAD: u32 = 1 << 30 | 3 << 14 | 700;

/// Does something with a file that nobody else uses, and the packed cell of the process that it is used by.
pub fn with_file(work: impl FnOnce(&IpcFile<'_>, u32)) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let base = std::env::temp_dir().join(format!("shmshim-ipc-{}-{number}", std::process::id()));
    let directory = base.join(format!(".shmshim-uid{}", process::euid()));
    fs::create_dir_all(&directory).unwrap();
    let base = Base(base);
    for path in [&base.0, &directory] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let ipc_limits = FirstLimits {
        sem: [32000, 1_024_000_000, 500, 32000],
        msg: [8192, 16384, 32000],
    };
    let rules = Rules {
        limits: LimitWords {
            shmmax: u64::MAX,
            shmall: u64::MAX,
            shmmni: 4096,
            rmid_forced: 0,
        },
        ipc_limits,
        fresh_cursor: |_| Cursor {
            next: 0,
            last: -1,
            seq: 0,
        },
        is_destroyed: |_, _, _| false,
        may_unlink: |_, _, _, _| true,
    };
    let path = Path::from_bytes(directory.as_os_str().as_encoded_bytes()).unwrap();
    let place = Place::of_directory(&path).unwrap();
    let namespace = Namespace::open_in(place, &rules).unwrap();
    let processes = namespace.processes();
    let me = processes.register(std::process::id() as i32).unwrap();
    let file = IpcFile::open(processes, &ipc_limits, |work| work()).unwrap();
    work(&file, me.packed());
    file.unmap();
}

/// What a new object begins with.
pub fn words(id: i32) -> Words {
    Words {
        id,
        uid: 1,
        gid: 2,
        cuid: 3,
        cgid: 4,
        mode: 0o640,
    }
}

/// The same as the rules see it.
pub fn perm(words: Words) -> IpcPerm {
    IpcPerm {
        kind: Kind::Set,
        id: ShmId::new(0, 1),
        uid: words.uid,
        gid: words.gid,
        cuid: words.cuid,
        cgid: words.cgid,
        mode: words.mode,
    }
}
